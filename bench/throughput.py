"""Messages that people get each second, how soon, and what they cost the server; against simpler servers in the same run.

python -m bench.throughput [--rounds 3] [--only securechat relay tutorial tutorial_redis] [--sockets 2000]
                           [--folder /dev/shm]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.processes import cores, cpu_seconds, pinned, resident_bytes

PAIRS = 50
WINDOW = 4
PER_SECOND = 200
_PACED = 1_000
_SOCKETS_EACH = 20
_TENTH = 10


def main() -> None:
    arguments = _arguments()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "securechat.settings")
    os.environ.setdefault("SECRET_KEY", "only-for-measurements")
    os.environ["ENV_FILE"] = "/nonexistent"
    import django

    django.setup()
    from bench.results import record

    with tempfile.TemporaryDirectory(prefix="securechat-bench-", dir=arguments.folder) as folder:
        figures = {"fsync_milliseconds": _fsync(Path(folder))} | measure(Path(folder), arguments)
    record(arguments.name, figures, command="python -m bench.throughput " + " ".join(sys.argv[1:]))


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.servers import Chat, Measured, Relay, Tutorial
    from securechat.serving.valkey import EmbeddedValkey

    server_core, load_core = cores()
    os.sched_setaffinity(0, {load_core})
    with pinned(server_core):
        chat = Chat(folder)
        chat.befriend(PAIRS)
        valkey = EmbeddedValkey(folder / "redis" / "valkey.sock")
        valkey.start()
    servers: dict[str, tuple[Measured, int]] = {
        "securechat": (chat, arguments.messages),
        "relay": (Relay(folder, chat), arguments.messages),
        "tutorial": (Tutorial(folder, chat), arguments.messages // 10),
        "tutorial_redis": (
            Tutorial(folder, chat, "tutorial_redis", redis=f"unix://{valkey.socket}"),
            arguments.messages // 10,
        ),
    }
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in arguments.only}
    try:
        for _ in range(arguments.rounds):
            for name in arguments.only:
                server, messages = servers[name]
                rounds[name].append(_round(server, messages, server_core))
                print(name, rounds[name][-1], file=sys.stderr, flush=True)
    finally:
        valkey.stop()
    figures: dict[str, Any] = {name: _medians(some) for name, some in rounds.items()}
    figures["ratios"] = _ratios(figures)
    if arguments.sockets:
        figures["idle_socket_bytes"] = _idle(chat, arguments.sockets, server_core)
    return {"pairs": PAIRS, "window": WINDOW, **figures}


def _round(server: Any, messages: int, core: int) -> dict[str, float]:
    from bench.load import Load

    with pinned(core):
        server.start()
    try:
        load = Load(server.pairs(PAIRS, messages // PAIRS + _PACED // PAIRS))
        load.settle(1)
        marks: list[tuple[float, float, float]] = []

        def mark() -> None:
            marks.append((time.perf_counter(), cpu_seconds(server.pid), time.process_time()))

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


def _idle(chat: Any, sockets: int, core: int) -> int:
    """Resident memory that each more socket costs, beyond the first that everybody has."""
    with pinned(core):
        chat.start()
    try:
        cookies = [person.cookie for friends in chat.friends for person in (friends.first, friends.second)]
        lines = [chat.line(cookie) for cookie in cookies]
        before = resident_bytes(chat.pid)
        for index in range(sockets - len(cookies)):
            lines.append(chat.line(cookies[index % len(cookies)]))
            if index % 50 == 0:  # Answers pings.
                for line in lines:
                    line.read()
        return round((resident_bytes(chat.pid) - before) / (sockets - len(cookies)))
    finally:
        chat.stop()


def _fsync(folder: Path) -> float:
    """Median of what a durable commit waits for."""
    took = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(101):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fdatasync(file)
            took.append(time.perf_counter() - began)
    return round(statistics.median(took) * 1000, 2)


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def _ratios(figures: dict[str, Any]) -> dict[str, float]:
    if "securechat" not in figures:
        return {}
    ours = figures["securechat"]["messages_per_second"]
    return {
        f"securechat_over_{name}": round(ours / figures[name]["messages_per_second"], 2)
        for name in figures
        if name != "securechat"
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=20_000, help="of each round; the tutorial a tenth")
    parser.add_argument("--only", nargs="+", default=["securechat", "relay", "tutorial", "tutorial_redis"])
    parser.add_argument("--sockets", type=int, default=0, help="also the memory of so many idle sockets")
    parser.add_argument("--folder", help="where the databases are; in memory, commits cost no disk")
    parser.add_argument("--name", default="throughput", help="of the file of results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
