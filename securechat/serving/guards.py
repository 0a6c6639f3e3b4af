"""Daphne's protocols with limits: on a request's size and time, on what waits in either direction, and honest ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeAlias

from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from django.conf import settings
from twisted.internet import reactor
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.web import http

from securechat.logs import refused
from securechat.ratelimit import Bucket
from securechat.serving.flow import Incoming, Outgoing
from securechat.serving.frames import take_text, text_frame

TakeAtOnce: TypeAlias = Callable[[bytes], bool]
_LINGER = timedelta(seconds=2)  # For a browser that is still sending to read the refusal.

_TOGETHER_BYTES = 65_536
VANISHED = 4006  # Told to the application only: 1006 of a peer that did not answer a ping.
_CODES_OF_SERVERS = frozenset({1001, 1008, 1009, 1011, 1012, 1013})


class GuardedChannel(http.HTTPChannel):
    """One connection. Daphne reads every body to its end before Django sees it, so it is refused here or not at all."""

    abortTimeout = _LINGER.total_seconds()

    def __init__(self) -> None:
        super().__init__()
        self._deadline: IDelayedCall | None = None
        self._is_refused = False
        self._body_bytes = 0
        self.outgoing = Outgoing(cut_off=self.forceAbortClient)

    def connectionMade(self) -> None:
        super().connectionMade()
        self._set_deadline(settings.HEADER_DEADLINE)

    def connectionLost(self, reason: Any) -> None:
        self._set_deadline(None)
        self.outgoing.free()
        super().connectionLost(reason)

    def isSecure(self) -> bool:
        return bool(self.transport.is_secure)

    def pauseProducing(self) -> None:
        self.outgoing.fill(until=settings.BODY_DEADLINE)
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self.outgoing.free()
        super().resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        if not self._is_refused:
            super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        if self._is_refused:
            return
        if self._deadline is None:
            self._set_deadline(settings.HEADER_DEADLINE)
        super().lineReceived(line)

    def allHeadersReceived(self) -> None:
        if (self.length or 0) > settings.MAX_BODY_BYTES:
            self._refuse(413, b"Content Too Large")
            return
        self._body_bytes = 0
        self._set_deadline(settings.BODY_DEADLINE)
        super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        if self._is_refused:
            return
        if not self._handlingRequest:
            self._body_bytes += len(data)
            if (
                self._body_bytes > settings.MAX_BODY_BYTES + self._optimisticEagerReadSize
            ):  # Chunks have a frame, too.
                self._refuse(413, b"Content Too Large")
                return
        super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        self._set_deadline(None)
        super().allContentReceived()

    def _set_deadline(self, within: timedelta | None) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None
        if within is not None:
            self._deadline = reactor.callLater(within.total_seconds(), self._refuse, 408, b"Request Timeout")

    def _respondToBadRequestAndDisconnect(self) -> None:
        """A line that is too long, too many headers, or no HTTP at all: Twisted answers 400, or hangs up."""
        if not self._is_refused:
            self._is_refused = True
            refused("http", "http_400", by="launcher")
        super()._respondToBadRequestAndDisconnect()

    def lineLengthExceeded(self, line: bytes) -> Any:
        self._respondToBadRequestAndDisconnect()

    def _refuse(self, status: int, reason: bytes) -> None:
        """Answers and hangs up. What still comes is dropped unread; a peer that never listens is cut off."""
        refused("http", f"http_{status}", by="launcher")
        self._set_deadline(None)
        self.setTimeout(None)
        self._is_refused = True
        self.transport.drops_input = True
        body = reason + b".\n"
        self.transport.write(
            b"HTTP/1.1 %d %b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            % (status, reason, len(body))
            + body
        )
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        if status == 408:
            self.loseConnection()


class GuardedHTTPFactory(HTTPFactory):
    """HTTP/1.1 only: a WebSocket needs it, and one parser is less than two."""

    protocol = GuardedChannel
    noisy = False

    def buildProtocol(self, address: IAddress) -> GuardedChannel:
        channel: GuardedChannel = http.HTTPFactory.buildProtocol(self, address)
        channel.requestFactory = WebRequest
        return channel

    def acceptableProtocols(self) -> list[bytes]:
        return [b"http/1.1"]


class GuardedWebSocketProtocol(WebSocketProtocol):
    """Takes nothing in while the application has enough to do, or while the peer does not read what it is sent."""

    CONFIG_ATTRS: tuple[
        str, ...
    ] = ()  # autobahn formats these for a log line at every opening, for nobody to read.

    def __init__(self) -> None:
        super().__init__()
        self.incoming = Incoming(changed=self._balance)
        self.outgoing = Outgoing(cut_off=self._cut_off)
        self._takes_input = True
        # Asked for once: at each such call Python 3.11 asks the system for the process id.
        self._loop = asyncio.get_running_loop()
        self._take_at_once: TakeAtOnce | None = None
        self._frames: list[bytes] = []  # Texts of this turn of the event loop, written together.
        self._frames_bytes = 0
        self._has_vanished = False
        self._pings_taken = Bucket(limit=settings.PING_BURST, per_second=settings.PINGS_PER_SECOND)

    def _connectionMade(self) -> None:
        for option in WebSocketProtocol.CONFIG_ATTRS:
            setattr(self, option, getattr(self.factory, option))
        super()._connectionMade()

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.unregisterProducer()  # The HTTP channel that this connection began as.
        self.transport.registerProducer(self, True)

    def connectionLost(self, reason: Any) -> None:
        self._take_at_once = None
        self.outgoing.free()
        super().connectionLost(reason)

    def pauseProducing(self) -> None:
        self.outgoing.fill(until=settings.SEND_DEADLINE)
        self._balance()

    def resumeProducing(self) -> None:
        self.outgoing.free()
        self._balance()

    def stopProducing(self) -> None:
        pass  # Twisted calls it when the connection is lost, which is heard of anyway.

    def dataReceived(self, data: bytes) -> None:
        if self.state == self.STATE_OPEN and not (self.data or self.current_frame or self.inside_message):
            data = data[self._take_texts(data) :]
        if data:
            super().dataReceived(data)
        if not self._takes_input:
            self.transport.pauseProducing()  # Daphne lets the transport go on after the handshake.

    def _take_texts(self, data: bytes) -> int:
        """What stands at the beginning in the usual form, past autobahn's parser; answers where the rest begins."""
        start = 0
        while self._takes_input and (found := take_text(data, start, self.maxFramePayloadSize)):
            payload, end = found
            if not (self.muted or self._is_taken_at_once(payload)):
                try:
                    text = payload.decode()
                except UnicodeDecodeError:
                    break
                self.application_queue.put_nowait({"type": "websocket.receive", "text": text})
            start = end
            if self.autoPingTimeoutCall and self.autoPingRestartOnAnyTraffic:
                self._cancelAutoPingTimeoutCall()
        return start

    def _is_taken_at_once(self, payload: bytes) -> bool:
        return self._take_at_once is not None and self.incoming.empty() and self._take_at_once(payload)

    def take_at_once(self, take: TakeAtOnce) -> None:
        if self.state == self.STATE_OPEN:
            self._take_at_once = take

    def send_at_once(self, text: str) -> bool:
        """False, and nothing sent, where the application has to wait for room."""
        if self.outgoing.is_full or self.state != self.STATE_OPEN:
            return False
        self.send_text(text)
        return True

    def send_text(self, text: str) -> None:
        """What autobahn's ``sendMessage`` does to an open socket, but one write for all of a turn of the event loop."""
        payload = text.encode()
        if self.state != self.STATE_OPEN or len(payload) > self.maxMessagePayloadSize:
            self.serverSend(text)
            return
        if not self._frames:
            self._loop.call_soon(self._write_frames)
        self._frames.append(text_frame(payload))
        self._frames_bytes += len(payload)
        if self._frames_bytes > _TOGETHER_BYTES:
            self._write_frames()

    def _write_frames(self) -> None:
        if self._frames:
            frames, self._frames, self._frames_bytes = self._frames, [], 0
            self.transport.write(b"".join(frames))

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Pings and ends come after the texts before them."""
        self._write_frames()
        super().sendData(data, sync, chopsize)

    def processData(self) -> bool:
        return bool(self._takes_input and super().processData())

    def onPing(self, payload: bytes) -> None:
        if self._has_pings_left():
            super().onPing(payload)

    def onPong(self, payload: bytes) -> None:
        if self._has_pings_left():
            super().onPong(payload)

    def _has_pings_left(self) -> bool:
        """Browsers send no pings, and a pong for each of ours: thousands in one read would hold everybody up."""
        if not self._pings_taken.take():
            return True
        self.wasClean = False
        self.wasNotCleanReason = "too many pings"
        refused("socket", "too_many_pings")
        self.dropConnection(abort=True)
        return False

    def onAutoPingTimeout(self) -> None:
        """An answer to a ping may be in what is not taken in; ``SEND_DEADLINE`` is for who does not read."""
        if self._takes_input:
            self._has_vanished = True
            super().onAutoPingTimeout()
        else:
            self.autoPingTimeoutCall = self.factory._batched_timer.call_later(
                self.autoPingTimeout, self.onAutoPingTimeout
            )

    def onClose(self, was_clean: bool, code: int, reason: str) -> None:
        super().onClose(was_clean, VANISHED if self._has_vanished else code, reason)

    def _balance(self) -> None:
        takes_input = not (self.incoming.is_full or self.outgoing.is_full)
        if takes_input == self._takes_input:
            return
        self._takes_input = takes_input
        if takes_input:
            reactor.callLater(0, self._take_in)
        else:
            self.transport.pauseProducing()

    def _take_in(self) -> None:
        """First what was received before the pause."""
        if self._takes_input and self.state != self.STATE_CLOSED:
            self.consumeData()
            if self._takes_input:
                self.transport.resumeProducing()

    def _cut_off(self) -> None:
        self.wasClean = False
        self.wasNotCleanReason = "the peer does not read"
        refused("socket", "does_not_read")
        self.dropConnection(abort=True)

    def serverClose(self, code: int | None = None) -> None:
        """autobahn lets applications close with 1000 and 3000 to 4999 only; these are for servers (RFC 6455, IANA)."""
        if code in _CODES_OF_SERVERS:
            if self.state == self.STATE_OPEN:
                self.sendCloseFrame(code=code, isReply=False)
        else:
            super().serverClose(code)


class GuardedWebSocketFactory(WebSocketFactory):
    protocol = GuardedWebSocketProtocol
    noisy = False

    def limit(
        self, *, ping_interval: timedelta, ping_timeout: timedelta, handshake_timeout: timedelta
    ) -> None:
        """Inwards and outwards the same size; too large is a close with 1009 and not a silent hang-up."""
        self.setProtocolOptions(
            autoPingInterval=ping_interval.total_seconds(),
            autoPingTimeout=ping_timeout.total_seconds(),
            openHandshakeTimeout=handshake_timeout.total_seconds(),
            closeHandshakeTimeout=1,
            failByDrop=False,
            maxMessagePayloadSize=settings.MAX_FRAME_BYTES,
            maxFramePayloadSize=settings.MAX_FRAME_BYTES,
            utf8validateIncoming=True,
        )
