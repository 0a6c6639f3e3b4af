"""What this process knows of who is online, kept right for the sockets that look at it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Generic, TypeAlias, TypeVar

import redis
from django.conf import settings

from messaging import presence
from securechat import events
from securechat.redis import redis_state

T = TypeVar("T")
Tell: TypeAlias = Callable[[int, bool | None], None]


class _Together(Generic[T]):
    """What is given while Redis is asked is asked next, together: a storm costs few round trips, and none overtakes another.

    An older answer that came after a newer one would be told as news.
    """

    def __init__(self, ask: Callable[[Sequence[T]], Awaitable[None]]) -> None:
        self._ask = ask
        self._waiting: set[T] = set()
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def give(self, items: Iterable[T]) -> asyncio.Event:
        """The event is set when Redis was asked with these, or will not be."""
        self._waiting.update(items)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return self._asked

    def take_back(self, items: Iterable[T]) -> None:
        """Redis is not asked with these, unless it is already."""
        self._waiting.difference_update(items)

    async def _run(self) -> None:
        try:
            while self._waiting:
                items, self._waiting = list(self._waiting), set()
                asked, self._asked = self._asked, asyncio.Event()
                try:
                    await self._ask(items)
                finally:
                    asked.set()
        finally:
            self._task = None
            self._asked.set()  # For those whose items were taken back.
            self._asked = asyncio.Event()


class PresenceWatch:
    """Calls ``tell`` where what is known of somebody changes; ``None`` while Redis is away."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._known: dict[int, bool | None] = {}
        self._joins = _Together[str](self.renew)
        self._looks = _Together[int](self._look)
        self._asked_lately: set[int] = set()
        self._one_after_the_other = asyncio.Lock()
        self._has_ended = False

    def known(self, user_id: int) -> bool | None:
        return self._known.get(user_id)

    async def join(self, connection: str) -> None:
        """For one that is new."""
        await self._joins.give([connection]).wait()

    async def renew(self, connections: Sequence[str]) -> None:
        async with self._one_after_the_other:
            if not (self._has_ended or self._is_unknown()):
                await self._announce_edges(presence.renew(connections))

    async def sweep(self) -> None:
        if not self._is_unknown():
            await self._announce_edges(presence.sweep())

    async def leave(self, connections: Sequence[str], *, grace: timedelta) -> None:
        """Not while a renewal is under way, which could bring them back."""
        self._joins.take_back(connections)
        async with self._one_after_the_other:
            if self._is_unknown():
                return
            try:
                await presence.leave(connections, grace=grace)
            except redis.RedisError as error:
                self._lost(error)

    async def end(self, connections: Sequence[str]) -> None:
        """All of this process leave together, and nothing is renewed any more."""
        self._has_ended = True
        await self.leave(connections, grace=settings.PRESENCE_GRACE)

    async def look_at(self, user_ids: Collection[int]) -> None:
        """Asks Redis how these people are and tells what is news; forgets nobody."""
        if user_ids:
            self._asked_lately.update(user_ids)
            await self._looks.give(user_ids).wait()

    def look_soon(self, user_ids: Iterable[int]) -> None:
        """For who heard that these people came or went: nobody waits for what Redis says."""
        self._looks.give(user_ids)

    def keep_only(self, user_ids: Collection[int]) -> None:
        """Nobody here looks at the others any more, unless they were asked for a moment ago."""
        kept, self._asked_lately = self._asked_lately.union(user_ids), set()
        self._known = {user_id: online for user_id, online in self._known.items() if user_id in kept}

    async def _look(self, user_ids: Sequence[int]) -> None:
        if self._is_unknown():
            self._learn(dict.fromkeys(user_ids))
            return
        try:
            self._learn(await presence.online_among(user_ids))
        except redis.RedisError as error:
            self._learn(dict.fromkeys(user_ids))
            self._lost(error)

    async def _announce_edges(self, act: Awaitable[list[int]]) -> None:
        try:
            changed = await act
        except redis.RedisError as error:
            self._lost(error)
            return
        if changed:
            await events.apublish(events.PresenceChanged(tuple(changed)))

    def _is_unknown(self) -> bool:
        """Nobody waits for a Redis that is away; who noticed may have been somebody else."""
        if redis_state.is_away:
            self._learn(dict.fromkeys(self._known))
        return redis_state.is_away

    def _lost(self, error: redis.RedisError) -> None:
        redis_state.failed(error)
        self._learn(dict.fromkeys(self._known))

    def _learn(self, states: Mapping[int, bool | None]) -> None:
        for user_id, online in states.items():
            if user_id not in self._known or self._known[user_id] != online:
                self._known[user_id] = online
                self._tell(user_id, online)
