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
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Sum
from django.utils import timezone

from accounts.names import fold, is_valid

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta

    from accounts.models import User
else:
    TypedModelMeta = object

T = TypeVar("T")
KEPT_DAYS = 30
_MOST_WAITING = 10_000  # Of different people in one beat; more are not noted.


class DailySignal(models.Model):
    """Of one account and day."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="daily_signals")
    day = models.DateField()
    wrong_passwords = models.PositiveIntegerField(default=0)
    too_fast = models.PositiveIntegerField(default=0)

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["user", "day"], name="daily_signal_one_per_day")]

    def __str__(self) -> str:
        return f"Signals of {self.user_id} on {self.day}"


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
    from accounts.models import User

    with _lock:
        by_name, by_id = dict(_wrong_passwords), dict(_too_fast)
    ids = dict(User.objects.filter(folded_name__in=by_name, deleted_at=None).values_list("folded_name", "pk"))
    there = set(User.objects.filter(pk__in=by_id, deleted_at=None).values_list("pk", flat=True))
    _add({ids[name]: count for name, count in by_name.items() if name in ids}, "wrong_passwords")
    _add({user_id: count for user_id, count in by_id.items() if user_id in there}, "too_fast")
    DailySignal.objects.filter(day__lt=timezone.now().date() - timedelta(days=KEPT_DAYS)).delete()
    transaction.on_commit(partial(_forget, by_name, by_id))


def _forget(by_name: Mapping[str, int], by_id: Mapping[int, int]) -> None:
    """What is stored now."""
    with _lock:
        _wrong_passwords.subtract(by_name)
        _too_fast.subtract(by_id)
        for counts in (_wrong_passwords, _too_fast):
            for key in [key for key, count in counts.items() if count <= 0]:
                del counts[key]


def _add(counts: Mapping[int, int], column: str) -> None:
    today = timezone.now().date()
    for user_id, count in sorted(counts.items()):  # Two processes at once meet in one order.
        row, _ = DailySignal.objects.get_or_create(user_id=user_id, day=today)
        DailySignal.objects.filter(pk=row.pk).update(**{column: F(column) + count})


def signals_of(user: User) -> Signals:
    found = DailySignal.objects.filter(user=user).aggregate(
        wrong=Sum("wrong_passwords", default=0), fast=Sum("too_fast", default=0)
    )
    return Signals(found["wrong"], found["fast"])


def reporters_of(user: User) -> int:
    """How many different people reported this one, ever. ``user.reports`` are the rows of the app above."""
    return user.reports.values("reporter_index").distinct().count()
