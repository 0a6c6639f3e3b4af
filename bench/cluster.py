"""Two processes on one PostgreSQL and one Valkey against one: messages delivered each second, and what each costs.

Half of the pairs have their two people on different processes. Where there are not enough cores for the load and PostgreSQL
beside two processes, full speed says little; so the same is measured with processes that run a share of the time each, in
turns on one core, while load and PostgreSQL have the other, as much in both cases.

python -m bench.cluster [--rounds 3] [--messages 20000] [--share 0.4] [--folder /dev/shm]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis

from bench.processes import cpu_seconds
from bench.throughput import PAIRS, WINDOW

CORES = sorted(os.sched_getaffinity(0))
_TURN_SECONDS = 0.02
_TENTH = 10
_RINGS = 5_000
_PRESENT = 10_000
_RENEWALS = 20


def main() -> None:
    arguments = _arguments()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "securechat.settings")
    os.environ.setdefault("SECRET_KEY", "only-for-measurements")
    os.environ["ENV_FILE"] = "/nonexistent"
    import django

    django.setup()
    from bench.results import record
    from scripts.cluster import postgresql
    from securechat.serving.valkey import EmbeddedValkey

    with tempfile.TemporaryDirectory(prefix="securechat-bench-", dir=arguments.folder) as name:
        folder = Path(name)
        with (
            postgresql(folder / "postgresql", folder / "postgresql.log") as url,
            EmbeddedValkey(folder / "redis" / "valkey.sock") as valkey,
        ):
            os.environ["DATABASE_URL"] = url
            assert valkey.pid is not None
            postmaster = int((folder / "postgresql" / "postmaster.pid").read_text().split()[0])
            figures = _measure(
                folder, arguments, {"postgresql": postmaster, "valkey": valkey.pid}, valkey.socket
            )
    record(arguments.name, figures, command="python -m bench.cluster " + " ".join(sys.argv[1:]))


def _measure(
    folder: Path, arguments: argparse.Namespace, helpers: dict[str, int], socket: Path
) -> dict[str, Any]:
    from django.conf import settings

    from bench.servers import ENVELOPE_BYTES
    from bench.several import Processes

    url = settings.EFFECTIVE_REDIS_URL = f"unix://{socket}"
    chat = Processes(folder / "chat", redis=url)
    chat.befriend(PAIRS)
    rounds: dict[str, dict[str, list[dict[str, float]]]] = {}
    for _ in range(arguments.rounds):
        for case, share in (("full_speed", 1.0), ("in_turns", arguments.share)):
            for name, count in (("one", 1), ("two", 2)):
                figures = _round(chat, count, arguments.messages, helpers, share)
                rounds.setdefault(case, {}).setdefault(name, []).append(figures)
                print(case, name, figures, file=sys.stderr, flush=True)
    return {
        "pairs": PAIRS,
        "pairs_across_processes": PAIRS // 2,
        "window": WINDOW,
        "cores": len(CORES),
        "share_in_turns": arguments.share,
        "envelope_bytes": ENVELOPE_BYTES,
        "postgresql_bytes_each": _stored_bytes(),
        "hearing_microseconds_each": asyncio.run(_hearing(url)),
        **asyncio.run(_presence(url, helpers["valkey"])),
        **{case: _compared(some) for case, some in rounds.items()},
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


def _stored_bytes() -> int:
    """Of a message, with its indexes; vacuumed, as a table that only grows is after a while."""
    import psycopg

    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
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


def _round(
    chat: Any, processes: int, messages: int, helpers: dict[str, int], share: float
) -> dict[str, float]:
    from bench.load import Load

    in_turns = share < 1
    rest = _rest(1 if in_turns else processes)
    for pid in (os.getpid(), *helpers.values()):
        _pin_all(pid, rest)
    chat.start_on(CORES[:1] * processes if in_turns else CORES[:processes])
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
        with _turns(chat.pids, share) if in_turns else nullcontext():
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


@contextmanager
def _turns(pids: Sequence[int], share: float) -> Iterator[None]:
    """Each runs ``share`` of the time, never two at once; a process of its own stops and wakes them."""
    assert share * len(pids) <= 1
    keeper = multiprocessing.get_context("fork").Process(target=_keep_turns, args=(pids, share), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        keeper.kill()
        keeper.join()
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _keep_turns(pids: Sequence[int], share: float) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    pause = _TURN_SECONDS * (1 - share * 2) / 2  # As if there were always two.
    with suppress(ProcessLookupError):
        while True:
            for place in (0, 1):
                if place < len(pids):
                    os.kill(pids[place], signal.SIGCONT)
                time.sleep(_TURN_SECONDS * share)
                if place < len(pids):
                    os.kill(pids[place], signal.SIGSTOP)
                time.sleep(pause)


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
    parser.add_argument(
        "--share", type=float, default=0.4, help="of the time, for each process in turns; at most 0.5"
    )
    parser.add_argument("--folder", help="where the database is; in memory, commits cost no disk")
    parser.add_argument("--name", default="cluster", help="of the file of results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
