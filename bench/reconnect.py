"""What happens when a server with thousands of clients goes and comes again.

python -m bench.reconnect [--people 2000] [--friends 10] [--how kill]

Clients come back as browsers do: the back-off and its numbers are those of client/src/net/ (read from there), with its full
jitter. `--how kill` is a crash, which browsers see as a broken connection; `--how restart` is SIGTERM, which closes with 1012.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import multiprocessing
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.processes import allow_many_files, cores, cpu_seconds, pinned
from bench.ready import set_up_django
from tests.live_server import ROOT

if TYPE_CHECKING:  # They need Django's settings.
    from bench.servers import Chat
    from bench.visitors import Visitor

_LONGEST_SECONDS = 300
_RESTARTING = 1012
_OPEN_AT_ONCE = 40
_AFTERWARDS_SECONDS = 5.0


@dataclass(frozen=True)
class BackOff:
    """As ``reconnectDelayMs`` of client/src/net/backoff.ts, in seconds."""

    first: float
    longest: float
    spread_at_restart: float

    @classmethod
    def of_the_client(cls) -> BackOff:
        source = (ROOT / "client" / "src" / "net" / "socket.ts").read_text(encoding="utf-8")

        def seconds(name: str, default: float | None = None) -> float:
            found = re.search(rf"{name} = ([\d_]+)", source)
            if found is None and default is not None:
                return default
            assert found, name
            return int(found[1].replace("_", "")) / 1000

        return cls(
            seconds("FIRST_DELAY_MS"), seconds("LONGEST_DELAY_MS"), seconds("RESTART_SPREAD_MS", default=0)
        )

    def delay(self, attempt: int, *, is_restart: bool) -> float:
        ceiling = min(self.longest, self.first * float(2 ** (attempt - 1)))
        return random.random() * max(ceiling, self.spread_at_restart if is_restart else 0)


def main() -> None:
    arguments = _arguments()
    set_up_django()
    from bench.results import record

    with tempfile.TemporaryDirectory(prefix="securechat-bench-", dir=arguments.folder) as folder:
        figures = measure(Path(folder), arguments)
    record(
        f"reconnect_{arguments.how}",
        figures,
        command="python -m bench.reconnect " + " ".join(sys.argv[1:]),
    )


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    from bench import visitors
    from bench.servers import Chat

    allow_many_files()
    server_core, load_core = cores()
    os.sched_setaffinity(0, {load_core})
    chat = Chat(folder / "securechat")
    chat.prepare(pairs=1)
    cookies = visitors.crowd(chat.server, arguments.people, arguments.friends)
    back_off = BackOff.of_the_client()
    with pinned(server_core):
        chat.start()
    try:
        storm = _Storm(chat, cookies, back_off)
        honest, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(
            target=_write_once_back, args=(chat, back_off, theirs), daemon=True
        )
        process.start()
        storm.arrive()
        honest.recv()  # It is there, too.
        figures = storm.blow(arguments.how, server_core)
        figures |= honest.recv()
        process.join()
        storm.visitors.close()
    finally:
        chat.stop()
    return {
        "people": arguments.people,
        "friends_each": arguments.friends,
        "how": arguments.how,
        "back_off_seconds": {
            "first": back_off.first,
            "longest": back_off.longest,
            "spread": back_off.spread_at_restart,
        },
        **figures,
    }


class _Storm:
    def __init__(self, chat: Chat, cookies: list[str], back_off: BackOff) -> None:
        from bench.visitors import Visitors

        self.visitors = Visitors(chat.server, cookies, self._lost)
        self._chat = chat
        self._back_off = back_off
        self._attempts: Counter[str] = Counter()
        self._is_restart = False
        self._due: list[tuple[float, int, Visitor]] = []
        self._order = itertools.count()

    def arrive(self) -> None:
        """All of them, some at a time."""
        left = list(self.visitors.all)
        while self.visitors.here < len(self.visitors.all):
            while left and self.visitors.opening < _OPEN_AT_ONCE:
                self.visitors.open(left.pop())
            self.visitors.attend(0.01)
        until = time.monotonic() + _AFTERWARDS_SECONDS
        while time.monotonic() < until:
            self.visitors.attend(0.05)

    def blow(self, how: str, core: int) -> dict[str, Any]:
        server, visitors = self._chat.server, self.visitors
        visitors.attempts.clear()
        for visitor in visitors.all:
            visitor.opened_at.clear()
        gone_at = time.monotonic()
        starting = _start_anew(self._chat, how, core)
        listens_at = 0.0
        load_before = time.process_time()
        while not (listens_at and visitors.here == len(visitors.all)):
            now = time.monotonic()
            if now > gone_at + _LONGEST_SECONDS:
                raise SystemExit(f"Only {visitors.here} clients came back in {_LONGEST_SECONDS} s.")
            if not listens_at and not starting.is_alive():
                listens_at, load_before = now, time.process_time()
            while self._due and self._due[0][0] <= now:
                visitors.open(heapq.heappop(self._due)[2])
            visitors.attend(0.01)
        took = time.monotonic() - listens_at
        cpu, load = cpu_seconds(server.pid), time.process_time() - load_before
        opened = [at for visitor in visitors.all for at in visitor.opened_at]
        back = sorted(visitor.opened_at[-1] - listens_at for visitor in visitors.all)
        return {
            "seconds_without_a_server": round(listens_at - gone_at, 1),
            "seconds_until_half_were_back": round(back[len(back) // 2], 1),
            "seconds_until_all_were_back": round(took, 1),
            "attempts": len(visitors.attempts),
            "attempts_while_it_listened": sum(at >= listens_at for at in visitors.attempts),
            "most_attempts_in_a_second": _peak(visitors.attempts),
            "most_attempts_in_a_second_while_it_listened": _peak(
                [at for at in visitors.attempts if at >= listens_at]
            ),
            "most_opened_in_a_second": _peak(opened),
            "cut_off_again": len(opened) - len(visitors.all),
            "server_cpu_seconds_since_its_start": round(cpu, 1),
            "load_share_of_its_core": round(load / took, 2),
        }

    def _lost(self, visitor: Visitor, code: int | None) -> None:
        """As the browser's socket goes about it: a connection that was stable begins anew."""
        if code is not None:
            self._is_restart = self._is_restart or code == _RESTARTING
        attempt = self._attempts[visitor.cookie] = self._attempts[visitor.cookie] + 1
        delay = self._back_off.delay(attempt, is_restart=self._is_restart)
        heapq.heappush(self._due, (time.monotonic() + delay, next(self._order), visitor))


def _start_anew(chat: Chat, how: str, core: int) -> threading.Thread:
    """Ends the server and starts it, beside the load; the thread ends when it listens."""

    def run() -> None:
        if how == "kill":
            chat.server.kill()
        else:
            chat.server.stop()
        with pinned(core):  # Of this thread alone, and of what it starts.
            chat.server.start()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def _write_once_back(chat: Chat, back_off: BackOff, pipe: Pipe) -> None:
    """One who is there, is cut off, comes back as browsers do, and has a message to send."""
    from bench.load import Broken, Closed

    [friends] = chat.friends
    [pair] = chat.pairs(1, 1)
    pipe.send(None)
    is_restart = False
    try:
        while True:
            pair.sender.read()
            time.sleep(0.02)
    except Closed as closed:
        is_restart = closed.code == _RESTARTING
    except (Broken, OSError):
        pass
    cut_off_at = time.monotonic()
    for attempt in itertools.count(1):
        time.sleep(back_off.delay(attempt, is_restart=is_restart))
        try:
            began = time.monotonic()
            line = chat.line(friends.first.cookie)
            welcomed = time.monotonic()
            line.send(pair.frames[0])
            line.await_text(b'{"type":"envelope.stored"')
        except (Broken, OSError):
            continue
        break
    now = time.monotonic()
    pipe.send(
        {
            "honest_milliseconds_to_open": round((welcomed - began) * 1000),
            "honest_milliseconds_of_first_message": round((now - welcomed) * 1000),
            "honest_seconds_from_cut_to_stored": round(now - cut_off_at, 1),
        }
    )


def _peak(moments: list[float]) -> int:
    """The most of them within any second."""
    ordered, most, first = sorted(moments), 0, 0
    for last, moment in enumerate(ordered):
        while ordered[first] < moment - 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=2_000)
    parser.add_argument("--friends", type=int, default=10, help="of each; an even number")
    parser.add_argument("--how", choices=["kill", "restart"], default="kill")
    parser.add_argument("--folder", help="where the database is")
    return parser.parse_args()


if __name__ == "__main__":
    main()
