"""What a ring of the doorbell means, read from the database. Plain functions, called in the hub's threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from uuid import UUID

from django.db.models import Q

from accounts.models import Sanction, User
from accounts.services.sanctions import mutes_of
from friends.models import Friendship
from messaging.models import Conversation, Envelope
from messaging.protocol import Row
from messaging.services import conversations
from messaging.services.conversations import Membership, row_of
from messaging.services.opening_rows import opening_of


@dataclass(frozen=True)
class Introduction:
    memberships: dict[UUID, Membership]
    last_ns: dict[UUID, int]
    """Of each conversation, as of the same moment."""
    requests: int
    mute: Sanction | None


def introduction(user: User) -> Introduction:
    opening = opening_of(user)
    return Introduction(
        memberships=conversations.memberships_of(user, opening.friendships),
        last_ns={row.public_id: row.last_n or 0 for row in opening.friendships},
        requests=opening.requests,
        mute=mutes_of([user.pk]).get(user.pk) if opening.may_be_muted else None,
    )


def waiting_requests(user: User) -> int:
    return Friendship.objects.received_by(user).count()


def rows_in(spans: Sequence[tuple[UUID, int, int]]) -> list[tuple[UUID, Row]]:
    """Everything from the first to the last ``n`` of each conversation."""
    wanted = (Q(conversation=conversation, n__range=(first, last)) for conversation, first, last in spans)
    return _rows(Envelope.objects.filter(reduce(or_, wanted)))


def active_since(moment: datetime) -> dict[UUID, int]:
    """The ``last_n`` of each conversation in which something was stored since then."""
    active = Conversation.objects.filter(active_at__gte=moment, last_n__gt=0)
    return dict(active.values_list("pk", "last_n"))


def _rows(envelopes: Iterable[Envelope]) -> list[tuple[UUID, Row]]:
    return [(envelope.conversation_id, row_of(envelope)) for envelope in sorted(envelopes, key=_order)]


def _order(envelope: Envelope) -> tuple[UUID, int]:
    return envelope.conversation_id, envelope.n
