"""The chat as several processes that share database, Redis and folder; people are spread over them evenly, as a proxy does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.load import Pair, WebSocketLine
from bench.processes import pinned
from bench.servers import Chat
from tests.live_server import LiveServer, free_port


@dataclass
class Processes(Chat):
    """Of every two pairs, one has its two people on different processes. Whoever made the database starts and stops it."""

    most: int = 2
    _running: list[LiveServer] = field(default_factory=list)
    _lines: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        settings, public_port = self.server.settings, self.server.public_port
        more = [
            LiveServer(self.directory, port=free_port(), public_port=public_port, settings=settings)
            for _ in range(1, self.most)
        ]
        self._servers = [self.server, *more]

    @property
    def pids(self) -> Sequence[int]:
        """Of the processes alone."""
        return [server.pid for server in self._running]

    def start(self) -> None:
        self._running = [self.server]
        self.server.start()

    def start_on(self, cores: Sequence[int]) -> None:
        """A process on each."""
        self._running, self._lines = self._servers[: len(cores)], 0
        for server, core in zip(self._running, cores, strict=True):
            with pinned(core):
                server.start()

    def stop(self) -> None:
        for server in self._running:
            server.stop()

    def pairs(self, count: int, messages: int) -> list[Pair]:
        """Making frames takes longer than a ping may stay without an answer, so lines are read meanwhile."""
        made: list[Pair] = []
        for friends in self.friends[:count]:
            made.append(self._pair(friends, messages))
            for pair in made:
                pair.sender.read()
                pair.receiver.read()
        return made

    def line(self, cookie: str) -> WebSocketLine:
        """Senders alternate, receivers every other time: all four combinations of two processes come equally often."""
        pair, is_receiver = divmod(self._lines, 2)
        self._lines += 1
        count = len(self._running)
        server = self._running[(pair // count if is_receiver else pair) % count]
        url = f"wss://localhost:{server.port}/ws/"
        line = WebSocketLine(url, tls=self.tls, origin=self.server.origin, cookie=cookie)
        line.await_text(b'{"type":"welcome"')
        return line
