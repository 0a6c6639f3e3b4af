"""All rows of one moment, while the server goes on writing.

One read transaction on a connection of its own: on PostgreSQL REPEATABLE READ, READ ONLY; on SQLite in WAL mode, where a
reader sees the database as it was when it began and no writer waits for it (the online backup API and VACUUM INTO hold the
same transaction, and would leave a readable copy of everything on the disk meanwhile). What it costs: until it ends, SQLite's
log and PostgreSQL's old rows are not cleared away, so both grow by what is written meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from securechat import __version__, audit
from securechat.backup.archive import (
    FORMAT,
    ArchiveWriter,
    Manifest,
    Progress,
    Table,
    column_names,
    known_migrations,
    stored_fields,
    stored_models,
    unknown_tables,
)
from securechat.backup.encryption import EncryptingWriter

_CHUNK_ROWS = 500


class NotReady(Exception):
    """The database is not in a state of which this program can make a backup; the message says what to do."""


def write_snapshot(out: EncryptingWriter, report: Callable[[Progress], None]) -> Manifest:
    """Everything that was committed before the call. Raises ``NotReady`` or ``DatabaseError``."""
    with _reading() as connection:
        manifest = _manifest(connection)
        archive = ArchiveWriter(out, manifest)
        for name, model in stored_models().items():
            with closing(_rows(connection, model)) as rows:
                archive.table(name, rows, report)
        archive.finish()
    return manifest


@contextmanager
def _reading() -> Iterator[BaseDatabaseWrapper]:
    connection = connections[DEFAULT_DB_ALIAS].copy()
    try:
        connection.connect()
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                connection.set_autocommit(False)
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            else:
                _require_wal(connection)
                cursor.execute("BEGIN DEFERRED")
        yield connection
    finally:
        connection.close()  # Which ends the transaction.


def _require_wal(connection: BaseDatabaseWrapper) -> None:
    (mode,) = _one(connection, "PRAGMA journal_mode")
    if mode != "wal":
        raise NotReady(
            f"SQLite's journal mode is {mode} here and not WAL: a backup would stop all writing meanwhile. "
            "Put the database on a disk of this machine."
        )


def _manifest(connection: BaseDatabaseWrapper) -> Manifest:
    require_own_migrations(connection)
    return Manifest(
        format=FORMAT,
        version=__version__,
        made_at=timezone.now(),
        database=connection.vendor,
        migrations=known_migrations(),
        audit_head=_audit_head(connection),
        unknown=unknown_tables(),
        tables={name: _table(connection, model) for name, model in stored_models().items()},
    )


def require_own_migrations(connection: BaseDatabaseWrapper) -> None:
    """Raises ``NotReady`` for tables of another program than this one."""
    if "django_migrations" in connection.introspection.table_names():
        apps = {app for app, _ in known_migrations()}
        with connection.cursor() as cursor:
            cursor.execute("SELECT app, name FROM django_migrations")
            applied = {(app, name) for app, name in cursor.fetchall() if app in apps}
        if applied == {(app, name) for app, name in known_migrations()}:
            return
    raise NotReady("The database is not at this program's migrations. Run manage.py migrate first.")


def _audit_head(connection: BaseDatabaseWrapper) -> str:
    head = _one(connection, "SELECT n, hash FROM securechat_auditevent ORDER BY n DESC LIMIT 1")
    return f"{head[0]}:{head[1]}" if head else f"0:{audit.GENESIS}"


def _table(connection: BaseDatabaseWrapper, model: type[models.Model]) -> Table:
    name = connection.ops.quote_name(model._meta.db_table)
    (count,) = _one(connection, f"SELECT COUNT(*) FROM {name}")  # noqa: S608 - a table of ours
    last = last_number(connection, model)
    if last is not None:
        pk = connection.ops.quote_name(_key_column(model))
        (largest,) = _one(connection, f"SELECT MAX({pk}) FROM {name}")  # noqa: S608 - a table of ours
        last = max(last, largest or 0)
    return Table(column_names(model), count, last)


def last_number(connection: BaseDatabaseWrapper, model: type[models.Model]) -> int | None:
    """Of the sequence behind the primary key: the number that was given last, 0 for none."""
    if not isinstance(model._meta.pk, models.AutoField | models.BigAutoField):
        return None
    table = model._meta.db_table
    if connection.vendor == "postgresql":
        sequence = sequence_of(connection, model)
        last, is_called = _one(connection, f"SELECT last_value, is_called FROM {sequence}")  # noqa: S608
        return int(last) if is_called else int(last) - 1
    row = _one(connection, "SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
    return int(row[0]) if row else 0


def sequence_of(connection: BaseDatabaseWrapper, model: type[models.Model]) -> str:
    """PostgreSQL's name for it, quoted."""
    table = connection.ops.quote_name(model._meta.db_table)
    return str(_one(connection, "SELECT pg_get_serial_sequence(%s, %s)", [table, _key_column(model)])[0])


def _key_column(model: type[models.Model]) -> str:
    assert model._meta.pk is not None
    return str(model._meta.pk.column)


def _rows(
    connection: BaseDatabaseWrapper, model: type[models.Model]
) -> Generator[tuple[Any, ...], None, None]:
    """In the order of the primary key, from a cursor of the server: never all in memory."""
    fields = [field.attname for field in stored_fields(model)]
    query = model._base_manager.order_by("pk").values_list(*fields).query
    compiler = query.get_compiler(connection=connection)
    chunks = compiler.execute_sql(chunked_fetch=True, chunk_size=_CHUNK_ROWS)
    try:
        for row in compiler.results_iter(results=chunks):
            yield tuple(map(_plain, row))
    finally:
        chunks.close()


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def _one(connection: BaseDatabaseWrapper, query: str, parameters: Sequence[str] | None = None) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone()
