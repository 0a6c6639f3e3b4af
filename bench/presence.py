"""What it costs that thousands of people with friends come online within half a minute.

python -m bench.presence [--people 5000] [--friends 50] [--seconds 25]

They come at an even pace, against `manage.py serve` on one core; the load has another.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.processes import allow_many_files, cores, cpu_seconds, pinned
from bench.ready import set_up_django

_LONGEST_SECONDS = 300
_SETTLE_SECONDS = 6
_PEOPLE, _FRIENDS, _SECONDS = 5_000, 50, 25


def main() -> None:
    arguments = _arguments()
    set_up_django()
    from bench.results import record

    with tempfile.TemporaryDirectory(prefix="securechat-bench-", dir=arguments.folder) as folder:
        figures = measure(Path(folder), arguments)
    record("presence", figures, command="python -m bench.presence " + " ".join(sys.argv[1:]))


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    from bench import visitors
    from bench.servers import NO_LIMITS
    from tests.live_server import LiveServer, free_port

    allow_many_files()
    server_core, load_core = cores()
    os.sched_setaffinity(0, {load_core})
    port = free_port()
    server = LiveServer(folder, port=port, public_port=port, settings=NO_LIMITS)
    server.prepare()
    began = time.monotonic()
    # One more than come: the honest client, who has friends among them and is there before.
    honest, *cookies = visitors.crowd(server, arguments.people + 1, arguments.friends)
    seconds_to_make = time.monotonic() - began
    with pinned(server_core):
        server.start()
    try:
        with visitors.honest_client(server, honest) as end_of_honest:
            figures = _storm(server, cookies, arguments, end_of_honest)
    finally:
        server.stop()
    return {
        "people": arguments.people,
        "friends_each": arguments.friends,
        "seconds_to_come": arguments.seconds,
        "seconds_to_make_the_rows": round(seconds_to_make),
        **figures,
    }


def _storm(
    server: Any, cookies: list[str], arguments: argparse.Namespace, end_of_honest: Any
) -> dict[str, Any]:
    from bench.visitors import Visitors

    def lost(visitor: Any, code: int | None) -> None:
        raise SystemExit(f"Somebody was cut off (close code {code}): see {server.log_file}.")

    crowd = Visitors(server, cookies, lost)
    redis_before, cpu_before, load_before = _redis(server), cpu_seconds(server.pid), time.process_time()
    began = time.monotonic()
    due = [(began + index * arguments.seconds / len(cookies), one) for index, one in enumerate(crowd.all)]
    while crowd.here < len(cookies):
        now = time.monotonic()
        if now > began + _LONGEST_SECONDS:
            raise SystemExit(f"Only {crowd.here} people came in {_LONGEST_SECONDS} s.")
        while due and due[0][0] <= now:
            crowd.open(due.pop(0)[1])
        crowd.attend(0.01)
    took = time.monotonic() - began
    cpu, load = cpu_seconds(server.pid) - cpu_before, time.process_time() - load_before
    redis_after = _redis(server)
    settled = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < settled:
        crowd.attend(0.05)
    pings = end_of_honest()
    told = sum((visitor.told for visitor in crowd.all), Counter[str]())
    crowd.close()
    welcomed = sum(visitor.welcomed_with for visitor in crowd.all)
    if (seen := welcomed + told["online"] - told["not online"]) != len(cookies) * arguments.friends:
        raise SystemExit(
            f"{seen} friends were seen, of {len(cookies) * arguments.friends}: {welcomed} + {told}."
        )
    commands = {name: count - redis_before.get(name, 0) for name, count in redis_after.items()}
    return {
        "seconds_until_all_were_there": round(took, 1),
        "server_cpu_seconds": round(cpu, 1),
        "server_cpu_milliseconds_each": round(cpu / len(cookies) * 1000, 2),
        "load_share_of_its_core": round(load / took, 2),
        "friends_seen_in_welcomes": welcomed,
        "friends_told_of": told["online"],
        "told_offline_or_unknown": told["not online"],
        "redis_commands_per_second": round(sum(commands.values()) / took, 1),
        "redis_commands": {name: count for name, count in sorted(commands.items()) if count},
        "honest_pings": len(pings),
        "honest_ping_p50_milliseconds": round(statistics.median(pings) * 1000, 1),
        "honest_ping_p99_milliseconds": round(statistics.quantiles(pings, n=100)[98] * 1000, 1),
        "honest_ping_longest_milliseconds": round(max(pings) * 1000, 1),
    }


def _redis(server: Any) -> dict[str, int]:
    """How often each command was called."""
    import redis

    sockets = list((Path(server.directory) / "var" / "run").glob("valkey.sock"))
    with redis.Redis(unix_socket_path=str(sockets[0])) as client:
        statistics_of: dict[str, Any] = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in statistics_of.items()}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=_PEOPLE)
    parser.add_argument("--friends", type=int, default=_FRIENDS, help="of each; an even number")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="in which they come")
    parser.add_argument("--folder", help="where the database is")
    return parser.parse_args()


if __name__ == "__main__":
    main()
