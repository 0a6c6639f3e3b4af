"""Several processes behind a real proxy: people on different ones talk, one is killed, and they go on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from scripts.cluster import Cluster, Server
from scripts.proxies import Proxy
from tests.peer.client import Peer
from tests.peer.socket import SocketClosed
from tests.securechat.test_health import ALL_WELL, ANSWERS_WITHIN_SECONDS, frozen
from tests.securechat.test_serve import wait_until

PASSWORD = "Passw0rd!"
UNANSWERED = (
    "No answer within 2.5 s.",
    "It does not answer.",
)  # The second where a new connection was given up.
ONE_CAP, BOTH_CAPS = 20, 2 * 20  # MAX_CONNECTIONS_PER_ADDRESS of the two processes.
AGAIN_SECONDS = (
    30  # A killed process starts anew and is found to be ready; both take about three on a quiet machine.
)


async def test_people_on_two_processes_talk_and_go_on_when_one_is_killed(cluster: Cluster) -> None:
    alice, bob = await friends(cluster)
    hers = await connect_elsewhere_than(None, alice, cluster)
    his = await connect_elsewhere_than(hers, bob, cluster)

    await alice.send("Bob" + suffix(cluster), "Can you hear me?")
    await bob.socket.next_event("envelope.new")
    await bob.send("Alice" + suffix(cluster), "From another process.")
    await alice.socket.next_event("envelope.new")
    assert await texts(bob, "Alice", cluster) == ["Can you hear me?", "From another process."]

    os.kill(hers.pid, signal.SIGKILL)
    await bob.send("Alice" + suffix(cluster), "Are you still there?")
    with pytest.raises(SocketClosed):
        await alice.socket.request("ping")
    await alice.connect()  # At once: the proxy takes the process that is left.
    await alice.send("Bob" + suffix(cluster), "On yours, now.")

    said = ["Can you hear me?", "From another process.", "Are you still there?", "On yours, now."]
    assert await texts(alice, "Bob", cluster) == said
    assert await texts(bob, "Alice", cluster) == said

    assert cluster.start_again() == [hers]
    await alice.disconnect()
    await connect_elsewhere_than(his, alice, cluster)
    await alice.send("Bob" + suffix(cluster), "Back on my own.")
    assert (await texts(bob, "Alice", cluster))[-1] == "Back on my own."
    await alice.disconnect()
    await bob.disconnect()


def suffix(cluster: Cluster) -> str:
    """The database is the same for all proxies, so the people are others."""
    return cluster.proxy.name


async def friends(cluster: Cluster) -> tuple[Peer, Peer]:
    root = cluster.folder / "certs" / "root.crt"
    alice, bob = Peer(cluster.origin, root), Peer(cluster.origin, root)
    await alice.sign_up("Alice" + suffix(cluster), PASSWORD)
    await bob.sign_up("Bob" + suffix(cluster), PASSWORD)
    await alice.add_friend("Bob" + suffix(cluster))
    await bob.approve(["Alice" + suffix(cluster)])
    return alice, bob


async def texts(peer: Peer, friend: str, cluster: Cluster) -> list[str]:
    return [message.text for message in await peer.read(friend + suffix(cluster))]


async def connect_elsewhere_than(server: Server | None, peer: Peer, cluster: Cluster) -> Server:
    """The proxy takes the process with the fewest connections, but not at once after one came back."""
    async with asyncio.timeout(AGAIN_SECONDS):
        while True:
            before = connections(cluster)
            await peer.connect()
            after = connections(cluster)
            found = [one for one in cluster.servers if after[one.port] > before[one.port]]
            if len(found) == 1 and found[0] is not server:  # None where an older one ended meanwhile.
                return found[0]
            await peer.disconnect()
            await asyncio.sleep(0.2)


def connections(cluster: Cluster) -> dict[int, int]:
    """Open ones of each process, once those of checks and pages are over."""
    ports = [server.port for server in cluster.servers]
    counts = [-1]
    while True:  # Checks come and go: what holds for a moment counts.
        now = [established(port) for port in ports]
        if now == counts:
            return dict(zip(ports, now, strict=True))
        counts = now
        time.sleep(0.1)


def established(port: int) -> int:
    rows = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return sum(row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "01" for row in rows)


def test_a_proxy_that_passes_many_on_is_not_capped_but_each_of_them_is(cluster: Cluster) -> None:
    with ExitStack() as stack:
        admitted = 0
        with suppress(OSError):
            while admitted <= BOTH_CAPS:
                stack.enter_context(tunnel(cluster, source="127.0.0.2"))
                admitted += 1

        assert ONE_CAP <= admitted <= BOTH_CAPS  # The proxy does not always take the process with more room.
        for _ in range(4):
            assert get(cluster, "/healthz", source="127.0.0.3") == (200, {"alive": True})


@contextmanager
def tunnel(cluster: Cluster, *, source: str) -> Iterator[ssl.SSLSocket]:
    plain = socket.create_connection(("127.0.0.1", cluster.port), timeout=15, source_address=(source, 0))
    with closing(plain):
        through = trust(cluster).wrap_socket(
            plain, server_hostname="localhost", do_handshake_on_connect=False
        )
        with through:
            through.do_handshake()
            yield through


def trust(cluster: Cluster) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=cluster.folder / "certs" / "root.crt")


def get(cluster: Cluster, path: str, *, source: str = "127.0.0.1") -> tuple[int, dict[str, Any]]:
    with closing(
        HTTPSConnection(
            "localhost", cluster.port, context=trust(cluster), timeout=20, source_address=(source, 0)
        )
    ) as client:
        client.request("GET", path)
        response = client.getresponse()
        return response.status, json.loads(response.read())


def test_a_postgresql_that_hangs_is_said_in_time_by_whoever_is_left_to_say_it(cluster: Cluster) -> None:
    wait_until(lambda: get(cluster, "/readyz") == (200, ALL_WELL))
    postmaster = int((cluster.folder / "postgresql" / "postmaster.pid").read_text().split()[0])

    with frozen(postmaster):
        until = time.monotonic() + 12  # Meanwhile HAProxy's checks find that no process is ready.
        while time.monotonic() < until:
            began = time.monotonic()
            status, said = get(cluster, "/readyz")
            assert time.monotonic() - began < ANSWERS_WITHIN_SECONDS
            assert status == 503
            assert said["database"] in UNANSWERED
        assert get(cluster, "/healthz") == (200, {"alive": True})

    wait_until(lambda: get(cluster, "/readyz") == (200, ALL_WELL), seconds=AGAIN_SECONDS)


def test_the_plain_port_leads_to_the_origin(cluster: Cluster) -> None:
    with closing(HTTPConnection("127.0.0.1", cluster.plain_port, timeout=10)) as client:
        client.request("GET", "/chat/?a=b")
        response = client.getresponse()

    assert (response.status, response.getheader("Location")) == (308, f"{cluster.origin}/chat/?a=b")


def test_it_runs_by_the_configuration_that_deploy_has(cluster: Cluster, proxy: Proxy) -> None:
    configuration = cluster.folder / proxy.example.name
    to_check = [configuration]
    if proxy.name == "haproxy":  # nginx opens the log that it names, which is root's.
        to_check.append(proxy.example)
    for file in to_check:
        checked = subprocess.run(proxy.check(file), capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
    for server in cluster.servers:
        assert f"127.0.0.1:{server.port}" in configuration.read_text()
    assert "chat.example" not in configuration.read_text()
    assert ":8451" not in configuration.read_text()


def runs(pid: int) -> bool:
    """One that nobody has buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_nothing_of_it_is_left(cluster: Cluster) -> None:
    """The last test of each proxy: the fixture finds it ended."""
    programs = [server.pid for server in cluster.servers]
    postmaster = int((cluster.folder / "postgresql" / "postmaster.pid").read_text().split()[0])

    cluster.stop()

    assert not any(runs(pid) for pid in [*programs, postmaster])
    with pytest.raises(OSError, match=r"refused"):
        socket.create_connection(("127.0.0.1", cluster.port), timeout=5)
    assert not (cluster.folder / "run" / "valkey.sock").exists()
