"""An archive's rows in place of the database's, in one transaction: all of it, or nothing changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, connection, models, transaction

from securechat import audit
from securechat.audit import AuditEvent
from securechat.backup.archive import (
    LEFT_OUT,
    ArchiveReader,
    Manifest,
    Progress,
    Row,
    column_names,
    stored_fields,
    stored_models,
)
from securechat.backup.snapshot import NotReady, last_number, require_own_migrations, sequence_of

_BATCH_ROWS = 500
_LOCK_SECONDS = 20


class PeopleInIt(Exception):
    """The database is in use, and nobody said that it may be replaced."""


class NotTheSame(Exception):
    """What was stored is not what the archive says; everything was rolled back."""


@dataclass(frozen=True)
class Loss:
    """What a restore would remove: rows by table, where there are any."""

    rows: Mapping[str, int]
    people: int
    audit_head: str


def what_would_be_lost() -> Loss:
    """Raises ``NotReady`` where the tables are not made yet."""
    require_own_migrations(connection)
    counts = {name: _count(name) for name in _tables()}
    rows = {name: count for name, count in counts.items() if count}
    return Loss(rows, get_user_model()._default_manager.count(), audit.shown_head())


def load(
    open_archive: Callable[[], ArchiveReader],
    report: Callable[[Progress], None],
    *,
    verified: Manifest,
    replace: bool,
    before_commit: Callable[[], object] = lambda: None,
) -> None:
    """Everybody is signed out by it. ``before_commit`` is called when all is stored and compared; what it raises, undoes all.

    Raises ``PeopleInIt``, ``NotTheSame``, ``DoesNotOpen``, ``NotReady``, or ``DatabaseError``.
    """
    with transaction.atomic():
        _lock()
        loss = what_would_be_lost()
        if loss.people and not replace:
            raise PeopleInIt
        _empty()
        archive = open_archive()
        if archive.manifest != verified:
            raise NotTheSame("The archive is not the one that was verified a moment ago.")
        for name, rows in groupby(archive.rows(report), key=lambda each: each[0]):
            _insert(name, (row for _, row in rows))
        _set_sequences(archive.manifest)
        _compare(archive.manifest)
        before_commit()
        audit.record(
            "backup.restore",
            by=None,
            on=f"backup:{archive.manifest.made_at.isoformat(timespec='seconds')}",
            source="command:restore",
            before={"audit_head": loss.audit_head, "people": loss.people},
            after={"audit_head": archive.manifest.audit_head, "rows": archive.manifest.rows},
        )
    ContentType.objects.clear_cache()


def _tables() -> list[str]:
    return [*stored_models(), *sorted(LEFT_OUT)]


def _lock() -> None:
    """Nobody else reads or writes until the end. SQLite's transaction keeps writers out already."""
    if connection.vendor != "postgresql":
        return
    quoted = ", ".join(map(connection.ops.quote_name, _tables()))
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
        try:
            cursor.execute(f"LOCK TABLE {quoted} IN ACCESS EXCLUSIVE MODE")
        except DatabaseError:
            raise NotReady("The database is in use. Stop every process of the server first.") from None


def _empty() -> None:
    """Constraints between tables are looked at when all rows are there."""
    audit.empty_for_restore()
    others = [name for name in _tables() if name != AuditEvent._meta.db_table]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"TRUNCATE {', '.join(map(connection.ops.quote_name, others))}")
            return
        for name in others:
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(name)}")  # noqa: S608 - a table of ours


def _insert(name: str, rows: Iterator[Row]) -> None:
    model = stored_models()[name]
    fields = stored_fields(model)
    columns = ", ".join(map(connection.ops.quote_name, column_names(model)))
    places = ", ".join(["%s"] * len(fields))
    statement = f"INSERT INTO {connection.ops.quote_name(name)} ({columns}) VALUES ({places})"  # noqa: S608
    with connection.cursor() as cursor:
        while batch := list(islice(rows, _BATCH_ROWS)):
            cursor.executemany(statement, [_prepared(fields, row) for row in batch])


def _prepared(fields: tuple[models.Field[Any, Any], ...], row: Row) -> list[Any]:
    return [one.get_db_prep_save(value, connection) for one, value in zip(fields, row, strict=True)]


def _set_sequences(manifest: Manifest) -> None:
    """No number is given a second time: neither one of the archive's rows nor one that was given here before."""
    for name, table in manifest.tables.items():
        model = stored_models()[name]
        if table.sequence is None or (last_number(connection, model) or 0) >= table.sequence:
            continue
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SELECT setval(%s, %s)", [sequence_of(connection, model), table.sequence])
                continue
            cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [name])
            cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [name, table.sequence])


def _compare(manifest: Manifest) -> None:
    """Raises ``NotTheSame`` or ``IntegrityError``."""
    for name, table in manifest.tables.items():
        if (stored := _count(name)) != table.rows:
            raise NotTheSame(f"{name} has {stored} rows, and the archive {table.rows}.")
    connection.check_constraints()
    for _ in audit.verified():
        pass
    if audit.shown_head() != manifest.audit_head or audit.guards_that_are_off():
        raise NotTheSame("The audit trail is not the one of the archive, or its guards are off.")


def _count(name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {connection.ops.quote_name(name)}")  # noqa: S608 - a table of ours
        return int(cursor.fetchone()[0])
