"""The way to Redis: one client for each process, one for each event loop. Presence, limits and the doorbell share them."""

from __future__ import annotations

import asyncio
from functools import cache
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

_RETRIES = (
    1  # Enough for a connection that Redis closed while it lay idle; who waits longer has its own answer.
)
_async_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, redis.asyncio.Redis]] = (
    WeakKeyDictionary()
)


def client() -> redis.Redis:
    """Connects at the first command, not here. Commands raise ``redis.RedisError`` within ``REDIS_TIMEOUT``."""
    return _client(settings.EFFECTIVE_REDIS_URL)


@cache
def _client(url: str) -> redis.Redis:
    seconds = settings.REDIS_TIMEOUT.total_seconds()
    return redis.Redis.from_url(
        url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=Retry(NoBackoff(), _RETRIES)
    )


def async_client() -> redis.asyncio.Redis:
    """Only inside a running loop; the same client for the life of that loop."""
    by_url = _async_clients.setdefault(asyncio.get_running_loop(), {})
    url = settings.EFFECTIVE_REDIS_URL
    if url not in by_url:
        seconds = settings.REDIS_TIMEOUT.total_seconds()
        by_url[url] = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry=AsyncRetry(NoBackoff(), _RETRIES),
        )
    return by_url[url]
