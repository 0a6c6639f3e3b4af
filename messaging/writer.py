"""The one place of a process that stores envelopes: what arrives during a commit is the next batch.

So the cost of a durable commit is shared by all who wait for it, and grows no queue: a full one makes sockets wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeAlias

from django.conf import settings
from django.db import DatabaseError, DataError, IntegrityError, connection
from django.utils import timezone

from messaging.connection import Connection
from messaging.services import delivery
from messaging.services.delivery import Outcome, Submission
from messaging.threads import DatabaseThreads
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
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue(settings.WRITER_QUEUE_ENVELOPES)
        self._thread = DatabaseThreads(1, "writer")

    async def submit(self, waiting: Waiting) -> None:
        """Joins the next batch; waits while too many are before it. The answer comes through ``done``."""
        await self._queue.put(waiting)

    async def run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < settings.WRITER_BATCH_ENVELOPES and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                outcomes = await self._thread.run(_store, [waiting.submission for waiting in batch])
                self._done(list(zip(batch, outcomes, strict=True)))
            finally:
                for _ in batch:
                    self._queue.task_done()

    async def drain(self) -> None:
        """Returns when nothing waits any more, or too long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._queue.join(), _DRAIN_SECONDS)

    async def close(self) -> None:
        await self._thread.close()


def _store(batch: list[Submission]) -> list[Outcome]:
    try:
        return _attempt(batch)
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


def _attempt(batch: list[Submission]) -> list[Outcome]:
    """Once more on a fresh connection when the old one was lost: known client ids make that safe."""
    now = timezone.now()
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    try:
        return delivery.store(batch, now=now)
    except (IntegrityError, DataError):
        raise
    except DatabaseError:
        connection.close()
        return delivery.store(batch, now=now)
