"""A TCP proxy that, when told to, takes everything and passes nothing on: a peer that vanished without a word."""

from __future__ import annotations

import asyncio
from types import TracebackType


class BlackHole:
    """``async with BlackHole(port) as proxy``; both sides see an open connection until ``proxy`` is left."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._passes_on = True
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> BlackHole:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    def swallow(self) -> None:
        self._passes_on = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        self._tasks |= {
            asyncio.create_task(self._pass(reader, far_writer)),
            asyncio.create_task(self._pass(far_reader, writer)),
        }

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                if self._passes_on:
                    writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()
