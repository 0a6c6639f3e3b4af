"""Signed heads: how far each side's browsers have checked the log."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from accounts.models import User
from accounts.services import key_chain
from accounts.services.key_chain import Standing
from messaging.errors import ConversationClosed, MalformedFrame, UnknownDevice
from messaging.models import Conversation, Head
from messaging.services.conversations import Membership
from messaging.wire import HeadBody, parse_head


def store(signer: User, membership: Membership, head: bytes, known: Standing | None = None) -> bool:
    """Keeps it unless the one before says more; false where nothing changed. Raises what ``messaging.errors`` names.

    ``known`` spares reading the signer's chain again where it has not grown since.
    """
    body = parse_head(head)
    if body.conversation != membership.conversation:
        raise MalformedFrame
    return _replace(signer, membership, body, head, known)


@transaction.atomic
def _replace(
    signer: User, membership: Membership, body: HeadBody, head: bytes, known: Standing | None
) -> bool:
    conversation = (
        Conversation.objects.select_for_update(of=("self",))
        .select_related("friendship")
        .get(friendship__public_id=membership.conversation)
    )
    if body.device not in key_chain.standing(signer, known).devices:
        raise UnknownDevice
    if not conversation.friendship.is_open:
        raise ConversationClosed
    if body.n > conversation.last_n or body.epoch > conversation.epoch:
        raise MalformedFrame  # It would stand in the way of every true one that follows.
    before = Head.objects.filter(conversation=conversation, side=membership.side).first()
    if before is not None and (before.n > body.n or bytes(before.head) == head):
        return False
    Head.objects.update_or_create(
        conversation=conversation, side=membership.side, defaults={"n": body.n, "head": head}
    )
    return True


def head_of(conversation: UUID, side: int) -> bytes | None:
    row = Head.objects.filter(conversation=conversation, side=side).first()
    return bytes(row.head) if row else None
