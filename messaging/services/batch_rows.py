"""The rows of a batch in a fixed number of plain statements: building them by the ORM took most of a message's time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from django.db import connection

from messaging.models import Conversation, Envelope

ClientKey: TypeAlias = tuple[UUID, int, UUID]
"""Conversation, side and client id."""
WriterKey: TypeAlias = tuple[UUID, bytes, int]
"""Conversation, writer and place in its sequence."""


class NewEnvelope(NamedTuple):
    """The columns of the table, in the order of the statements."""

    conversation_id: UUID
    n: int
    side: int
    client_id: UUID
    epoch: int
    writer: bytes
    writer_seq: int
    envelope: bytes
    envelope_hash: bytes
    log_hash: bytes
    stored_at: datetime


_ENVELOPES, _CONVERSATIONS = Envelope._meta.db_table, Conversation._meta.db_table
_COLUMNS = ", ".join(NewEnvelope._fields)
_INSERT = f"INSERT INTO {_ENVELOPES} ({_COLUMNS}) VALUES "  # noqa: S608 - names of our own columns
_COPY = f"COPY {_ENVELOPES} ({_COLUMNS}) FROM STDIN (FORMAT BINARY)"
_COPY_TYPES = (
    "uuid",
    "int8",
    "int2",
    "uuid",
    "int4",
    "bytea",
    "int8",
    "bytea",
    "bytea",
    "bytea",
    "timestamptz",
)


def insert(rows: Sequence[NewEnvelope]) -> None:
    """All of them or, with ``IntegrityError`` or ``DataError``, none."""
    if not rows:
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with connection.wrap_database_errors, cursor.copy(_COPY) as copy:
                copy.set_types(_COPY_TYPES)
                for row in rows:
                    copy.write_row(row)
        else:
            plain = _plain_id()
            times = {moment: _plain_time(moment) for moment in {row.stored_at for row in rows}}
            values = [
                (plain(row[0]), row[1], row[2], plain(row[3]), *row[4:10], times[row[10]]) for row in rows
            ]
            cursor.execute(_INSERT + _places(values), _flat(values))


def grow(conversations: Sequence[Conversation]) -> None:
    """Writes what a batch changes of them."""
    plain = _plain_id()
    changes: list[tuple[Any, ...]] = [
        (plain(row.friendship_id), row.last_n, row.log_hash, _plain_time(row.active_at))
        for row in conversations
    ]
    if changes:
        with connection.cursor() as cursor:
            cursor.execute(
                f"WITH grown (id, last_n, log_hash, active_at) AS (VALUES {_places(changes)}) "  # noqa: S608
                f"UPDATE {_CONVERSATIONS} SET last_n = grown.last_n, log_hash = grown.log_hash, "
                f"active_at = grown.active_at FROM grown WHERE {_CONVERSATIONS}.id = grown.id",
                _flat(changes),
            )


def with_client_ids(keys: Collection[ClientKey]) -> dict[ClientKey, Envelope]:
    """What is stored under them; seldom anything."""
    plain = _plain_id()
    wanted = [(plain(conversation), side, plain(client_id)) for conversation, side, client_id in keys]
    ids = [int(pk) for _, pk in _among(("conversation_id", "side", "client_id"), "id", wanted)]
    if not ids:
        return {}
    rows = Envelope.objects.filter(pk__in=ids).defer("envelope", "writer", "log_hash")
    return {(row.conversation_id, row.side, row.client_id): row for row in rows}


def at_writer_positions(keys: Collection[WriterKey]) -> dict[WriterKey, bytes]:
    """The hashes of the envelopes that are stored there."""
    plain, order = _plain_id(), list(keys)
    wanted = [(plain(conversation), writer, seq) for conversation, writer, seq in order]
    found = _among(("conversation_id", "writer", "writer_seq"), "envelope_hash", wanted)
    return {order[place]: bytes(hash_) for place, hash_ in found}


def numbered(keys: Collection[tuple[UUID, int]]) -> Iterable[Envelope]:
    """By conversation and number."""
    if not keys:
        return ()
    plain = _plain_id()
    wanted = [(plain(conversation), n) for conversation, n in keys]
    found = _among(("conversation_id", "n"), "id", wanted)
    return Envelope.objects.filter(pk__in=[int(pk) for _, pk in found])


def _among(key: Sequence[str], column: str, wanted: Sequence[tuple[Any, ...]]) -> list[tuple[int, Any]]:
    """The places in ``wanted`` of the keys that are stored, and the value of ``column`` there.

    A join with the keys, which both databases answer from the index: SQLite would read the whole table for
    ``(a, b, c) IN (VALUES …)``, PostgreSQL sometimes for a join with other tables. From SQLite it comes as one row, each value
    as the bytes of its text: Python's driver hands the interpreter to another thread before each row, and waits for it.
    """
    values = [(place, *one) for place, one in enumerate(wanted)]
    is_sqlite = connection.vendor == "sqlite"
    selected = f"group_concat(place || ' ' || hex({column}))" if is_sqlite else f"place, {column}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH wanted (place, {', '.join(key)}) AS (VALUES {_places(values)}) "  # noqa: S608 - names and places
            f"SELECT {selected} FROM wanted JOIN {_ENVELOPES} AS stored USING ({', '.join(key)})",
            _flat(values),
        )
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    if not is_sqlite:
        return [(place, value) for place, value in rows]
    pairs = (pair.split(" ") for pair in (rows[0][0] or "").split(",") if pair)
    return [(int(place), bytes.fromhex(value)) for place, value in pairs]


def _places(rows: Sequence[tuple[Any, ...]]) -> str:
    return ", ".join([f"({', '.join(['%s'] * len(rows[0]))})"] * len(rows))


def _flat(rows: Iterable[Iterable[Any]]) -> list[Any]:
    return [value for row in rows for value in row]


def _plain_id() -> Callable[[UUID], Any]:
    """How the driver takes a UUID."""
    return _itself if connection.features.has_native_uuid_field else _hexadecimal


def _itself(value: UUID) -> UUID:
    return value


def _hexadecimal(value: UUID) -> str:
    return f"{value.int:032x}"


def _plain_time(value: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(value)
