"""While rings may be missed, a process asks the database what happened instead: once a second, and once more at the end.

Two processes hear of each other through Redis alone. Without it messages still arrive, later by at most ``CATCH_UP_EVERY``
after this process noticed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from securechat.redis import redis_state

logger = logging.getLogger(__name__)

# What was missed may be older than its first sign: a connection that is dead unnoticed, a commit that takes long, clocks
# of two machines.
_MARGIN = timedelta(seconds=60)


class CatchUp:
    """``look`` reads what is new in conversations since a moment; ``visit`` reads everything else about one person.

    It looks each ``CATCH_UP_ANYWAY``, too, when nothing seems to be missed. Of those ``everybody`` names,
    ``CATCH_UP_PEOPLE`` are visited after each look, without a pause in between when rings are heard.
    """

    def __init__(
        self,
        *,
        look: Callable[[datetime], Awaitable[None]],
        visit: Callable[[int], Awaitable[None]],
        everybody: Callable[[], Collection[int]],
    ) -> None:
        self._look = look
        self._visit = visit
        self._everybody = everybody
        self._to_visit: list[int] = []
        self._missing_since: datetime | None = timezone.now()
        self._listens = False
        self._looked_at = time.monotonic()
        self._at_once = asyncio.Event()

    def listens(self, listens: bool) -> None:
        """Whether this process hears what others ring. What was rung until it is told so may have been missed."""
        if self._listens and not listens:
            self.missed()
        self._listens = listens
        self._at_once.set()

    def missed(self, ago: timedelta = timedelta(0)) -> None:
        """Rings may have been missed from then to now; the next turn looks."""
        since = timezone.now() - ago
        self._missing_since = min(since, self._missing_since or since)

    async def run(self) -> None:
        while True:
            self._at_once.clear()
            try:
                while await self._catch_up():
                    pass
            except DatabaseError as error:
                logger.error("The database did not say what was missed (%s).", type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._at_once.wait(), settings.CATCH_UP_EVERY.total_seconds())

    async def _catch_up(self) -> bool:
        """Whether there are more to visit, which then goes on at once: what is missed meanwhile is looked at in between."""
        is_deaf = redis_state.is_away or not self._listens
        if is_deaf:
            self.missed()
        if (
            self._missing_since is None
            and time.monotonic() - self._looked_at > settings.CATCH_UP_ANYWAY.total_seconds()
        ):
            await self._look_from(timezone.now() - settings.CATCH_UP_ANYWAY)
        if self._missing_since is not None:
            await self._look_back()
            if not (is_deaf and self._to_visit):
                self._to_visit = list(self._everybody())
        if is_deaf:
            self.missed()  # Until a look that began when rings were heard again.
        for _ in range(settings.CATCH_UP_PEOPLE):
            if self._to_visit:
                await self._visit(self._to_visit[-1])
                self._to_visit.pop()
        return bool(self._to_visit) and not is_deaf

    async def _look_back(self) -> None:
        since, self._missing_since = self._missing_since or timezone.now(), None
        try:
            await self._look_from(since)
        except DatabaseError:
            self._missing_since = since
            raise

    async def _look_from(self, since: datetime) -> None:
        self._looked_at = time.monotonic()
        await self._look(since - _MARGIN)
