"""Storing a batch of envelopes: numbered without gaps, each refused or stored for itself, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeAlias

from django.db import DatabaseError, IntegrityError, transaction

from accounts.models import User
from accounts.services import key_chain
from accounts.wire import NO_HASH
from messaging.errors import (
    ClientIdReused,
    ConversationClosed,
    ConversationNotFound,
    StaleEpoch,
    UnknownDevice,
    WriterGap,
)
from messaging.models import Envelope, Side
from messaging.services import batch_rows
from messaging.services.batch_rows import ClientKey, Log, NewEnvelope, WriterKey
from messaging.wire import EnvelopeHeader, envelope_hash, next_log_hash
from securechat.errors import DomainError


class Submission(NamedTuple):
    """An envelope whose header is what its frame said.

    Its device stood on the sender's key chain when that had ``checked_at_seq`` entries; it is looked at again if that grew.
    """

    side: Side
    header: EnvelopeHeader
    envelope: bytes
    sender: User
    checked_at_seq: int


class Stored(NamedTuple):
    """``new`` is false for one that was stored before and is only answered again."""

    n: int
    stored_at: datetime
    new: bool


Outcome: TypeAlias = Stored | DomainError


class WriterHeads:
    """The last envelope of each writer that this process stored: who goes on from it needs no look at the database.

    It may be behind, as other processes store too. The table's constraints then say so.
    """

    def __init__(self, capacity: int = 20_000) -> None:
        self._capacity = capacity
        self._heads: dict[tuple[bytes, bytes], tuple[int, bytes]] = {}

    def get(self, conversation: bytes, writer: bytes) -> tuple[int, bytes] | None:
        return self._heads.get((conversation, writer))

    def note(self, rows: Iterable[NewEnvelope]) -> None:
        """After their commit."""
        if len(self._heads) > self._capacity:
            self._heads.clear()
        for row in rows:
            self._heads[row[0], row[5]] = (row[6], row[8])

    def forget(self) -> None:
        self._heads.clear()


class _Unsure(Exception):
    """Without a look at what is stored it would have been refused."""


def store(batch: Sequence[Submission], *, now: datetime, heads: WriterHeads | None = None) -> list[Outcome]:
    """One outcome for each submission, in their order. Several processes may do this at once.

    Who goes on from ``heads`` is first taken to be new. Where that is wrong (a message sent again that another process
    stored), everything is looked up.
    """
    if heads is not None:
        try:
            return _store(batch, now, heads)
        except (_Unsure, IntegrityError):
            pass
        except DatabaseError:
            heads.forget()
            raise
    return _store(batch, now, heads, looks_at_all=True)


def _store(
    batch: Sequence[Submission], now: datetime, heads: WriterHeads | None, *, looks_at_all: bool = False
) -> list[Outcome]:
    with transaction.atomic():
        logs, last_seqs = batch_rows.locked(
            {submission.header.conversation for submission in batch},
            {submission.sender.id for submission in batch},
        )
        going_on, others = _divided(batch, None if looks_at_all else heads)
        numbering = _Numbering(
            logs=logs,
            now=now,
            standing_anew=_standing_anew(batch, last_seqs),
            known=dict(_stored_before(others)),
            writers=_writer_positions(others) | going_on,
            looked_up=frozenset(map(id, others)),
        )
        outcomes = [numbering.take(submission) for submission in batch]
        batch_rows.insert(numbering.rows)
        batch_rows.grow(numbering.grown.values(), now=now)
    if heads is not None:
        heads.note(numbering.rows)
    return outcomes


def _divided(
    batch: Sequence[Submission], heads: WriterHeads | None
) -> tuple[dict[WriterKey, bytes], list[Submission]]:
    """The positions from which writers go on as far as this process knows, and the submissions that do not."""
    if heads is None:
        return {}, list(batch)
    at: dict[tuple[bytes, bytes], int] = {}
    going_on: dict[WriterKey, bytes] = {}
    others: list[Submission] = []
    for submission in batch:
        header = submission.header
        key = (header.conversation, header.writer)
        seq = at.get(key)
        if seq is None and (head := heads.get(*key)) is not None:
            seq = head[0]
            going_on[header.conversation, header.writer, seq] = head[1]
        if seq is not None and header.seq == seq + 1:
            at[key] = header.seq
        else:
            others.append(submission)
    return going_on, others


@dataclass
class _Numbering:
    logs: dict[bytes, Log]
    now: datetime
    standing_anew: dict[int, frozenset[bytes]]
    known: dict[ClientKey, Envelope | NewEnvelope]
    writers: dict[WriterKey, bytes]
    looked_up: frozenset[int]
    rows: list[NewEnvelope] = field(default_factory=list)
    grown: dict[bytes, Log] = field(default_factory=dict)

    def take(self, submission: Submission) -> Outcome:
        try:
            return self._take(submission)
        except DomainError as refusal:
            if id(submission) not in self.looked_up:
                raise _Unsure from None
            return refusal

    def _take(self, submission: Submission) -> Stored:
        header = submission.header
        log = self.logs.get(header.conversation)
        if log is None:
            raise ConversationNotFound
        hash_ = envelope_hash(submission.envelope)
        key = (header.conversation, submission.side, header.client_id)
        known = self.known.get(key)
        if known is not None:
            if bytes(known.envelope_hash) != hash_:
                raise ClientIdReused
            return Stored(known.n, known.stored_at, new=False)
        standing = self.standing_anew.get(submission.sender.id)
        if standing is not None and header.device not in standing:
            raise UnknownDevice
        self._check(log, header)
        row = self._append(log, submission, hash_)
        self.known[key] = row
        return Stored(row.n, self.now, new=True)

    def _check(self, log: Log, header: EnvelopeHeader) -> None:
        if not log.is_open:
            raise ConversationClosed
        if header.epoch != log.epoch:
            raise StaleEpoch
        here = (header.conversation, header.writer, header.seq)
        before = (header.conversation, header.writer, header.seq - 1)
        expected = NO_HASH if header.seq == 1 else self.writers.get(before)
        if header.seq < 1 or here in self.writers or expected != header.prev:
            raise WriterGap

    def _append(self, log: Log, submission: Submission, hash_: bytes) -> NewEnvelope:
        header = submission.header
        log.last_n += 1
        log.log_hash = next_log_hash(log.log_hash, log.last_n, hash_)
        row = NewEnvelope(
            header.conversation,
            log.last_n,
            submission.side,
            header.client_id,
            header.epoch,
            header.writer,
            header.seq,
            submission.envelope,
            hash_,
            log.log_hash,
            self.now,
        )
        self.rows.append(row)
        self.grown[header.conversation] = log
        self.writers[header.conversation, header.writer, header.seq] = hash_
        return row


def _standing_anew(batch: Sequence[Submission], last_seqs: dict[int, int]) -> dict[int, frozenset[bytes]]:
    """The devices that stand now, of senders whose chain grew since it was looked at."""
    grown = {
        submission.sender
        for submission in batch
        if submission.checked_at_seq != last_seqs.get(submission.sender.id, 0)
    }
    return {sender.id: key_chain.device_ids(sender) for sender in grown}


def _stored_before(batch: Sequence[Submission]) -> dict[ClientKey, Envelope]:
    if not batch:
        return {}
    return batch_rows.with_client_ids(
        {
            (submission.header.conversation, submission.side, submission.header.client_id)
            for submission in batch
        }
    )


def _writer_positions(batch: Sequence[Submission]) -> dict[WriterKey, bytes]:
    """What is stored at each submission's place in its writer's sequence, and just before it."""
    if not batch:
        return {}
    headers = [submission.header for submission in batch]
    return batch_rows.at_writer_positions(
        {
            (header.conversation, header.writer, seq)
            for header in headers
            for seq in (header.seq - 1, header.seq)
        }
    )
