"""Thousands of browsers that come, read what they are told, and go: opened by threads, read by one epoll."""

from __future__ import annotations

import json
import multiprocessing
import select
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe

from bench.load import Broken, Closed, WebSocketLine
from tests.live_server import ROOT, LiveServer

_OPENERS = 64
_PING_EVERY_SECONDS = 0.05
_WELCOME_SECONDS = 60.0
WELCOME = b'{"type":"welcome"'
_PRESENCE = b'{"type":"presence"'
_TRUE = b'"online":true'


def crowd(server: LiveServer, people: int, friends_each: int) -> list[str]:
    """The cookies of so many people in that prepared server (bench/crowd.py)."""
    made = subprocess.run(
        [sys.executable, "-m", "bench.crowd", str(people), str(friends_each)],
        cwd=ROOT,
        env=server.environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    cookies: list[str] = json.loads(made.stdout)["cookies"]
    return cookies


@dataclass(frozen=True)
class Opened:
    line: WebSocketLine
    online: int
    """How many friends the welcome shows online."""
    told: Counter[str]


def open_line(server: LiveServer, cookie: str) -> Opened:
    """After its welcome."""
    url = server.origin.replace("https", "wss", 1) + "/ws/"
    tls = ssl.create_default_context(cafile=str(server.ca_file))
    line = WebSocketLine(url, tls=tls, origin=server.origin, cookie=cookie)
    try:
        texts: list[bytes] = []
        end = time.monotonic() + _WELCOME_SECONDS
        while not texts and time.monotonic() < end:
            line.wait(0.1)
            texts = line.read()
        if not texts or not texts[0].startswith(WELCOME):
            raise Broken("No welcome came.")
    except Broken:
        line.close()
        raise
    welcome = json.loads(texts[0])
    online = sum(item["online"] is True for item in welcome["presence"])
    return Opened(line, online, _told(texts[1:]))


def _told(texts: Sequence[bytes]) -> Counter[str]:
    """How often somebody came online, and how often it was something else: offline, or unknown."""
    presences = [text for text in texts if text.startswith(_PRESENCE)]
    return Counter("online" if _TRUE in text else "not online" for text in presences)


@dataclass
class Visitor:
    cookie: str
    line: WebSocketLine | None = None
    opening: Future[Opened] | None = None
    opened_at: list[float] = field(default_factory=list)
    welcomed_with: int = 0
    """Friends who were online already."""
    told: Counter[str] = field(default_factory=Counter)
    """Of friends who came after."""


class Visitors:
    """``lost`` is called with who was cut off, and with the close code or None."""

    def __init__(
        self, server: LiveServer, cookies: Sequence[str], lost: Callable[[Visitor, int | None], None]
    ) -> None:
        self.all = [Visitor(cookie) for cookie in cookies]
        self._server = server
        self._lost = lost
        self._openers = ThreadPoolExecutor(_OPENERS)
        self._epoll = select.epoll()
        self._of_line: dict[int, Visitor] = {}
        self._opening: list[Visitor] = []
        self.attempts: list[float] = []

    def open(self, visitor: Visitor) -> None:
        self.attempts.append(time.monotonic())
        visitor.opening = self._openers.submit(open_line, self._server, visitor.cookie)
        self._opening.append(visitor)

    @property
    def here(self) -> int:
        return len(self._of_line)

    @property
    def opening(self) -> int:
        return len(self._opening)

    def attend(self, seconds: float) -> None:
        """Reads what came, takes note of who was opened and of who was lost."""
        for number, _ in self._epoll.poll(seconds):
            visitor = self._of_line[number]
            assert visitor.line is not None
            try:
                visitor.told += _told(visitor.line.read())
            except (Broken, OSError) as end:
                self._forget(number, visitor)
                self._lost(visitor, end.code if isinstance(end, Closed) else None)
        opening, self._opening = self._opening, []
        for visitor in opening:
            assert visitor.opening is not None
            if visitor.opening.done():
                self._opened(visitor, visitor.opening)
            else:
                self._opening.append(visitor)

    def close(self) -> None:
        self._openers.shutdown()
        self._epoll.close()
        for visitor in self._of_line.values():
            assert visitor.line is not None
            visitor.line.close()

    def _opened(self, visitor: Visitor, opening: Future[Opened]) -> None:
        visitor.opening = None
        error = opening.exception()
        if error is None:
            opened = opening.result()
            visitor.line, visitor.welcomed_with = opened.line, opened.online
            visitor.told += opened.told
            visitor.opened_at.append(time.monotonic())
            self._of_line[visitor.line.fileno()] = visitor
            self._epoll.register(visitor.line.fileno(), select.EPOLLIN)
        elif isinstance(error, Broken | OSError):
            self._lost(visitor, error.code if isinstance(error, Closed) else None)
        else:
            raise error

    def _forget(self, number: int, visitor: Visitor) -> None:
        assert visitor.line is not None
        self._epoll.unregister(number)
        del self._of_line[number]
        visitor.line.close()
        visitor.line = None


@contextmanager
def honest_client(server: LiveServer, cookie: str) -> Iterator[Callable[[], list[float]]]:
    """Pings from a process of its own; calling what this gives ends it and answers how long each ping took."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(
        target=_keep_pinging, args=(server, cookie, theirs), daemon=True
    )
    process.start()
    ours.recv()

    def end() -> list[float]:
        ours.send(None)
        took: list[float] = ours.recv()
        return took

    try:
        yield end
    finally:
        process.kill()
        process.join()


def _keep_pinging(server: LiveServer, cookie: str, pipe: Pipe) -> None:
    line = open_line(server, cookie).line
    took: list[float] = []
    pipe.send(None)
    while not pipe.poll(_PING_EVERY_SECONDS):
        began = time.perf_counter()
        line.ask(b'{"type":"ping","ref":%d}' % (len(took) + 1), b'{"type":"pong"')
        took.append(time.perf_counter() - began)
    pipe.send(took)
