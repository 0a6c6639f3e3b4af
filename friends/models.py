"""Friendship: one row for two people, from the first request to the last block, and which state may follow which.

A stolen database shows one of the two people (``sender``). The other is a Fernet token and two keyed hashes.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.models import User
from accounts.names import fold
from friends.errors import AlreadyFriends, AlreadySent, AskAgainLater, BlockedByYou, InvalidTransition
from securechat import sealed

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object

Side = Literal[0, 1]


def pair_index(first: User, second: User) -> bytes:
    """What is unique for two people, whoever asked."""
    return pair_index_of(first.pk, second.pk)


def pair_index_of(first_id: int, second_id: int) -> bytes:
    return sealed.blind_index("friendship/pair", *sorted((first_id, second_id)))


def friend_index(user: User) -> bytes:
    return sealed.blind_index("friendship/friend", user.pk)


def own_indexes(user_id: int) -> list[bytes]:
    """What rows in which that person is the friend have as their index, under every key."""
    return sealed.blind_indexes("friendship/friend", user_id)


class FriendshipQuerySet(models.QuerySet["Friendship"]):
    """Rows are looked for under every blind-index key, so that nothing is lost while the key rotates."""

    def involving(self, user: User) -> FriendshipQuerySet:
        return self.filter(_as_sender(user) | _as_friend(user))

    def between(self, first: User, second: User) -> FriendshipQuerySet:
        indexes = sealed.blind_indexes("friendship/pair", *sorted((first.pk, second.pk)))
        return self.filter(pair_index__in=indexes)

    def accepted(self) -> FriendshipQuerySet:
        return self.filter(status=Friendship.Status.APPROVE)

    def visible_to(self, user: User) -> FriendshipQuerySet:
        """Those of this person that they may know of: a block by the other looks as if nothing were there."""
        nothing_below = Q(status_below=Friendship.Status.ENDED, was_approved=False)
        return self.filter(
            _as_sender(user) & (~nothing_below | Q(blocked_by_0=True))
            | _as_friend(user) & (~nothing_below | Q(blocked_by_1=True))
        )

    def conversations_of(self, user: User) -> FriendshipQuerySet:
        """Those that were ever approved, so have a history: open, ended, or blocked after approval."""
        return self.involving(user).filter(was_approved=True)

    def received_by(self, user: User) -> FriendshipQuerySet:
        """Requests that wait for this person's answer."""
        return self.filter(
            _as_sender(user, asked_by_side=1) | _as_friend(user, asked_by_side=0),
            status=Friendship.Status.DEFAULT,
        )

    def sent_by(self, user: User) -> FriendshipQuerySet:
        """Requests of this person that wait, among them those that the other, having blocked them, never sees."""
        return self._asked_by(user).filter(_seen_status(Friendship.Status.DEFAULT))

    def rejected_of(self, user: User, *, since: datetime) -> FriendshipQuerySet:
        """Requests of this person that were rejected after ``since``."""
        return self._asked_by(user).filter(_seen_status(Friendship.Status.REJECT), answered_at__gt=since)

    def blocked_for(self, user: User) -> FriendshipQuerySet:
        """Those that this person blocked; whether they are blocked themselves makes no difference."""
        return self.filter(_as_sender(user, blocked_by_0=True) | _as_friend(user, blocked_by_1=True))

    def _asked_by(self, user: User) -> FriendshipQuerySet:
        return self.filter(
            _as_sender(user, asked_by_side=0, blocked_by_0=False)
            | _as_friend(user, asked_by_side=1, blocked_by_1=False)
        )


def _as_sender(user: User, **more: object) -> Q:
    return Q(sender=user, **more)


def _as_friend(user: User, **more: object) -> Q:
    return Q(friend_index__in=own_indexes(user.pk), **more)


def _seen_status(status: Friendship.Status) -> Q:
    return Q(status=status) | Q(status_below=status)


class Friendship(models.Model):
    """Two people. Side 0 is ``sender``, side 1 the friend, whoever asks later.

    A block lies *over* the rest: ``status`` is ``blocked`` and ``status_below`` goes on as if there were no block, so
    that the blocked person sees nothing of it: an open friendship looks unfriended to them, a request of theirs waits, and
    asking again "sends" one. The person who blocked sees only the block. Each side lifts its own block.

    ===================  ==============================================================================
    before the block     once nobody blocks any more
    ===================  ==============================================================================
    default              default when the blocked person asked (they still wait), else as withdrawn
    approve, ended       ended; default when the blocked person asked again meanwhile
    reject               reject, with the pause counted from the answer; default as above
    withdrawn            ended if they ever were friends, else no row
    ===================  ==============================================================================

    ``ended`` without ever having been approved says nothing about anybody: ``store`` deletes such a row.
    """

    class Status(models.TextChoices):
        DEFAULT = "default", "Waiting"
        APPROVE = "approve", "Friends"
        REJECT = "reject", "Rejected"
        BLOCKED = "blocked", "Blocked"
        ENDED = "ended", "Ended"

    NEXT_STATUSES: Mapping[str, frozenset[str]] = {
        Status.DEFAULT: frozenset({Status.APPROVE, Status.REJECT, Status.ENDED, Status.BLOCKED}),
        Status.APPROVE: frozenset({Status.ENDED, Status.BLOCKED}),
        Status.REJECT: frozenset({Status.DEFAULT, Status.BLOCKED}),
        Status.ENDED: frozenset({Status.DEFAULT, Status.BLOCKED}),
        Status.BLOCKED: frozenset({Status.DEFAULT, Status.REJECT, Status.ENDED}),
    }

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    sender = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    friend_sealed = models.CharField(max_length=200, editable=False)
    friend_index = models.BinaryField(max_length=32, db_index=True)
    pair_index = models.BinaryField(max_length=32)
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.DEFAULT)
    status_below = models.CharField(max_length=7, choices=Status.choices, default="", blank=True)
    asked_by_side = models.PositiveSmallIntegerField(default=0)
    blocked_by_0 = models.BooleanField("blocked by the sender", default=False)
    blocked_by_1 = models.BooleanField("blocked by the friend", default=False)
    was_approved = models.BooleanField("ever approved", default=False)
    asked_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = FriendshipQuerySet.as_manager()

    class Meta(TypedModelMeta):
        permissions = [
            ("end_friendship", "Can end friendships"),
            ("reject_request", "Can reject friend requests"),
        ]
        indexes = [
            models.Index(fields=["-asked_at", "-id"], name="friendship_by_asking"),
            models.Index(fields=["status", "-asked_at", "-id"], name="friendship_by_status"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["pair_index"], name="friendship_one_row_per_pair"),
            models.CheckConstraint(
                condition=Q(status__in=["default", "approve", "reject", "blocked", "ended"]),
                name="friendship_status_is_known",
            ),
            models.CheckConstraint(
                condition=Q(status="blocked") & (Q(blocked_by_0=True) | Q(blocked_by_1=True))
                | ~Q(status="blocked") & Q(blocked_by_0=False, blocked_by_1=False),
                name="friendship_is_blocked_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(status="blocked", status_below__in=["default", "reject", "ended"])
                | ~Q(status="blocked") & Q(status_below=""),
                name="friendship_has_a_status_below_a_block_only",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["approve", "ended"]) | Q(was_approved=True),
                name="friendship_was_approved_before_it_ended",
            ),
            models.CheckConstraint(
                condition=Q(was_approved=True, approved_at__isnull=False)
                | Q(was_approved=False, approved_at__isnull=True),
                name="friendship_approval_has_a_date",
            ),
            models.CheckConstraint(
                condition=~Q(status="reject") | Q(answered_at__isnull=False),
                name="friendship_rejection_has_a_date",
            ),
            models.CheckConstraint(
                condition=Q(asked_by_side__in=[0, 1]), name="friendship_was_asked_by_one_of_the_two"
            ),
        ]

    def __str__(self) -> str:
        return f"Friendship {self.public_id}"

    @classmethod
    def asked(cls, *, sender: User, friend: User, now: datetime) -> Friendship:
        """A new request, not yet stored."""
        return cls(
            sender=sender,
            friend_sealed=sealed.encrypt_name(friend.username),
            friend_index=friend_index(friend),
            pair_index=pair_index(sender, friend),
            asked_at=now,
        )

    @property
    def is_open(self) -> bool:
        return self.status == self.Status.APPROVE

    @property
    def friend_name(self) -> str:
        """The name of side 1 as typed. Raises ``sealed.SealBroken``."""
        return sealed.decrypt_name(self.friend_sealed)

    def side_of(self, user: User) -> Side:
        """``user`` must be one of the two: rows come from a query that says so."""
        if user.pk == self.sender_id:
            return 0
        assert self.is_friend(user.pk)
        return 1

    def is_friend(self, user_id: int) -> bool:
        """Whether that is side 1: by id, as a name can be taken again after an account was deleted."""
        return bytes(self.friend_index) in own_indexes(user_id)

    def peer_of(self, user: User) -> User:
        """The other person. Raises ``User.DoesNotExist`` when that account was deleted."""
        if self.side_of(user) == 1:
            return self.sender
        friend = User.objects.get(folded_name=fold(self.friend_name))
        if not self.is_friend(friend.pk):
            raise User.DoesNotExist
        return friend

    def blocked_by(self, side: Side) -> bool:
        return self.blocked_by_1 if side else self.blocked_by_0

    def status_for(self, side: Side) -> Status:
        """What this side may know: its own block, and nothing of the other's."""
        return self.Status.BLOCKED if self.blocked_by(side) else self._below

    def ask_again(self, *, by: Side, now: datetime) -> None:
        """A new request on the old row; it stays under the block if the other person blocked the one who asks."""
        self._may_ask(by, now)
        self._move_below_to(self.Status.DEFAULT)
        self.asked_by_side = by
        self.asked_at = now

    def accept(self, *, now: datetime) -> None:
        """The person who was asked says yes; the caller knows that it is that person."""
        self._move_to(self.Status.APPROVE)
        self.was_approved = True
        self.answered_at = self.approved_at = now
        self.ended_at = None

    def reject(self, *, now: datetime) -> None:
        if self.status != self.Status.DEFAULT:
            raise InvalidTransition
        self._move_to(self.Status.REJECT)
        self.answered_at = now

    def withdraw(self) -> None:
        """Takes back the request, whether or not the other person could see it."""
        if self._below != self.Status.DEFAULT:
            raise InvalidTransition
        self._move_below_to(self.Status.ENDED)

    def end(self, *, now: datetime) -> None:
        if not self.is_open:
            raise InvalidTransition
        self._move_to(self.Status.ENDED)
        self.ended_at = now

    def block(self, *, by: Side, now: datetime) -> None:
        """Ends what is open and takes back what ``by`` had asked for; the other side's own view stays as it was."""
        if self.blocked_by(by):
            raise InvalidTransition
        if self.is_open:
            self.end(now=now)
        elif self._below == self.Status.DEFAULT and self.asked_by_side == by:
            self.withdraw()
        if self.status != self.Status.BLOCKED:
            below = self.status
            self._move_to(self.Status.BLOCKED)
            self.status_below = below
        self._set_blocked(by, True)

    def unblock(self, *, by: Side) -> None:
        if not self.blocked_by(by):
            raise InvalidTransition
        self._set_blocked(by, False)
        if not (self.blocked_by_0 or self.blocked_by_1):
            self._move_to(self._below)
            self.status_below = ""

    def store(self) -> None:
        """Saves the row, or deletes it when it says nothing any more."""
        if self.status == self.Status.ENDED and not self.was_approved:
            self.delete()
        else:
            self.save()

    @property
    def _below(self) -> Status:
        return self.Status(self.status_below or self.status)

    def _may_ask(self, by: Side, now: datetime) -> None:
        if self.blocked_by(by):
            raise BlockedByYou
        if self._below == self.Status.APPROVE:
            raise AlreadyFriends
        if self._below == self.Status.DEFAULT:
            raise AlreadySent if self.asked_by_side == by else InvalidTransition
        if self._below == self.Status.REJECT and self.asked_by_side == by and self.answered_at:
            wait = self.answered_at + settings.FRIEND_REQUEST_PAUSE - now
            if wait.total_seconds() > 0:
                raise AskAgainLater(wait)

    def _move_to(self, status: Status) -> None:
        if status not in self.NEXT_STATUSES[self.status]:
            raise InvalidTransition
        self.status = status

    def _move_below_to(self, status: Status) -> None:
        if self.status != self.Status.BLOCKED:
            return self._move_to(status)
        if status not in self.NEXT_STATUSES[self.status_below]:
            raise InvalidTransition
        self.status_below = status
        return None

    def _set_blocked(self, side: Side, blocked: bool) -> None:
        if side:
            self.blocked_by_1 = blocked
        else:
            self.blocked_by_0 = blocked
