"""This app's part of the admin's first page: reports that wait, and what goes on now."""

from __future__ import annotations

import redis
from django.db.models import Count, Min, Q, Sum
from django.urls import reverse
from django.utils import timezone

from accounts.front_page import Line, Panel, register
from messaging import presence
from messaging.models import Report
from messaging.report_admin import age_in_words
from securechat.pulse import ServerProcess

_UNKNOWN = "unknown, as Redis does not answer"


def reports_that_wait() -> Panel:
    now = timezone.now()
    overdue = Report.objects.overdue(now).values("pk")
    found = Report.objects.waiting().aggregate(
        all=Count("pk"),
        unclaimed=Count("pk", filter=Q(assignee=None)),
        overdue=Count("pk", filter=Q(pk__in=overdue)),
        oldest=Min("made_at"),
    )
    address = reverse("admin:messaging_report_changelist")
    if not found["all"]:
        return Panel("Reports", nothing="None waits.")
    oldest = age_in_words(now - found["oldest"])
    return Panel(
        "Reports",
        [
            Line("wait", f"{found['all']:,}", f"{address}?queue=open"),
            Line("nobody has claimed", f"{found['unclaimed']:,}", f"{address}?queue=unassigned"),
            Line("are overdue", f"{found['overdue']:,}", f"{address}?queue=overdue", bool(found["overdue"])),
            Line("age of the oldest", oldest),
        ],
    )


def now() -> Panel:
    running = ServerProcess.running().aggregate(
        count=Count("pk"), sockets=Sum("sockets", default=0), messages=Sum("messages_a_minute", default=0)
    )
    try:
        people = f"{len(presence.everybody()):,}"
    except redis.RedisError:
        people = _UNKNOWN
    return Panel(
        "Now",
        [
            Line("people online", people, is_alarm=people == _UNKNOWN),
            Line("open chats (sockets)", f"{running['sockets']:,}"),
            Line("messages in the last minute", f"{running['messages']:,}"),
            Line("processes of the server", f"{running['count']:,}"),
        ],
    )


def register_own() -> None:
    register(reports_that_wait, permission="messaging.view_report", order=10)
    register(now, permission="", order=20)
