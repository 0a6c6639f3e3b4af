"""What this app holds about a person, for them: their conversations as they are stored, and the reports that they made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from accounts.models import User
from friends.models import Side
from messaging.models import Conversation, Envelope, EpochRecord, Head, Report
from messaging.services.conversations import memberships_of
from messaging.services.opening_rows import opening_of
from securechat.batches import rows_by_key

_ROWS_AT_ONCE = 200


def conversations(user: User) -> Iterable[Mapping[str, Any]]:
    for row in rows_by_key(Conversation.objects.visible_to(user), at_once=_ROWS_AT_ONCE):
        yield {
            "conversation": row.pk,
            "last_n": row.last_n,
            "epoch": row.epoch,
            "active_at": row.active_at,
        }


def epoch_records(user: User) -> Iterable[Mapping[str, Any]]:
    for conversation, _ in _own(user):
        for row in EpochRecord.objects.filter(conversation=conversation).order_by("number"):
            yield {"conversation": conversation, "epoch": row.number, "record": row.record()}


def heads(user: User) -> Iterable[Mapping[str, Any]]:
    for conversation, side in _own(user):
        for row in Head.objects.filter(conversation=conversation, side=side):
            yield {"conversation": conversation, "n": row.n, "head": row.head}


def envelopes(user: User) -> Iterable[Mapping[str, Any]]:
    """Of both people, as each can open them; in order."""
    for conversation, side in _own(user):
        rows = Envelope.objects.filter(conversation=conversation)
        for row in rows_by_key(rows, "n", at_once=_ROWS_AT_ONCE):
            yield {
                "conversation": conversation,
                "n": row.n,
                "by": "you" if row.side == side else "them",
                "stored_at": row.stored_at,
                "epoch": row.epoch,
                "envelope": row.envelope,
            }


def reports(user: User) -> Iterable[Mapping[str, Any]]:
    """Those they made. Who reported them is nobody's to know."""
    for report in Report.objects.made_by(user).order_by("pk"):
        messages = [message.row() for message in report.messages.all()]
        yield {
            "about": report.reported_name,
            "category": report.category,
            "note": report.evidence().note,
            "made_at": report.made_at,
            "status": report.status,
            "disclosed": [{"n": row.n, "content": row.content} for row in messages],
        }


def _own(user: User) -> list[tuple[UUID, Side]]:
    memberships = memberships_of(user, opening_of(user).friendships)
    return [(one.conversation, one.side) for one in memberships.values()]
