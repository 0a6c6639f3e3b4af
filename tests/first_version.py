"""A database as the first version left it, built row by row."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

from cryptography.fernet import Fernet

_TABLES = """
CREATE TABLE user (username TEXT, password TEXT, salt TEXT);
CREATE TABLE friend (sender TEXT, friend TEXT, status TEXT);
"""


class FirstVersion:
    """Its files, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.database, self.key = folder / "old.db", folder / "old.key"
        key = Fernet.generate_key()
        self.fernet = Fernet(key)
        self.key.write_bytes(key + b"\n")
        with closing(sqlite3.connect(self.database)) as connection:
            connection.executescript(_TABLES)

    def add_person(self, username: object, password: str = "Tr0ub4dor&3", salt: str = "0a1b2c3d") -> None:
        digest = hashlib.sha256((password + salt).encode()).hexdigest()
        self.insert("user", username, digest, salt)

    def add_friendship(self, sender: str, friend: str, status: str = "approve") -> None:
        self.insert("friend", sender, self.fernet.encrypt(friend.encode()).decode(), status)

    def insert(self, table: str, *values: object) -> None:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(f"INSERT INTO {table} VALUES (?, ?, ?)", values)  # noqa: S608 - our own names
