"""Who is online, as friends see it, and as it stands in Redis."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from pytest_django import Settings

from messaging import presence, protocol
from messaging.presence import connection_key
from messaging.watch import PresenceWatch
from securechat.redis import async_client
from tests.messaging.conftest import Person

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quick(settings: Settings) -> None:
    settings.PRESENCE_TTL = timedelta(milliseconds=900)
    settings.PRESENCE_RENEW = timedelta(milliseconds=300)
    settings.PRESENCE_SWEEP = timedelta(milliseconds=100)
    settings.PRESENCE_GRACE = timedelta(milliseconds=500)


async def test_a_friend_sees_the_first_socket_come_and_the_last_one_go(
    a: Person, b: Person, conversation: UUID
) -> None:
    async with a.socket() as alice:
        assert alice.welcome is not None
        assert [item.online for item in alice.welcome.presence] == [False]
        async with b.socket():
            told = await alice.next(protocol.Presence)
            assert (told.conversation, told.online) == (conversation, True)
            async with b.socket():
                assert await alice.hears_nothing(protocol.Presence)
            assert await alice.hears_nothing(protocol.Presence, seconds=1.0)
        assert (await alice.next(protocol.Presence)).online is False


async def test_a_page_that_is_loaded_again_does_not_blink(a: Person, b: Person, conversation: UUID) -> None:
    async with a.socket() as alice:
        async with b.socket():
            assert (await alice.next(protocol.Presence)).online
        await asyncio.sleep(0.2)
        async with b.socket():
            assert await alice.hears_nothing(protocol.Presence, seconds=1.5)


async def test_who_is_online_already_is_in_the_welcome(a: Person, b: Person, conversation: UUID) -> None:
    async with b.socket(), a.socket() as alice:
        assert alice.welcome is not None
        assert alice.welcome.presence == (protocol.PresenceItem(conversation=conversation, online=True),)


async def test_only_friends_are_told(a: Person, b: Person, m: Person, conversation: UUID) -> None:
    async with m.socket() as mallory, a.socket(), b.socket():
        assert mallory.welcome is not None
        assert mallory.welcome.presence == ()
        assert await mallory.hears_nothing(protocol.Presence)


async def test_a_process_that_died_is_noticed(a: Person, b: Person, conversation: UUID) -> None:
    async with a.socket() as alice:
        await presence.renew([connection_key(b.user.pk, "of a dead process")])
        await asyncio.sleep(0.4)  # As long as it takes to be seen at the next renewal.
        assert (await alice.next(protocol.Presence)).online

        assert (await alice.next(protocol.Presence, seconds=3)).online is False


async def test_sockets_stay_online_beyond_their_time_limit(a: Person, b: Person, conversation: UUID) -> None:
    async with a.socket() as alice, b.socket():
        assert (await alice.next(protocol.Presence)).online
        assert await alice.hears_nothing(protocol.Presence, seconds=2.0)


async def test_edges_are_reported_once(transactional_db: None) -> None:
    first, second = connection_key(1, "first"), connection_key(1, "second")

    assert await presence.renew([first]) == [1]
    assert await presence.renew([first]) == []
    assert await presence.renew([second, connection_key(2, "x")]) == [2]
    assert await presence.online_among([1, 2, 3]) == {1: True, 2: True, 3: False}
    await presence.leave([first], grace=timedelta(0))
    assert await presence.sweep() == []
    await presence.leave([second], grace=timedelta(0))
    swept = await asyncio.gather(*(presence.sweep() for _ in range(5)))
    assert sorted(swept, key=len)[-1] == [1]
    assert sum(map(len, swept)) == 1


async def test_a_process_with_many_connections_is_swept_away_in_one_go(transactional_db: None) -> None:
    connections = [connection_key(number, "of a dead process") for number in range(1_200)]
    await presence.renew(connections)
    await presence.leave(connections, grace=timedelta(0))

    assert sorted(await presence.sweep()) == list(range(1_200))


async def test_leaving_does_not_bring_back_what_was_swept(transactional_db: None) -> None:
    await presence.leave([connection_key(1, "unknown")], grace=timedelta(seconds=1))

    assert await presence.online_among([1]) == {1: False}
    assert await async_client().dbsize() == 0


async def test_pages_ask_without_any_socket_being_open(transactional_db: None, settings: Settings) -> None:
    settings.PRESENCE_TTL = timedelta(milliseconds=100)
    await presence.renew([connection_key(1, "first")])

    assert await sync_to_async(presence.is_online)([1, 2]) == {1: True, 2: False}
    await asyncio.sleep(0.15)
    assert await sync_to_async(presence.is_online)([1, 2]) == {1: False, 2: False}


async def test_many_who_come_at_once_are_told_of_together(transactional_db: None) -> None:
    seen: dict[int, bool | None] = {}
    watch = PresenceWatch(seen.__setitem__)
    people = range(1, 51)
    await async_client().config_resetstat()

    async def come(user_id: int) -> None:
        await watch.join(connection_key(user_id, "a tab"))
        await watch.look_at([user_id, user_id + 1])

    await asyncio.gather(*(come(user_id) for user_id in people))

    assert [seen[user_id] for user_id in people] == [True] * 50
    assert seen[51] is False
    assert await calls_of("eval", "publish", "hmget") == [1, 1, 1]


async def test_who_comes_while_redis_is_asked_is_asked_for_next(transactional_db: None) -> None:
    seen: dict[int, bool | None] = {}
    watch = PresenceWatch(seen.__setitem__)
    await presence.renew([connection_key(user_id, "elsewhere") for user_id in (1, 2, 3)])
    await async_client().config_resetstat()

    first = asyncio.create_task(watch.look_at([1]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # Now Redis is asked for the first.
    watch.look_soon([2])
    await watch.look_at([3])

    assert seen == {1: True, 2: True, 3: True}
    assert await calls_of("hmget") == [2]
    await first


async def calls_of(*commands: str) -> list[int]:
    """How often Redis was called with each since its statistics were reset."""
    called = await async_client().info("commandstats")
    return [called[f"cmdstat_{command}"]["calls"] for command in commands]
