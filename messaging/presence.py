"""Who is online: connections with a time limit in Redis, shared by all processes. A hint for the screen, never a rule.

One sorted set holds every connection by the moment it expires, one hash how many each person has. A process renews its
connections together; one that died is noticed because they expire. Whoever sweeps an expired connection away (only one
process can) tells the others. All functions raise ``redis.RedisError`` but ``is_online``, which answers "unknown".

A Redis that was away may have forgotten connections, so nobody counts as offline until all processes renewed theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import redis
from django.conf import settings

from securechat import events
from securechat.redis import async_client, client, redis_state

_KEYS = ("securechat:presence:connections", "securechat:presence:counts")
_AT_ONCE = 500

_NOW = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local edges = {}
"""

# ARGV: milliseconds to live, then connections. Answers who came online by it.
_RENEW = (
    _NOW
    + """
for i = 2, #ARGV do
  if redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) == 1 then
    local user = string.match(ARGV[i], '^%d+')
    if redis.call('HINCRBY', KEYS[2], user, 1) == 1 then table.insert(edges, user) end
  end
end
return edges
"""
)

# ARGV: milliseconds of grace, then connections.
_LEAVE = (
    _NOW
    + """
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], 'XX', 'LT', now + ARGV[1], ARGV[i])
end
return edges
"""
)

# ARGV: how many at most. Answers how many it removed, then who went offline by it.
_SWEEP = (
    _NOW
    + """
local expired = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
table.insert(edges, #expired)
for _, connection in ipairs(expired) do
  redis.call('ZREM', KEYS[1], connection)
  local user = string.match(connection, '^%d+')
  if redis.call('HINCRBY', KEYS[2], user, -1) <= 0 then
    redis.call('HDEL', KEYS[2], user)
    table.insert(edges, user)
  end
end
return edges
"""
)


def connection_key(user_id: int, connection_id: str) -> str:
    return f"{user_id}:{connection_id}"


async def renew(connections: Sequence[str]) -> list[int]:
    """Keeps these online for another ``PRESENCE_TTL``, in one pipeline; whose first connection is among them."""
    return await _run_async(_RENEW, settings.PRESENCE_TTL, connections)


async def leave(connections: Sequence[str], *, grace: timedelta) -> None:
    """They count for the grace more, so that a page that is loaded again does not blink."""
    await _run_async(_LEAVE, grace, connections)


async def sweep() -> list[int]:
    """Removes what expired; whose last connection was among it. Each is reported to one caller only."""
    gone: list[int] = []
    while True:
        removed, *some = _ids(await async_client().register_script(_SWEEP)(keys=_KEYS, args=[_AT_ONCE]))
        gone += some
        if removed < _AT_ONCE:
            return gone


async def online_among(user_ids: Sequence[int]) -> dict[int, bool | None]:
    """``None``: unknown."""
    if not user_ids:
        return {}
    return _states(user_ids, await async_client().hmget(_KEYS[1], [str(user_id) for user_id in user_ids]))


def is_online(user_ids: Iterable[int]) -> dict[int, bool | None]:
    """For pages. Sweeps first, so that it is right also where no process with sockets is left; ``None``: unknown."""
    asked = list(dict.fromkeys(user_ids))
    if not asked:
        return {}
    if redis_state.is_away:
        return dict.fromkeys(asked)
    try:
        gone = _sweep_for_pages()
        counts: list[Any] = client().hmget(_KEYS[1], [str(user_id) for user_id in asked])
    except redis.RedisError as error:
        redis_state.failed(error)
        return dict.fromkeys(asked)
    if gone:
        events.publish(events.PresenceChanged(tuple(gone)))
    return _states(asked, counts)


def everybody() -> dict[int, int]:
    """Who is online, each with how many sockets. Raises ``redis.RedisError``, also while processes may still renew theirs."""
    if _is_settling():
        raise redis.ConnectionError("It was away a moment ago, and may have forgotten who is online.")
    gone = _sweep_for_pages()
    if gone:
        events.publish(events.PresenceChanged(tuple(gone)))
    counts: Any = client().hgetall(_KEYS[1])
    return {int(user_id): int(count) for user_id, count in counts.items()}


def forget_all() -> None:
    """After a restore, whose people are not those of these numbers. Processes that still run renew what is theirs."""
    client().delete(*_KEYS)


def _sweep_for_pages() -> list[int]:
    gone: list[int] = []
    while True:
        removed, *some = _ids(client().register_script(_SWEEP)(keys=_KEYS, args=[_AT_ONCE]))
        gone += some
        if removed < _AT_ONCE:
            return gone


def _is_settling() -> bool:
    """Whether not all processes may have renewed what a Redis that was away forgot."""
    return redis_state.was_away_within(settings.PRESENCE_RENEW + settings.REDIS_TIMEOUT)


def _states(user_ids: Sequence[int], counts: Sequence[Any]) -> dict[int, bool | None]:
    absent = None if _is_settling() else False
    return {
        user_id: absent if count is None else True for user_id, count in zip(user_ids, counts, strict=True)
    }


async def _run_async(script: str, time: timedelta, connections: Sequence[str]) -> list[int]:
    if not connections:
        return []
    milliseconds = time // timedelta(milliseconds=1)
    async with async_client().pipeline(transaction=False) as pipeline:
        for start in range(0, len(connections), _AT_ONCE):
            some = connections[start : start + _AT_ONCE]
            # The text each time: a pipeline would first ask whether its script is known, and wait for the answer.
            pipeline.eval(script, len(_KEYS), *_KEYS, str(milliseconds), *some)
        answers = await pipeline.execute()
    return [user_id for answer in answers for user_id in _ids(answer)]


def _ids(answer: Any) -> list[int]:
    return [int(user_id) for user_id in answer]
