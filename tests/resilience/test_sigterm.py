"""A server that is told to stop in the middle of a conversation: 1012, a quick end, and no ack without its message."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from itertools import count
from uuid import UUID

from websockets.exceptions import ConnectionClosed

from bench.people import Friends
from messaging import protocol
from tests.resilience.browser import Browser
from tests.resilience.site import Site, tab

PAIRS = 4
UNDER_WAY = 8
ACKED_BEFORE = 200
EXIT_SECONDS = 5.0
BUSY_SECONDS = 1.0  # What a test machine may take besides.


class Sender:
    """Always has ``UNDER_WAY`` messages that wait for their ack, until its socket is closed."""

    def __init__(self, browser: Browser, friends: Friends) -> None:
        self._browser = browser
        self._tab = tab(friends.first, friends.conversation)
        self._refs = count(2)
        self.sent: dict[int, UUID] = {}
        self.acked: dict[UUID, int] = {}
        self.close_code: int | None = None

    async def run(self) -> None:
        try:
            await self._browser.ask(self._tab.append(), protocol.EpochAppended)
            for _ in range(UNDER_WAY):
                await self._send()
            while True:
                stored = await self._browser.next(protocol.EnvelopeStored)
                self.acked[stored.client_id] = stored.n
                await self._send()
        except ConnectionClosed as closed:
            self.close_code = closed.rcvd.code if closed.rcvd else None

    async def _send(self) -> None:
        frame = self._tab.send(next(self._refs))
        self.sent[frame.ref] = frame.client_id
        await self._browser.send(frame)


async def stored_now(browser: Browser, friends: Friends, client_ids: list[UUID]) -> dict[UUID, int]:
    found: dict[UUID, int] = {}
    for ref, start in enumerate(range(0, len(client_ids), 50), start=1):
        some = tuple(client_ids[start : start + 50])
        frame = protocol.LookUpEnvelopes(ref=ref, conversation=UUID(friends.conversation), client_ids=some)
        answer = await browser.ask(frame, protocol.EnvelopesFound)
        found |= {item.client_id: item.n for item in answer.items}
    return found


async def test_what_was_acked_before_sigterm_is_stored(site: Site) -> None:
    pairs = [await asyncio.to_thread(site.friends) for _ in range(PAIRS)]
    server, other = site.servers
    browsers = [await Browser(site, server, friends.first).__aenter__() for friends in pairs]
    senders = [Sender(browser, friends) for browser, friends in zip(browsers, pairs, strict=True)]
    sending = asyncio.gather(*(sender.run() for sender in senders))
    async with asyncio.timeout(60):
        while not all(sender.acked for sender in senders) or (  # noqa: ASYNC110 - senders do not tell
            sum(len(sender.acked) for sender in senders) < ACKED_BEFORE
        ):
            await asyncio.sleep(0.01)

    began = time.monotonic()
    os.kill(server.pid, signal.SIGTERM)
    await sending
    exit_code = await asyncio.to_thread(server.wait)

    assert exit_code == 0
    assert time.monotonic() - began < EXIT_SECONDS + BUSY_SECONDS
    for sender, friends in zip(senders, pairs, strict=True):
        assert sender.close_code == 1012
        assert len(sender.sent) > len(sender.acked)  # Some were under way.
        async with Browser(site, other, friends.first) as browser:
            stored = await stored_now(browser, friends, list(sender.sent.values()))
        assert sender.acked.items() <= stored.items()
        assert sorted(stored.values()) == list(range(1, len(stored) + 1))
    assert "Something did not end in time" not in site.log
    assert "Traceback" not in site.log
