"""What a ring of the doorbell means, read from the database. Plain functions, called in the hub's threads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from accounts.models import Sanction, User
from accounts.services.sanctions import mutes_of
from friends.models import Friendship
from messaging.models import Conversation
from messaging.services import conversations
from messaging.services.conversations import Membership
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


def active_since(moment: datetime) -> dict[UUID, int]:
    """The ``last_n`` of each conversation in which something was stored since then."""
    active = Conversation.objects.filter(active_at__gte=moment, last_n__gt=0)
    return dict(active.values_list("pk", "last_n"))
