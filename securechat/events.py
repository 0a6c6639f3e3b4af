"""The doorbell between the parts of a server, and between its processes: it says that something is there, never what.

An event carries ids; whoever hears it reads the database. It is rung after the commit and at most once: without
Redis only this process hears it, and the others look into the database until Redis is back.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

import redis
from pydantic import Field, TypeAdapter, ValidationError

from securechat.redis import async_client, client, redis_state

CHANNEL = "securechat:processes"
PROCESS = secrets.token_hex(8)


@dataclass(frozen=True)
class SessionsChanged:
    """Some session of this person ended (log-out, new password, suspension): sockets look at theirs again."""

    user_id: int
    kind: Literal["sessions"] = "sessions"


@dataclass(frozen=True)
class FriendshipChanged:
    """It began, ended, was blocked or opened again; ``conversation`` is the friendship's ``public_id``."""

    user_ids: tuple[int, ...]
    conversation: UUID
    kind: Literal["friendship"] = "friendship"


@dataclass(frozen=True)
class RequestsChanged:
    """The number of friend requests that wait for this person's answer changed."""

    user_id: int
    kind: Literal["requests"] = "requests"


@dataclass(frozen=True)
class KeysChanged:
    """This person's key chain grew."""

    user_id: int
    kind: Literal["keys"] = "keys"


@dataclass(frozen=True)
class EnvelopesStored:
    """One batch of the writer: ``(conversation, first n, last n)`` for each conversation in it."""

    spans: tuple[tuple[UUID, int, int], ...]
    kind: Literal["envelopes"] = "envelopes"


@dataclass(frozen=True)
class EpochAppended:
    conversation: UUID
    epoch: int
    kind: Literal["epoch"] = "epoch"


@dataclass(frozen=True)
class HeadStored:
    conversation: UUID
    side: int
    kind: Literal["head"] = "head"


@dataclass(frozen=True)
class PresenceChanged:
    """These people's first connections came or their last ones went; Redis knows which, also when two rings overtake."""

    user_ids: tuple[int, ...]
    kind: Literal["presence"] = "presence"


@dataclass(frozen=True)
class RingsMissed:
    """Some process could not ring for so long until now, or begins where one may have died: what was done is in the database."""

    seconds: int
    kind: Literal["missed"] = "missed"


Event: TypeAlias = (
    SessionsChanged
    | FriendshipChanged
    | RequestsChanged
    | KeysChanged
    | EnvelopesStored
    | EpochAppended
    | HeadStored
    | PresenceChanged
    | RingsMissed
)
Listener: TypeAlias = Callable[[Event], None]


@dataclass(frozen=True)
class _Ring:
    process: str
    event: Annotated[Event, Field(discriminator="kind")]


_ring: TypeAdapter[_Ring] = TypeAdapter(_Ring)
_listeners: list[Listener] = []


def publish(event: Event) -> None:
    """Call it from ``transaction.on_commit``. Never raises because Redis is away."""
    hear(event)
    if not redis_state.is_away:
        try:
            client().publish(CHANNEL, encode(event))
        except redis.RedisError as error:
            redis_state.failed(error)


async def apublish(event: Event) -> None:
    """``publish`` for what runs in the event loop."""
    hear(event)
    if not redis_state.is_away:
        try:
            await async_client().publish(CHANNEL, encode(event))
        except redis.RedisError as error:
            redis_state.failed(error)


def encode(event: Event, *, process: str = PROCESS) -> bytes:
    return _ring.dump_json(_Ring(process, event))


def decode(data: bytes) -> Event | None:
    """What another process rang; ``None`` for this process's own ring and for one of another version."""
    try:
        ring = _ring.validate_json(data)
    except ValidationError:
        return None
    return None if ring.process == PROCESS else ring.event


def hear(event: Event) -> None:
    """Tells this process's listeners, in the caller's thread; they only pass it on."""
    for listener in tuple(_listeners):
        listener(event)


def listen(listener: Listener) -> Callable[[], None]:
    """Every event of this process, from whichever thread publishes it. Gives back what ends it."""
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)


def _tell_of_missed_rings(away_for: timedelta) -> None:
    """Raises ``redis.RedisError``."""
    event = RingsMissed(seconds=away_for // timedelta(seconds=1) + 1)
    client().publish(CHANNEL, encode(event))


redis_state.when_back(_tell_of_missed_rings)
