"""What peers that misbehave cost the guarded launcher: memory that each kind adds, and the waits of an honest client meanwhile.

The application behind it echoes (tests/securechat/echo_server.py); launcher, TLS and limits are those of `manage.py serve`.

python -m bench.guards
"""

from __future__ import annotations

import multiprocessing
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import quantiles
from typing import Any

from websockets.sync.client import ClientConnection, connect

from bench.results import record
from tests.securechat.test_guards import FRAME_THAT_ASKS_FOR_MUCH, UPGRADE, Echo, running_echo

SECONDS_EACH = 15
BODY_BYTES = 600_000_000
POSTS = 20
SLOW_CONNECTIONS = 400
Attack = Callable[[Echo], None]


def post_much(echo: Echo, head: bytes, unit: bytes) -> None:
    with suppress(OSError), echo.raw() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n")
        for _ in range(BODY_BYTES // 65_536):
            client.sendall(unit)


def posts_with_a_length(echo: Echo) -> None:
    together(POSTS, lambda: post_much(echo, b"Content-Length: %d" % BODY_BYTES, b"x" * 65_536))


def posts_in_chunks(echo: Echo) -> None:
    unit = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    together(POSTS, lambda: post_much(echo, b"Transfer-Encoding: chunked", unit))


def socket_that_never_reads(echo: Echo) -> None:
    with echo.raw() as client:
        client.sendall(UPGRADE)
        client.sendall(FRAME_THAT_ASKS_FOR_MUCH)
        time.sleep(SECONDS_EACH)


def answer_that_is_never_read(echo: Echo) -> None:
    with echo.raw() as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(SECONDS_EACH)


def flood(echo: Echo, frame: bytes) -> None:
    """As fast as the server takes, reading nothing."""
    with suppress(OSError), echo.raw() as client:
        client.sendall(UPGRADE)
        while True:
            client.sendall(frame)


def flood_of_frames(echo: Echo) -> None:
    flood(echo, (b"\x81\xfe\x40\x00\0\0\0\0" + b"x" * 16_384) * 8)


def flood_of_small_frames(echo: Echo) -> None:
    flood(echo, b"\x81\x81\0\0\0\0x" * 8_000)


def flood_of_pings(echo: Echo) -> None:
    flood(echo, (b"\x89\xfd\0\0\0\0" + b"x" * 125) * 500)


def slow_connections(echo: Echo) -> None:
    """A byte of a header now and then, from one address; who is turned away or cut off comes again."""

    def drip() -> None:
        while True:
            with suppress(OSError), echo.raw() as client:
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


def resident_megabytes(echo: Echo) -> float:
    lines = Path(f"/proc/{echo.process.pid}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1_000


@contextmanager
def under(attack: Attack | None, echo: Echo) -> Iterator[None]:
    if attack is None:
        yield
        return
    attacker = multiprocessing.get_context("fork").Process(target=attack, args=(echo,), daemon=True)
    attacker.start()
    try:
        yield
    finally:
        attacker.kill()
        attacker.join()


def measure(certs: Path, attack: Attack | None) -> dict[str, Any]:
    """A server of its own for each; the honest client comes from another address and is there before."""
    with tempfile.TemporaryDirectory() as folder, running_echo(certs, Path(folder)) as echo:
        with honest_client(echo) as honest:
            for _ in range(200):
                round_trip(honest)
            before = peak = resident_megabytes(echo)
            waits = []
            with under(attack, echo):
                end = time.monotonic() + SECONDS_EACH
                while time.monotonic() < end:
                    waits.append(round_trip(honest))
                    peak = max(peak, resident_megabytes(echo))
                    time.sleep(0.02)
        return {
            "before_megabytes": round(before, 1),
            "added_megabytes": round(peak - before, 1),
            "honest_round_trips": len(waits),
            "honest_p50_milliseconds": round(quantiles(waits, n=100)[49] * 1_000, 1),
            "honest_p99_milliseconds": round(quantiles(waits, n=100)[98] * 1_000, 1),
        }


@contextmanager
def honest_client(echo: Echo) -> Iterator[ClientConnection]:
    plain = socket.create_connection(("127.0.0.1", echo.port), source_address=("127.0.0.2", 0))
    trust = ssl.create_default_context(cafile=echo.certs / "root.crt")
    with connect(f"wss://localhost:{echo.port}/ws/", sock=plain, ssl=trust) as client:
        yield client


def round_trip(client: ClientConnection) -> float:
    began = time.perf_counter()
    client.send("x" * 1_000)
    client.recv(timeout=30)
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


def main() -> None:
    with tempfile.TemporaryDirectory() as certs:
        figures = {name: measure(Path(certs), attack) for name, attack in ATTACKS.items()}
    record("guards", figures, command="python -m bench.guards")


if __name__ == "__main__":
    main()
