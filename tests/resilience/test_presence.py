"""How soon a friend on another process is shown as offline, whatever happened. Arithmetic: docs/architecture.md, Presence."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.people import Friends
from messaging import protocol
from tests.live_server import ROOT
from tests.resilience.black_hole import BlackHole
from tests.resilience.browser import Browser
from tests.resilience.site import Site

CLOSED_TAB_SECONDS = 2.0
DEAD_PEER_SECONDS = 12.0
KILLED_SERVER_SECONDS = 15.0
SIGTERM_SECONDS = 2.0
BUSY_SECONDS = 1.0  # What a test machine may take besides.


@pytest.fixture
def friends(site: Site) -> Friends:
    return site.friends()


@contextmanager
def other_process(site: Site, friends: Friends) -> Iterator[subprocess.Popen[str]]:
    """Bob's browser, connected."""
    url = f"wss://localhost:{site.servers[1].port}/ws/"
    arguments = [url, site.origin, friends.second.cookie, str(site.servers[0].ca_file)]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.resilience.person", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as browser:
        try:
            assert browser.stdout is not None
            assert browser.stdout.readline() == "connected\n"
            yield browser
        finally:
            browser.kill()


async def seconds_until_offline(alice: Browser, at_most: float) -> float:
    began = time.monotonic()
    told = await alice.next(protocol.Presence, at_most + BUSY_SECONDS)
    assert told.online is False
    return time.monotonic() - began


async def test_a_closed_tab(site: Site, friends: Friends) -> None:
    async with (
        Browser(site, site.servers[0], friends.first) as alice,
        Browser(site, site.servers[1], friends.second) as bob,
    ):
        assert (await alice.next(protocol.Presence)).online is True
        await bob.socket.close()

        assert await seconds_until_offline(alice, CLOSED_TAB_SECONDS) > 1  # The grace of a reload.


async def test_a_killed_browser(site: Site, friends: Friends) -> None:
    async with Browser(site, site.servers[0], friends.first) as alice:
        with other_process(site, friends) as bob:
            assert (await alice.next(protocol.Presence)).online is True
            bob.kill()

            await seconds_until_offline(alice, CLOSED_TAB_SECONDS)


async def test_a_frozen_browser(site: Site, friends: Friends) -> None:
    async with Browser(site, site.servers[0], friends.first) as alice:
        with other_process(site, friends) as bob:
            assert (await alice.next(protocol.Presence)).online is True
            bob.send_signal(signal.SIGSTOP)

            await seconds_until_offline(alice, DEAD_PEER_SECONDS)


async def test_a_peer_whose_network_swallows_everything(site: Site, friends: Friends) -> None:
    async with (
        Browser(site, site.servers[0], friends.first) as alice,
        BlackHole(site.servers[1].port) as proxy,
        Browser(site, site.servers[1], friends.second, port=proxy.port),
    ):
        assert (await alice.next(protocol.Presence)).online is True
        await asyncio.sleep(4)  # Just before a ping is due, so that all of the interval is waited for.
        proxy.swallow()

        await seconds_until_offline(alice, DEAD_PEER_SECONDS)


async def test_a_killed_server(site: Site, friends: Friends) -> None:
    async with Browser(site, site.servers[0], friends.first) as alice:
        with other_process(site, friends):
            assert (await alice.next(protocol.Presence)).online is True
            await asyncio.to_thread(site.servers[1].kill)

            await seconds_until_offline(alice, KILLED_SERVER_SECONDS)


async def test_a_server_that_is_told_to_stop(site: Site, friends: Friends) -> None:
    async with Browser(site, site.servers[0], friends.first) as alice:
        with other_process(site, friends):
            assert (await alice.next(protocol.Presence)).online is True
            os.kill(site.servers[1].pid, signal.SIGTERM)

            await seconds_until_offline(alice, SIGTERM_SECONDS)


async def test_a_server_that_is_told_to_stop_while_its_peers_answer_nothing(
    site: Site, friends: Friends
) -> None:
    async with Browser(site, site.servers[0], friends.first) as alice:
        with other_process(site, friends) as bob:
            assert (await alice.next(protocol.Presence)).online is True
            bob.send_signal(signal.SIGSTOP)
            os.kill(site.servers[1].pid, signal.SIGTERM)

            await seconds_until_offline(alice, SIGTERM_SECONDS)


def test_no_ghosts_after_crash_cycles() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.crash_cycles", "--cycles", "40", "--ttl-seconds", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
