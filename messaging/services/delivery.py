"""Storing a batch of envelopes: numbered without gaps, each refused or stored for itself, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

from django.db import transaction

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
from messaging.models import Conversation, Envelope, Side
from messaging.services import batch_rows
from messaging.services.batch_rows import ClientKey, NewEnvelope, WriterKey
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


@transaction.atomic
def store(batch: Sequence[Submission], *, now: datetime) -> list[Outcome]:
    """One outcome for each submission, in their order. Several processes may do this at once.

    The conversations are locked in order of id, so two batches never wait for each other in a circle; SQLite's
    transaction is the lock there.
    """
    ids = sorted({submission.header.conversation for submission in batch})
    locked = (
        Conversation.objects.select_for_update(of=("self",))
        .select_related("friendship")
        .only("last_n", "log_hash", "epoch", "friendship__status")
        .filter(friendship__public_id__in=ids)
        .order_by("pk")
    )
    numbering = _Numbering(
        conversations={row.friendship_id: row for row in locked},
        now=now,
        standing_anew=_standing_anew(batch),
        known=dict(_stored_before(batch)),
        writers=_writer_positions(batch),
    )
    outcomes = [numbering.take(submission) for submission in batch]
    batch_rows.insert(numbering.rows)
    batch_rows.grow(numbering.grown())
    return outcomes


@dataclass
class _Numbering:
    conversations: dict[UUID, Conversation]
    now: datetime
    standing_anew: dict[int, frozenset[bytes]]
    known: dict[ClientKey, Envelope | NewEnvelope]
    writers: dict[WriterKey, bytes]
    rows: list[NewEnvelope] = field(default_factory=list)

    def take(self, submission: Submission) -> Outcome:
        try:
            return self._take(submission)
        except DomainError as refusal:
            return refusal

    def grown(self) -> list[Conversation]:
        touched = {row.conversation_id for row in self.rows}
        return [conversation for key, conversation in self.conversations.items() if key in touched]

    def _take(self, submission: Submission) -> Stored:
        header = submission.header
        conversation = self.conversations.get(header.conversation)
        if conversation is None:
            raise ConversationNotFound
        hash_ = envelope_hash(submission.envelope)
        known = self.known.get((header.conversation, submission.side, header.client_id))
        if known is not None:
            if bytes(known.envelope_hash) != hash_:
                raise ClientIdReused
            return Stored(known.n, known.stored_at, new=False)
        standing = self.standing_anew.get(submission.sender.pk)
        if standing is not None and header.device not in standing:
            raise UnknownDevice
        self._check(conversation, header)
        return self._append(conversation, submission, hash_)

    def _check(self, conversation: Conversation, header: EnvelopeHeader) -> None:
        if not conversation.friendship.is_open:
            raise ConversationClosed
        if header.epoch != conversation.epoch:
            raise StaleEpoch
        here = (header.conversation, header.writer, header.seq)
        before = (header.conversation, header.writer, header.seq - 1)
        expected = NO_HASH if header.seq == 1 else self.writers.get(before)
        if header.seq < 1 or here in self.writers or expected != header.prev:
            raise WriterGap

    def _append(self, conversation: Conversation, submission: Submission, hash_: bytes) -> Stored:
        header = submission.header
        conversation.last_n += 1
        conversation.log_hash = next_log_hash(bytes(conversation.log_hash), conversation.last_n, hash_)
        conversation.active_at = self.now
        row = NewEnvelope(
            conversation_id=header.conversation,
            n=conversation.last_n,
            side=submission.side,
            client_id=header.client_id,
            epoch=header.epoch,
            writer=header.writer,
            writer_seq=header.seq,
            envelope=submission.envelope,
            envelope_hash=hash_,
            log_hash=conversation.log_hash,
            stored_at=self.now,
        )
        self.rows.append(row)
        self.known[header.conversation, submission.side, header.client_id] = row
        self.writers[header.conversation, header.writer, header.seq] = hash_
        return Stored(row.n, self.now, new=True)


def _standing_anew(batch: Sequence[Submission]) -> dict[int, frozenset[bytes]]:
    """The devices that stand now, of senders whose chain grew since it was looked at."""
    last_seqs = key_chain.last_seqs({submission.sender.pk for submission in batch})
    grown = {
        submission.sender
        for submission in batch
        if submission.checked_at_seq != last_seqs.get(submission.sender.pk, 0)
    }
    return {sender.pk: key_chain.device_ids(sender) for sender in grown}


def _stored_before(batch: Sequence[Submission]) -> dict[ClientKey, Envelope]:
    return batch_rows.with_client_ids(
        {
            (submission.header.conversation, submission.side, submission.header.client_id)
            for submission in batch
        }
    )


def _writer_positions(batch: Sequence[Submission]) -> dict[WriterKey, bytes]:
    """What is stored at each submission's place in its writer's sequence, and just before it."""
    headers = [submission.header for submission in batch]
    return batch_rows.at_writer_positions(
        {
            (header.conversation, header.writer, seq)
            for header in headers
            for seq in (header.seq - 1, header.seq)
        }
    )
