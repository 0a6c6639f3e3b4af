"""The load: sockets of one process on one epoll, spoken to in frames that were made before the clock ran.

TLS comes from the standard library; WebSocket is as little of RFC 6455 as a client needs, as it shares a machine with
what it measures. (XMPP is in bench/peers/xmpp.py.) Every delivery is looked at: what is lost, doubled or out of order ends
the run.
"""

from __future__ import annotations

import base64
import os
import re
import select
import socket
import ssl
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_READ_BYTES = 262_144
_QUIET_SECONDS = 30.0
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


class Broken(Exception):
    """A connection ended, or a message was lost, doubled or overtaken."""


class Closed(Broken):
    """The server closed the socket, and said so."""

    def __init__(self, code: int) -> None:
        super().__init__(f"Closed with {code}.")
        self.code = code


class Line(ABC):
    """One connection over TLS; opened and asked blocking, loaded without."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext) -> None:
        plain = socket.create_connection((host, port), timeout=_QUIET_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = tls.wrap_socket(plain, server_hostname=host)
        self._data = bytearray()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, frame: bytes) -> None:
        """A whole frame, made before."""
        left = memoryview(frame)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, _QUIET_SECONDS)

    def wait(self, seconds: float) -> None:
        """Until there may be something to read."""
        if not self._socket.pending():
            self._wait(select.POLLIN, seconds)

    def read(self) -> list[bytes]:
        """The texts that are here."""
        self._receive()
        return list(self._texts()) if self._data else []

    def close(self) -> None:
        self._socket.close()

    def _wait(self, what: int, seconds: float) -> None:
        """By ``poll``: ``select`` knows no file beyond the first 1,024."""
        poll = select.poll()
        poll.register(self, what)
        poll.poll(seconds * 1000)

    def _receive(self) -> None:
        try:
            while True:
                piece = self._socket.recv(_READ_BYTES)
                if not piece:
                    raise Broken("The server hung up.")
                self._data += piece
        except (ssl.SSLWantReadError, TimeoutError):
            pass

    @abstractmethod
    def _texts(self) -> Iterator[bytes]:
        """What is whole of the data, which it takes away."""


class WebSocketLine(Line):
    """Answers pings as it reads."""

    def __init__(self, url: str, *, tls: ssl.SSLContext, origin: str, cookie: str = "") -> None:
        where = urlsplit(url)
        assert where.hostname
        assert where.port
        super().__init__(where.hostname, where.port, tls)
        self._shake_hands(where.path, where.netloc, origin, cookie)

    def await_text(self, beginning: bytes) -> bytes:
        """The first text that begins so."""
        deadline = time.monotonic() + _QUIET_SECONDS
        while time.monotonic() < deadline:
            self.wait(0.1)
            for text in self.read():
                if text.startswith(beginning):
                    return text
                if text.startswith(b'{"type":"refused"'):
                    raise Broken(text.decode())
        raise Broken(f"No {beginning!r} came.")

    def ask(self, text: bytes, answer: bytes) -> bytes:
        """The first text that begins with ``answer`` from then on."""
        self.send(masked(text))
        return self.await_text(answer)

    def _shake_hands(self, path: str, host: str, origin: str, cookie: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            f"Origin: {origin}",
            *([f"Cookie: {cookie}"] if cookie else []),
        ]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self._data:
            piece = self._socket.recv(_READ_BYTES)
            if not piece:
                raise Broken("The server hung up.")
            self._data += piece
        head, _, rest = bytes(self._data).partition(b"\r\n\r\n")
        if b" 101 " not in head.partition(b"\r\n")[0]:
            raise Broken(head.decode("latin-1"))
        self._data = bytearray(rest)
        self._socket.setblocking(False)

    def _texts(self) -> Iterator[bytes]:
        data, start = self._data, 0
        while len(data) - start >= 2:
            length, begin = data[start + 1], start + 2
            if length == 126:
                length, begin = int.from_bytes(data[start + 2 : start + 4], "big"), start + 4
            elif length == 127:
                length, begin = int.from_bytes(data[start + 2 : start + 10], "big"), start + 10
            if len(data) < begin + length:
                break
            opcode = data[start] & 15
            payload = bytes(data[begin : begin + length])
            start = begin + length
            if opcode == _TEXT:
                yield payload
            elif opcode == _PING:
                self.send(masked(payload, _PONG))
            elif opcode == _CLOSE:
                raise Closed(int.from_bytes(payload[:2], "big"))
        del data[:start]


def masked(text: bytes, opcode: int = _TEXT) -> bytes:
    """A whole frame as a browser sends it."""
    mask = os.urandom(4)
    length = len(text)
    if length < 126:
        head = bytes([0x80 | opcode, 0x80 | length])
    else:
        head = bytes([0x80 | opcode, 0xFE]) + length.to_bytes(2, "big")
    stream = (mask * (length // 4 + 1))[:length]
    body = (int.from_bytes(text, "big") ^ int.from_bytes(stream, "big")).to_bytes(length, "big")
    return head + mask + body


Number = Callable[[bytes], int | None]
"""Which message of its pair a text delivers, from 1 as they were sent; None for another text."""


@dataclass
class Pair:
    sender: Line
    receiver: Line
    frames: Sequence[bytes]
    number: Number
    sent: int = 0
    delivered: int = 0
    sent_at: deque[float] = field(default_factory=deque)

    def send(self, at: float) -> None:
        self.sent_at.append(at)
        self.sender.send(self.frames[self.sent])
        self.sent += 1

    def take(self, text: bytes) -> float | None:
        """When the message that this text delivers was sent."""
        number = self.number(text)
        if number is None:
            return None
        if number != self.delivered + 1:
            raise Broken(f"Message {number} came after message {self.delivered}.")
        self.delivered = number
        return self.sent_at.popleft()


class Load:
    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = pairs
        self._epoll = select.epoll()
        self._lines: dict[int, tuple[Line, Pair | None]] = {}
        for pair in pairs:
            for line, delivers in ((pair.sender, None), (pair.receiver, pair)):
                self._lines[line.fileno()] = (line, delivers)
                self._epoll.register(line.fileno(), select.EPOLLIN)

    def saturate(self, messages: int, *, window: int, on_count: dict[int, Callable[[], None]]) -> None:
        """Each pair always has ``window`` messages under way; ``on_count`` is called at those numbers of deliveries."""
        last = [pair.sent + messages // len(self._pairs) for pair in self._pairs]
        left = dict(zip(map(id, self._pairs), last, strict=True))
        for pair in self._pairs:
            for _ in range(window):
                pair.send(0.0)
        count, total = 0, messages // len(self._pairs) * len(self._pairs)
        while count < total:
            for pair, _ in self._deliveries(_QUIET_SECONDS):
                count += 1
                if pair.sent < left[id(pair)]:
                    pair.send(0.0)
                if count in on_count:
                    on_count[count]()

    def pace(self, messages: int, *, per_second: float) -> list[float]:
        """Seconds from when each was due to its delivery, at an even pace over the pairs."""
        began = time.perf_counter() + 0.05
        due = [began + index / per_second for index in range(messages)]
        took: list[float] = []
        index, quiet_until = 0, due[-1] + _QUIET_SECONDS
        while len(took) < messages:
            now = time.perf_counter()
            if now > quiet_until:
                raise Broken("Messages are missing.")
            while index < messages and due[index] <= now:
                self._pairs[index % len(self._pairs)].send(due[index])
                index += 1
            # epoll waits whole milliseconds, and up to one too long: the last one is spent looking.
            wait = due[index] - time.perf_counter() - 0.001 if index < messages else 0.1
            for _, sent_at in self._deliveries(max(wait, 0.0), raise_when_quiet=False):
                took.append(time.perf_counter() - sent_at)
        return took

    def settle(self, seconds: float) -> None:
        """Reads what comes meanwhile, and answers pings."""
        until = time.monotonic() + seconds
        while (wait := until - time.monotonic()) > 0:
            for _ in self._deliveries(wait, raise_when_quiet=False):
                raise Broken("A message came that nobody sent.")

    def close(self) -> None:
        self._epoll.close()
        for line, _ in self._lines.values():
            line.close()

    def _deliveries(self, wait: float, *, raise_when_quiet: bool = True) -> Iterator[tuple[Pair, float]]:
        ready = self._epoll.poll(wait)
        if not ready and raise_when_quiet:
            raise Broken("Messages are missing.")
        for number, _ in ready:
            line, pair = self._lines[number]
            for text in line.read():
                if text.startswith(b'{"type":"refused"'):
                    raise Broken(text.decode())
                if pair is not None and (sent_at := pair.take(text)) is not None:
                    yield pair, sent_at


_N = re.compile(rb'"n":(\d+)')


def envelope_number(after: int) -> Number:
    """In our protocol, where the conversation had ``after`` messages before."""

    def number(text: bytes) -> int | None:
        if not text.startswith(b'{"type":"envelope.new"'):
            return None
        found = _N.search(text, 0, 200)
        assert found
        return int(found[1]) - after

    return number


def counted_number(text: bytes) -> int | None:
    """For what knows no numbers: the sender wrote it into the text."""
    found = re.search(rb"#(\d+) ", text)
    return int(found[1]) if found else None
