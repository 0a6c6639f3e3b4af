"""The audit trail in tests: past its triggers, as whoever owns the database gets past them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

TABLE = "securechat_auditevent"


@contextmanager
def unguarded() -> Iterator[None]:
    """Without the triggers, as somebody who owns the database is."""
    off, on = _statements()
    with connection.cursor() as cursor:
        for statement in off:
            cursor.execute(statement)
        yield
        for statement in on:
            cursor.execute(statement)


def emptying(statements: list[str]) -> list[str]:
    """The same statements, past the triggers."""
    off, on = _statements()
    return [*off, *statements, *on]


def _statements() -> tuple[list[str], list[str]]:
    if connection.vendor == "postgresql":
        return [f"ALTER TABLE {TABLE} DISABLE TRIGGER USER"], [f"ALTER TABLE {TABLE} ENABLE TRIGGER USER"]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [TABLE]
        )
        triggers = cursor.fetchall()
    return [f"DROP TRIGGER {name}" for name, _ in triggers], [sql for _, sql in triggers]
