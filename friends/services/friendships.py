"""Ending a friendship."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from friends.models import Friendship
from friends.services.peers import people_of
from friends.services.rows import locked_one, tell_friendship_changed


@transaction.atomic
def end_friendship(*, ended_by: User, public_id: UUID, now: datetime | None = None) -> Friendship:
    """Either person can; the history stays. Raises ``FriendshipNotFound`` when they are friends no more."""
    friendship = locked_one(Friendship.objects.involving(ended_by).accepted(), public_id)
    friendship.end(now=now or timezone.now())
    friendship.store()
    tell_friendship_changed(friendship, people_of(ended_by, friendship))
    return friendship
