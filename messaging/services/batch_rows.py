"""The rows of a batch in a fixed number of plain statements: building them by the ORM took most of a message's time."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from django.db import connection

from accounts.models import KeyChainEntry
from friends.models import Friendship
from messaging.models import Conversation, Envelope

ClientKey: TypeAlias = tuple[bytes, int, bytes]
"""Conversation, side and client id."""
WriterKey: TypeAlias = tuple[bytes, bytes, int]
"""Conversation, writer and place in its sequence."""


class NewEnvelope(NamedTuple):
    """The columns of the table, in the order of the statements. Ids are 16 bytes."""

    conversation_id: bytes
    n: int
    side: int
    client_id: bytes
    epoch: int
    writer: bytes
    writer_seq: int
    envelope: bytes
    envelope_hash: bytes
    log_hash: bytes
    stored_at: datetime


class Log:
    """A conversation as numbering needs it, which it changes."""

    __slots__ = ("conversation", "epoch", "is_open", "last_n", "log_hash")

    def __init__(self, conversation: bytes, last_n: int, log_hash: bytes, epoch: int, status: str) -> None:
        self.conversation = conversation
        self.last_n = last_n
        self.log_hash = log_hash
        self.epoch = epoch
        self.is_open = status == Friendship.Status.APPROVE


_ENVELOPES, _CONVERSATIONS = Envelope._meta.db_table, Conversation._meta.db_table
_COLUMNS = ", ".join(NewEnvelope._fields)
# "OR FAIL" on SQLite: so that it could undo a statement alone it else writes every page that this changes into a temporary
# file first, a fifth of what storing costs. Whoever meets the error undoes the transaction.
_INSERT = f"INSERT OR FAIL INTO {_ENVELOPES} ({_COLUMNS}) VALUES "  # noqa: S608 - names of our own columns
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


_OF_LOGS = f"FROM {_CONVERSATIONS} c JOIN {Friendship._meta.db_table} f ON f.public_id = c.id WHERE c.id"
_OF_CHAINS = f"SELECT user_id, MAX(seq) AS last FROM {KeyChainEntry._meta.db_table} WHERE user_id"  # noqa: S608
_LOCKED_LOGS = (
    f"SELECT c.id, c.last_n, c.log_hash, c.epoch, f.status {_OF_LOGS} = ANY(%s) ORDER BY c.id FOR UPDATE OF c"
)
_CHAINS = f"{_OF_CHAINS} = ANY(%s) GROUP BY user_id"
# SQLite's driver hands the interpreter to another thread before each row, and waits for it: so it is one row.
_LOGS_AND_CHAINS = (
    "SELECT (SELECT json_group_array(json_array(c.id, c.last_n, hex(c.log_hash), c.epoch, f.status)) "  # noqa: S608
    f"{_OF_LOGS} IN (SELECT value FROM json_each(?))), (SELECT json_group_array(json_array(user_id, last)) "
    f"FROM ({_OF_CHAINS} IN (SELECT value FROM json_each(?)) GROUP BY user_id))"
)


def locked(
    conversations: Collection[bytes], senders: Collection[int]
) -> tuple[dict[bytes, Log], dict[int, int]]:
    """Those conversations, and how long the key chain of each sender is that has one.

    They are locked in order of id, so two batches never wait for each other in a circle; SQLite's transaction is the lock
    there.
    """
    if connection.vendor == "sqlite":
        ids = json.dumps([conversation.hex() for conversation in conversations])
        ((logs, chains),) = _of_sqlite(_LOGS_AND_CHAINS, (ids, json.dumps(list(senders))))
        found = [
            Log(bytes.fromhex(id_), n, bytes.fromhex(hash_), epoch, status)
            for id_, n, hash_, epoch, status in json.loads(logs)
        ]
        return {log.conversation: log for log in found}, dict(json.loads(chains))
    with connection.cursor() as cursor:
        cursor.execute(_LOCKED_LOGS, [[UUID(bytes=conversation) for conversation in conversations]])
        found = [Log(id_.bytes, *more) for id_, *more in cursor.fetchall()]
        cursor.execute(_CHAINS, [list(senders)])
        return {log.conversation: log for log in found}, dict(cursor.fetchall())


def _of_sqlite(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """By the driver itself: Django would look at each place of a long statement."""
    with connection.wrap_database_errors:
        rows: list[tuple[Any, ...]] = connection.connection.execute(sql, values).fetchall()
    return rows


def insert(rows: Sequence[NewEnvelope]) -> None:
    """All of them or, with ``IntegrityError`` or ``DataError``, none."""
    if not rows:
        return
    if connection.vendor == "sqlite":
        times = {moment: _plain_time(moment) for moment in {row[10] for row in rows}}
        values = [
            value
            for row in rows
            for value in (
                row[0].hex(), row[1], row[2], row[3].hex(), *row[4:10], times[row[10]]
            )
        ]  # fmt: skip
        _of_sqlite(_INSERT + _places(len(rows), len(_COPY_TYPES), "?"), values)
        return
    with connection.cursor() as cursor, connection.wrap_database_errors, cursor.copy(_COPY) as copy:
        copy.set_types(_COPY_TYPES)
        for row in rows:
            copy.write_row((UUID(bytes=row[0]), row[1], row[2], UUID(bytes=row[3]), *row[4:]))


def grow(logs: Collection[Log], *, now: datetime) -> None:
    """Writes what a batch changes of them."""
    if not logs:
        return
    if connection.vendor == "sqlite":
        moment = _plain_time(now)
        values = [
            value for log in logs for value in (log.conversation.hex(), log.last_n, log.log_hash, moment)
        ]
        _of_sqlite(_GROW.format(_places(len(logs), 4, "?"), "UPDATE OR FAIL"), values)
        return
    with connection.cursor() as cursor:
        values = [
            value for log in logs for value in (UUID(bytes=log.conversation), log.last_n, log.log_hash, now)
        ]
        cursor.execute(_GROW.format(_places(len(logs), 4), "UPDATE"), values)


_GROW = (
    "WITH grown (id, last_n, log_hash, active_at) AS (VALUES {}) "
    f"{{}} {_CONVERSATIONS} SET last_n = grown.last_n, log_hash = grown.log_hash, "
    f"active_at = grown.active_at FROM grown WHERE {_CONVERSATIONS}.id = grown.id"
)


def with_client_ids(keys: Collection[ClientKey]) -> dict[ClientKey, Envelope]:
    """What is stored under them; seldom anything."""
    plain = _plain_id()
    wanted = [(plain(conversation), side, plain(client_id)) for conversation, side, client_id in keys]
    ids = [int(pk) for _, pk in _among(("conversation_id", "side", "client_id"), "id", wanted)]
    if not ids:
        return {}
    rows = Envelope.objects.filter(pk__in=ids).defer("envelope", "writer", "log_hash")
    return {(row.conversation_id.bytes, row.side, row.client_id.bytes): row for row in rows}


def at_writer_positions(keys: Collection[WriterKey]) -> dict[WriterKey, bytes]:
    """The hashes of the envelopes that are stored there."""
    plain, order = _plain_id(), list(keys)
    wanted = [(plain(conversation), writer, seq) for conversation, writer, seq in order]
    found = _among(("conversation_id", "writer", "writer_seq"), "envelope_hash", wanted)
    return {order[place]: bytes(hash_) for place, hash_ in found}


def numbered(keys: Collection[tuple[bytes, int]]) -> Iterable[Envelope]:
    """By conversation and number."""
    if not keys:
        return ()
    plain = _plain_id()
    wanted = [(plain(conversation), n) for conversation, n in keys]
    found = _among(("conversation_id", "n"), "id", wanted)
    return Envelope.objects.filter(pk__in=[int(pk) for _, pk in found])


class StoredEnvelope(NamedTuple):
    """What sockets are told of an envelope."""

    conversation: UUID
    n: int
    side: int
    client_id: UUID
    envelope: bytes
    stored_at: datetime


def in_spans(spans: Sequence[tuple[UUID, int, int]]) -> list[StoredEnvelope]:
    """Everything from the first to the last ``n`` of each conversation, in order of ``n``: what other processes stored.

    Spans may overlap, as a message that is sent again is rung again.
    """
    if not spans:
        return []
    plain = _plain_id()
    values = _flat((plain(conversation.bytes), first, last) for conversation, first, last in spans)
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH wanted (conversation_id, first_n, last_n) AS (VALUES {_places(len(spans), 3)}) "  # noqa: S608
            f"SELECT conversation_id, n, side, client_id, envelope, stored_at FROM wanted JOIN {_ENVELOPES} AS stored "
            "USING (conversation_id) WHERE n BETWEEN first_n AND last_n",
            values,
        )
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    found = {
        StoredEnvelope(
            _id_of(conversation), n, side, _id_of(client_id), bytes(envelope), _moment_of(stored_at)
        )
        for conversation, n, side, client_id, envelope, stored_at in rows
    }
    return sorted(found, key=attrgetter("n"))


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
            f"WITH wanted (place, {', '.join(key)}) AS (VALUES {_places(len(values), len(key) + 1)}) "  # noqa: S608 - names and places
            f"SELECT {selected} FROM wanted JOIN {_ENVELOPES} AS stored USING ({', '.join(key)})",
            _flat(values),
        )
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    if not is_sqlite:
        return [(place, value) for place, value in rows]
    pairs = (pair.split(" ") for pair in (rows[0][0] or "").split(",") if pair)
    return [(int(place), bytes.fromhex(value)) for place, value in pairs]


@lru_cache(64)
def _places(rows: int, columns: int, place: str = "%s") -> str:
    return ", ".join([f"({', '.join([place] * columns)})"] * rows)


def _flat(rows: Iterable[Iterable[Any]]) -> list[Any]:
    return [value for row in rows for value in row]


def _plain_id() -> Callable[[bytes], Any]:
    """How the driver takes the 16 bytes of a UUID."""
    return _uuid if connection.features.has_native_uuid_field else bytes.hex


def _id_of(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(hex=value)


def _moment_of(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _uuid(value: bytes) -> UUID:
    return UUID(bytes=value)


def _plain_time(value: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(value)
