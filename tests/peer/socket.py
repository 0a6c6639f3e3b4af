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
    async def open(cls, origin: str, *, cookie: str, tls: ssl.SSLContext) -> Socket:
        connection = await connect(
            origin.replace("https://", "wss://", 1) + "/ws/",
            ssl=tls,
            origin=Origin(origin),
            additional_headers={"Cookie": cookie},
            max_size=MAX_FRAME_BYTES,
            proxy=None,
        )
        return cls(connection)

    async def request(self, type_: str, **fields: Any) -> Frame:
        """The answer. Raises ``SocketRefused``, ``SocketClosed`` or ``TimeoutError``."""
        self._last_ref += 1
        ref = self._last_ref
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[ref] = answer
        try:
            await self._connection.send(json.dumps({"type": type_, "ref": ref, **fields}))
            return await asyncio.wait_for(answer, ANSWER_SECONDS)
        except ConnectionClosed:
            raise SocketClosed(self._connection.close_code) from None
        finally:
            self._waiting.pop(ref, None)

    async def next_event(self, type_: str, *, seconds: float = ANSWER_SECONDS) -> Frame:
        """The next event of that type; others before it are dropped."""
        async with asyncio.timeout(seconds):
            while True:
                event = await self.events.get()
                if event["type"] == type_:
                    return event

    async def close(self) -> None:
        await self._connection.close()
        with suppress(asyncio.CancelledError):
            await self._reader

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            async for text in self._connection:
                self._take(json.loads(text))
        for answer in self._waiting.values():
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
