"""Back-pressure between a socket and the application: who does not read is cut off, who sends too much waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings
from twisted.internet import reactor
from twisted.internet.interfaces import IDelayedCall


class Outgoing:
    """Whether the transport takes more: it says no above 64 KiB that wait for the peer, and yes when none do."""

    def __init__(self, cut_off: Callable[[], None]) -> None:
        self._cut_off = cut_off
        self._has_room = asyncio.Event()
        self._has_room.set()
        self.is_full = False
        self._deadline: IDelayedCall | None = None

    def fill(self, *, until: timedelta) -> None:
        """Nothing is written until ``free``; when that does not come in time the peer is cut off."""
        self.is_full = True
        self._has_room.clear()
        if self._deadline is None:
            self._deadline = reactor.callLater(until.total_seconds(), self._end)

    def free(self) -> None:
        self.is_full = False
        self._has_room.set()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    async def wait_for_room(self) -> None:
        if self.is_full:
            await self._has_room.wait()

    def _end(self) -> None:
        self._deadline = None
        self._cut_off()


class Incoming(asyncio.Queue[dict[str, Any]]):
    """What a socket sent and the application has not taken; ``changed`` is called when it becomes full or free again."""

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed
        self._bytes = 0
        self._most_frames, self._most_bytes = settings.SOCKET_INPUT_FRAMES, settings.SOCKET_INPUT_BYTES
        self.is_full = False

    def _put(self, item: dict[str, Any]) -> None:
        super()._put(item)
        self._bytes += _size(item)
        self._look()

    def _get(self) -> dict[str, Any]:
        item: dict[str, Any] = super()._get()
        self._bytes -= _size(item)
        self._look()
        return item

    def _look(self) -> None:
        frames, size = self.qsize(), self._bytes
        if not self.is_full:
            if frames >= self._most_frames or size >= self._most_bytes:
                self.is_full = True
                self._changed()
        elif frames <= self._most_frames // 2 and size <= self._most_bytes // 2:
            self.is_full = False
            self._changed()


def _size(message: dict[str, Any]) -> int:
    return len(message.get("text") or message.get("bytes") or b"")
