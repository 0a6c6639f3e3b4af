"""The socket of docs/protocol.md section 7: requests that find their answers, and events that come by themselves."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

MAX_FRAME_BYTES = 131_072
ANSWER_SECONDS = 30
PING_SECONDS = 20
Frame = dict[str, Any]


class SocketRefused(Exception):
    """A ``refused`` frame."""

    def __init__(self, code: str, retry_after: int | None) -> None:
        super().__init__(code)
        self.code, self.retry_after = code, retry_after


class SocketClosed(Exception):
    """The connection is gone; ``code`` is the close code, None when there was none."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Socket:
    """One connection. ``events`` holds, in order, every frame that no request asked for."""

    def __init__(self, connection: ClientConnection) -> None:
        self.events: asyncio.Queue[Frame] = asyncio.Queue()
        self._connection = connection
        self._waiting: dict[int, asyncio.Future[Frame]] = {}
        self._last_ref = 0
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(
        cls,
        origin: str,
        *,
        cookie: str,
        tls: ssl.SSLContext,
        at: str | None = None,
        ping_seconds: float = PING_SECONDS,
    ) -> Socket:
        """``at`` is where that origin is reached, if not under its own address."""
        connection = await connect(
            (at or origin).replace("https://", "wss://", 1) + "/ws/",
            ssl=tls,
            origin=Origin(origin),
            additional_headers={"Cookie": cookie},
            max_size=MAX_FRAME_BYTES,
            proxy=None,
            ping_interval=ping_seconds,
            ping_timeout=ping_seconds,
        )
        return cls(connection)

    async def request(self, type_: str, **fields: Any) -> Frame:
        """The answer. Raises ``SocketRefused``, ``SocketClosed`` or ``TimeoutError``."""
        return await asyncio.wait_for(await self.post(type_, **fields), ANSWER_SECONDS)

    async def post(self, type_: str, **fields: Any) -> asyncio.Future[Frame]:
        """Sent; the answer is to come, or ``SocketRefused`` or ``SocketClosed``."""
        self._last_ref += 1
        ref = self._last_ref
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[ref] = answer
        answer.add_done_callback(lambda _: self._waiting.pop(ref, None))
        try:
            await self._connection.send(json.dumps({"type": type_, "ref": ref, **fields}))
        except ConnectionClosed:
            answer.cancel()
            raise SocketClosed(self._connection.close_code) from None
        return answer

    async def next_event(self, type_: str, *, seconds: float = ANSWER_SECONDS) -> Frame:
        """The next event of that type; others before it are dropped."""
        async with asyncio.timeout(seconds):
            while True:
                event = await self.events.get()
                if event["type"] == type_:
                    return event

    async def closed(self) -> int | None:
        """Waits until the connection is gone, however that comes; its close code."""
        await asyncio.wait([self._reader])
        return self._connection.close_code

    async def drop(self) -> None:
        """Without a goodbye, for a peer that may not answer one."""
        self._connection.transport.abort()
        await self.closed()

    async def close(self) -> None:
        await self._connection.close()
        with suppress(asyncio.CancelledError):
            await self._reader

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            async for text in self._connection:
                self._take(json.loads(text))
        for answer in list(self._waiting.values()):
            if not answer.done():
                answer.set_exception(SocketClosed(self._connection.close_code))

    def _take(self, frame: Frame) -> None:
        answer = self._waiting.get(frame.get("ref") or 0)
        if answer is None or answer.done():
            self.events.put_nowait(frame)
        elif frame["type"] == "refused":
            answer.set_exception(SocketRefused(frame["code"], frame["retry_after"]))
        else:
            answer.set_result(frame)
