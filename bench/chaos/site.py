"""What is tormented: server processes on one database and one Redis, each behind a proxy, and what faults need to reach."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit
from uuid import UUID

import psycopg
import redis

from bench.chaos.checker import StoredRow
from bench.chaos.clock import write_offset
from bench.chaos.proxy import Proxy
from scripts.test import POSTGRESQL
from securechat.serving.valkey import EmbeddedValkey
from tests.live_server import LiveServer, free_port

PLAIN: tuple[str, ...] = ()
_SQLITE_FILE = Path("var") / "securechat.sqlite3"
_START_AGAIN_SECONDS = 0.3
_START_SECONDS = 60.0
_NO_LIMITS = dict.fromkeys(
    ("ENVELOPES_PER_SECOND", "ENVELOPE_BURST", "FRAMES_PER_SECOND", "FRAME_BURST"), "1000000"
) | {
    "MAX_CONNECTIONS_PER_ADDRESS": "0",
    "MAX_SOCKETS_PER_USER": "1000",
    "CATCH_UP_ANYWAY_SECONDS": "86400",  # It would hide that nobody was told.
}
_ENVELOPES = """
    SELECT conversation_id, n, side, client_id, envelope_hash, log_hash
    FROM messaging_envelope ORDER BY conversation_id, n
"""


@dataclass
class Process:
    """One server process, or what stands before several, and our proxy to it.

    ``server`` is None where somebody else runs it; ``starts`` are the moments at which it was started after a kill.
    """

    proxy: Proxy
    server: LiveServer | None = None
    starts: list[float] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.proxy.port}"

    @property
    def own_server(self) -> LiveServer:
        assert self.server is not None
        return self.server

    def start(self, wrapper: Sequence[str]) -> None:
        """Again until it stands, as a supervisor would: it may be started into a full disk or without its database."""
        self.own_server.wrapper = wrapper
        give_up_at = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.own_server.start()
                return
            except (RuntimeError, TimeoutError):
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(_START_AGAIN_SECONDS)


class Site:
    """Servers that somebody else runs: only the network to them can be tormented, and the people."""

    def __init__(
        self,
        folder: Path,
        *,
        origin: str,
        ca_file: Path,
        processes: Sequence[Process],
        database_url: str = "",
    ) -> None:
        """``folder`` is for what the clients write; ``database_url``, of a PostgreSQL, lets the checker see what is stored."""
        self.folder, self.origin, self.ca_file = folder, origin, ca_file
        self.processes, self.database_url = processes, database_url

    def start(self, wrapper: Sequence[str] = PLAIN) -> None:
        for process in self.processes:
            process.proxy.start()

    def stop(self) -> None:
        """Politely. The proxies go with the site."""

    def stored(self) -> dict[UUID, list[StoredRow]] | None:
        """None where the database cannot be looked into."""
        if not self.database_url:
            return None
        with self.postgresql() as postgresql:
            return _by_conversation(postgresql.execute(_ENVELOPES).fetchall())

    @contextmanager
    def postgresql(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.database_url, autocommit=True, connect_timeout=10) as connection:
            yield connection


class OwnSite(Site):
    """Made by ``sqlite_site`` or ``postgresql_site``, which also end everything that it started."""

    def __init__(self, folder: Path, *, processes: int, database_url: str, redis_url: str) -> None:
        """Without URLs there is one process, with SQLite and a Valkey of its own."""
        self.clock_file = folder / "clock"
        write_offset(self.clock_file, 0.0)
        settings = {**_NO_LIMITS, "DATABASE_URL": database_url or _sqlite_url(folder), "REDIS_URL": redis_url}
        first = LiveServer(folder, port=free_port(), public_port=free_port(), settings=settings)
        servers = [first, *(first.beside() for _ in range(1, processes))]
        ports = [first.public_port, *(free_port() for _ in servers[1:])]
        super().__init__(
            folder,
            origin=first.origin,
            ca_file=first.ca_file,
            processes=[
                Process(Proxy(at, server.port), server) for server, at in zip(servers, ports, strict=True)
            ],
            database_url=database_url,
        )
        self.redis_socket = Path(redis_url.removeprefix("unix://") or folder / "var" / "run" / "valkey.sock")
        self._redis_pids: set[int] = set()

    @property
    def sqlite_file(self) -> Path | None:
        return None if self.database_url else self.folder / _SQLITE_FILE

    @property
    def clocked(self) -> tuple[str, ...]:
        return (sys.executable, "-m", "bench.chaos.clock", str(self.clock_file))

    def start(self, wrapper: Sequence[str] = PLAIN) -> None:
        super().start()
        for process in self.processes:
            process.start(wrapper)

    def stop(self) -> None:
        for process in self.processes:
            process.own_server.stop()

    def stored(self) -> dict[UUID, list[StoredRow]] | None:
        if self.sqlite_file is None:
            return super().stored()
        with closing(sqlite3.connect(self.sqlite_file)) as connection:
            return _by_conversation(connection.execute(_ENVELOPES).fetchall())

    # Reaching into it

    def redis_pid(self) -> int | None:
        """None while it does not answer."""
        try:
            with redis.Redis(unix_socket_path=str(self.redis_socket), socket_timeout=1) as client:
                pid = int(client.info("server")["process_id"])
        except (redis.RedisError, OSError):
            return None
        self._redis_pids.add(pid)
        return pid

    def end_forgotten_redis(self) -> None:
        """One that was frozen while its server died may have been replaced."""
        for pid in self._redis_pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _by_conversation(
    envelopes: Iterable[tuple[object, int, int, object, bytes, bytes]],
) -> dict[UUID, list[StoredRow]]:
    rows: dict[UUID, list[StoredRow]] = {}
    for conversation, n, side, client_id, envelope_hash, log_hash in envelopes:
        row = StoredRow(n, side, _uuid(client_id), bytes(envelope_hash).hex(), bytes(log_hash).hex())
        rows.setdefault(_uuid(conversation), []).append(row)
    return rows


def _uuid(value: object) -> UUID:
    return value if isinstance(value, UUID) else UUID(str(value))


def _sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / _SQLITE_FILE}"


def prepare(folder: Path) -> None:
    """Keys, certificates, static files and an empty SQLite database, for any number of sites to begin with."""
    settings = {"DATABASE_URL": _sqlite_url(folder)}
    LiveServer(folder, port=0, public_port=0, settings=settings).prepare()


@contextmanager
def sqlite_site(folder: Path, prepared: Path | None = None) -> Iterator[OwnSite]:
    """One process as `make run` starts it."""
    _begin_with(prepared, folder)
    with _ended(OwnSite(folder, processes=1, database_url="", redis_url="")) as site:
        yield site


@contextmanager
def given_site(
    folder: Path, *, origin: str, ca_file: Path, urls: Sequence[str], database_url: str = ""
) -> Iterator[Site]:
    """One that runs already. Friends are at different ``urls``, whose certificates have to be good for localhost."""
    targets = [urlsplit(url) for url in urls]
    processes = [
        Process(Proxy(free_port(), target.port or 443, target.hostname or "localhost")) for target in targets
    ]
    try:
        yield Site(folder, origin=origin, ca_file=ca_file, processes=processes, database_url=database_url)
    finally:
        for process in processes:
            process.proxy.stop()


@contextmanager
def postgresql_site(folder: Path, prepared: Path | None = None, *, processes: int = 2) -> Iterator[OwnSite]:
    """Several processes on a PostgreSQL and a Valkey from pip."""
    _begin_with(prepared, folder)
    with (
        _postgresql(folder / "postgresql") as database_url,
        EmbeddedValkey(folder / "redis" / "valkey.sock") as valkey,
    ):
        redis_url = f"unix://{quote(str(valkey.socket))}"
        with _ended(
            OwnSite(folder, processes=processes, database_url=database_url, redis_url=redis_url)
        ) as site:
            site.processes[0].own_server.manage("migrate", "--verbosity", "0")
            yield site


def _begin_with(prepared: Path | None, folder: Path) -> None:
    if prepared is None:
        prepare(folder)
    else:
        shutil.copytree(prepared, folder, dirs_exist_ok=True)


@contextmanager
def _postgresql(folder: Path) -> Iterator[str]:
    """Its URL. In a process of its own, as the package that starts it warns and registers much in the one it is in."""
    command = [sys.executable, "-W", "ignore", "-c", POSTGRESQL, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        yield running.stdout.readline().strip()


@contextmanager
def _ended(site: OwnSite) -> Iterator[OwnSite]:
    try:
        yield site
    finally:
        site.redis_pid()  # A server that is killed leaves its own behind.
        for process in site.processes:
            with suppress(AssertionError, subprocess.TimeoutExpired):
                process.own_server.kill()
            process.proxy.stop()
        site.end_forgotten_redis()
