"""Messages that people get each second, how soon, and what they cost the server; against other servers in the same run.

python -m bench.throughput [--rounds 3] [--messages 20000] [--only securechat relay …] [--sockets 2000]
                           [--folder /dev/shm] [--fsync-delay-milliseconds 8]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import slow_disk
from bench.processes import allow_many_files, cores, cpu_seconds, pinned, resident_bytes
from bench.ready import set_up_django

if TYPE_CHECKING:  # They need Django's settings.
    from bench.servers import Chat, Measured

PAIRS = 50
WINDOW = 4
PER_SECOND = 200
_PACED = 1_000
_SOCKETS_EACH = 20
_TENTH = 10
SHARE_OF_MESSAGES = {
    "securechat": 1.0,
    "securechat_stock_frames": 1.0,
    "securechat_postgresql": 1.0,
    "relay": 1.0,
    "prosody": 0.5,
    "ejabberd": 0.5,
    "ejabberd_sqlite": 0.5,
    "ejabberd_postgresql": 0.5,
    "tutorial": 0.1,
    "tutorial_redis": 0.1,
}
"""Of ``--messages``, by what is measured: a slower server gets fewer in a round."""
_PEERS = ("prosody", "ejabberd", "ejabberd_sqlite", "ejabberd_postgresql")


def main() -> None:
    arguments = _arguments()
    set_up_django()
    from bench.results import record

    with tempfile.TemporaryDirectory(prefix="securechat-bench-", dir=arguments.folder) as folder:
        figures = measure(Path(folder), arguments)
    record(arguments.name, figures, command="python -m bench.throughput " + " ".join(sys.argv[1:]))


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.servers import Chat
    from securechat.serving.valkey import EmbeddedValkey

    allow_many_files()
    server_core, load_core = cores()
    os.sched_setaffinity(0, {load_core})
    delay = arguments.fsync_delay_milliseconds
    environment = slow_disk.slowed(folder, delay)
    figures: dict[str, Any] = {
        "fsync_delay_milliseconds": delay,
        **slow_disk.waits(folder, environment, at_least_milliseconds=delay),
        "pairs": PAIRS,
        "window": WINDOW,
    }
    left_out = {} if arguments.only else _not_installed()
    names = arguments.only or [name for name in SHARE_OF_MESSAGES if name not in left_out]
    if left_out:
        figures["left_out"] = left_out
        print(f"Left out: {left_out}", file=sys.stderr)
    with pinned(server_core):
        chat = Chat(folder / "securechat", environment=environment)
        chat.prepare(PAIRS)
        valkey = EmbeddedValkey(folder / "redis" / "valkey.sock")
        valkey.start()
    try:
        servers = {name: _server(name, folder, chat, valkey.socket) for name in names}
        figures |= _in_turn(servers, arguments, server_core)
    finally:
        valkey.stop()
    if arguments.sockets:
        figures["idle_socket_bytes"] = _idle(chat, arguments.sockets, server_core)
    return figures


def _not_installed() -> dict[str, str]:
    from bench.peers.ejabberd import Ejabberd
    from bench.peers.prosody import Prosody

    is_there = {
        "prosody": Prosody.is_installed(),
        "ejabberd": Ejabberd.is_installed(),
        "ejabberd_sqlite": Ejabberd.is_installed("sqlite"),
        "ejabberd_postgresql": Ejabberd.is_installed("postgresql"),
    }
    return {name: "not installed (make bench-peers)" for name, there in is_there.items() if not there}


def _server(name: str, folder: Path, chat: Chat, redis: Path) -> Measured:
    from bench.peers.ejabberd import Ejabberd
    from bench.peers.prosody import Prosody
    from bench.postgresql import PostgreSQL
    from bench.servers import Chat, Relay, Tutorial

    home = folder / name
    home.mkdir(exist_ok=True)
    match name:
        case "securechat":
            return chat
        case "securechat_stock_frames":
            wrapper = [sys.executable, "-m", "bench.stock_frames"]
            stock = Chat(home, name, environment=chat.environment, wrapper=wrapper)
            stock.prepare(PAIRS)
            return stock
        case "securechat_postgresql":
            database = PostgreSQL(home / "postgresql", chat.environment)
            other = Chat(home, name, database, chat.environment)
            other.prepare(PAIRS)
            return other
        case "relay":
            return Relay(home, chat)
        case "prosody":
            return Prosody(home, chat)
        case "ejabberd":
            return Ejabberd(home, chat)
        case "ejabberd_sqlite":
            return Ejabberd(home, chat, name, archive="sqlite")
        case "ejabberd_postgresql":
            return Ejabberd(home, chat, name, archive="postgresql")
        case "tutorial":
            return Tutorial(home, chat)
        case "tutorial_redis":
            return Tutorial(home, chat, name, redis=f"unix://{redis}")
    raise AssertionError(name)


def _in_turn(servers: dict[str, Measured], arguments: argparse.Namespace, core: int) -> dict[str, Any]:
    from bench.load import Broken

    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
    broken: dict[str, list[str]] = {}
    for _ in range(arguments.rounds):
        for name, server in servers.items():
            messages = int(arguments.messages * SHARE_OF_MESSAGES[name])
            try:
                rounds[name].append(_round(server, messages, core))
            except Broken as what:
                if name.startswith("securechat"):
                    raise
                broken.setdefault(name, []).append(str(what))
            print(name, rounds[name][-1:], broken.get(name, ""), file=sys.stderr, flush=True)
    figures: dict[str, Any] = {name: _medians(some) for name, some in rounds.items() if some}
    ratios = _ratios(figures)
    return {**figures, "ratios": ratios, **({"broken_rounds": broken} if broken else {})}


def _round(server: Measured, messages: int, core: int) -> dict[str, float]:
    from bench.load import Load

    with pinned(core):
        server.start()
    try:
        load = Load(server.pairs(PAIRS, messages // PAIRS + _PACED // PAIRS))
        load.settle(1)
        marks: list[tuple[float, float, float]] = []

        def mark() -> None:
            cpu = sum(map(cpu_seconds, server.pids))
            marks.append((time.perf_counter(), cpu, time.process_time()))

        began, ended = messages // _TENTH, messages - messages // _TENTH
        load.saturate(messages, window=WINDOW, on_count={began: mark, ended: mark})
        load.settle(1)
        took = load.pace(_PACED, per_second=PER_SECOND)
        load.close()
    finally:
        server.stop()
    (start, cpu_before, load_before), (end, cpu_after, load_after) = marks
    cuts = statistics.quantiles(took, n=100)
    return {
        "messages_per_second": round((ended - began) / (end - start)),
        "server_cpu_microseconds_each": round((cpu_after - cpu_before) / (ended - began) * 1e6),
        "load_share_of_its_core": round((load_after - load_before) / (end - start), 2),
        "p50_milliseconds": round(cuts[49] * 1000, 2),
        "p99_milliseconds": round(cuts[98] * 1000, 2),
    }


def _idle(chat: Chat, sockets: int, core: int) -> int:
    """Resident bytes that each open socket adds after the first of each person, who cost the caches."""
    people = [person for pair in chat.friends for person in (pair.first, pair.second)]
    if sockets > len(people) * _SOCKETS_EACH:
        raise SystemExit(
            f"At most {len(people) * _SOCKETS_EACH} sockets: a person has at most {_SOCKETS_EACH}."
        )
    with pinned(core):
        chat.start()
    try:
        cookies = [person.cookie for person in people]
        lines = [chat.line(cookie) for cookie in cookies]
        before = resident_bytes(chat.server.pid)
        for index in range(sockets - len(cookies)):
            lines.append(chat.line(cookies[index % len(cookies)]))
            if index % 50 == 0:  # Answers pings.
                for line in lines:
                    line.read()
        return round((resident_bytes(chat.server.pid) - before) / (sockets - len(cookies)))
    finally:
        chat.stop()


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def _ratios(figures: dict[str, Any]) -> dict[str, float]:
    """Of delivered messages a second. On PostgreSQL, like is compared with like, too."""
    rate = {name: figures[name]["messages_per_second"] for name in figures}
    ratios = {}
    if "securechat" in rate:
        ratios = {
            f"securechat_over_{name}": round(rate["securechat"] / rate[name], 2)
            for name in rate
            if name != "securechat"
        }
    if {"prosody", "ejabberd"} <= rate.keys():
        better = max(rate[name] for name in _PEERS if name in rate)
        ratios |= {
            f"{name}_over_better_of_prosody_and_ejabberd": round(rate[name] / better, 2)
            for name in ("securechat", "securechat_stock_frames")
            if name in rate
        }
    if "securechat_postgresql" in rate and "ejabberd_postgresql" in rate:
        ratios["securechat_postgresql_over_ejabberd_postgresql"] = round(
            rate["securechat_postgresql"] / rate["ejabberd_postgresql"], 2
        )
    return ratios


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--messages", type=int, default=20_000, help="of each round; slower servers get a part of them"
    )
    parser.add_argument(
        "--only", nargs="+", choices=list(SHARE_OF_MESSAGES), help="else all that are installed"
    )
    parser.add_argument("--sockets", type=int, default=0, help="also the memory of so many idle sockets")
    parser.add_argument("--folder", help="where the databases are; in memory, commits cost no disk")
    parser.add_argument(
        "--fsync-delay-milliseconds", type=int, default=0, help="added to each fsync of every server"
    )
    parser.add_argument("--name", default="throughput", help="of the file of results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
