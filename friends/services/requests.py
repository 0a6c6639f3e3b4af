"""Asking for friendship, answering, and taking it back."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from accounts.names import fold
from friends.errors import OwnUsername, UnknownUsername
from friends.models import Friendship
from friends.services.peers import peers_of, people_of
from friends.services.rows import (
    lock_index_key,
    locked,
    locked_one,
    tell_friendship_changed,
    tell_requests_changed,
)
from securechat import ratelimit
from securechat.errors import Unavailable

_TRIES = 3  # Each further one needs somebody who made, or took back, the same request within that moment.


class Requested(Enum):
    SENT = "sent"
    FRIENDS = "friends"


@dataclass(frozen=True)
class Answered:
    """How many requests were answered, and how many were gone: withdrawn, or answered in another tab."""

    done: int
    gone: int


def request_friendship(*, sender: User, username: str, now: datetime | None = None) -> Requested:
    """Sends a request, or makes a friendship when the other person already asked.

    Who is blocked by the other person gets the same answers as anybody else. Raises what ``friends.errors`` names, or
    ``TooFast``: existing and unknown names count alike, so that names cannot be listed.
    """
    ratelimit.check(
        "friend-request",
        str(sender.pk),
        limit=settings.FRIEND_REQUESTS_PER_HOUR,
        window=timedelta(hours=1),
    )
    name = username.strip()
    if fold(name) == fold(sender.username):
        raise OwnUsername
    friend = User.objects.by_name(name)
    if friend is None:
        raise UnknownUsername
    return _ask(sender, friend, now or timezone.now())


@transaction.atomic
def _ask(sender: User, friend: User, now: datetime) -> Requested:
    lock_index_key(alone=False)
    for _ in range(_TRIES):
        existing = locked(Friendship.objects.between(sender, friend))
        if existing:
            return _ask_on(existing[0], sender, friend, now)
        try:
            with transaction.atomic():
                Friendship.asked(sender=sender, friend=friend, now=now).save(force_insert=True)
        except IntegrityError:  # The other person asked in this very moment.
            continue
        tell_requests_changed(friend)
        return Requested.SENT
    raise Unavailable


def _ask_on(friendship: Friendship, sender: User, friend: User, now: datetime) -> Requested:
    side = friendship.side_of(sender)
    if friendship.status == Friendship.Status.DEFAULT and friendship.asked_by_side != side:
        friendship.accept(now=now)
        friendship.store()
        tell_friendship_changed(friendship, [sender, friend])
        tell_requests_changed(sender)
        return Requested.FRIENDS
    friendship.ask_again(by=side, now=now)
    friendship.store()
    if friendship.status == Friendship.Status.DEFAULT:
        tell_requests_changed(friend)
    return Requested.SENT


def accept_requests(
    *, accepted_by: User, public_ids: Collection[UUID], now: datetime | None = None
) -> Answered:
    """Only the person who was asked can accept, and only what still waits; the rest is counted as gone."""
    at = now or timezone.now()
    return _answer(accepted_by, public_ids, lambda friendship: friendship.accept(now=at))


def reject_requests(
    *, rejected_by: User, public_ids: Collection[UUID], now: datetime | None = None
) -> Answered:
    at = now or timezone.now()
    return _answer(rejected_by, public_ids, lambda friendship: friendship.reject(now=at))


@transaction.atomic
def _answer(asked: User, public_ids: Collection[UUID], answer: Callable[[Friendship], None]) -> Answered:
    chosen = set(public_ids)
    waiting = locked(Friendship.objects.received_by(asked).filter(public_id__in=chosen))
    peers = peers_of(asked, waiting)
    for friendship in waiting:
        answer(friendship)
        friendship.store()
        if friendship.is_open and friendship.pk in peers:
            tell_friendship_changed(friendship, [asked, peers[friendship.pk]])
    if waiting:
        tell_requests_changed(asked)
    return Answered(done=len(waiting), gone=len(chosen) - len(waiting))


@transaction.atomic
def withdraw_request(*, withdrawn_by: User, public_id: UUID) -> None:
    """Raises ``FriendshipNotFound`` when it was answered or withdrawn meanwhile."""
    friendship = locked_one(Friendship.objects.sent_by(withdrawn_by), public_id)
    was_seen = friendship.status == Friendship.Status.DEFAULT
    people = people_of(withdrawn_by, friendship)
    friendship.withdraw()
    friendship.store()
    if was_seen:
        tell_requests_changed(*(person for person in people if person != withdrawn_by))
