"""What goes wrong, how often and for how long: each kind in a thread of its own, at moments drawn from the seed.

The draws repeat with the seed; what they meet does not, as processes and networks have times of their own.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from random import Random

import psycopg

from bench.chaos.clock import write_offset
from bench.chaos.disk import Disk
from bench.chaos.fleet import Fleet
from bench.chaos.site import OwnSite, Process, Site

_DAY_SECONDS = 86_400.0
_SHARE = 0.5
"""Of a proxy's connections that a fault of the network hits."""
_ALL_SERVERS = 0.2
_USELESS_TOO = 0.1
"""How often all servers are killed at once, and how often one, or a client, that did nothing since its start."""
_SPREAD = 0.5
"""A pause is this part longer or shorter than its mean."""
_BACKENDS = (
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
_LOCK = "LOCK TABLE messaging_conversation, messaging_envelope IN ACCESS EXCLUSIVE MODE"
_TORMENTED_TOO = (sqlite3.OperationalError, psycopg.OperationalError)
"""What one fault does to another's own connection."""


@dataclass(frozen=True)
class Fault:
    name: str
    pause_seconds: float
    """The mean between the end of one and the next."""
    act: Callable[[Random], bool]
    """False where there was nothing to do it to."""
    delays_answers: bool = True
    """So that a server that was started meanwhile may need longer for its first answer than by itself."""


@dataclass(frozen=True)
class Spell:
    fault: Fault
    began: float
    ended: float


class Torment:
    """Between ``start`` and ``stop`` everything goes wrong; after ``stop`` nothing does any more."""

    def __init__(
        self,
        site: Site,
        fleet: Fleet,
        disk: Disk | None,
        wrappers: Sequence[Sequence[str]],
        *,
        seed: int,
        pace: float,
        only: Collection[str] | None = None,
    ) -> None:
        """A killed server begins again behind one of ``wrappers``. ``pace`` stretches the pauses, not the faults."""
        self._site, self._fleet, self._disk, self._wrappers = site, fleet, disk, wrappers
        self._seed, self._pace = seed, pace
        self.faults = [fault for fault in self._every_fault() if only is None or fault.name in only]
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.spells: list[Spell] = []
        self.errors: list[BaseException] = []

    def _every_fault(self) -> Iterator[Fault]:
        yield Fault("client killed", 6, self._kill_client, delays_answers=False)
        yield Fault("connections cut", 3, self._cut, delays_answers=False)
        yield Fault("connections stalled", 12, self._stall)
        yield Fault("connections swallowed", 15, self._swallow)
        if not isinstance(self._site, OwnSite):
            return
        yield Fault("server killed", 6, self._kill_server)
        yield Fault("Redis killed", 20, self._kill_redis)
        yield Fault("Redis frozen", 20, self._freeze_redis)
        yield Fault("clock moved", 10, self._move_clock, delays_answers=False)
        if self._disk is not None:
            yield Fault("disk full", 25, self._fill_disk)
        if self._site.sqlite_file is not None:
            yield Fault("database locked", 25, self._lock_sqlite)
        else:
            yield Fault("database locked", 25, self._lock_postgresql)
            yield Fault("database connections ended", 20, self._end_backends)
            yield Fault("database crashed", 40, self._crash_postgresql)

    @property
    def _own(self) -> OwnSite:
        assert isinstance(self._site, OwnSite)
        return self._site

    def start(self, number: int) -> None:
        """Of the round."""
        self._over.clear()
        for fault in self.faults:
            random = Random(f"{self._seed}/{number}/{fault.name}")
            thread = threading.Thread(target=self._repeat, args=(fault, random), name=fault.name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Returns when everything works again."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def counts(self) -> dict[str, int]:
        found = Counter(spell.fault.name for spell in self.spells)
        return {fault.name: found[fault.name] for fault in self.faults}

    def delayed_answers(self, began: float, ended: float) -> bool:
        """Whether another fault than the kill just before ``began`` was there meanwhile."""
        return any(
            spell.fault.delays_answers and spell.began < ended and spell.ended > began
            for spell in self.spells
            if not (spell.fault.name == "server killed" and spell.began <= began <= spell.ended)
        )

    def _repeat(self, fault: Fault, random: Random) -> None:
        try:
            # From anywhere within its first pause, so that short rounds meet everything, too.
            pause = fault.pause_seconds * random.random()
            while not self._over.wait(self._pace * pause):
                pause = fault.pause_seconds * random.uniform(1 - _SPREAD, 1 + _SPREAD)
                began = time.monotonic()
                with suppress(*_TORMENTED_TOO):
                    if fault.act(random):
                        self.spells.append(Spell(fault, began, time.monotonic()))
        except Exception as error:
            self.errors.append(error)

    # Processes

    def _kill_client(self, random: Random) -> bool:
        return self._fleet.kill_one(random, even_if_useless=random.random() < _USELESS_TOO)

    def _kill_server(self, random: Random) -> bool:
        """One, sometimes all at once. Each comes back with the machine's clock or with the one that is moved about."""
        numbers = range(len(self._site.processes))
        drawn = numbers if random.random() < _ALL_SERVERS else [random.choice(numbers)]
        even_if_useless = random.random() < _USELESS_TOO
        some = [self._site.processes[n] for n in drawn if even_if_useless or self._did_something(n)]
        for process in some:
            process.own_server.kill()
        _last(random, 0, 0.5)
        starting = []
        for process in some:
            wrapper = random.choice(self._wrappers)
            process.starts.append(time.monotonic())
            starting.append(threading.Thread(target=process.start, args=(wrapper,)))
            starting[-1].start()
        for thread in starting:
            thread.join()
        return bool(some)

    def _did_something(self, server: int) -> bool:
        """On a machine that is busy enough nobody would ever get to say anything."""
        starts = self._site.processes[server].starts
        return not starts or self._fleet.heard_from(server, starts[-1])

    def _kill_redis(self, random: Random) -> bool:
        pid = self._own.redis_pid()
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True

    def _freeze_redis(self, random: Random) -> bool:
        pid = self._own.redis_pid()
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            _last(random, 1, 8)
            os.kill(pid, signal.SIGCONT)
        return True

    def _move_clock(self, random: Random) -> bool:
        write_offset(self._own.clock_file, random.choice((-_DAY_SECONDS, 0.0, _DAY_SECONDS)))
        return True

    # Network

    def _cut(self, random: Random) -> bool:
        self._some(random).proxy.cut(random, _SHARE)
        return True

    def _stall(self, random: Random) -> bool:
        seconds = random.uniform(0.5, 4)
        self._some(random).proxy.stall(random, _SHARE, seconds)
        time.sleep(seconds)
        return True

    def _swallow(self, random: Random) -> bool:
        seconds = random.uniform(1, 4)
        self._some(random).proxy.swallow(random, _SHARE, seconds)
        time.sleep(seconds)
        return True

    def _some(self, random: Random) -> Process:
        return random.choice(self._site.processes)

    # Disk and database

    def _fill_disk(self, random: Random) -> bool:
        assert self._disk is not None
        self._disk.fill()
        try:
            _last(random, 1, 3)
        finally:
            self._disk.free()
        return True

    def _lock_sqlite(self, random: Random) -> bool:
        with closing(sqlite3.connect(str(self._own.sqlite_file), timeout=30, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            _last(random, 1, 5)
            other.execute("ROLLBACK")
        return True

    def _lock_postgresql(self, random: Random) -> bool:
        with self._site.postgresql() as other, other.transaction():
            other.execute(_LOCK)
            _last(random, 1, 5)
        return True

    def _end_backends(self, random: Random) -> bool:
        with self._site.postgresql() as other:
            other.execute(f"SELECT pg_terminate_backend(pid) FROM ({_BACKENDS}) AS others")  # noqa: S608
        return True

    def _crash_postgresql(self, random: Random) -> bool:
        """A backend that dies without a goodbye makes PostgreSQL throw everybody out and recover from its log."""
        with self._site.postgresql() as other:
            pids = [pid for (pid,) in other.execute(_BACKENDS).fetchall()]
        if not pids:
            return False
        with suppress(ProcessLookupError):
            os.kill(random.choice(pids), signal.SIGKILL)
        return True


def _last(random: Random, least: float, most: float) -> None:
    """To the end also where everything was acknowledged meanwhile: what it dropped has to arrive all the same."""
    time.sleep(random.uniform(least, most))
