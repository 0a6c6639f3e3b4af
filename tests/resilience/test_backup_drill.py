"""The drill of docs/operations.md: a backup of a loaded server, the server lost, and everything again on another one."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from bench.people import Friends
from messaging import protocol
from tests.live_server import LiveServer
from tests.peer.client import Peer
from tests.peer.conversation import Message
from tests.peer.crypto import Refused
from tests.peer.http import HttpRefused
from tests.peer.socket import SocketClosed
from tests.resilience.browser import Browser
from tests.resilience.site import Site, own_database, prepared_site, tab

PASSWORD = "Passw0rd!"
BUSY_PAIRS, RAW_PAIRS = 2, 3
LONGEST_SECONDS = 60
WARM = 5
"""Acknowledged messages of everybody who writes, before the backup begins."""

_COUNTS = """
import json
from django.db.models import Count, Max, Min
from messaging.models import Envelope
rows = Envelope.objects.values_list("conversation_id").annotate(Count("n"), Min("n"), Max("n"))
print(json.dumps({str(one): numbers for one, *numbers in rows}))
"""
_names = (f"Driller{number}" for number in itertools.count(1))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """One of its own: it is lost."""
    with prepared_site(tmp_path / "before") as prepared:
        prepared.start_valkey()
        prepared.servers[0].start()
        yield prepared


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups"


@dataclass
class Writing:
    """Tells who waits how many messages were acknowledged."""

    acked: int = 0
    _grown: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def acknowledged(self) -> None:
        async with self._grown:
            self.acked += 1
            self._grown.notify_all()

    async def reaches(self, count: int) -> None:
        async with asyncio.timeout(LONGEST_SECONDS), self._grown:
            await self._grown.wait_for(lambda: self.acked >= count)


@dataclass(kw_only=True)
class Pair(Writing):
    """Two friends with keys, who decrypt."""

    site: Site
    alice: Peer
    bob: Peer

    @property
    def both(self) -> tuple[tuple[Peer, str], tuple[Peer, str]]:
        """Each with the friend's name."""
        return (self.alice, self.bob.name), (self.bob, self.alice.name)

    async def write_until_the_server_is_gone(self) -> None:
        with suppress(SocketClosed, ConnectionClosed, OSError, TimeoutError):
            for number in itertools.count(1):
                peer, friend = self.both[number % 2]
                await peer.send(friend, f"message {number}")
                await self.acknowledged()

    async def read_anew(self, person: Peer, friend: str) -> list[str]:
        """In a browser that knows nothing of this server but the password: what came back, decrypted and checked."""
        fresh = Peer(self.site.origin, person.ca_file)
        await fresh.log_in(person.name, PASSWORD)
        async with connected(fresh):
            return texts(await fresh.read(friend))


@dataclass(kw_only=True)
class Raw(Writing):
    """Two people whose messages nobody decrypts: load."""

    site: Site
    friends: Friends

    async def write_until_the_server_is_gone(self) -> None:
        writes = tab(self.friends.first, self.friends.conversation)
        with suppress(ConnectionClosed, OSError, TimeoutError):
            async with Browser(self.site, self.site.servers[0], self.friends.first) as browser:
                await browser.ask(writes.append(), protocol.EpochAppended)
                for ref in itertools.count(2):
                    await browser.ask(writes.send(ref, length=1_000), protocol.EnvelopeStored)
                    await self.acknowledged()


@asynccontextmanager
async def connected(*peers: Peer) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for peer in peers:
            await peer.connect()
            stack.push_async_callback(peer.disconnect)
        yield


async def make_pair(site: Site) -> Pair:
    alice, bob = (Peer(site.origin, site.servers[0].ca_file) for _ in range(2))
    pair = Pair(site=site, alice=alice, bob=bob)
    for peer in (pair.alice, pair.bob):
        await peer.sign_up(next(_names), PASSWORD)
    await pair.alice.add_friend(pair.bob.name)
    await pair.bob.approve([pair.alice.name])
    return pair


def texts(messages: list[Message]) -> list[str]:
    return [message.text for message in messages]


@asynccontextmanager
async def another_server(site: Site, tmp_path: Path) -> AsyncIterator[LiveServer]:
    """At the same address, with nothing of the first but its program: an empty database, no keys, no certificates."""
    old = site.servers[0]
    with own_database() as database:
        settings = {**old.settings, "STATIC_ROOT": str(old.directory / "static"), **database}
        server = replace(old, directory=tmp_path / "after", settings=settings)
        (server.directory / "var").mkdir(parents=True)
        await asyncio.to_thread(server.manage, "migrate", "--verbosity", "0")
        try:
            yield server
        finally:
            server.end()


async def test_everything_acknowledged_before_the_backup_is_there_on_another_server(
    site: Site, backups: Path, tmp_path: Path
) -> None:
    server = site.servers[0]
    archive, keys, key = (str(backups / name) for name in ("one.scb", "one.keys", "backup.key"))
    busy = [await make_pair(site) for _ in range(BUSY_PAIRS)]
    quiet = await make_pair(site)
    raw = [Raw(site=site, friends=await asyncio.to_thread(site.friends)) for _ in range(RAW_PAIRS)]
    everybody: list[Pair | Raw] = [*busy, *raw]
    async with connected(quiet.alice, quiet.bob):
        await quiet.alice.send(quiet.bob.name, "Good night.")
        await quiet.bob.read(quiet.alice.name)

    # Load, a backup meanwhile, and the end of the server while everybody writes.
    async with connected(*(peer for pair in busy for peer in (pair.alice, pair.bob))):
        writing = [asyncio.create_task(one.write_until_the_server_is_gone()) for one in everybody]
        await asyncio.gather(*(one.reaches(WARM) for one in everybody))
        before = [one.acked for one in everybody]
        await asyncio.to_thread(server.manage, "backup", archive, "--new-key", key, "--keys", keys)
        after = [one.acked for one in everybody]
        await asyncio.gather(*(one.reaches(count + 1) for one, count in zip(everybody, after, strict=True)))
        server.kill()
        async with asyncio.timeout(LONGEST_SECONDS):
            await asyncio.gather(*writing)
    assert all(count < later for count, later in zip(before, after, strict=True)), "Nobody had to wait."
    for name in ("certs", "var"):
        shutil.rmtree(server.directory / name)

    async with another_server(site, tmp_path) as new:
        said = json.loads(
            await asyncio.to_thread(
                new.manage, "restore", archive, "--key-file", key, "--keys", keys, "--json"
            )
        )
        assert said["restored"]
        await asyncio.to_thread(new.start)
        for peer in (one for pair in [*busy, quiet] for one in (pair.alice, pair.bob)):
            peer.ca_file = str(new.ca_file)

        # Old cookies open nothing.
        for peer in (busy[0].alice, quiet.bob):
            with pytest.raises(HttpRefused) as refusal:
                await peer._json("GET", "/api/keys/")
            assert refusal.value.code == "signed_out"
            assert await peer.old_session_code() == 4401

        # What was acknowledged before the backup began is there, without a gap, and opens.
        for pair, count in zip(busy, before[: len(busy)], strict=True):
            for person, friend in pair.both:
                read = await pair.read_anew(person, friend)
                assert len(read) >= count
                assert read == [f"message {number}" for number in range(1, len(read) + 1)]
        counts = json.loads((await asyncio.to_thread(new.manage, "shell", "-c", _COUNTS)).splitlines()[-1])
        for one, count in zip(raw, before[len(busy) :], strict=True):
            assert_gapless(counts[one.friends.conversation], at_least=count)

        # Who had seen nothing newer logs in again and goes on; who had, says so.
        await quiet.alice.log_in_again(PASSWORD)
        await quiet.bob.log_in_again(PASSWORD)
        async with connected(quiet.alice, quiet.bob):
            await quiet.alice.send(quiet.bob.name, "Good morning.")
            assert texts(await quiet.bob.read(quiet.alice.name)) == ["Good night.", "Good morning."]
        await busy[0].alice.log_in_again(PASSWORD)
        async with connected(busy[0].alice):
            with pytest.raises(Refused, match="log_mismatch"):
                await busy[0].alice.read(busy[0].bob.name)


def assert_gapless(numbers: list[int], *, at_least: int) -> None:
    count, first, last = numbers
    assert first == 1
    assert count == last >= at_least


async def test_a_friends_client_notices_an_older_backup_and_no_other(site: Site, backups: Path) -> None:
    server = site.servers[0]
    key = str(backups / "backup.key")
    pair, other = await make_pair(site), await make_pair(site)
    for each in (pair, other):
        async with connected(each.alice, each.bob):
            await each.alice.send(each.bob.name, "one")
            await each.bob.read(each.alice.name)
            await each.bob.store_positions()

    async def restored(name: str) -> None:
        """Everybody is signed out by it, and logs in again in the browser that they had."""
        await asyncio.to_thread(server.end)
        restore = ("restore", str(backups / name), "--key-file", key, "--replace", "--no-input")
        await asyncio.to_thread(server.manage, *restore)
        await asyncio.to_thread(server.start)

    # The same state again: no alarm, and everybody goes on.
    await asyncio.to_thread(server.manage, "backup", str(backups / "same.scb"), "--new-key", key)
    await restored("same.scb")
    for each in (pair, other):
        for peer in (each.alice, each.bob):
            await peer.log_in_again(PASSWORD)
        async with connected(each.alice, each.bob):
            await each.bob.send(each.alice.name, "two")
            assert texts(await each.alice.read(each.bob.name)) == ["one", "two"]
            assert texts(await each.bob.read(each.alice.name)) == ["one", "two"]

    # An older one: "two" is gone for the one pair; the other's Bob has, besides, written to his vault since.
    async with connected(other.bob):
        await other.bob.verify(other.alice.name)
    await restored("same.scb")
    await pair.alice.log_in_again(PASSWORD)
    async with connected(pair.alice):
        with pytest.raises(Refused, match="log_mismatch"):
            await pair.alice.read(pair.bob.name)
        with pytest.raises(Refused, match="log_mismatch"):
            await pair.alice.send(pair.bob.name, "to whom?")
    with pytest.raises(Refused, match="vault_rolled_back"):
        await other.bob.log_in_again(PASSWORD)


async def test_an_archive_goes_from_sqlite_to_postgresql_and_back_unchanged(
    site: Site, backups: Path, tmp_path: Path
) -> None:
    """On SQLite alone it goes from one file to another; with a PostgreSQL, through it."""
    server = site.servers[0]
    key = str(backups / "backup.key")
    pair = await make_pair(site)
    async with connected(pair.alice, pair.bob):
        await pair.alice.send(pair.bob.name, "one")
        await pair.bob.read(pair.alice.name)
    server.end()
    server.manage("backup", str(backups / "first.scb"), "--new-key", key, "--keys", str(backups / "keys"))

    lite = replace(
        server,
        directory=tmp_path / "lite",
        settings={**server.settings, "DATABASE_URL": f"sqlite:///{tmp_path / 'lite' / 'other.sqlite3'}"},
    )
    (lite.directory / "var").mkdir(parents=True)
    lite.manage("migrate", "--verbosity", "0")
    first = restored(lite, backups / "first.scb", key, "--keys", str(backups / "keys"))
    lite.manage("check", "--database", "default")
    lite.manage("backup", str(backups / "second.scb"), "--key-file", key)
    second = restored(server, backups / "second.scb", key, "--replace", "--no-input")

    assert second["database"] == "sqlite"
    assert without_trail(first["sha256"]) == without_trail(second["sha256"])
    await asyncio.to_thread(server.start)
    await pair.bob.log_in_again(PASSWORD)
    async with connected(pair.bob):
        assert texts(await pair.bob.read(pair.alice.name)) == ["one"]
        await pair.bob.send(pair.alice.name, "two")


def restored(server: LiveServer, archive: Path, key: str, *arguments: str) -> Mapping[str, object]:
    said = json.loads(server.manage("restore", str(archive), "--key-file", key, "--json", *arguments))
    assert said["restored"]
    assert isinstance(said, dict)
    return said


def without_trail(hashes: object) -> Mapping[str, str]:
    """The trail has grown by what was done with it."""
    assert isinstance(hashes, dict)
    assert len(hashes) > 20
    return {name: digest for name, digest in hashes.items() if name != "securechat_auditevent"}
