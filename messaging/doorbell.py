"""Hearing what other processes ring, through Redis, for as long as the process lives and whether or not Redis does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

import redis
from redis.asyncio.client import PubSub

from securechat import events
from securechat.redis import async_client, redis_state

Heard: TypeAlias = Callable[[events.Event], None]
Listens: TypeAlias = Callable[[bool], None]

_QUIET_SECONDS = 5.0
_DEAD_SECONDS = 15.0
_TRY_AGAIN_SECONDS = 1.0


async def listen(heard: Heard, listens: Listens) -> None:
    """Never ends. ``listens`` is told when what others ring begins to arrive here, and when it may not any more.

    Where only this connection was lost, Redis is not away.
    """
    while True:
        pubsub = async_client(retries=0).pubsub()
        try:
            await pubsub.subscribe(events.CHANNEL)
        except (redis.RedisError, OSError) as error:
            redis_state.failed(error)
        else:
            listens(True)
            with suppress(redis.RedisError, OSError):
                await _hear(pubsub, heard)
            listens(False)
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]
        await asyncio.sleep(_TRY_AGAIN_SECONDS)


async def _hear(pubsub: PubSub, heard: Heard) -> None:
    """Asks a quiet Redis whether it is still there: a connection can be dead without either side knowing."""
    heard_at = time.monotonic()
    while time.monotonic() - heard_at < _DEAD_SECONDS:
        message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=_QUIET_SECONDS)
        if message is None:
            await pubsub.ping()
            continue
        heard_at = time.monotonic()
        if message["type"] == "message" and (event := events.decode(message["data"])) is not None:
            heard(event)
    raise redis.ConnectionError("Redis does not answer.")
