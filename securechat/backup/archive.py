"""What is inside an archive: a manifest, then the rows of each table, then what came of counting and hashing them.

Each record is its length (4 bytes, big-endian) and CBOR: the manifest first, for each table ``{"table"}``, its rows as arrays
in the order of the manifest's columns, and ``{"table", "rows", "sha256"}`` over those records; ``{"complete": True}`` last.
Values are those of the models and not of a database, so an archive of SQLite can be read into PostgreSQL and back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Any

import cbor2
from django.apps import apps
from django.db import connection, models
from django.db.migrations.loader import MigrationLoader

from securechat.backup.encryption import DecryptingReader, DoesNotOpen, EncryptingWriter, UnknownFormat

FORMAT = 1
LEFT_OUT = frozenset({"django_session", "accounts_browsersession", "securechat_serverprocess"})
"""Nobody stays logged in through a restore, and a stolen archive opens nobody's session. Processes say what they are by themselves."""

_PROGRESS_ROWS = 20_000
_LENGTH_BYTES = 4
Row = list[Any]


@dataclass(frozen=True)
class Progress:
    table: str
    done: int
    total: int


@dataclass(frozen=True)
class Table:
    """``sequence`` is the number given last to a row, also to one that is gone; None where rows are not numbered."""

    columns: list[str]
    rows: int
    sequence: int | None


@dataclass(frozen=True)
class Manifest:
    """``audit_head`` as `manage.py audit_verify` prints it; ``unknown`` are tables that no model of the program has."""

    format: int
    version: str
    made_at: datetime
    database: str
    migrations: list[list[str]]
    audit_head: str
    unknown: list[str]
    tables: dict[str, Table]

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Manifest:
        """Raises ``UnknownFormat``."""
        if record.get("format") != FORMAT:
            raise UnknownFormat("The archive is of a newer format than this program reads.")
        return cls(**{**record, "tables": {name: Table(**table) for name, table in record["tables"].items()}})


@cache
def stored_models() -> Mapping[str, type[models.Model]]:
    """By table, in the order in which an archive has them; without ``LEFT_OUT``."""
    found = {
        model._meta.db_table: model
        for model in apps.get_models(include_auto_created=True)
        if not model._meta.proxy and model._meta.db_table not in LEFT_OUT
    }
    return {name: found[name] for name in sorted(found)}


@cache
def stored_fields(model: type[models.Model]) -> tuple[models.Field[Any, Any], ...]:
    """What the database does not compute by itself."""
    return tuple(field for field in model._meta.concrete_fields if not field.generated)


def column_names(model: type[models.Model]) -> list[str]:
    return [str(field.column) for field in stored_fields(model)]


def known_migrations() -> list[list[str]]:
    """Of this program."""
    loader = MigrationLoader(connection=None)
    return sorted([app, name] for app, name in loader.disk_migrations)


def unknown_tables() -> list[str]:
    present = set(connection.introspection.table_names())
    return sorted(present - stored_models().keys() - LEFT_OUT - {"django_migrations"})


class ArchiveWriter:
    """``manifest``, then for each of its tables ``table``, then ``finish``."""

    def __init__(self, out: EncryptingWriter, manifest: Manifest) -> None:
        self._out, self._manifest = out, manifest
        self._write(asdict(manifest))

    def table(self, name: str, rows: Iterable[Iterable[Any]], report: Callable[[Progress], None]) -> None:
        """Raises ``AssertionError`` when they are not as many as the manifest says: both are of one snapshot."""
        total = self._manifest.tables[name].rows
        digest, count = hashlib.sha256(), 0
        self._write({"table": name})
        for count, row in enumerate(rows, start=1):
            digest.update(self._write(list(row)))
            if count % _PROGRESS_ROWS == 0:
                report(Progress(name, count, total))
        assert count == total, f"{name} has {count} rows, not {total}."
        self._write({"table": name, "rows": count, "sha256": digest.digest()})
        report(Progress(name, count, total))

    def finish(self) -> None:
        self._write({"complete": True})
        self._out.finish()

    def _write(self, record: object) -> bytes:
        encoded = cbor2.dumps(record)
        framed = len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded
        self._out.write(framed)
        return framed


class ArchiveReader:
    """Reads once, from the beginning to the end; who stops earlier has not checked it."""

    def __init__(self, source: DecryptingReader) -> None:
        """Raises ``DoesNotOpen`` or ``UnknownFormat``."""
        self._source = source
        self.manifest = Manifest.of_record(self._next()[1])
        self.hashes: dict[str, str] = {}

    def rows(self, report: Callable[[Progress], None]) -> Iterator[tuple[str, Row]]:
        """Each row with its table. Raises ``DoesNotOpen``, at the latest at the end."""
        for name, table in self.manifest.tables.items():
            if self._next()[1] != {"table": name}:
                raise DoesNotOpen(f"The rows of {name} are not where they should be.")
            yield from self._rows_of(name, table, report)
        if self._next()[1] != {"complete": True}:
            raise DoesNotOpen("The archive does not end as it should.")
        self._source.expect_end()

    def _rows_of(
        self, name: str, table: Table, report: Callable[[Progress], None]
    ) -> Iterator[tuple[str, Row]]:
        digest, count = hashlib.sha256(), 0
        while isinstance((record := self._next())[1], list):
            digest.update(record[0])
            count += 1
            if count % _PROGRESS_ROWS == 0:
                report(Progress(name, count, table.rows))
            yield name, record[1]
        if record[1] != {"table": name, "rows": table.rows, "sha256": digest.digest()} or count != table.rows:
            raise DoesNotOpen(f"The rows of {name} are not those that were written.")
        self.hashes[name] = digest.hexdigest()
        report(Progress(name, count, table.rows))

    def _next(self) -> tuple[bytes, Any]:
        """A record as it is stored, and what it says."""
        length = self._source.read(_LENGTH_BYTES)
        encoded = self._source.read(int.from_bytes(length, "big"))
        return length + encoded, cbor2.loads(encoded)
