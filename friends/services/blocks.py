"""Blocking somebody, whether friend or asking, and lifting one's own block.

The blocked person's browser hears exactly what it would hear of an unfriending, and nothing when nothing was open.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from friends.models import Friendship
from friends.services.peers import people_of
from friends.services.rows import locked_one, tell_friendship_changed, tell_requests_changed


@transaction.atomic
def block_person(*, blocked_by: User, public_id: UUID, now: datetime | None = None) -> Friendship:
    """The other person is not told; a second call raises ``InvalidTransition``."""
    friendship = locked_one(Friendship.objects.visible_to(blocked_by), public_id)
    before = Friendship.Status(friendship.status)
    side = friendship.side_of(blocked_by)
    people = people_of(blocked_by, friendship)
    friendship.block(by=side, now=now or timezone.now())
    friendship.store()
    if before == Friendship.Status.APPROVE:
        tell_friendship_changed(friendship, people)
    if before == Friendship.Status.DEFAULT:
        tell_requests_changed(*(person for person in people if _was_asked(friendship, person)))
    return friendship


@transaction.atomic
def unblock_person(*, unblocked_by: User, public_id: UUID) -> Friendship:
    """Lifts one's own block only. A request that the other person sent meanwhile then waits for an answer."""
    friendship = locked_one(Friendship.objects.blocked_for(unblocked_by), public_id)
    friendship.unblock(by=friendship.side_of(unblocked_by))
    friendship.store()
    if friendship.status == Friendship.Status.DEFAULT:
        tell_requests_changed(unblocked_by)
    return friendship


def _was_asked(friendship: Friendship, person: User) -> bool:
    return friendship.side_of(person) != friendship.asked_by_side
