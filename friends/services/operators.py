"""What an operator may do to friendships of others: the same acts, under the same rules, and both people are told."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from friends.models import Friendship
from friends.services.peers import people_of
from friends.services.rows import locked, tell_friendship_changed, tell_requests_changed
from securechat import audit


@transaction.atomic
def end_friendships(
    *, public_ids: Collection[UUID], by: User, why: str, source: str, now: datetime | None = None
) -> list[Friendship]:
    """Those that were open; the others are left as they are."""
    ended = locked(Friendship.objects.accepted().filter(public_id__in=public_ids))
    for friendship in ended:
        friendship.end(now=now or timezone.now())
        friendship.store()
        tell_friendship_changed(friendship, people_of(friendship.sender, friendship))
    _record("friendship.end", ended, Friendship.Status.APPROVE, by, why, source)
    return ended


@transaction.atomic
def reject_waiting(
    *, public_ids: Collection[UUID], by: User, why: str, source: str, now: datetime | None = None
) -> list[Friendship]:
    """Those that waited, in the name of the person who was asked: who asked may ask again after the pause."""
    rejected = locked(Friendship.objects.filter(status=Friendship.Status.DEFAULT, public_id__in=public_ids))
    for friendship in rejected:
        friendship.reject(now=now or timezone.now())
        friendship.store()
        people = people_of(friendship.sender, friendship)
        tell_requests_changed(
            *(person for person in people if friendship.side_of(person) != friendship.asked_by_side)
        )
    _record("friendship.reject", rejected, Friendship.Status.DEFAULT, by, why, source)
    return rejected


def _record(
    action: str, rows: Collection[Friendship], before: Friendship.Status, by: User, why: str, source: str
) -> None:
    for friendship in rows:
        audit.record(
            action,
            by=by,
            on=f"friendship:{friendship.public_id}",
            why=why,
            source=source,
            before={"status": before.value},
            after={"status": friendship.status},
        )
