"""Redis stopped, frozen, started again, or never there: two processes on one database, and people on both of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from http.client import HTTPSConnection

import pytest

from messaging import protocol
from tests.resilience.browser import Browser
from tests.resilience.site import Site, tab

# A process notices within a sweep and REDIS_TIMEOUT (2.25 s), and then asks the database each second.
LATE_SECONDS = 4.0
BUSY_SECONDS = 3.0  # What a test machine may take besides.
CSRF = "a" * 32


@contextmanager
def stopped(site: Site) -> Iterator[None]:
    site.stop_valkey()
    yield
    site.start_valkey()


HOW = pytest.mark.parametrize("away", [stopped, Site.frozen_valkey], ids=["stopped", "frozen"])
Away = Callable[[Site], AbstractContextManager[None]]


def post(site: Site, path: str, body: str, cookie: str = "") -> tuple[int, float]:
    """Status and seconds."""
    began = time.monotonic()
    headers = {
        "Host": site.origin.removeprefix("https://"),
        "Origin": site.origin,
        "Cookie": f"__Host-csrf={CSRF}; {cookie}",
        "X-CSRFToken": CSRF,
        "Content-Type": "application/json" if body.startswith("{") else "application/x-www-form-urlencoded",
    }
    with closing(
        HTTPSConnection("localhost", site.servers[0].port, context=site.tls, timeout=20)
    ) as connection:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, time.monotonic() - began


def limited(site: Site) -> tuple[int, float]:
    """Asks Redis how often this address asked."""
    return post(site, "/api/log-in-parameters/", '{"username": "nobody"}')


def befriend(site: Site, first: str, second: str) -> None:
    """In a process of its own."""
    site.servers[0].manage(
        "shell",
        "-c",
        f"""
from accounts.models import User
from friends import services
for sender, friend in (({first!r}, {second!r}), ({second!r}, {first!r})):
    services.request_friendship(sender=User.objects.get(username=sender), username=friend)
""",
    )


@HOW
async def test_people_on_two_processes_go_on_talking(fresh_site: Site, away: Away) -> None:
    site = fresh_site
    friends = await asyncio.to_thread(site.friends)
    alice_writes, bob_writes = (
        tab(friends.first, friends.conversation),
        tab(friends.second, friends.conversation),
    )
    async with (
        Browser(site, site.servers[0], friends.first) as alice,
        Browser(site, site.servers[1], friends.second) as bob,
    ):
        await alice.ask(alice_writes.append(), protocol.EpochAppended)
        await alice.ask(alice_writes.send(2), protocol.EnvelopeStored)
        assert (await bob.next(protocol.EnvelopeNew)).row.n == 1

        with away(site):
            began = time.monotonic()
            for ref in range(3, 8):
                await alice.ask(alice_writes.send(ref), protocol.EnvelopeStored)
            heard = [(await bob.next(protocol.EnvelopeNew)).row.n for _ in range(5)]
            assert time.monotonic() - began < LATE_SECONDS + BUSY_SECONDS

            began = time.monotonic()
            await bob.ask(bob_writes.send(8), protocol.EnvelopeStored)
            assert (await alice.next(protocol.EnvelopeNew)).row.n == 7
            assert time.monotonic() - began < 1 + BUSY_SECONDS  # It is known by now.

        await alice.ask(alice_writes.send(9), protocol.EnvelopeStored)
        while (await bob.next(protocol.EnvelopeNew)).row.n != 8:
            pass  # A frozen Redis rings what it was told to when it thaws.

    assert heard == [2, 3, 4, 5, 6]
    assert "Traceback" not in site.log


@HOW
async def test_a_friendship_made_by_another_process_is_told(fresh_site: Site, away: Away) -> None:
    site = fresh_site
    some, others = await asyncio.to_thread(site.friends), await asyncio.to_thread(site.friends)
    async with (
        Browser(site, site.servers[1], some.first) as alice,
        Browser(site, site.servers[1], others.first) as bob,
    ):
        with away(site):
            await asyncio.to_thread(befriend, site, alice.welcome.name, bob.welcome.name)

            told = await alice.next(protocol.ConversationChanged)

        assert (told.summary.peer, told.summary.open) == (bob.welcome.name, True)


@HOW
def test_pages_wait_for_redis_once_and_not_each(fresh_site: Site, away: Away) -> None:
    site = fresh_site
    with away(site):
        first = limited(site)
        later = []
        for _ in range(12):
            later.append(limited(site))
            time.sleep(0.3)  # Over several of the moments in which it is asked whether it is back.

    assert [status for status, _ in (first, *later)] == [200] * 13
    assert first[1] < 2 + BUSY_SECONDS
    assert max(seconds for _, seconds in later) < 1.5
    assert "Traceback" not in site.log
    assert site.log.count("Redis is away") == 1


@HOW
async def test_nobody_is_shown_as_offline_because_redis_was_away(fresh_site: Site, away: Away) -> None:
    site = fresh_site
    friends = await asyncio.to_thread(site.friends)
    async with (
        Browser(site, site.servers[0], friends.first) as alice,
        Browser(site, site.servers[1], friends.second),
    ):
        assert (await alice.next(protocol.Presence)).online is True
        with away(site):
            assert (await alice.next(protocol.Presence)).online is None
        assert (await alice.next(protocol.Presence)).online is True


async def test_a_redis_that_was_never_there(site_without_redis: Site) -> None:
    site = site_without_redis
    friends = await asyncio.to_thread(site.friends)
    writes = tab(friends.first, friends.conversation)
    async with (
        Browser(site, site.servers[0], friends.first) as alice,
        Browser(site, site.servers[1], friends.second) as bob,
    ):
        assert [item.online for item in bob.welcome.presence] == [None]
        await alice.ask(writes.append(), protocol.EpochAppended)
        began = time.monotonic()
        await alice.ask(writes.send(2), protocol.EnvelopeStored)

        assert (await bob.next(protocol.EnvelopeNew)).row.n == 1
        assert time.monotonic() - began < LATE_SECONDS + BUSY_SECONDS

    assert "Traceback" not in site.log
