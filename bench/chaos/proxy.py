"""A TCP proxy that misbehaves on request: it cuts, stalls and swallows the connections that go through it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

_READ_BYTES = 65_536


@dataclass(eq=False)
class _Link:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    flows: asyncio.Event = field(default_factory=asyncio.Event)
    swallows: bool = False
    cut_in_next: bool = False

    def cut(self) -> None:
        """With a reset: neither side hears a goodbye of TLS or WebSocket."""
        for writer in (self.client, self.server):
            writer.transport.abort()


class Proxy:
    """From a port of this machine to a server, in a thread of its own. Faults hit each connection with ``share`` as chance."""

    def __init__(self, listen_port: int, target_port: int, target_host: str = "127.0.0.1") -> None:
        self.port = listen_port
        self._target = (target_host, target_port)
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def start(self) -> None:
        """At most once."""
        self._thread.start()
        begun = asyncio.start_server(self._connected, "127.0.0.1", self.port, backlog=512)
        self._server = asyncio.run_coroutine_threadsafe(begun, self._loop).result()

    def stop(self) -> None:
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def cut(self, random: Random, share: float) -> None:
        """Half of them at once, half in the middle of the next piece that goes through."""

        def act(link: _Link) -> None:
            if random.random() < 0.5:
                link.cut()
            else:
                link.cut_in_next = True

        self._hit(random, share, act)

    def stall(self, random: Random, share: float, seconds: float) -> None:
        """Nothing goes through meanwhile, in either direction; then everything does, also if its sender has gone."""

        def act(link: _Link) -> None:
            link.flows.clear()
            self._loop.call_later(seconds, link.flows.set)

        self._hit(random, share, act)

    def swallow(self, random: Random, share: float, seconds: float) -> None:
        """What is sent meanwhile is gone, and nobody is told; then they are cut, as no stream survives that."""

        def act(link: _Link) -> None:
            link.swallows = True
            self._loop.call_later(seconds, link.cut)

        self._hit(random, share, act)

    def _hit(self, random: Random, share: float, act: Callable[[_Link], None]) -> None:
        def run() -> None:
            for link in tuple(self._links):
                if random.random() < share:
                    act(link)

        self._loop.call_soon_threadsafe(run)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, to_server)
        link.flows.set()
        self._links.add(link)
        ways = ((reader, to_server), (from_server, writer))
        pumps = [asyncio.create_task(_pump(link, source, sink)) for source, sink in ways]
        self._tasks.update(pumps)
        try:
            await asyncio.wait(pumps)
        finally:
            self._tasks.difference_update(pumps)
            self._links.discard(link)
            for side in (writer, to_server):
                side.close()

    async def _end(self) -> None:
        self._server.close()
        for link in tuple(self._links):
            link.flows.set()
            link.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)


async def _pump(link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # The other way goes on for as long as it can: what was stalled still arrives.
        while data := await source.read(_READ_BYTES):
            await link.flows.wait()
            if link.swallows:
                continue
            if link.cut_in_next:
                sink.write(data[: len(data) // 2])
                link.cut()
                return
            sink.write(data)
            await sink.drain()
    await link.flows.wait()
    with suppress(OSError):
        if not link.swallows and not sink.is_closing():
            sink.write_eof()
