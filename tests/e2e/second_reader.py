"""What a conversation says to the second, independent client, which reads and checks all of it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.person import Person
from tests.live_server import LiveServer
from tests.peer.client import Peer


def texts_read_by(server: LiveServer, reader: Person, writer: Person) -> list[str]:
    """The whole conversation with ``writer`` in the order of the log."""

    async def read() -> list[str]:
        peer = Peer(server.origin, server.ca_file)
        await peer.log_in(reader.name, reader.password)
        await peer.connect()
        try:
            return [message.text for message in await peer.read(writer.name)]
        finally:
            await peer.disconnect()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, read()).result()
