"""Daphne's server on sockets that are bound before anything else starts, with guards and a polite end."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import resource
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from daphne.server import Server
from django.conf import settings
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import globalLogBeginner

from securechat.serving import SEND_AT_ONCE, TAKE_AT_ONCE
from securechat.serving.admission import Admission
from securechat.serving.guards import GuardedHTTPFactory, GuardedWebSocketFactory, GuardedWebSocketProtocol
from securechat.serving.proxied import as_proxies_say
from securechat.serving.redirect import RedirectFactory
from securechat.serving.tls import TLSContexts
from securechat.serving.transport import TLSTransport, Transport

logger = logging.getLogger(__name__)

RESTART = 1012  # docs/protocol.md, close codes.
_NEW_OBJECTS_BEFORE_GARBAGE_IS_COLLECTED = 10_000
_PING = timedelta(seconds=5)
_LAST_ANSWERS = timedelta(seconds=3)


class CannotListen(Exception):
    """Says in one sentence why the port cannot be had."""


def bind(address: str, port: int) -> socket.socket:
    """A listening socket, or ``CannotListen``. Port 0 takes any free one."""
    try:
        family, *_, where = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(
            where[:2],
            family=family,
            backlog=1024,
            dualstack_ipv6=address == "::" and socket.has_dualstack_ipv6(),
        )
    except PermissionError:
        raise CannotListen(
            f"Port {port} needs more rights: choose one above 1023 with --port or LISTEN_PORT."
        ) from None
    except OSError as error:
        raise CannotListen(_why(error, address, port)) from None
    listener.setblocking(False)
    return listener


def _why(error: OSError, address: str, port: int) -> str:
    if error.errno in (48, 98):  # EADDRINUSE on macOS and on Linux.
        return f"Port {port} is taken: stop what uses it, or choose another with --port or LISTEN_PORT."
    return f"This computer cannot listen on {address}, port {port}: {error.strerror}."


def _leave_garbage_for_later() -> None:
    """What start-up made stays anyway, and a message makes some dozen objects that end by themselves: the collector's stock
    rhythm (after 700 new ones) would take a tenth of a message's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS_BEFORE_GARBAGE_IS_COLLECTED)


def _open_as_many_files_as_allowed() -> None:
    """Each connection is one, and many systems begin with 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class GuardedServer(Server):
    """``before_end`` runs first when the server is told to stop; ``at_the_latest`` when it did not manage to in time."""

    def __init__(
        self,
        application: object,
        *,
        listener: socket.socket,
        contexts: TLSContexts,
        redirect_listener: socket.socket | None = None,
        before_end: Sequence[Callable[[], Awaitable[None]]] = (),
        at_the_latest: Callable[[], None],
    ) -> None:
        super().__init__(
            application,
            endpoints=[listener],
            server_name="",
            ping_interval=math.inf,  # Daphne looks every 2 s only; autobahn pings on time.
            application_close_timeout=10,
        )
        self._contexts = contexts
        self._redirect_listener = redirect_listener
        self._before_end = before_end
        self._at_the_latest = at_the_latest

    def run(self) -> None:
        _open_as_many_files_as_allowed()
        self.connections: dict[Any, dict[str, Any]] = {}
        self.http_factory = GuardedHTTPFactory(self)
        self.ws_factory = GuardedWebSocketFactory(self, server=self.server_name)
        self.ws_factory.limit(ping_interval=_PING, ping_timeout=_PING, handshake_timeout=_PING)
        globalLogBeginner.beginLoggingTo([lambda _: None], redirectStandardIO=False, discardBuffer=True)
        reactor.callLater(1, self.application_checker)
        reactor.callLater(2, self.timeout_checker)
        asyncio.set_event_loop(reactor._asyncioEventloop)
        reactor.callWhenRunning(lambda: asyncio.ensure_future(self._accept()))
        reactor.callWhenRunning(_leave_garbage_for_later)
        reactor.addSystemEventTrigger("before", "shutdown", self._end)
        reactor.run(installSignalHandlers=True)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> asyncio.Queue[dict[str, Any]]:
        """As Daphne's, but a socket brings a queue that knows when it is full."""
        is_socket = isinstance(protocol, GuardedWebSocketProtocol)
        queue = protocol.incoming if is_socket else asyncio.Queue()
        scope.setdefault("asgi", {"version": "3.0"})
        if is_socket:
            scope["extensions"] = {
                SEND_AT_ONCE: protocol.send_at_once,
                TAKE_AT_ONCE: protocol.take_at_once,
            }
        running = self.application(scope=scope, receive=queue.get, send=partial(self.handle_reply, protocol))
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(running)
        return queue

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Waits while the peer has not read what it was sent before."""
        if message["type"] == "websocket.send":
            if protocol.outgoing.is_full:
                await protocol.outgoing.wait_for_room()
            if (text := message.get("text")) and protocol.state == protocol.STATE_OPEN:
                protocol.send_text(text)
                return
        elif message["type"] == "http.response.body" and protocol.channel is not None:
            await protocol.channel.outgoing.wait_for_room()
        await super().handle_reply(protocol, message)

    async def _accept(self) -> None:
        admission, loop = Admission(), asyncio.get_running_loop()
        secure = partial(TLSTransport, self.http_factory, admission, contexts=self._contexts)
        self.listeners.append(await loop.create_server(as_proxies_say(secure), sock=self.endpoints[0]))
        if self._redirect_listener:
            plain = partial(Transport, RedirectFactory(), admission)
            self.listeners.append(
                await loop.create_server(as_proxies_say(plain), sock=self._redirect_listener)
            )

    def _end(self) -> Deferred[None]:
        latest = threading.Timer(settings.SHUTDOWN_DEADLINE.total_seconds() - 0.5, self._force_the_end)
        latest.daemon = True
        latest.start()
        end: Deferred[None] = Deferred.fromFuture(asyncio.ensure_future(self._say_goodbye()))
        return end.addErrback(
            lambda failure: logger.error("This went wrong while ending: %s", failure.getTraceback())
        )

    def _force_the_end(self) -> None:
        logger.warning("Something did not end in time; leaving it.")
        self._at_the_latest()
        logging.shutdown()
        os._exit(0)

    async def _say_goodbye(self) -> None:
        """Takes no more connections, ends the sockets with 1012, and lets what runs come to its end."""
        for listener in self.listeners:
            listener.close()
        results = await asyncio.gather(*(act() for act in self._before_end), return_exceptions=True)
        for error in results:
            if error is not None:
                logger.error("This went wrong while ending.", exc_info=error)
        for protocol in list(self.connections):
            if isinstance(protocol, GuardedWebSocketProtocol):
                protocol.serverClose(RESTART)
        running = [
            task for details in self.connections.values() if (task := details.get("application_instance"))
        ]
        if running:
            _, late = await asyncio.wait(running, timeout=_LAST_ANSWERS.total_seconds())
            for task in late:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
