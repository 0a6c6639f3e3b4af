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
from django.db.models import Exists, OuterRef

from accounts.models import BrowserSession, User
from accounts.services import sessions
from friends.models import Friendship
from friends.services import peers_of
from messaging.models import Report

AT_ONCE = 500
"""Rows of one transaction: a running server waits for no longer than these take."""


@dataclass(frozen=True)
class Outlived:
    """Rows of one kind. ``rows`` are found anew for each batch, so a run that was killed is simply begun again."""

    what: str
    rows: Callable[[datetime], models.QuerySet[Any]]
    remove: Callable[[list[Any]], None]


def outlived() -> tuple[Outlived, ...]:
    return (
        Outlived("sessions that are over", _ended_sessions, _delete),
        Outlived("reports that were closed long ago", _old_reports, _delete),
        Outlived("requests that were refused long ago", _refused_requests, _delete),
        Outlived("conversations of two deleted people", _conversations_of_nobody, _delete),
        Outlived("names of deleted people", _names_of_nobody, _delete),
    )


def prune(kind: Outlived, now: datetime, report: Callable[[int], None] = lambda done: None) -> int:
    """Removes all of that kind, a batch for each transaction; how many. ``report`` hears how many so far."""
    done = 0
    while True:
        with transaction.atomic():
            some = list(kind.rows(now)[:AT_ONCE])
            kind.remove(some)
        done += len(some)
        if some:
            report(done)
        if len(some) < AT_ONCE:
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
    return Session.objects.filter(expire_date__lt=now).order_by("expire_date")


def _old_reports(now: datetime) -> models.QuerySet[Report]:
    return Report.objects.filter(closed_at__lt=now - settings.REPORT_KEPT).order_by("pk")


def _refused_requests(now: datetime) -> models.QuerySet[Friendship]:
    """Of which only the pause before the next one was left, and that is over."""
    kept = max(settings.REFUSED_REQUEST_KEPT, settings.FRIEND_REQUEST_PAUSE)
    return Friendship.objects.filter(
        status=Friendship.Status.REJECT, was_approved=False, answered_at__lt=now - kept
    ).order_by("pk")


def _conversations_of_nobody(now: datetime) -> models.QuerySet[Friendship]:
    """Those whose asker is gone, and then those of them whose friend is, too: the friend's name is sealed."""
    keys = [row.pk for row in _without_anybody(Friendship.objects.filter(sender__deleted_at__lt=now))]
    return Friendship.objects.filter(pk__in=keys).order_by("pk")


def _without_anybody(rows: models.QuerySet[Friendship]) -> Iterator[Friendship]:
    found = 0
    for row in rows.select_related("sender").order_by("pk").iterator(AT_ONCE):
        peer = peers_of(row.sender, [row]).get(row.pk)
        if peer is None or peer.is_deleted:
            yield row
            found += 1
            if found == AT_ONCE:
                return


def _names_of_nobody(now: datetime) -> models.QuerySet[User]:
    """Nobody has a conversation with them any more."""
    asked = Friendship.objects.filter(sender=OuterRef("pk"))
    gone = User.objects.filter(deleted_at__lt=now).exclude(Exists(asked)).order_by("pk")
    alone = [user.pk for user in gone[: 10 * AT_ONCE] if not Friendship.objects.involving(user).exists()]
    return User.objects.filter(pk__in=alone).order_by("pk")


def _delete(rows: list[Any]) -> None:
    if rows:
        type(rows[0])._default_manager.filter(pk__in=[row.pk for row in rows]).delete()
