"""The one place of a process that stores envelopes: what arrives during a commit is the next batch.

So the cost of a durable commit is shared by all who wait for it, and grows no queue: a full one makes sockets wait.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeAlias

from django.conf import settings
from django.db import DatabaseError, DataError, IntegrityError, connection
from django.utils import timezone

from messaging.connection import Connection
from messaging.services import delivery
from messaging.services.delivery import Outcome, Submission, WriterHeads
from messaging.threads import DatabaseThreads
from securechat import metrics
from securechat.errors import Unavailable

logger = logging.getLogger(__name__)

_DRAIN_SECONDS = 10.0


class Waiting(NamedTuple):
    """A submission and who is to be told what became of it."""

    submission: Submission
    ref: int
    sender: Connection


Done: TypeAlias = Callable[[Sequence[tuple[Waiting, Outcome]]], None]


class Writer:
    def __init__(self, done: Done) -> None:
        self._done = done
        self._waiting: deque[Waiting] = deque()
        self._held = 0  # Senders that wait for room.
        self._unanswered = 0  # With those that are being stored.
        self._capacity: int = settings.WRITER_QUEUE_ENVELOPES
        self._something, self._room, self._idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._room.set()
        self._idle.set()
        self._thread = DatabaseThreads(1, "writer")
        self._heads = WriterHeads()  # Touched by that thread only.

    @property
    def has_room(self) -> bool:
        """False also for a moment in which there is room, where somebody waits for it."""
        return not (self._held or self._is_full)

    @property
    def _is_full(self) -> bool:
        return len(self._waiting) >= self._capacity

    async def submit(self, waiting: Waiting) -> None:
        """Joins the next batch; waits while too many are before it. The answer comes through ``done``."""
        self._held += 1
        try:
            while self._is_full:
                self._room.clear()
                await self._room.wait()
        finally:
            self._held -= 1
        self.add(waiting)

    def add(self, waiting: Waiting) -> None:
        """``submit`` where there is room."""
        self._waiting.append(waiting)
        self._unanswered += 1
        metrics.WAITING_ENVELOPES.set(self._unanswered)
        if not self._something.is_set():
            self._something.set()
            self._idle.clear()

    async def run(self) -> None:
        while True:
            await self._something.wait()
            batch = [
                self._waiting.popleft()
                for _ in range(min(len(self._waiting), settings.WRITER_BATCH_ENVELOPES))
            ]
            if not self._waiting:
                self._something.clear()
            self._room.set()
            try:
                submissions = [waiting.submission for waiting in batch]
                began = time.perf_counter()
                outcomes = await self._thread.run(_store, submissions, self._heads)
                metrics.STORE_SECONDS.observe(time.perf_counter() - began)
                metrics.BATCHES.observe(len(batch))
                self._done(list(zip(batch, outcomes, strict=True)))
            finally:
                self._unanswered -= len(batch)
                metrics.WAITING_ENVELOPES.set(self._unanswered)
                if not self._unanswered:
                    self._idle.set()

    async def drain(self) -> None:
        """Returns when nothing waits any more, or too long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), _DRAIN_SECONDS)

    async def close(self) -> None:
        await self._thread.close()


def _store(batch: list[Submission], heads: WriterHeads) -> list[Outcome]:
    try:
        return _attempt(batch, heads)
    except (IntegrityError, DataError):  # One of them cannot be stored: the others must not suffer for it.
        return [_alone(submission) for submission in batch]
    except DatabaseError as error:
        logger.error("The database did not store a batch of %d (%s).", len(batch), type(error).__name__)
        return [Unavailable() for _ in batch]


def _alone(submission: Submission) -> Outcome:
    try:
        return _attempt([submission])[0]
    except DatabaseError as error:
        logger.error("The database did not store an envelope (%s).", type(error).__name__)
        return Unavailable()


def _attempt(batch: list[Submission], heads: WriterHeads | None = None) -> list[Outcome]:
    """Once more on a fresh connection when the old one was lost: known client ids make that safe."""
    now = timezone.now()
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    try:
        return delivery.store(batch, now=now, heads=heads)
    except (IntegrityError, DataError):
        raise
    except DatabaseError:
        connection.close()
        return delivery.store(batch, now=now, heads=heads)
