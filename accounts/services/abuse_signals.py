"""Signs that an account is attacked, or abuses others: wrong passwords, and asking too fast. Shown to operators, never acted on.

Noted in memory and written with the process's pulse, so that a refusal takes as long for a name that nobody has. No address is
kept. Names that nobody has are dropped then.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeVar

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from accounts.models import DailySignal, User
from accounts.names import fold, is_valid
from securechat import pulse

T = TypeVar("T")
KEPT_DAYS = 30
_MOST_WAITING = 10_000  # Of different people in one beat; more are not noted.


@dataclass(frozen=True)
class Signals:
    """Of the last ``KEPT_DAYS``."""

    wrong_passwords: int
    too_fast: int


_lock = threading.Lock()
_wrong_passwords: Counter[str] = Counter()
_too_fast: Counter[int] = Counter()


def note_wrong_password(name: str) -> None:
    if is_valid(name):
        _note(_wrong_passwords, fold(name))


def note_too_fast(user_id: int) -> None:
    _note(_too_fast, user_id)


def _note(counts: Counter[T], key: T) -> None:
    with _lock:
        if key in counts or len(counts) < _MOST_WAITING:
            counts[key] += 1


def write() -> None:
    """With each beat of the process's pulse, in its transaction."""
    with _lock:
        by_name, by_id = dict(_wrong_passwords), dict(_too_fast)
    ids = dict(User.objects.filter(folded_name__in=by_name, deleted_at=None).values_list("folded_name", "pk"))
    there = set(User.objects.filter(pk__in=by_id, deleted_at=None).values_list("pk", flat=True))
    wrong = {ids[name]: count for name, count in by_name.items() if name in ids}
    today = timezone.now().date()
    rows = [(user_id, today, wrong.get(user_id, 0), by_id.get(user_id, 0)) for user_id in there | set(wrong)]
    pulse.add_up(DailySignal, keys=("user_id", "day"), amounts=("wrong_passwords", "too_fast"), rows=rows)
    DailySignal.objects.filter(day__lt=today - timedelta(days=KEPT_DAYS)).delete()
    transaction.on_commit(partial(_forget, by_name, by_id))


def _forget(by_name: Mapping[str, int], by_id: Mapping[int, int]) -> None:
    """What is stored now."""
    with _lock:
        _wrong_passwords.subtract(by_name)
        _too_fast.subtract(by_id)
        for counts in (_wrong_passwords, _too_fast):
            for key in [key for key, count in counts.items() if count <= 0]:
                del counts[key]


def signals_of(user: User) -> Signals:
    found = DailySignal.objects.filter(user=user).aggregate(
        wrong=Sum("wrong_passwords", default=0), fast=Sum("too_fast", default=0)
    )
    return Signals(found["wrong"], found["fast"])


def reporters_of(user: User) -> int:
    """How many different people reported this one, ever. ``user.reports`` are the rows of the app above."""
    return user.reports.values("reporter_index").distinct().count()
