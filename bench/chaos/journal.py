"""What one person's clients did, one line for each event, over all their lives: outbox, state and evidence in one file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Journal:
    """Lines are in the file when ``write`` returns, so they outlive the process; ``sync`` makes them outlive the machine.

    What a death tore off at the end is cut away first: it was never said to be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        data = path.read_bytes()
        os.ftruncate(self._file, data.rfind(b"\n") + 1)
        self.earlier = list(_entries(data))

    def write(self, event: str, **fields: Any) -> None:
        line = memoryview(json.dumps({"event": event, **fields}, separators=(",", ":")).encode() + b"\n")
        while line:
            line = line[os.write(self._file, line) :]

    def sync(self) -> None:
        os.fdatasync(self._file)

    def close(self) -> None:
        os.close(self._file)


def read_journal(path: Path) -> list[Entry]:
    return list(_entries(path.read_bytes())) if path.exists() else []


class Follower:
    """Reads what was added to a journal since it last looked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new(self) -> list[Entry]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        data = data[: data.rfind(b"\n") + 1]
        self._offset += len(data)
        return list(_entries(data))


def _entries(data: bytes) -> Iterator[Entry]:
    for line in data[: data.rfind(b"\n") + 1].splitlines():
        entry = json.loads(line)
        assert isinstance(entry, dict)
        yield entry
