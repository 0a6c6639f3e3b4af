"""What has outlived its time: ended sessions, old reports, refused requests, and what deleted accounts left behind.

Messages are never among it. Each conversation is one chain of hashes that both people's browsers check from its beginning: a
row that is missing looks the same whether an operator tidied up or a server dropped it (docs/decisions/0015).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import models, transaction
from django.db.models import Q

from accounts.models import BrowserSession, User
from accounts.services import sessions
from friends.models import Friendship, own_indexes
from friends.services import Side1, friend_ids_of
from messaging.models import Report
from securechat.batches import batches_by_key

AT_ONCE = 500
"""Rows of one transaction: a running server waits for no longer than these take."""


def _all(rows: list[Any]) -> list[Any]:
    return rows


@dataclass(frozen=True)
class Outlived:
    """Rows of one kind: ``candidates`` by their age, and of a batch of these the ones that ``choose`` leaves."""

    what: str
    candidates: Callable[[datetime], models.QuerySet[Any]]
    choose: Callable[[list[Any]], list[Any]] = _all

    def batches(self, now: datetime) -> Iterator[list[Any]]:
        """None is looked at twice; a run that was killed is simply begun again."""
        for some in batches_by_key(self.candidates(now), at_once=AT_ONCE):
            yield self.choose(some)

    def count(self, now: datetime) -> int:
        return sum(map(len, self.batches(now)))


def outlived() -> tuple[Outlived, ...]:
    return (
        Outlived("sessions that are over", _ended_sessions),
        Outlived("reports that were closed long ago", _old_reports),
        Outlived("requests that were refused long ago", _refused_requests),
        Outlived("conversations of two deleted people", _of_deleted_people, _whose_friends_are_gone),
        Outlived("names of deleted people", _deleted_people, _without_a_friendship),
    )


def prune(kind: Outlived, now: datetime, report: Callable[[int], None] = lambda done: None) -> int:
    """Removes all of that kind, a batch for each transaction; how many. ``report`` hears how many so far."""
    done = 0
    for some in kind.batches(now):
        if some:
            with transaction.atomic():  # Looked at once more: somebody may have asked again since.
                kind.candidates(now).filter(pk__in=[row.pk for row in some]).delete()
            done += len(some)
            report(done)
    return done


def idle_sessions(*, since: datetime) -> models.QuerySet[BrowserSession]:
    return BrowserSession.objects.filter(seen_at__lt=since).order_by("pk")


def end_idle_sessions(*, since: datetime) -> int:
    """Their open sockets are closed, too."""
    done = 0
    while some := list(idle_sessions(since=since).select_related("user")[:AT_ONCE]):
        with transaction.atomic():
            Session.objects.filter(pk__in=[row.session_id for row in some]).delete()
            for user in {row.user for row in some}:
                sessions.tell_changed(user)
        done += len(some)
    return done


def _ended_sessions(now: datetime) -> models.QuerySet[Session]:
    return Session.objects.filter(expire_date__lt=now)


def _old_reports(now: datetime) -> models.QuerySet[Report]:
    return Report.objects.filter(closed_at__lt=now - settings.REPORT_KEPT)


def _refused_requests(now: datetime) -> models.QuerySet[Friendship]:
    """Of which only the pause before the next one was left, and that is over."""
    kept = max(settings.REFUSED_REQUEST_KEPT, settings.FRIEND_REQUEST_PAUSE)
    return Friendship.objects.filter(
        status=Friendship.Status.REJECT, was_approved=False, answered_at__lt=now - kept
    )


def _of_deleted_people(now: datetime) -> models.QuerySet[Friendship]:
    """Found under who asked first: the friend's name is sealed."""
    return Friendship.objects.filter(sender__deleted_at__lt=now)


def _whose_friends_are_gone(rows: list[Friendship]) -> list[Friendship]:
    friend_ids = friend_ids_of(Side1(row.pk, row.friend_sealed, bytes(row.friend_index)) for row in rows)
    there = User.objects.filter(pk__in=set(friend_ids.values()), deleted_at=None)
    ids_there = set(there.values_list("pk", flat=True))
    return [row for row in rows if friend_ids.get(row.pk) not in ids_there]


def _deleted_people(now: datetime) -> models.QuerySet[User]:
    return User.objects.filter(deleted_at__lt=now)


def _without_a_friendship(people: list[User]) -> list[User]:
    """Nobody has a conversation with them any more."""
    indexes = {index: person.pk for person in people for index in own_indexes(person.pk)}
    rows = Friendship.objects.filter(Q(sender__in=people) | Q(friend_index__in=list(indexes)))
    needed = set()
    for sender, index in rows.values_list("sender_id", "friend_index"):
        needed |= {sender, indexes.get(bytes(index))}
    return [person for person in people if person.pk not in needed]
