"""A server that lies: the real one behind a TLS proxy that reads, changes, holds back and invents what passes.

It is what a hostile operator can do with everything but the browser's own program. WebSocket frames are read as text
(RFC 6455 section 5), JSON answers of ``/api/`` as a whole; all else passes as it is.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

Frame = dict[str, Any]
_TEXT, _CLOSE = 0x1, 0x8
_LIMIT = 2**22


class Lies:
    """What the server makes of what passes. This one is honest; each attack says otherwise in one place or two."""

    def to_browser(self, name: str, frame: Frame) -> list[Frame]:
        """What the browser of ``name`` is sent instead of ``frame``."""
        return [frame]

    def to_server(self, name: str, frame: Frame, tell: Callable[[Frame], None]) -> list[Frame]:
        """What the server gets instead; ``tell`` answers the browser in the server's place."""
        return [frame]

    def answer(self, path: str, body: Any) -> Any:
        """What a JSON answer of 2xx to ``path`` tells a browser instead; other clients are told the truth."""
        return body


class HostileServer:
    """Listens on ``port`` in a thread of its own. ``lies`` are told to whom they name, and may change any time."""

    def __init__(self, *, port: int, server_port: int, certificate: Path, key: Path) -> None:
        self.lies: dict[str, Lies] = {}
        self.answers = Lies()
        self.problems: list[str] = []
        self._port, self._server_port = port, server_port
        self._certificate, self._key = certificate, key
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._sockets: dict[str, list[_Tunnel]] = {}

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def be_honest(self) -> None:
        self.lies, self.answers = {}, Lies()

    def push(self, name: str, frame: Frame) -> None:
        """A frame that the real server never sent, to every tab of ``name``."""
        for tunnel in self._sockets.get(name, []):
            self._loop.call_soon_threadsafe(tunnel.tell, frame)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate, self._key)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", self._port, ssl=context, limit=_LIMIT)
        )
        self._ready.set()
        self._loop.run_forever()
        server.close()
        rest = asyncio.all_tasks(self._loop)
        for task in rest:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            upstream, downstream = await asyncio.open_connection(
                "127.0.0.1", self._server_port, ssl=context, limit=_LIMIT
            )
            try:
                if b"\r\nUpgrade: websocket" in head:
                    downstream.write(_without(head, b"sec-websocket-extensions"))
                    writer.write(await upstream.readuntil(b"\r\n\r\n"))
                    await _Tunnel(self, reader, writer, upstream, downstream).run()
                else:
                    await self._exchange(head, reader, writer, upstream, downstream)
            finally:
                downstream.transport.abort()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # Somebody left.
        finally:
            writer.transport.abort()

    async def _exchange(
        self,
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: asyncio.StreamReader,
        downstream: asyncio.StreamWriter,
    ) -> None:
        """One request and its answer; the connection ends with it."""
        body = await reader.readexactly(int(_field(head, b"content-length") or 0))
        plain = _without(_without(head, b"connection"), b"accept-encoding")
        downstream.write(plain[:-2] + b"Connection: close\r\n\r\n" + body)
        answer_head = await upstream.readuntil(b"\r\n\r\n")
        answer = await upstream.read(-1)
        path = head.split(b" ", 2)[1].decode().split("?")[0]
        is_for_browser = b"Mozilla" in (_field(head, b"user-agent") or b"")
        if is_for_browser and path.startswith("/api/") and answer_head.split(b" ", 2)[1].startswith(b"2"):
            answer = json.dumps(self._answered(path, json.loads(answer))).encode()
            answer_head = _without(answer_head, b"content-length")[:-2]
            answer_head += f"Content-Length: {len(answer)}\r\n\r\n".encode()
        writer.write(answer_head + answer)
        await writer.drain()

    def _answered(self, path: str, honest: Any) -> Any:
        try:
            return self.answers.answer(path, honest)
        except Exception as error:
            self.problems.append(repr(error))
            return honest

    def joined(self, name: str, tunnel: _Tunnel) -> None:
        self._sockets.setdefault(name, []).append(tunnel)

    def left(self, name: str, tunnel: _Tunnel) -> None:
        if tunnel in self._sockets.get(name, []):
            self._sockets[name].remove(tunnel)


class _Tunnel:
    """One socket; knows whose it is from the server's welcome."""

    def __init__(
        self,
        server: HostileServer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: asyncio.StreamReader,
        downstream: asyncio.StreamWriter,
    ) -> None:
        self._server, self._name = server, ""
        self._reader, self._writer = reader, writer
        self._upstream, self._downstream = upstream, downstream

    def tell(self, frame: Frame) -> None:
        self._writer.write(_encode(_TEXT, json.dumps(frame).encode(), masked=False))

    async def run(self) -> None:
        both = [asyncio.ensure_future(self._from_server()), asyncio.ensure_future(self._from_browser())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            self._server.left(self._name, self)

    async def _from_server(self) -> None:
        while True:
            opcode, payload = await _read_frame(self._upstream)
            if opcode != _TEXT:
                self._writer.write(_encode(opcode, payload, masked=False))
                continue
            frame = json.loads(payload)
            if frame["type"] == "welcome":
                self._name = frame["name"]
                self._server.joined(self._name, self)
            for told in self._safely(partial(self._lies().to_browser, self._name, frame), frame):
                self.tell(told)

    async def _from_browser(self) -> None:
        while True:
            opcode, payload = await _read_frame(self._reader)
            if opcode != _TEXT:
                self._downstream.write(_encode(opcode, payload, masked=True))
                continue
            frame = json.loads(payload)
            for one in self._safely(partial(self._lies().to_server, self._name, frame, self.tell), frame):
                self._downstream.write(_encode(_TEXT, json.dumps(one).encode(), masked=True))

    def _lies(self) -> Lies:
        return self._server.lies.get(self._name, Lies())

    def _safely(self, lie: Callable[[], list[Frame]], honest: Frame) -> list[Frame]:
        """A lie with a mistake in it must fail its test, not look like a quiet network."""
        try:
            return lie()
        except Exception as error:
            self._server.problems.append(repr(error))
            return [honest]


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length >= 126:
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
    mask = await reader.readexactly(4) if second & 0x80 else bytes(4)
    payload = await reader.readexactly(length)
    if any(mask):
        key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
        payload = (int.from_bytes(payload, "big") ^ key).to_bytes(length, "big")
    return first & 0x0F, payload


def _encode(opcode: int, payload: bytes, *, masked: bool) -> bytes:
    length, mask_bit = len(payload), 0x80 if masked else 0
    if length < 126:
        head = bytes([0x80 | opcode, mask_bit | length])
    elif length < 2**16:
        head = bytes([0x80 | opcode, mask_bit | 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([0x80 | opcode, mask_bit | 127]) + length.to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload


def _field(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return None


def _without(head: bytes, name: bytes) -> bytes:
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(name + b":")]
    return b"\r\n".join(lines)
