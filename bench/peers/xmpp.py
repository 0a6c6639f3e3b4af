"""The load for an XMPP server, and what such servers have in common.

Clients speak XMPP straight over TLS (XEP-0368), as XMPP's own programs do: its other way, WebSocket (RFC 7395), costs a
server a second parser for each message. The text is what our envelope is on the wire: 1 kB in base64.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.load import Broken, Line, Pair
from bench.servers import ENVELOPE_BYTES, Program

DOMAIN = "localhost"
PASSWORD = "only-for-measurements"
_OPEN = (
    f"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='{DOMAIN}' "
    "version='1.0'>"
).encode()
_FEATURES = re.compile(rb"</stream:features>")
_END = b"</message>"
_BODY = re.compile(rb"<body>#(\d+) ")
_ANSWER_SECONDS = 30.0


def name_of(person: int) -> str:
    return f"person{person}"


class XMPPLine(Line):
    """Signed in and available, so that messages to its person come here."""

    def __init__(self, person: int, *, port: int, tls: ssl.SSLContext) -> None:
        super().__init__(DOMAIN, port, tls)
        self._socket.setblocking(False)
        secret = base64.b64encode(f"\0{name_of(person)}\0{PASSWORD}".encode()).decode()
        auth = f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>"
        bind = (
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
            "<resource>bench</resource></bind></iq>"
        )
        self._ask(_OPEN, _FEATURES)
        self._ask(auth.encode(), re.compile(rb"<success[^>]*>"))
        self._ask(_OPEN, _FEATURES)
        self._ask(bind.encode(), re.compile(rb"<iq [^>]*type='result'.*?</iq>", re.DOTALL))
        self._ask(b"<presence/>", re.compile(rb"<presence [^>]*?(/>|>.*?</presence>)", re.DOTALL))

    def _ask(self, text: bytes, answer: re.Pattern[bytes]) -> None:
        self.send(text)
        deadline = time.monotonic() + _ANSWER_SECONDS
        while time.monotonic() < deadline:
            self.wait(0.1)
            self._receive()
            if found := answer.search(self._data):
                del self._data[: found.end()]
                return
        raise Broken(f"{bytes(self._data[:300])!r} came instead of {answer.pattern!r}.")

    def _texts(self) -> Iterator[bytes]:
        """Only messages may come; an error is one whose type says so."""
        data, start = self._data, 0
        while (end := data.find(_END, start)) >= 0:
            text = bytes(data[start : end + len(_END)])
            start = end + len(_END)
            if not text.startswith(b"<message ") or b"type='error'" in text:
                raise Broken(text[:300].decode())
            yield text
        del data[:start]


def message_number(text: bytes) -> int | None:
    found = _BODY.search(text)
    return int(found[1]) if found else None


def _message(to: int, n: int) -> bytes:
    body = base64.b64encode(os.urandom(ENVELOPE_BYTES)).decode()
    return f"<message to='{name_of(to)}@{DOMAIN}' type='chat' id='{n}'><body>#{n} {body}</body></message>".encode()


@dataclass
class XMPPServer(Program):
    """People 2k and 2k + 1 are a pair. ``people`` is how many have an account."""

    people: int = 100

    def _fresh_home(self) -> Path:
        """For each start, so that no round finds the archive of the one before."""
        return Path(tempfile.mkdtemp(dir=self.directory))

    def pairs(self, count: int, messages: int) -> list[Pair]:
        return [self._pair(2 * index, 2 * index + 1, messages) for index in range(count)]

    def _pair(self, sender: int, receiver: int, messages: int) -> Pair:
        frames = [_message(receiver, n) for n in range(1, messages + 1)]
        return Pair(self._line(sender), self._line(receiver), frames, message_number)

    def _line(self, person: int) -> XMPPLine:
        return XMPPLine(person, port=self._port, tls=self.chat.tls)
