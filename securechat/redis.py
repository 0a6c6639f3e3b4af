"""The way to Redis: one client for each process, one for each event loop. Presence, limits and the doorbell share them.

Also whether it answers: a Redis that is gone or frozen costs one wait of ``REDIS_TIMEOUT``, not one for each who asks.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)

# Once more on a connection that Redis closed while it lay idle; never after a time-out, which would double it.
_RETRIES = 1
_RETRY_ON = (redis.ConnectionError,)
_ASK_AGAIN_SECONDS = 1.0
_async_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, int], redis.asyncio.Redis]] = (
    WeakKeyDictionary()
)


def client() -> redis.Redis:
    """Connects at the first command, not here. Commands raise ``redis.RedisError`` within ``REDIS_TIMEOUT``."""
    return _client(settings.EFFECTIVE_REDIS_URL)


@cache
def _client(url: str) -> redis.Redis:
    seconds = settings.REDIS_TIMEOUT.total_seconds()
    return redis.Redis.from_url(
        url,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), _RETRIES, _RETRY_ON),
    )


def async_client(*, retries: int = _RETRIES) -> redis.asyncio.Redis:
    """Only inside a running loop; the same client for the life of that loop.

    With ``retries=0`` a lost connection is an error: a subscriber has to know, and would subscribe again without a word.
    """
    clients = _async_clients.setdefault(asyncio.get_running_loop(), {})
    key = (settings.EFFECTIVE_REDIS_URL, retries)
    if key not in clients:
        seconds = settings.REDIS_TIMEOUT.total_seconds()
        clients[key] = redis.asyncio.Redis.from_url(
            settings.EFFECTIVE_REDIS_URL,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry=AsyncRetry(NoBackoff(), retries, _RETRY_ON),
        )
    return clients[key]


class RedisState:
    """Who finds Redis away says so; then one thread asks it each second, and nobody else does until it answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_away = False
        self._away_since: float | None = None
        self._back_at: float | None = None
        self._asking: threading.Thread | None = None
        self._when_back: list[Callable[[timedelta], None]] = []

    @property
    def is_away(self) -> bool:
        return self._is_away

    def was_away_within(self, time_ago: timedelta) -> bool:
        """Also true while it is away."""
        return self._is_away or (
            self._back_at is not None and time.monotonic() - self._back_at < time_ago.total_seconds()
        )

    def when_back(self, act: Callable[[timedelta], None]) -> None:
        """``act`` is told for how long Redis was away. Where it raises ``RedisError`` it is called again later."""
        self._when_back.append(act)

    def forget(self) -> None:
        """Waits until it is back, and then knows nothing of that it was away: for tests."""
        if self._asking is not None:
            self._asking.join()
        self._asking = self._back_at = self._away_since = None

    def failed(self, error: redis.RedisError | OSError) -> None:
        with self._lock:
            if self._is_away:
                return
            self._is_away = True
            self._away_since = self._away_since or time.monotonic()
        logger.warning(
            "Redis is away (%s): who is online is unknown, limits count for each process, the database is asked for news.",
            type(error).__name__,
        )
        self._asking = threading.Thread(target=self._ask_until_it_answers, name="redis-state", daemon=True)
        self._asking.start()

    def _ask_until_it_answers(self) -> None:
        time.sleep(_ASK_AGAIN_SECONDS)
        while not _stores():
            time.sleep(_ASK_AGAIN_SECONDS)
        self._back_at = time.monotonic()
        self._is_away = False
        try:
            for act in self._when_back:
                act(timedelta(seconds=time.monotonic() - (self._away_since or 0.0)))
        except redis.RedisError as error:
            self.failed(error)
            return
        self._away_since = None
        logger.warning("Redis is back.")


def _stores() -> bool:
    """A Redis that is full, loading, or a replica is as good as none."""
    try:
        client().set("securechat:is-here", 1, px=1000)
    except redis.RedisError:
        return False
    return True


redis_state = RedisState()
