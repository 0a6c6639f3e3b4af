"""A TLS proxy that writes down, in clear, everything the server under test receives.

It ends the browser's TLS with the server's own certificate, opens a TLS connection to the server, and records what
passes towards the server: HTTP as it is, WebSocket frames unmasked (RFC 6455 section 5.3). Permessage compression is
taken out of the handshake, so that the record can be searched.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from pathlib import Path


class RecordingProxy:
    """Listens on ``port`` in a thread of its own; ``received`` grows while it runs."""

    def __init__(self, *, port: int, server_port: int, certificate: Path, key: Path) -> None:
        self.received = bytearray()
        self._port, self._server_port = port, server_port
        self._certificate, self._key = certificate, key
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._server: asyncio.Server | None = None
        self._cut = False
        self._writers: set[asyncio.StreamWriter] = set()

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def cut(self) -> None:
        """Closes every connection and refuses new ones: the network is gone."""
        self._cut = True
        self._loop.call_soon_threadsafe(self._close_all)

    def mend(self) -> None:
        self._cut = False

    def _close_all(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate, self._key)
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", self._port, ssl=context)
        )
        self._ready.set()
        self._loop.run_forever()
        self._server.close()
        self._close_all()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        """Lets every connection end before its loop does."""
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0.1)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            upstream, downstream = await asyncio.open_connection("127.0.0.1", self._server_port, ssl=context)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, downstream}
        try:
            await asyncio.gather(
                self._towards_server(reader, downstream), self._towards_browser(upstream, writer)
            )
        except (OSError, asyncio.CancelledError):
            pass  # Cut by a test, or the end of the proxy.
        finally:
            self._writers -= {writer, downstream}
            for side in (writer, downstream):
                side.transport.abort()

    async def _towards_browser(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    async def _towards_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        unmask: _Unmasker | None = None
        while data := await reader.read(65_536):
            if unmask is None:
                if b"\r\nUpgrade: websocket\r\n" in data:
                    head, separator, rest = data.partition(b"\r\n\r\n")
                    lines = [
                        line
                        for line in head.split(b"\r\n")
                        if not line.lower().startswith(b"sec-websocket-extensions")
                    ]
                    data, unmask = b"\r\n".join(lines) + separator + rest, _Unmasker()
                    self.received += data
                else:
                    self.received += data
            else:
                self.received += unmask.feed(data)
            writer.write(data)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        writer.transport.abort()


class _Unmasker:
    """Takes the bytes of masked frames and gives their payloads."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bytes:
        self._buffer += data
        out = bytearray()
        while (frame := self._next_frame()) is not None:
            out += frame + b"\n"
        return bytes(out)

    def _next_frame(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, at = buffer[1] & 0x7F, 2
        extended = {126: 2, 127: 8}.get(length, 0)
        if extended:
            length, at = int.from_bytes(buffer[at : at + extended], "big"), at + extended
        if len(buffer) < at + 4 + length:
            return None
        mask = buffer[at : at + 4]
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(buffer[at + 4 : at + 4 + length]))
        del buffer[: at + 4 + length]
        return payload
