"""A browser's socket over TLS, to a server that is another process."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from bench.people import Person
from messaging import protocol
from tests.live_server import LiveServer
from tests.resilience.site import Site

F = TypeVar("F", bound=protocol.ServerFrame)
ANSWER_SECONDS = 15.0


class Browser:
    """``async with Browser(site, server, person) as browser``: after its welcome."""

    def __init__(self, site: Site, server: LiveServer, person: Person, *, port: int | None = None) -> None:
        self._connecting = connect(
            f"wss://localhost:{port or server.port}/ws/",
            ssl=site.tls,
            origin=Origin(site.origin),
            additional_headers={"Cookie": person.cookie},
            max_size=None,
        )
        self.socket: ClientConnection
        self.welcome: protocol.Welcome

    async def __aenter__(self) -> Browser:
        self.socket = await self._connecting
        self.welcome = await self.next(protocol.Welcome)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.socket.close()

    async def send(self, frame: protocol.ClientFrame) -> None:
        await self.socket.send(protocol.encode(frame))

    async def next(self, kind: type[F], seconds: float = ANSWER_SECONDS) -> F:
        async with asyncio.timeout(seconds):
            while True:
                frame = protocol.decode_server_frame(await self.socket.recv(decode=True))
                if isinstance(frame, kind):
                    return frame

    async def ask(self, frame: protocol.ClientFrame, kind: type[F]) -> F:
        """The answer to this frame, which must be of that kind."""
        await self.send(frame)
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                answer = protocol.decode_server_frame(await self.socket.recv(decode=True))
                if getattr(answer, "ref", None) == frame.ref:
                    assert isinstance(answer, kind), answer
                    return answer
