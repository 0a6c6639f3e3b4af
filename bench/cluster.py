"""Two processes on one PostgreSQL and one Valkey against one: messages delivered each second, and what each costs.

Half of the pairs have their two people on different processes. Each process has a core. PostgreSQL, Valkey and the load have the
others; where there are none beside two processes, they share those, and ``times_as_many`` is less than it could be.

python -m bench.cluster [--rounds 3] [--messages 20000] [--folder /dev/shm]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import redis

from bench.processes import cpu_seconds
from bench.ready import set_up_django
from bench.throughput import PAIRS, WINDOW

if TYPE_CHECKING:  # They need Django's settings.
    from bench.postgresql import PostgreSQL
    from securechat.serving.valkey import EmbeddedValkey

CORES = sorted(os.sched_getaffinity(0))
_TENTH = 10
_RINGS = 5_000
_PRESENT = 10_000
_RENEWALS = 20


def main() -> None:
    arguments = _arguments()
    set_up_django()
    from bench.postgresql import PostgreSQL
    from bench.results import record
    from securechat.serving.valkey import EmbeddedValkey

    with tempfile.TemporaryDirectory(prefix="securechat-bench-", dir=arguments.folder) as name:
        folder = Path(name)
        database = PostgreSQL(folder / "postgresql")
        with EmbeddedValkey(folder / "redis" / "valkey.sock") as valkey:
            try:
                figures = _measure(folder, arguments, database, valkey)
            finally:
                database.stop()
    record(arguments.name, figures, command="python -m bench.cluster " + " ".join(sys.argv[1:]))


def _measure(
    folder: Path, arguments: argparse.Namespace, database: PostgreSQL, valkey: EmbeddedValkey
) -> dict[str, Any]:
    from django.conf import settings

    from bench.servers import ENVELOPE_BYTES
    from bench.several import Processes

    url = settings.EFFECTIVE_REDIS_URL = f"unix://{valkey.socket}"
    chat = Processes(folder / "chat", database=database, environment={"REDIS_URL": url})
    chat.prepare(PAIRS)
    assert valkey.pid is not None
    helpers = {"postgresql": database.pid, "valkey": valkey.pid}
    rounds: dict[str, list[dict[str, float]]] = {"one": [], "two": []}
    for _ in range(arguments.rounds):
        for name, count in (("one", 1), ("two", 2)):
            rounds[name].append(_round(chat, count, arguments.messages, helpers))
            print(name, rounds[name][-1], file=sys.stderr, flush=True)
    return {
        "pairs": PAIRS,
        "pairs_across_processes": PAIRS // 2,
        "window": WINDOW,
        "cores": len(CORES),
        "envelope_bytes": ENVELOPE_BYTES,
        "postgresql_bytes_each": _stored_bytes(database.url),
        "hearing_microseconds_each": asyncio.run(_hearing(url)),
        **asyncio.run(_presence(url, valkey.pid)),
        **_compared(rounds),
    }


def _compared(rounds: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """``times_as_many_by_cpu`` is what two cores of their own allow: as much as what a message costs the processes stays the same."""
    one, two = (
        {name: statistics.median(r[name] for r in rounds[case]) for name in rounds[case][0]}
        for case in ("one", "two")
    )
    cost = "server_cpu_microseconds_each"
    return {
        "one": one,
        "two": two,
        "times_as_many": round(two["messages_per_second"] / one["messages_per_second"], 2),
        "times_as_many_by_cpu": round(2 * one[cost] / two[cost], 2),
    }


def _stored_bytes(url: str) -> int:
    """Of a message, with its indexes; vacuumed, as a table that only grows is after a while."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE messaging_envelope")
        row = connection.execute(
            "SELECT pg_total_relation_size('messaging_envelope') / count(*) FROM messaging_envelope"
        ).fetchone()
    assert row
    return int(row[0])


async def _hearing(url: str) -> float:
    """What it costs a process to hear that another stored a message of people that it does not have; one a ring."""
    from messaging import doorbell
    from securechat import events

    rung = [
        events.encode(events.EnvelopesStored(((uuid4(), n, n),)), process="another") for n in range(_RINGS)
    ]
    heard, all_heard = 0, asyncio.Event()

    def hear(_: events.Event) -> None:
        nonlocal heard
        heard += 1
        if heard == _RINGS:
            all_heard.set()

    listening = asyncio.create_task(doorbell.listen(hear, lambda _: None))
    with redis.Redis.from_url(url) as other:
        while not other.pubsub_numsub(events.CHANNEL)[0][1]:  # noqa: ASYNC110 - Redis does not tell
            await asyncio.sleep(0.05)
    ringer = multiprocessing.get_context("fork").Process(target=_ring, args=(url, events.CHANNEL, rung))
    ringer.start()
    before = time.process_time()
    await asyncio.wait_for(all_heard.wait(), 60)
    spent = time.process_time() - before
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    ringer.join()
    return round(spent / _RINGS * 1e6, 1)


def _ring(url: str, channel: str, rung: Sequence[bytes]) -> None:
    with redis.Redis.from_url(url) as connection:
        for one in rung:
            connection.publish(channel, one)


async def _presence(url: str, valkey: int) -> dict[str, float]:
    """What a socket's presence costs Valkey: the CPU of renewing it, and the memory of keeping it."""
    from messaging import presence

    keys = [presence.connection_key(number, uuid4().hex) for number in range(_PRESENT)]
    with redis.Redis.from_url(url) as connection:
        empty = connection.info("memory")["used_memory"]
        await presence.renew(keys)
        full = connection.info("memory")["used_memory"]
        before = cpu_seconds(valkey)
        for _ in range(_RENEWALS):
            await presence.renew(keys)
        spent = cpu_seconds(valkey) - before
        connection.flushall()
    return {
        "renewal_microseconds_each": round(spent / _RENEWALS / _PRESENT * 1e6, 2),
        "presence_bytes_each": round((full - empty) / _PRESENT),
    }


def _round(chat: Any, processes: int, messages: int, helpers: dict[str, int]) -> dict[str, float]:
    from bench.load import Load

    for pid in (os.getpid(), *helpers.values()):
        _pin_all(pid, _rest(processes))
    chat.start_on(CORES[:processes])
    try:
        load = Load(chat.pairs(PAIRS, messages // PAIRS))
        load.settle(1)
        marks: list[dict[str, float]] = []

        def mark() -> None:
            used = {name: cpu_seconds(pid) for name, pid in helpers.items()}
            servers = sum(cpu_seconds(pid) for pid in chat.pids)
            marks.append(
                {"time": time.perf_counter(), "server": servers, "load": time.process_time(), **used}
            )

        began, ended = messages // _TENTH, messages - messages // _TENTH
        load.saturate(messages, window=WINDOW, on_count={began: mark, ended: mark})
        load.close()
    finally:
        chat.stop()
    spent = {name: marks[1][name] - marks[0][name] for name in marks[0]}
    count = ended - began
    return {
        "messages_per_second": round(count / spent["time"]),
        "load_share_of_a_core": round(spent["load"] / spent["time"], 2),
        **{
            f"{name}_cpu_microseconds_each": round(spent[name] / count * 1e6, 1)
            for name in ("server", *helpers)
        },
    }


def _rest(processes: int) -> set[int]:
    """The cores for load and PostgreSQL: those that no process has, or all where each has one."""
    return set(CORES[processes:] or CORES)


def _pin_all(pid: int, cores: set[int]) -> None:
    """With its children, as PostgreSQL's connections are."""
    for one in (pid, *_children(pid)):
        with suppress(ProcessLookupError):
            os.sched_setaffinity(one, cores)


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=20_000, help="of each round")
    parser.add_argument("--folder", help="where the database is; in memory, commits cost no disk")
    parser.add_argument("--name", default="cluster", help="of the file of results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
