"""The rows of a batch in a fixed number of plain statements: building them by the ORM took most of a message's time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from messaging.models import Conversation, Envelope


class NewEnvelope(NamedTuple):
    """The columns of the table, in the order of the statement."""

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
_INSERT = (
    f"INSERT INTO {_ENVELOPES} ({', '.join(NewEnvelope._fields)}) "  # noqa: S608 - names of our own columns
    f"VALUES ({', '.join(['%s'] * len(NewEnvelope._fields))})"
)
_GROW = f"UPDATE {_CONVERSATIONS} SET last_n = %s, log_hash = %s, active_at = %s WHERE id = %s"  # noqa: S608
_KNOWN = ("conversation_id", "side", "client_id"), ("n", "envelope_hash", "stored_at")
_POSITIONS = ("conversation_id", "writer", "writer_seq"), ("envelope_hash",)


def insert(rows: Sequence[NewEnvelope]) -> None:
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(_INSERT, [[_plain(value) for value in row] for row in rows])


def grow(conversations: Sequence[Conversation]) -> None:
    """Writes what a batch changes of them."""
    changes = [(row.last_n, row.log_hash, row.active_at, row.pk) for row in conversations]
    if changes:
        with connection.cursor() as cursor:
            cursor.executemany(_GROW, [[_plain(value) for value in change] for change in changes])


def with_client_ids(keys: Collection[tuple[UUID, int, UUID]]) -> Iterable[Envelope]:
    """By conversation, side and client id; without the envelope."""
    return _among(*_KNOWN, keys)


def at_writer_positions(keys: Collection[tuple[UUID, bytes, int]]) -> Iterable[Envelope]:
    """By conversation, writer and place in its sequence; the hash only."""
    return _among(*_POSITIONS, keys)


def _among(
    key: Sequence[str], columns: Sequence[str], wanted: Collection[tuple[Any, ...]]
) -> Iterable[Envelope]:
    """A join, as SQLite would read the whole table for ``(a, b, c) IN (VALUES …)``."""
    values = ", ".join(["(%s, %s, %s)"] * len(wanted))
    return Envelope.objects.raw(
        f"WITH wanted ({', '.join(key)}) AS (VALUES {values}) "  # noqa: S608 - names and places
        f"SELECT {', '.join(f'stored.{column}' for column in ('id', *key, *columns))} "
        f"FROM wanted JOIN {_ENVELOPES} AS stored ON {' AND '.join(f'stored.{k} = wanted.{k}' for k in key)}",
        [_plain(value) for one in wanted for value in one],
    )


def _plain(value: Any) -> Any:
    """As the driver takes it."""
    if isinstance(value, UUID):
        return value if connection.features.has_native_uuid_field else value.hex
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    return value
