"""An ack leaves only after the message is on the disk: seen from outside, in the system calls of server and database."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from bench.people import Friends
from messaging import protocol
from tests.live_server import LiveServer, free_port
from tests.resilience.browser import Browser
from tests.resilience.site import Site, tab
from tests.resilience.system_calls import Call, attached, calls, skip_without_strace, traced

MESSAGES = 5
ACK_BYTES = 100  # A ping is shorter, also with what TLS adds.
READS = ("read", "recvfrom", "recvmsg")
SYNCS = ("fsync", "fdatasync")


@dataclasses.dataclass(frozen=True)
class Exchange:
    """One message as its sender's browser saw it; seconds since 1970."""

    sent: float
    acked: float


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    skip_without_strace(tmp_path)
    return tmp_path / "server.trace"


@pytest.fixture
def server(site: Site, trace: Path) -> Iterator[LiveServer]:
    """One more on that database, traced from its start."""
    server = dataclasses.replace(site.servers[0], port=free_port(), wrapper=traced(trace))
    server.start()
    yield server
    server.end()


async def exchanges(site: Site, server: LiveServer, friends: Friends) -> tuple[int, list[Exchange]]:
    """The sender's port, and what was sent over it, one message after the other."""
    writes = tab(friends.first, friends.conversation)
    made = []
    async with Browser(site, server, friends.first) as alice:
        await alice.ask(writes.append(), protocol.EpochAppended)
        for ref in range(2, 2 + MESSAGES):
            sent = time.time()
            await alice.ask(writes.send(ref), protocol.EnvelopeStored)
            made.append(Exchange(sent, time.time()))
        return int(alice.socket.local_address[1]), made


def of_socket(server: LiveServer, seen: Sequence[Call], port: int) -> list[Call]:
    ends = f"127.0.0.1:{server.port}->127.0.0.1:{port}]"
    return [call for call in seen if call.file.startswith("TCP") and call.file.endswith(ends)]


def assert_synced_before_each_ack(
    on_socket: Sequence[Call], syncs: Sequence[Call], made: Sequence[Exchange]
) -> None:
    for exchange in made:
        within = [call for call in on_socket if exchange.sent < call.began < exchange.acked]
        received = [call for call in within if call.name in READS and call.result > ACK_BYTES]
        acks = [call for call in within if call.name not in READS and call.result > ACK_BYTES]
        assert received, on_socket
        assert acks, on_socket
        assert any(received[-1].ended < sync.began and sync.ended < acks[0].began for sync in syncs), (
            f"No sync between {received[-1]} and {acks[0]}."
        )


async def test_an_ack_leaves_after_its_message_is_on_the_disk(
    site: Site, server: LiveServer, trace: Path, tmp_path: Path
) -> None:
    of_database = tmp_path / "database.trace"
    first, friends = await asyncio.to_thread(site.friends), await asyncio.to_thread(site.friends)
    await exchanges(
        site, server, first
    )  # The writer's connection to a PostgreSQL is made by the first message.
    with attached(of_database, await asyncio.to_thread(postgresql_processes)):
        port, made = await exchanges(site, server, friends)
    await asyncio.to_thread(server.end)  # So that all is written down.

    seen = calls(trace)
    log = "/pg_wal/" if is_on_postgresql() else ".sqlite3-wal"
    syncs = [call for call in seen + calls(of_database) if call.name in SYNCS and log in call.file]
    assert_synced_before_each_ack(of_socket(server, seen, port), syncs, made)


def is_on_postgresql() -> bool:
    return os.environ.get("DATABASE_URL", "").startswith("postgres")


def postgresql_processes() -> list[int]:
    """Backends and the writers behind them; none where the database is SQLite, which the server itself writes."""
    if not is_on_postgresql():
        return []
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE pid != pg_backend_pid()")
        return [pid for (pid,) in rows]
