"""Two server processes on one database, with one Valkey between them that can be stopped, frozen and started again."""

from __future__ import annotations

import os
import secrets
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench import people
from bench.people import Friends, Person
from securechat.serving.valkey import EmbeddedValkey
from tests.live_server import ROOT, LiveServer, free_port
from tests.messaging.make_objects import Tab

_NO_LIMITS = dict.fromkeys(
    ("ENVELOPES_PER_SECOND", "ENVELOPE_BURST", "FRAMES_PER_SECOND", "FRAME_BURST"), "100000"
)


@dataclass
class Site:
    """``servers`` share everything; browsers know one address, so the others are reached at their own ports."""

    folder: Path
    valkey_socket: Path
    servers: list[LiveServer] = field(default_factory=list)
    _valkey: EmbeddedValkey | None = None

    @property
    def origin(self) -> str:
        return self.servers[0].origin

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.servers[0].ca_file))

    @property
    def log(self) -> str:
        return self.servers[0].log_file.read_text()

    def forget_log(self) -> None:
        with suppress(FileNotFoundError):
            os.truncate(self.servers[0].log_file, 0)

    def friends(self) -> Friends:
        """Two new people with keys, sessions and a conversation."""
        made = subprocess.run(
            [sys.executable, "-m", "bench.people", "1"],
            cwd=ROOT,
            env=self.servers[0].environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return people.load(made.stdout)[0]

    def serve(self) -> None:
        """Starts what does not run, both at once: a server takes a few seconds."""
        with ThreadPoolExecutor() as together:
            list(together.map(LiveServer.start, [one for one in self.servers if not one.is_running]))

    def end(self) -> None:
        with ThreadPoolExecutor() as together:
            list(together.map(LiveServer.end, self.servers))
        self.stop_valkey()

    def start_valkey(self) -> None:
        """Nothing where it runs."""
        if self._valkey is not None:
            return
        self._valkey = EmbeddedValkey(self.valkey_socket)
        self._valkey.start()

    def stop_valkey(self) -> None:
        if self._valkey is not None:
            self._valkey.stop()
            self._valkey = None

    @contextmanager
    def frozen_valkey(self) -> Iterator[None]:
        """It takes connections and commands, and answers nothing."""
        assert self._valkey is not None
        assert self._valkey.pid is not None
        os.kill(self._valkey.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._valkey.pid, signal.SIGCONT)


@contextmanager
def prepared_site(folder: Path) -> Iterator[Site]:
    """Keys, certificates, static files and a migrated database; nothing runs yet."""
    with own_database() as database:
        site = Site(folder, folder / "redis" / "valkey.sock")
        settings = {"REDIS_URL": f"unix://{site.valkey_socket}", **database, **_NO_LIMITS}
        public_port = free_port()
        for port in (public_port, free_port()):
            site.servers.append(LiveServer(folder, port=port, public_port=public_port, settings=settings))
        site.servers[0].prepare()
        try:
            yield site
        finally:
            site.end()


@contextmanager
def own_database() -> Iterator[Mapping[str, str]]:
    """One of its own on the PostgreSQL of this run, where there is one; otherwise SQLite in the site's folder."""
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith("postgres"):
        yield {}
        return
    name = f"site_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield {"DATABASE_URL": _with_database(url, name)}
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _with_database(url: str, name: str) -> str:
    head, question, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}{question}{query}"


def tab(person: Person, conversation: str) -> Tab:
    """Of a browser that can write there."""
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(person.device_seed))
    return Tab(UUID(conversation), key)
