"""A browser's socket in the tests, through the whole ASGI application: origin, session, consumer, hub, database."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.test import Client

from messaging import protocol
from securechat.asgi import application
from securechat.serving import TAKE_AT_ONCE

F = TypeVar("F", bound=protocol.ServerFrame)
ANSWER_SECONDS = 8.0
QUIET_SECONDS = 0.4


class Socket:
    """``async with Socket(client) as socket``; ``next`` gives the next frame of a kind and leaves out what it is not.

    What the launcher offers a socket, it offers too, unless ``takes_at_once`` is false.
    """

    takes_at_once = True

    def __init__(self, client: Client, *, origin: str = settings.PUBLIC_ORIGIN) -> None:
        cookie = client.cookies.get(settings.SESSION_COOKIE_NAME)
        headers = [(b"origin", origin.encode())]
        if cookie is not None:
            headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie.value}".encode()))
        self._communicator = WebsocketCommunicator(application, "/ws/", headers=headers)
        self._take: Callable[[bytes], bool] | None = None
        self.taken_at_once = 0
        if self.takes_at_once:
            offered: dict[str, Any] = {TAKE_AT_ONCE: partial(setattr, self, "_take")}
            self._communicator.scope["extensions"] = offered
        self.welcome: protocol.Welcome | None = None

    async def __aenter__(self) -> Socket:
        connected, _ = await self._communicator.connect(timeout=ANSWER_SECONDS)
        assert connected
        self.welcome = await self.next(protocol.Welcome)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    async def connect(self) -> None:
        """Only the handshake: for those who get no welcome."""
        connected, _ = await self._communicator.connect(timeout=ANSWER_SECONDS)
        assert connected

    async def leave(self) -> None:
        await self._communicator.disconnect(timeout=ANSWER_SECONDS)

    async def send(self, frame: protocol.ClientFrame) -> None:
        await self.send_text(protocol.encode(frame))

    async def send_json(self, frame: Any) -> None:
        await self.send_text(json.dumps(frame))

    async def send_text(self, text: str) -> None:
        if self._take is not None and self._communicator.input_queue.empty() and self._take(text.encode()):
            self.taken_at_once += 1
            return
        await self._communicator.send_input({"type": "websocket.receive", "text": text})

    async def send_bytes(self, data: bytes) -> None:
        await self._communicator.send_input({"type": "websocket.receive", "bytes": data})

    async def receive(self, seconds: float = ANSWER_SECONDS) -> protocol.ServerFrame:
        message = await self._communicator.receive_output(timeout=seconds)
        assert message["type"] == "websocket.send", message
        return protocol.decode_server_frame(message["text"])

    async def next(self, kind: type[F], seconds: float = ANSWER_SECONDS) -> F:
        async with asyncio.timeout(seconds):
            while True:
                frame = await self.receive(seconds)
                if isinstance(frame, kind):
                    return frame

    async def ask(self, frame: protocol.ClientFrame, kind: type[F]) -> F:
        """The answer to this frame, which must be of that kind."""
        await self.send(frame)
        while True:
            answer = await self.receive()
            if getattr(answer, "ref", None) == frame.ref:
                assert isinstance(answer, kind), answer
                return answer

    async def refusal_of(self, frame: protocol.ClientFrame) -> str:
        return (await self.ask(frame, protocol.Refused)).code

    async def closed_with(self, seconds: float = ANSWER_SECONDS) -> int:
        async with asyncio.timeout(seconds):
            while True:
                message = await self._communicator.receive_output(timeout=seconds)
                if message["type"] == "websocket.close":
                    return int(message["code"])

    async def hears_nothing(self, kind: type[protocol.ServerFrame], seconds: float = QUIET_SECONDS) -> bool:
        """Whether no such frame comes within that time. (A ``receive`` that times out would end the application.)"""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            is_quiet = await self._communicator.receive_nothing(timeout=left, interval=0.02)
            if not is_quiet and isinstance(await self.receive(), kind):
                return False
        return True
