"""What each process says of itself every few seconds, in the database: for the front page of the admin, without Redis.

Also the counts of days, which are kept when a process ends: what was refused, and how often. They are written off the way of
requests, all that came together at once; a process that is killed loses those of its last ``PULSE``.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.conf import settings
from django.db import DatabaseError, connection, connections, models, transaction
from django.utils import timezone

from securechat import __version__, metrics

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object

logger = logging.getLogger(__name__)
KEPT_DAYS = 90
_MINUTE = timedelta(minutes=1)
_FORGOTTEN_AFTER = timedelta(hours=1)


class ServerProcess(models.Model):
    """A running process, as of ``seen_at``."""

    id = models.UUIDField(primary_key=True, default=uuid4)
    version = models.CharField(max_length=20)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    sockets = models.PositiveIntegerField()
    messages_a_minute = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"Process {self.pk}"

    @classmethod
    def running(cls) -> models.QuerySet[ServerProcess]:
        """Those that said something lately."""
        return cls.objects.filter(seen_at__gt=timezone.now() - 3 * settings.PULSE)


class DailyCount(models.Model):
    """``what`` is "refused:<code>"; names nobody."""

    day = models.DateField()
    what = models.CharField(max_length=80)
    count = models.PositiveBigIntegerField(default=0)

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["day", "what"], name="daily_count_one_per_day")]

    def __str__(self) -> str:
        return f"{self.day} {self.what}"


def add_up(
    model: type[models.Model], *, keys: Sequence[str], amounts: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> None:
    """Adds the amounts to the rows with these keys, or makes them. Always in the same order, so that processes do not deadlock."""
    quote = connection.ops.quote_name
    table, columns = quote(model._meta.db_table), [quote(name) for name in (*keys, *amounts)]
    sums = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in columns[len(keys) :])
    statement = (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))}) "  # noqa: S608
        f"ON CONFLICT ({', '.join(columns[: len(keys)])}) DO UPDATE SET {sums}"
    )
    if some := sorted(rows):
        with connection.cursor() as cursor:
            cursor.executemany(statement, some)


_with_each_beat: list[Callable[[], None]] = []


def with_each_beat(act: Callable[[], None]) -> None:
    """Called in the transaction of each beat, in a thread that may wait."""
    if act not in _with_each_beat:
        _with_each_beat.append(act)


class Pulse:
    """``beat`` every ``PULSE``, ``end`` at the end; never from two threads at once."""

    def __init__(self) -> None:
        self._id = uuid4()
        self._started_at = timezone.now()
        self._stored: deque[tuple[float, float]] = deque()
        self._told = _refusals()

    def beat(self) -> None:
        """Never raises: what could not be written is written with the next."""
        try:
            self._write()
        except DatabaseError as error:
            logger.warning("The database did not take what this process counted (%s).", type(error).__name__)
        except Exception:
            logger.exception("What this process counted could not be written.")
        finally:
            connections.close_all()

    def end(self) -> None:
        self.beat()
        try:
            ServerProcess.objects.filter(pk=self._id).delete()
        except DatabaseError:
            pass  # It is forgotten by itself.
        finally:
            connections.close_all()

    def _write(self) -> None:
        now, refusals = timezone.now(), _refusals()
        with transaction.atomic():
            ServerProcess.objects.update_or_create(
                pk=self._id,
                defaults={
                    "version": __version__,
                    "started_at": self._started_at,
                    "seen_at": now,
                    "sockets": max(0, int(metrics.SOCKETS.value())),
                    "messages_a_minute": self._messages_a_minute(),
                },
            )
            ServerProcess.objects.filter(seen_at__lt=now - _FORGOTTEN_AFTER).delete()
            rows = [(now.date(), what, count) for what, count in (refusals - self._told).items()]
            add_up(DailyCount, keys=("day", "what"), amounts=("count",), rows=rows)
            DailyCount.objects.filter(day__lt=now.date() - timedelta(days=KEPT_DAYS)).delete()
            for act in _with_each_beat:
                act()
        self._told = refusals

    def _messages_a_minute(self) -> int:
        """Of the minute before; sooner, of as long as this runs."""
        now, stored = time.monotonic(), metrics.ENVELOPES_STORED.value()
        self._stored.append((now, stored))
        while len(self._stored) > 1 and self._stored[1][0] <= now - _MINUTE.total_seconds():
            self._stored.popleft()
        return int(stored - self._stored[0][1])


def _refusals() -> Counter[str]:
    counts = Counter[str]()
    for _, labels, value in metrics.REFUSALS.samples():
        code = dict(labels).get("code")
        if code:
            counts[f"refused:{code}"[:80]] += int(value)
    return counts
