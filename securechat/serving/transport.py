"""Connections of the event loop, shown to Daphne's protocols as Twisted's: with TLS 1.3 by OpenSSL, or plain.

Twisted's own transports cost more for each read and write than everything that the chat does with a message, and cannot use
the faster loop's (uvloop). What Daphne, autobahn and twisted.web ask of a transport is little, and all of it is here.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from securechat.logs import refused
from securechat.serving.admission import Admission, network_of
from securechat.serving.tls import TLSContexts

logger = logging.getLogger(__name__)

_READ_BYTES = 65_536
_WRITE_BUFFER_BYTES = 65_536  # Above it the producer pauses, until nothing waits any more.
_RECORD_BYTES, _RECORD_HEAD_BYTES, _AROUND_RECORD_BYTES = 16_384, 5, 64
_LINGER = timedelta(seconds=2)  # For a peer to read the last words and hang up in its turn.


@implementer(ITCPTransport, IPushProducer)
class Transport(asyncio.Protocol):
    """One connection; ``protocol`` is whoever speaks on it now, as Daphne replaces it at an upgrade to WebSocket."""

    is_secure = False
    client: IPv4Address | IPv6Address | None = None
    """Whose connection it is, where a proxy says so; else that of the peer."""

    def __init__(self, factory: Any, admission: Admission) -> None:
        self._factory = factory
        self._admission = admission
        self._network: str | None = None
        self._producer: IPushProducer | None = None
        self._is_full = False
        self._lingering: asyncio.TimerHandle | None = None
        self.protocol: Any = None
        self.disconnecting = False
        self.drops_input = False
        """Set by a protocol that has said its last word: what still comes is read, so that the peer hears it, and costs nothing more."""

    # What the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Who is over a limit is turned away before anything else is made for them."""
        self._transport = cast(asyncio.Transport, transport)
        self._peer = self.client or _address(transport.get_extra_info("peername"))
        self._host = _address(transport.get_extra_info("sockname"))
        if self._peer is None or not self._admission.admits(network_of(self._peer.host)):
            refused("connection", "too_many")
            self._transport.abort()
            return
        self._network = network_of(self._peer.host)
        self._admission.enter(self._network)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES, low=0)
        self._begin()

    def _begin(self) -> None:
        self.protocol = self._factory.buildProtocol(self._peer)
        self._guarded(self.protocol.makeConnection, self)

    def data_received(self, data: bytes) -> None:
        if not (self.disconnecting or self.drops_input):
            self._guarded(self.protocol.dataReceived, data)

    def eof_received(self) -> None:
        """The loop then closes the connection: nobody here speaks to half of one."""

    def pause_writing(self) -> None:
        self._is_full = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resume_writing(self) -> None:
        self._is_full = False
        if self._producer is not None:
            self._producer.resumeProducing()

    def connection_lost(self, error: Exception | None) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
        if self._network is None:
            return
        self._admission.leave(self._network)
        self.disconnecting = True
        self._producer = None
        self._guarded(self.protocol.connectionLost, Failure(ConnectionLost() if error else ConnectionDone()))

    def _guarded(self, act: Callable[..., object], *arguments: object) -> None:
        """A bug in a protocol ends its connection and no other."""
        try:
            act(*arguments)
        except Exception:
            logger.exception("A connection failed.")
            self.abortConnection()

    # What Daphne's protocols ask for

    def write(self, data: bytes) -> None:
        if not self.disconnecting:
            self._transport.write(data)

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))

    def loseConnection(self) -> None:
        """After what waits is sent. What still comes is dropped until the peer hangs up, or too long."""
        if not self.disconnecting:
            self.disconnecting = True
            self._say_goodbye()
            if not self._transport.is_closing():
                self._transport.write_eof()
                self._transport.resume_reading()
                loop = asyncio.get_running_loop()
                self._lingering = loop.call_later(_LINGER.total_seconds(), self._transport.abort)

    def _say_goodbye(self) -> None:
        pass

    def abortConnection(self) -> None:
        self.disconnecting = True
        self._transport.abort()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        assert streaming
        assert self._producer is None
        self._producer = producer
        if self._is_full:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        self._producer = None

    def pauseProducing(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resumeProducing(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> IPv4Address | IPv6Address | None:
        return self._peer

    def getHost(self) -> IPv4Address | IPv6Address | None:
        return self._host

    def setTcpNoDelay(self, enabled: bool) -> None:
        self._set_option(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpNoDelay(self) -> bool:
        return bool(self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self._set_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)

    def getTcpKeepAlive(self) -> bool:
        return bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def loseWriteConnection(self) -> None:
        self.loseConnection()

    @property
    def _socket(self) -> socket.socket:
        return cast(socket.socket, self._transport.get_extra_info("socket"))

    def _set_option(self, level: int, option: int, enabled: bool) -> None:
        self._socket.setsockopt(level, option, int(enabled))


class TLSTransport(Transport):
    is_secure = True

    def __init__(self, factory: Any, admission: Admission, contexts: TLSContexts) -> None:
        super().__init__(factory, admission)
        self._contexts = contexts
        self._is_shaken = False
        self._records = _Records()
        self._early: list[bytes] = []  # What was written before the handshake was over.

    def _begin(self) -> None:
        self._tls = SSL.Connection(self._contexts.context(), None)
        self._tls.set_accept_state()
        super()._begin()

    def data_received(self, data: bytes) -> None:
        if self.disconnecting or self.drops_input:
            return
        self._tls.bio_write(data)
        is_one = self._records.is_one(data)
        # A piece that completes a record may be far shorter than what it completes.
        at_most = len(data) if is_one else _READ_BYTES
        try:
            if not self._is_shaken:
                self._shake_hands()
            while not self.disconnecting:
                self._guarded(self.protocol.dataReceived, self._tls.recv(at_most))
                if is_one:
                    return
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self._say_goodbye()
            self._transport.close()
        except SSL.Error:
            if (
                not self._is_shaken
            ):  # Plain HTTP, an older TLS, or a browser that does not trust the certificate.
                refused("connection", "no_tls")
            self._flush()
            self._transport.close()

    def _shake_hands(self) -> None:
        """Raises ``WantReadError`` until it is over."""
        try:
            self._tls.do_handshake()
        finally:
            self._flush()
        self._is_shaken = True
        early, self._early = self._early, []
        self.writeSequence(early)

    def write(self, data: bytes) -> None:
        if self.disconnecting:
            return
        if not self._is_shaken:
            self._early.append(data)
            return
        try:
            self._tls.sendall(data)
        except SSL.Error:
            self.abortConnection()
        else:
            self._flush(len(data))

    def _say_goodbye(self) -> None:
        if not self._is_shaken:
            self._transport.abort()
            return
        try:
            self._tls.shutdown()
        except SSL.Error:
            self._transport.abort()
        else:
            self._flush()

    def _flush(self, size: int = 0) -> None:
        """Passes on what OpenSSL made of ``size`` bytes, or of the handshake."""
        at_most = size + (size // _RECORD_BYTES + 2) * _AROUND_RECORD_BYTES if size else _READ_BYTES
        try:
            while True:
                piece = self._tls.bio_read(at_most)
                if not self._transport.is_closing():
                    self._transport.write(piece)
                if len(piece) < at_most:
                    return
        except SSL.WantReadError:
            pass


class _Records:
    """Where TLS's records end in what comes (RFC 8446 section 5.1): after a whole one, OpenSSL need not be asked for more.

    Most messages come as one, and a question in vain costs as much as decrypting it.
    """

    __slots__ = ("_head", "_next_at")

    def __init__(self) -> None:
        self._head = b""  # What came of a record's head that is not whole yet.
        self._next_at = 0  # Where the next record begins in what comes.

    def is_one(self, data: bytes) -> bool:
        """Whether this is exactly one record, and no part of another came before."""
        is_between = not (self._head or self._next_at)
        data, at, records = self._head + data, self._next_at, 0
        while at + _RECORD_HEAD_BYTES <= len(data):
            at += _RECORD_HEAD_BYTES + int.from_bytes(data[at + 3 : at + 5], "big")
            records += 1
        self._head, self._next_at = data[at:], max(at - len(data), 0)
        return is_between and records == 1 and at == len(data)


def _address(name: tuple[Any, ...] | None) -> IPv4Address | IPv6Address | None:
    """``None`` for a connection that was gone before it was looked at."""
    if not name:
        return None
    host, port = name[:2]
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)
