"""What peers that misbehave cost the guarded launcher: memory that each kind adds, and the waits of an honest client meanwhile.

Against an application that echoes (tests/securechat/echo_server.py), or against the chat as `manage.py serve` runs it: there the
honest client sends messages and waits for their acks, and who floods or never reads is signed in.

python -m bench.guards [--server securechat] [--seconds 15] [--only flood_of_frames …]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from statistics import quantiles
from typing import Any, Protocol

from websockets.sync.client import ClientConnection, connect

from bench.load import masked
from bench.processes import resident_bytes
from bench.ready import set_up_django
from bench.results import record
from tests.securechat.test_guards import FRAME_THAT_ASKS_FOR_MUCH, UPGRADE, Echo, running_echo

BODY_BYTES = 600_000_000
POSTS = 20
SLOW_CONNECTIONS = 400
HONEST_ADDRESS = "127.0.0.2"
RoundTrip = Callable[[], None]


class Target(Protocol):
    """``upgrade`` opens a socket, over which each of ``much`` asks for more than it sends."""

    pid: int
    upgrade: bytes
    much: list[bytes]
    large_answer: bytes
    """A request, or many, whose answers are more than systems buffer."""
    pause_seconds: float

    def raw(self) -> ssl.SSLSocket: ...

    def honest(self) -> AbstractContextManager[RoundTrip]: ...


Attack = Callable[[Target, float], None]


class EchoTarget:
    upgrade = UPGRADE
    much = [FRAME_THAT_ASKS_FOR_MUCH]
    large_answer = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"
    pause_seconds = 0.02

    def __init__(self, echo: Echo) -> None:
        self._echo = echo
        self.pid = echo.process.pid

    def raw(self) -> ssl.SSLSocket:
        return self._echo.raw()

    @contextmanager
    def honest(self) -> Iterator[RoundTrip]:
        trust = ssl.create_default_context(cafile=self._echo.certs / "root.crt")
        url = f"wss://localhost:{self._echo.port}/ws/"
        with connect(url, sock=_from_another_address(self._echo.port), ssl=trust) as client:
            yield lambda: _echoed(client)


def _echoed(client: ClientConnection) -> None:
    client.send("x" * 1_000)
    client.recv(timeout=30)


class ChatTarget:
    """With the limits that it has by default: an honest person stays below 20 messages a second."""

    large_answer = b"GET /about/ HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2_000
    pause_seconds = 0.06

    def __init__(self, server: Any, honest: Any, attacker: Any) -> None:
        from messaging import protocol

        self._server, self._honest = server, honest
        self.pid = server.pid
        cookie = f"Origin: {server.origin}\r\nCookie: {attacker.first.cookie}\r\n".encode()
        self.upgrade = UPGRADE.removesuffix(b"\r\n") + cookie + b"\r\n"
        ask = protocol.ListConversations(ref=1, before=None)
        self.much = [masked(protocol.encode(ask).encode()) for _ in range(400)]

    def raw(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self._server.port), timeout=15)
        return self._trust().wrap_socket(plain, server_hostname="localhost")

    @contextmanager
    def honest(self) -> Iterator[RoundTrip]:
        from messaging import protocol
        from tests.resilience.site import tab as tab_of

        tab = tab_of(self._honest.first, self._honest.conversation)
        with connect(
            f"wss://localhost:{self._server.port}/ws/",
            sock=_from_another_address(self._server.port),
            ssl=self._trust(),
            origin=self._server.origin,
            additional_headers={"Cookie": self._honest.first.cookie},
        ) as client:

            def ask(frame: Any, answer: str) -> None:
                client.send(protocol.encode(frame))
                while (told := json.loads(client.recv(timeout=30)))["type"] != answer:
                    assert told["type"] != "refused", told

            ask(tab.append(), "epoch.appended")
            yield lambda: ask(tab.send(length=600), "envelope.stored")

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self._server.ca_file))


def _from_another_address(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), source_address=(HONEST_ADDRESS, 0))


def post_much(target: Target, head: bytes, unit: bytes) -> None:
    with suppress(OSError), target.raw() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n")
        for _ in range(BODY_BYTES // 65_536):
            client.sendall(unit)


def posts_with_a_length(target: Target, _: float) -> None:
    together(POSTS, lambda: post_much(target, b"Content-Length: %d" % BODY_BYTES, b"x" * 65_536))


def posts_in_chunks(target: Target, _: float) -> None:
    unit = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    together(POSTS, lambda: post_much(target, b"Transfer-Encoding: chunked", unit))


def socket_that_never_reads(target: Target, seconds: float) -> None:
    with suppress(OSError), target.raw() as client:
        client.sendall(target.upgrade)
        client.sendall(b"".join(target.much))
        time.sleep(seconds)


def answer_that_is_never_read(target: Target, seconds: float) -> None:
    with suppress(OSError), target.raw() as client:
        client.sendall(target.large_answer)
        time.sleep(seconds)


def flood(target: Target, frame: bytes) -> None:
    """As fast as the server takes, reading nothing; who is cut off comes again."""
    while True:
        with suppress(OSError), target.raw() as client:
            client.sendall(target.upgrade)
            while True:
                client.sendall(frame)
        time.sleep(0.1)


def flood_of_frames(target: Target, _: float) -> None:
    flood(target, (b"\x81\xfe\x40\x00\0\0\0\0" + b"x" * 16_384) * 8)


def flood_of_small_frames(target: Target, _: float) -> None:
    flood(target, b"\x81\x81\0\0\0\0x" * 8_000)


def flood_of_pings(target: Target, _: float) -> None:
    flood(target, (b"\x89\xfd\0\0\0\0" + b"x" * 125) * 500)


def slow_connections(target: Target, _: float) -> None:
    """A byte of a header now and then, from one address; who is turned away or cut off comes again."""

    def drip() -> None:
        while True:
            with suppress(OSError), target.raw() as client:
                client.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
                while True:
                    time.sleep(5)
                    client.sendall(b"x")
            time.sleep(1)

    together(SLOW_CONNECTIONS, drip)


def together(times: int, act: Callable[[], None]) -> None:
    threads = [threading.Thread(target=act, daemon=True) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def under(attack: Attack | None, target: Target, seconds: float) -> Iterator[None]:
    if attack is None:
        yield
        return
    attacker = multiprocessing.get_context("fork").Process(target=attack, args=(target, seconds), daemon=True)
    attacker.start()
    try:
        yield
    finally:
        attacker.kill()
        attacker.join()


def measure(target: Target, attack: Attack | None, seconds: float) -> dict[str, Any]:
    """The honest client comes from another address and is there before."""
    with target.honest() as round_trip:
        for _ in range(40):
            timed(round_trip)
            time.sleep(target.pause_seconds)
        before = peak = resident_bytes(target.pid)
        waits = []
        with under(attack, target, seconds):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                waits.append(timed(round_trip))
                peak = max(peak, resident_bytes(target.pid))
                time.sleep(target.pause_seconds)
    return {
        "before_megabytes": round(before / 1e6, 1),
        "added_megabytes": round((peak - before) / 1e6, 1),
        "honest_round_trips": len(waits),
        "honest_p50_milliseconds": round(quantiles(waits, n=100)[49] * 1_000, 1),
        "honest_p99_milliseconds": round(quantiles(waits, n=100)[98] * 1_000, 1),
    }


def timed(act: RoundTrip) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


ATTACKS: dict[str, Attack | None] = {
    "nothing": None,
    "20_posts_of_600_MB": posts_with_a_length,
    "20_posts_of_600_MB_in_chunks": posts_in_chunks,
    "socket_that_never_reads": socket_that_never_reads,
    "answer_that_is_never_read": answer_that_is_never_read,
    "flood_of_frames": flood_of_frames,
    "flood_of_small_frames": flood_of_small_frames,
    "flood_of_pings": flood_of_pings,
    "400_slow_connections": slow_connections,
}


@contextmanager
def echo_targets() -> Iterator[Callable[[], AbstractContextManager[Target]]]:
    with tempfile.TemporaryDirectory() as certs:

        @contextmanager
        def fresh() -> Iterator[Target]:
            with tempfile.TemporaryDirectory() as folder, running_echo(Path(certs), Path(folder)) as echo:
                yield EchoTarget(echo)

        yield fresh


@contextmanager
def chat_targets() -> Iterator[Callable[[], AbstractContextManager[Target]]]:
    from bench import people
    from tests.live_server import ROOT, LiveServer, free_port

    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        server = LiveServer(Path(folder), port=port, public_port=port)
        server.prepare()

        @contextmanager
        def fresh() -> Iterator[Target]:
            made = subprocess.run(
                [sys.executable, "-m", "bench.people", "2"],
                cwd=ROOT,
                env=server.environment,
                check=True,
                capture_output=True,
                text=True,
            )
            server.start()
            try:
                yield ChatTarget(server, *people.load(made.stdout))
            finally:
                server.stop()

        yield fresh


def main() -> None:
    arguments = _arguments()
    set_up_django()
    all_targets = chat_targets if arguments.server == "securechat" else echo_targets
    figures = {}
    with all_targets() as fresh:
        for name in arguments.only:
            with fresh() as target:  # Each starts with a fresh process.
                figures[name] = measure(target, ATTACKS[name], arguments.seconds)
            print(name, figures[name], file=sys.stderr, flush=True)
    name = "guards" if arguments.server == "echo" else f"guards_{arguments.server}"
    record(name, figures, command="python -m bench.guards " + " ".join(sys.argv[1:]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", choices=["echo", "securechat"], default="echo")
    parser.add_argument("--seconds", type=float, default=15, help="of each attack")
    parser.add_argument("--only", nargs="+", choices=list(ATTACKS), default=list(ATTACKS))
    return parser.parse_args()


if __name__ == "__main__":
    main()
