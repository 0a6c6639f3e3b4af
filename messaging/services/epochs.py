"""Epoch records: appended by compare-and-swap, handed out to the two people. Their contents are the browsers' business."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts.models import User
from accounts.services import key_chain
from accounts.wire import NO_HASH
from messaging.errors import (
    ConversationClosed,
    ConversationNotFound,
    EpochConflict,
    MalformedFrame,
    PeerHasNoKeys,
    UnknownDevice,
)
from messaging.models import Conversation, EpochRecord
from messaging.protocol import base64url_length
from messaging.services.conversations import Membership, peer_in
from messaging.wire import EpochBody, epoch_record_hash, parse_epoch_record

_EPOCHS_BYTES = 1_024  # What surrounds the records in their frame, amply.


def records_after(membership: Membership, number: int) -> tuple[list[bytes], bool]:
    """Those with a larger number, as many as a frame holds, and whether there are more."""
    room = settings.MAX_FRAME_BYTES - _EPOCHS_BYTES
    at_most = room // 1_000  # No record is shorter: it holds two sealed secrets.
    rows = EpochRecord.objects.filter(conversation=membership.conversation, number__gt=number)
    found = [row.record() for row in rows.order_by("number")[: at_most + 1]]
    fitting = []
    for record in found:
        room -= base64url_length(len(record)) + len('"",')
        if room < 0:
            break
        fitting.append(record)
    return fitting, len(fitting) < len(found)


def record_of(conversation: UUID, number: int) -> bytes | None:
    row = EpochRecord.objects.filter(conversation=conversation, number=number).first()
    return row.record() if row else None


def append(author: User, membership: Membership, number: int, record: bytes) -> None:
    """Raises ``EpochConflict`` when somebody else was first, and what else ``messaging.errors`` names."""
    body = parse_epoch_record(record)
    if (body.conversation, body.epoch) != (membership.conversation, number):
        raise MalformedFrame
    _append(author, membership, body, record)


@transaction.atomic
def _append(author: User, membership: Membership, body: EpochBody, record: bytes) -> None:
    conversation = _locked(membership)
    if body.device not in key_chain.device_ids(author):
        raise UnknownDevice
    if not conversation.friendship.is_open:
        raise ConversationClosed
    peer = peer_in(membership)
    if peer is None or not key_chain.has_keys(peer):
        raise PeerHasNoKeys
    if body.epoch != conversation.epoch + 1 or body.prev != _last_record_hash(conversation):
        raise EpochConflict
    EpochRecord.sealing(conversation, body.epoch, record).save(force_insert=True)
    conversation.epoch = body.epoch
    conversation.save(update_fields=["epoch"])


def _locked(membership: Membership) -> Conversation:
    row = (
        Conversation.objects.select_for_update(of=("self",))
        .select_related("friendship")
        .filter(friendship__public_id=membership.conversation)
        .first()
    )
    if row is None:
        raise ConversationNotFound
    return row


def _last_record_hash(conversation: Conversation) -> bytes:
    last = conversation.epoch_records.filter(number=conversation.epoch).first()
    return epoch_record_hash(last.record()) if last else NO_HASH
