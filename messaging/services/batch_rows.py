"""The rows of a batch in a fixed number of plain statements: building them by the ORM took most of a message's time."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from struct import Struct
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
# https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format": each value has its length before it.
_COPY_BEGINS, _COPY_ENDS = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
_BEFORE_ENVELOPE, _AFTER_ENVELOPE = Struct("!h i16s iq ih i16s ii i16s iq i"), Struct("!i32s i32s iq")
_EPOCH_OF_POSTGRESQL = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


_OF_LOGS = f"FROM {_CONVERSATIONS} c JOIN {Friendship._meta.db_table} f ON f.public_id = c.id WHERE c.id"
_OF_CHAINS = f"SELECT user_id, MAX(seq) AS last FROM {KeyChainEntry._meta.db_table} WHERE user_id"  # noqa: S608
# PostgreSQL gets a list as one text: its driver looks at each place of a statement, and at each item of a list, for longer
# than the database does.
_IDS, _NUMBERS, _TEXTS = (f"string_to_array(%s, ','){type_}" for type_ in ("::uuid[]", "::int8[]", ""))
_LOCKED_LOGS = (
    f"SELECT uuid_send(c.id), c.last_n, c.log_hash, c.epoch, f.status {_OF_LOGS} = ANY({_IDS}) "
    "ORDER BY c.id FOR UPDATE OF c"
)
_CHAINS = f"{_OF_CHAINS} = ANY({_NUMBERS}) GROUP BY user_id"
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
        cursor.execute(_LOCKED_LOGS, [_listed(map(bytes.hex, conversations))])
        found = [Log(*row) for row in cursor.fetchall()]
        cursor.execute(_CHAINS, [_listed(senders)])
        return {log.conversation: log for log in found}, dict(cursor.fetchall())


def _of_sqlite(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """By the driver itself: Django would look at each place of a long statement."""
    with connection.wrap_database_errors:
        rows: list[tuple[Any, ...]] = connection.connection.execute(sql, values).fetchall()
    return rows


def insert(rows: Sequence[NewEnvelope]) -> None:
    """All of them. After ``IntegrityError`` or ``DataError`` the caller undoes the transaction: some may be there."""
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
        _of_sqlite(_INSERT + _places(len(rows), len(NewEnvelope._fields), "?"), values)
        return
    copied = b"".join((_COPY_BEGINS, *(part for row in rows for part in _copied(row)), _COPY_ENDS))
    with connection.cursor() as cursor, connection.wrap_database_errors, cursor.copy(_COPY) as copy:
        copy.write(copied)


def _copied(row: NewEnvelope) -> tuple[bytes, bytes, bytes]:
    """As PostgreSQL's binary COPY has it: the driver would take longer for it than the database for storing it."""
    conversation, n, side, client_id, epoch, writer, seq, envelope, hash_, log_hash, stored_at = row
    return (
        _BEFORE_ENVELOPE.pack(
            len(row),
            16,
            conversation,
            8,
            n,
            2,
            side,
            16,
            client_id,
            4,
            epoch,
            16,
            writer,
            8,
            seq,
            len(envelope),
        ),
        envelope,
        _AFTER_ENVELOPE.pack(32, hash_, 32, log_hash, 8, (stored_at - _EPOCH_OF_POSTGRESQL) // _MICROSECOND),
    )


def grow(logs: Collection[Log], *, now: datetime) -> None:
    """Writes what a batch changes of them."""
    if not logs:
        return
    if connection.vendor == "sqlite":
        moment = _plain_time(now)
        values = [
            value for log in logs for value in (log.conversation.hex(), log.last_n, log.log_hash, moment)
        ]
        _of_sqlite(_GROW_SQLITE.format(_places(len(logs), 4, "?")), values)
        return
    with connection.cursor() as cursor:
        ids = _listed(log.conversation.hex() for log in logs)
        hashes = _listed(log.log_hash.hex() for log in logs)
        cursor.execute(_GROW_POSTGRESQL, [now, ids, _listed(log.last_n for log in logs), hashes])


_GROW_SQLITE = (
    "WITH grown (id, last_n, log_hash, active_at) AS (VALUES {}) "  # noqa: S608
    f"UPDATE OR FAIL {_CONVERSATIONS} SET last_n = grown.last_n, log_hash = grown.log_hash, "
    f"active_at = grown.active_at FROM grown WHERE {_CONVERSATIONS}.id = grown.id"
)
_GROW_POSTGRESQL = (
    f"UPDATE {_CONVERSATIONS} SET last_n = grown.last_n, log_hash = decode(grown.log_hash, 'hex'), active_at = %s "  # noqa: S608
    f"FROM unnest({_IDS}, {_NUMBERS}, {_TEXTS}) AS grown (id, last_n, log_hash) WHERE {_CONVERSATIONS}.id = grown.id"
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
    if connection.vendor == "sqlite":
        wanted = f"VALUES {_places(len(spans), 3)}"
        values = _flat((conversation.hex, first, last) for conversation, first, last in spans)
    else:
        wanted = f"SELECT * FROM unnest({_IDS}, {_NUMBERS}, {_NUMBERS})"  # noqa: S608
        values = [_listed(column) for column in zip(*spans, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH wanted (conversation_id, first_n, last_n) AS ({wanted}) "  # noqa: S608
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


def _listed(items: Iterable[object]) -> str:
    return ",".join(map(str, items))


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
