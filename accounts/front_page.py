"""The first page of the admin: what waits, what goes on, what happened lately. Each app registers its panels.

Counts only. A panel is made for who has its permission, so nobody learns here what their role does not show them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from django.contrib.auth.models import AbstractBaseUser, PermissionsMixin
from django.db import connection
from django.db.models import Count, Sum
from django.db.models.functions import TruncDate
from django.urls import reverse
from django.utils import timezone

from accounts.models import Sanction, User
from securechat import __version__, health
from securechat.pulse import DailyCount

PLOTTED_DAYS = 30
ENDING_WITHIN = timedelta(days=7)
SHOWN_SANCTIONS = 5
_WIDTH, _HEIGHT, _GAP = 300, 60, 2


@dataclass(frozen=True)
class Line:
    label: str
    value: str
    url: str = ""
    is_alarm: bool = False


@dataclass(frozen=True)
class Bar:
    day: date
    count: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Plot:
    """One bar for each day, drawn by the server: ``summary`` says the same to who does not see it."""

    bars: Sequence[Bar]
    summary: str
    width: int = _WIDTH
    height: int = _HEIGHT

    @classmethod
    def of_days(cls, counts: Mapping[date, int], what: str, today: date) -> Plot:
        days = [today - timedelta(days=ago) for ago in reversed(range(PLOTTED_DAYS))]
        most = max((counts.get(day, 0) for day in days), default=0)
        step = _WIDTH / PLOTTED_DAYS
        bars = []
        for place, day in enumerate(days):
            count = counts.get(day, 0)
            height = round(_HEIGHT * count / most, 1) if most else 0
            height = max(height, 1.5) if count else 0
            bars.append(
                Bar(day, count, round(place * step, 1), _HEIGHT - height, round(step - _GAP, 1), height)
            )
        total = sum(bar.count for bar in bars)
        summary = f"{total:,} {what} in {PLOTTED_DAYS} days, at most {most:,} in one; today {counts.get(today, 0):,}."
        return cls(bars, summary)


@dataclass(frozen=True)
class Panel:
    title: str
    lines: Sequence[Line] = field(default=())
    plot: Plot | None = None
    nothing: str = ""
    """Said where there are neither lines nor bars."""


@dataclass(frozen=True)
class _Registered:
    make: Callable[[], Panel]
    permission: str
    order: int


_registered: dict[Callable[[], Panel], _Registered] = {}


def register(make: Callable[[], Panel], *, permission: str, order: int) -> None:
    """An empty ``permission``: for every operator who has a role."""
    _registered[make] = _Registered(make, permission, order)


def panels_for(user: AbstractBaseUser | object) -> list[Panel]:
    assert isinstance(user, PermissionsMixin)
    if not user.get_all_permissions():
        return []  # Staff alone sees nothing.
    known = sorted(_registered.values(), key=lambda one: one.order)
    return [one.make() for one in known if not one.permission or user.has_perm(one.permission)]


def sanctions_that_end() -> Panel:
    now = timezone.now()
    ending = Sanction.objects.in_force(now).filter(ends_at__lt=now + ENDING_WITHIN)
    rows = ending.select_related("user").order_by("ends_at", "pk")[: SHOWN_SANCTIONS + 1]
    lines = [
        Line(
            f"{row.get_kind_display()} of {row.user.username}",
            f"{row.ends_at:%Y-%m-%d %H:%M} UTC",
            reverse("admin:accounts_sanction_change", args=[row.pk]),
        )
        for row in rows[:SHOWN_SANCTIONS]
    ]
    waiting = Sanction.objects.waiting().count()
    if waiting:
        lines.insert(
            0,
            Line(
                "bans that wait for a second operator",
                f"{waiting:,}",
                _list("accounts_sanction"),
                is_alarm=True,
            ),
        )
    if len(rows) > SHOWN_SANCTIONS:
        lines.append(Line("and more", "see all", _list("accounts_sanction")))
    return Panel("Sanctions that end within a week", lines, nothing="None does.")


def sign_ups() -> Panel:
    today = timezone.now().date()
    since = datetime.combine(today - timedelta(days=PLOTTED_DAYS - 1), time.min, UTC)
    rows = (
        User.objects.filter(date_joined__gte=since)  # Not by its day: that would read every account.
        .annotate(day=TruncDate("date_joined"))
        .values_list("day")
        .annotate(Count("pk"))
        .order_by()
    )
    return Panel("Sign-ups by day", plot=Plot.of_days(dict(rows), "sign-ups", today))


def refusals() -> Panel:
    today = timezone.now().date()
    since = today - timedelta(days=PLOTTED_DAYS - 1)
    counted = DailyCount.objects.filter(day__gte=since, what__startswith="refused:")
    by_day = dict(counted.values_list("day").annotate(Sum("count")).order_by())
    codes = counted.filter(day=today).order_by("-count", "what").values_list("what", "count")[:3]
    lines = [Line(f"today {what.removeprefix('refused:')}", f"{count:,}") for what, count in codes]
    return Panel("Refusals by day", lines, Plot.of_days(by_day, "refusals", today))


def server() -> Panel:
    reasons = health.reasons()
    database = "PostgreSQL" if connection.vendor == "postgresql" else "SQLite"
    lines = [
        Line("version", __version__),
        Line("database", reasons["database"] or database, is_alarm=bool(reasons["database"])),
        Line("Redis", reasons["redis"] or "answers", is_alarm=bool(reasons["redis"])),
    ]
    if reasons["migrations"]:
        lines.append(Line("migrations", reasons["migrations"], is_alarm=True))
    end = health.certificate_end()
    soon = end is None or end < timezone.now() + timedelta(days=14)
    shown = f"until {end:%Y-%m-%d}" if end else "there is none that can be read"
    lines.append(Line("certificate", reasons["certificate"] or shown, is_alarm=soon))
    return Panel("Server", lines)


def _list(name: str, query: str = "") -> str:
    return reverse(f"admin:{name}_changelist") + query


def register_own() -> None:
    register(sanctions_that_end, permission="accounts.view_sanction", order=30)
    register(sign_ups, permission="accounts.view_user", order=40)
    register(refusals, permission="accounts.view_user", order=50)
    register(server, permission="", order=60)
