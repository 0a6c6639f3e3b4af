"""What this process knows of who is online, kept right for the sockets that look at it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import TypeAlias

import redis
from django.conf import settings

from messaging import presence
from securechat import events
from securechat.redis import redis_state

Tell: TypeAlias = Callable[[int, bool | None], None]


class PresenceWatch:
    """Calls ``tell`` where what is known of somebody changes; ``None`` while Redis is away."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._known: dict[int, bool | None] = {}
        self._one_after_the_other = asyncio.Lock()
        self._has_ended = False

    def known(self, user_id: int) -> bool | None:
        return self._known.get(user_id)

    async def renew(self, connections: Sequence[str]) -> None:
        """Also for a connection that is new."""
        async with self._one_after_the_other:
            if not (self._has_ended or self._is_unknown()):
                await self._announce_edges(presence.renew(connections))

    async def sweep(self) -> None:
        if not self._is_unknown():
            await self._announce_edges(presence.sweep())

    async def leave(self, connections: Sequence[str], *, grace: timedelta) -> None:
        """Not while a renewal is under way, which could bring them back."""
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
        if self._is_unknown():
            self._learn(dict.fromkeys(user_ids))
            return
        try:
            self._learn(await presence.online_among(list(user_ids)))
        except redis.RedisError as error:
            self._learn(dict.fromkeys(user_ids))
            self._lost(error)

    def keep_only(self, user_ids: Collection[int]) -> None:
        """Nobody here looks at the others any more."""
        self._known = {user_id: online for user_id, online in self._known.items() if user_id in user_ids}

    async def _announce_edges(self, act: Awaitable[list[int]]) -> None:
        try:
            changed = await act
        except redis.RedisError as error:
            self._lost(error)
            return
        for user_id in changed:
            await events.apublish(events.PresenceChanged(user_id))

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
