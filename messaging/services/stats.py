"""How much there is of everything: counts for operators, from indexes and never by walking messages."""

from __future__ import annotations

from datetime import datetime, timedelta

import redis
from django.db import connection
from django.db.models import Count, Sum
from django.utils import timezone

from accounts.models import BrowserSession, Sanction, User
from friends.models import Friendship
from messaging import presence
from messaging.models import Conversation, Report

Counts = dict[str, int | None]
_DAY, _WEEK = timedelta(days=1), timedelta(days=7)


def gather(now: datetime | None = None) -> dict[str, Counts]:
    """By group; ``None`` where nobody can say, as without Redis who is online."""
    now = now or timezone.now()
    return {
        "people": _people(now),
        "online": _online(),
        "friendships": _friendships(),
        "conversations": _conversations(now),
        "moderation": _moderation(now),
        "storage": {"bytes_of_the_database": _database_bytes()},
    }


def _people(now: datetime) -> Counts:
    there = User.objects.filter(deleted_at=None)
    return {
        "accounts": there.count(),
        "of_them_deactivated": there.filter(is_active=False).count(),
        "signed_up_within_a_day": there.filter(date_joined__gte=now - _DAY).count(),
        "signed_up_within_a_week": there.filter(date_joined__gte=now - _WEEK).count(),
        "operators": there.filter(is_staff=True).count(),
        "deleted_of_whom_friends_keep_a_conversation": User.objects.exclude(deleted_at=None).count(),
        "sessions": BrowserSession.objects.count(),
        "sessions_used_within_a_day": BrowserSession.objects.filter(seen_at__gte=now - _DAY).count(),
    }


def _online() -> Counts:
    try:
        crowd = presence.everybody()
    except redis.RedisError:
        return {"people": None, "sockets": None}
    return {"people": len(crowd), "sockets": sum(crowd.values())}


def _friendships() -> Counts:
    counts = dict(Friendship.objects.values_list("status").annotate(Count("pk")))
    return {str(status.label).lower(): counts.get(status.value, 0) for status in Friendship.Status}


def _conversations(now: datetime) -> Counts:
    return {
        "all": Conversation.objects.count(),
        "with_messages": Conversation.objects.filter(last_n__gt=0).count(),
        "active_within_a_day": Conversation.objects.filter(last_n__gt=0, active_at__gte=now - _DAY).count(),
        "active_within_a_week": Conversation.objects.filter(last_n__gt=0, active_at__gte=now - _WEEK).count(),
        "messages": Conversation.objects.aggregate(Sum("last_n", default=0))["last_n__sum"],
    }


def _moderation(now: datetime) -> Counts:
    return {
        "reports_waiting": Report.objects.waiting().count(),
        "of_them_overdue": Report.objects.overdue(now).count(),
        "reports": Report.objects.count(),
        "sanctions_in_force": Sanction.objects.in_force(now).count(),
    }


def _database_bytes() -> int:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_database_size(current_database())")
        else:
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
        return int(cursor.fetchone()[0])
