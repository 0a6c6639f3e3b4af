"""How often somebody may do something: one token bucket for each scope and key, shared by all processes through Redis.

A bucket holds ``limit`` tokens and fills up evenly within ``window``; whoever finds it empty is refused and pays nothing.
It is kept as one time, the moment at which the bucket is full again (GCRA), so there is nothing to refill.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from datetime import timedelta
from functools import lru_cache

import redis
from django.utils.crypto import salted_hmac

from securechat.errors import TooFast
from securechat.redis import async_client, client, redis_state

# Answers 0 for yes, otherwise the microseconds until there is a token again.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local window, step = tonumber(ARGV[1]), tonumber(ARGV[1]) / tonumber(ARGV[2])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + step
if full_at - now > window + 0.5 then
  return math.ceil(full_at - now - window)
end
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
return 0
"""

_MICROSECOND = timedelta(microseconds=1)


def check(scope: str, key: str, *, limit: int, window: timedelta) -> None:
    """Takes one of ``limit`` tokens for each ``window``; raises ``TooFast`` when there is none.

    ``key`` says who (a folded name, an address, an id); Redis sees only its keyed hash. Without Redis each process
    counts for itself: the limit becomes looser, the site stays up.
    """
    name = _name(scope, key)
    if not redis_state.is_away:
        try:
            wait = int(client().register_script(_TAKE)(keys=[name], args=_arguments(limit, window)))
        except redis.RedisError as error:
            redis_state.failed(error)
        else:
            return _answer(wait)
    return _take_here(name, limit, window)


async def acheck(scope: str, key: str, *, limit: int, window: timedelta) -> None:
    """``check`` for consumers."""
    name = _name(scope, key)
    if not redis_state.is_away:
        try:
            wait = int(
                await async_client().register_script(_TAKE)(keys=[name], args=_arguments(limit, window))
            )
        except redis.RedisError as error:
            redis_state.failed(error)
        else:
            return _answer(wait)
    return _take_here(name, limit, window)


def _name(scope: str, key: str) -> str:
    hashed = salted_hmac("securechat.ratelimit", f"{scope}\0{key}", algorithm="sha256").hexdigest()
    return f"securechat:limit:{scope}:{hashed[:32]}"


@lru_cache(64)
def _arguments(limit: int, window: timedelta) -> tuple[int, int]:
    return window // _MICROSECOND, limit


def _answer(wait_microseconds: int) -> None:
    if wait_microseconds:
        raise TooFast(retry_after_seconds=math.ceil(wait_microseconds / 1_000_000))


class Bucket:
    """One bucket for whoever holds it, as a socket does."""

    __slots__ = ("_each", "_full_at", "_window")

    def __init__(self, *, limit: int, per_second: float) -> None:
        self._each = round(1_000_000_000 / per_second)
        self._window = limit * self._each
        self._full_at = 0

    def take(self, now: int | None = None) -> int:
        """Nanoseconds to wait, 0 for yes. ``now``: nanoseconds of a clock that never goes back."""
        now = time.monotonic_ns() if now is None else now
        full_at = max(self._full_at, now) + self._each
        if full_at - now > self._window:
            return full_at - now - self._window
        self._full_at = full_at
        return 0


class Buckets:
    """Those of this process: one for each of the ``capacity`` keys that were asked for last."""

    def __init__(self, capacity: int = 20_000) -> None:
        self._capacity = capacity
        self._of: OrderedDict[str | int, Bucket] = OrderedDict()

    def of(self, key: str | int, *, limit: int, per_second: float) -> Bucket:
        bucket = self._of.get(key)
        if bucket is None:
            bucket = self._of[key] = Bucket(limit=limit, per_second=per_second)
        self._of.move_to_end(key)
        if len(self._of) > self._capacity:
            self._of.popitem(last=False)
        return bucket


def _take_here(name: str, limit: int, window: timedelta) -> None:
    bucket = _local.of(name, limit=limit, per_second=limit / window.total_seconds())
    _answer(-(-bucket.take() // 1000))


_local = Buckets()
