"""What is measured: the chat, a relay on its launcher, and the tutorial's consumer. Each is started, connected to, and stopped."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.friendships import befriended
from bench.load import Pair, WebSocketLine, counted_number, envelope_number, masked
from bench.people import Friends, Person
from bench.postgresql import PostgreSQL
from messaging import protocol
from tests.live_server import ROOT, START_SECONDS, STOP_SECONDS, LiveServer, free_port
from tests.messaging.make_objects import Tab
from tests.peer.client import Peer

ENVELOPE_BYTES = 1024
_AROUND_CIPHERTEXT = (
    len(Tab(UUID(int=1), Ed25519PrivateKey.generate()).envelope(UUID(int=1), length=600)) - 600
)
NO_LIMITS = dict.fromkeys(
    ("ENVELOPES_PER_SECOND", "ENVELOPE_BURST", "FRAMES_PER_SECOND", "FRAME_BURST"), "1000000"
) | {"MAX_CONNECTIONS_PER_ADDRESS": "0"}


class Measured(Protocol):
    name: str

    @property
    def pids(self) -> Sequence[int]:
        """Whose work, and whose children's, a message costs."""
        ...

    def start(self) -> None: ...

    def pairs(self, count: int, messages: int) -> list[Pair]:
        """Connected, with that many frames of 1 kB ready for each."""

    def stop(self) -> None: ...


@dataclass
class Chat:
    """`manage.py serve` with people who signed up by HTTPS and have an epoch; on SQLite where there is no ``database``.

    ``environment`` is also what the other servers of the run get.
    """

    directory: Path
    name: str = "securechat"
    database: PostgreSQL | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    wrapper: Sequence[str] = ()
    friends: list[Friends] = field(default_factory=list)

    def __post_init__(self) -> None:
        port = free_port()
        settings = NO_LIMITS | dict(self.environment)
        if self.database is not None:
            settings["DATABASE_URL"] = self.database.url
        self.directory.mkdir(exist_ok=True)
        self.server = LiveServer(
            self.directory, port=port, public_port=port, settings=settings, wrapper=self.wrapper
        )

    @property
    def pids(self) -> Sequence[int]:
        return [self.server.pid, *([self.database.pid] if self.database else [])]

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.server.ca_file))

    def prepare(self, pairs: int) -> None:
        """Keys, certificate, database, and so many pairs of friends."""
        if self.database is not None:
            self.database.start()
        self.server.prepare()
        self._befriend(pairs)

    def _befriend(self, count: int) -> None:
        self.start()
        self.friends = asyncio.run(self._signed_up(count))
        self.stop()

    async def _signed_up(self, count: int) -> list[Friends]:
        at = self.server
        return [_as_friends(*await befriended(origin=at.origin, ca_file=at.ca_file)) for _ in range(count)]

    def start(self) -> None:
        if self.database is not None:
            self.database.start()
        self.server.start()

    def stop(self) -> None:
        self.server.stop()
        if self.database is not None:
            self.database.stop()

    def line(self, cookie: str) -> WebSocketLine:
        """After its welcome."""
        url = self.server.origin.replace("https", "wss", 1) + "/ws/"
        line = WebSocketLine(url, tls=self.tls, origin=self.server.origin, cookie=cookie)
        line.await_text(b'{"type":"welcome"')
        return line

    def pairs(self, count: int, messages: int) -> list[Pair]:
        return [self._pair(friends, messages) for friends in self.friends[:count]]

    def _pair(self, friends: Friends, messages: int) -> Pair:
        sender, receiver = self.line(friends.first.cookie), self.line(friends.second.cookie)
        ask = protocol.GetHistory(
            ref=1, conversation=UUID(friends.conversation), direction="before", n=0, limit=1
        )
        answer = json.loads(sender.ask(protocol.encode(ask).encode(), b'{"type":"history"'))
        return Pair(sender, receiver, _envelopes(friends, messages), envelope_number(answer["last_n"]))


def _as_friends(first: Peer, second: Peer) -> Friends:
    (conversation,) = first.conversations.values()
    both = (Person(peer.cookie, peer.account.device.seed.hex()) for peer in (first, second))
    return Friends(str(conversation.id), *both)


def _tab(friends: Friends) -> Tab:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(friends.first.device_seed))
    return Tab(UUID(friends.conversation), key)


def _envelopes(friends: Friends, messages: int) -> list[bytes]:
    tab = _tab(friends)
    length = ENVELOPE_BYTES - _AROUND_CIPHERTEXT
    return [masked(protocol.encode(tab.send(ref, length=length)).encode()) for ref in range(1, messages + 1)]


@dataclass
class Program:
    """A server that is one program; what it prints is in ``<name>.log``."""

    directory: Path
    chat: Chat
    name: str = ""
    _process: subprocess.Popen[bytes] | None = None
    _port: int = 0

    @property
    def pids(self) -> Sequence[int]:
        assert self._process is not None
        return [self._process.pid]

    def stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(STOP_SECONDS)

    def _run(self, command: Sequence[str], environment: dict[str, str]) -> None:
        """Until its port takes connections."""
        with (self.directory / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**environment, **self.chat.environment},
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self._process.returncode}.")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.1)
        raise TimeoutError(f"{self.name} does not listen.")


@dataclass
class Room(Program):
    """What relay and tutorial have in common: rooms in the address, no log-in, texts of the size of our frames."""

    def pairs(self, count: int, messages: int) -> list[Pair]:
        size = ENVELOPE_BYTES * 4 // 3 + 200
        frames = [
            masked(json.dumps({"message": f"#{n} {'x' * size}"}).encode()) for n in range(1, messages + 1)
        ]
        return [Pair(self._line(room), self._line(room), frames, counted_number) for room in range(count)]

    def _line(self, room: int) -> WebSocketLine:
        url = f"wss://localhost:{self._port}/ws/chat/room{room}/"
        return WebSocketLine(url, tls=self.chat.tls, origin=f"https://localhost:{self._port}")


@dataclass
class Relay(Room):
    name: str = "relay"

    def start(self) -> None:
        self._port = free_port()
        self._run([sys.executable, "-m", "bench.peers.relay", str(self._port)], self.chat.server.environment)


@dataclass
class Tutorial(Room):
    """Under plain Daphne. ``redis`` is the URL of its channel layer; the one in memory where it is empty."""

    name: str = "tutorial"
    redis: str = ""

    def start(self) -> None:
        self._port = free_port()
        certs = self.chat.server.directory / "certs"
        environment = {
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "bench.peers.tutorial.settings",
            "TUTORIAL_FOLDER": str(self.directory),
            "TUTORIAL_REDIS": self.redis,
        }
        subprocess.run(
            [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0"],
            cwd=ROOT,
            env=environment,
            check=True,
        )
        endpoint = (
            f"ssl:{self._port}:privateKey={certs / 'server.key'}:certKey={certs / 'server.crt'}"
            ":interface=127.0.0.1"
        )
        self._run(
            [sys.executable, "-m", "daphne", "-e", endpoint, "bench.peers.tutorial.asgi:application"],
            environment,
        )
