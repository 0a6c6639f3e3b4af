"""The client processes: started, killed, started again, and followed through what they write down."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random

from bench.chaos.client import Role
from bench.chaos.journal import Follower
from tests.live_server import ROOT

_SAY_SECONDS = 10.0


class Fleet:
    """``roles`` by process. One that ends by itself is a fault of the harness or of a check: ``failed`` says so."""

    def __init__(self, folder: Path, roles: Sequence[Sequence[Role]]) -> None:
        self._folder = folder
        self._files = []
        for number, people in enumerate(roles):
            file = folder / f"roles-{number}.json"
            file.write_text(json.dumps([asdict(role) for role in people]), encoding="utf-8")
            self._files.append(file)
        self._running: list[subprocess.Popen[bytes]] = []
        self._started_at: list[float] = []
        self._lock = threading.Lock()
        self._began_at = self._said_at = time.monotonic()
        self.allowed = 0
        self.progress = [Progress(role, number) for number, people in enumerate(roles) for role in people]

    def allow(self, messages: int) -> None:
        """Everybody may have written so many, in all."""
        self.allowed = messages
        new = allowance_in(self._folder).with_suffix(".new")
        new.write_text(str(messages), encoding="ascii")
        new.replace(allowance_in(self._folder))

    def start(self) -> None:
        self._started_at = [time.monotonic() for _ in self._files]
        self._running = [self._start(file) for file in self._files]

    def kill_one(self, random: Random, *, even_if_useless: bool) -> bool:
        """And starts the next one, which goes on from what it left. False where the one that was drawn did nothing yet."""
        with self._lock:
            number = random.randrange(len(self._running))
            did_something = any(
                one.acknowledged_at > self._started_at[number]
                for one in self.progress
                if one.process == number
            )
            if self._running[number].poll() is not None or not (did_something or even_if_useless):
                return False
            _kill(self._running[number])
            self._started_at[number] = time.monotonic()
            self._running[number] = self._start(self._files[number])
            return True

    def heard_from(self, server: int, since: float) -> bool:
        """Whether that server acknowledged anything since it was started then."""
        return any(one.role.server == server and one.connected_at > since for one in self.progress)

    def stop(self) -> None:
        with self._lock:
            for process in self._running:
                _kill(process)

    def failed(self) -> bool:
        with self._lock:
            return any(process.poll() is not None for process in self._running)

    def look(self) -> None:
        for one in self.progress:
            one.look()

    def say_how_far(self) -> None:
        """Now and then."""
        now = time.monotonic()
        if now - self._said_at > _SAY_SECONDS:
            self._said_at = now
            acknowledged = sum(len(one.acknowledged) for one in self.progress)
            delivered = sum(one.delivered for one in self.progress) // 2
            since = now - self._began_at
            print(f"{since:6.0f} s  {acknowledged:7} acknowledged  {delivered:7} delivered", flush=True)

    def _start(self, file: Path) -> subprocess.Popen[bytes]:
        with (self._folder / "clients.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "bench.chaos.client", str(file)], cwd=ROOT, stdout=log, stderr=log
            )


def allowance_in(folder: Path) -> Path:
    return folder / "allowance"


class Progress:
    """Of one person: what is known from the journal so far."""

    def __init__(self, role: Role, process: int) -> None:
        self.role, self.process = role, process
        self.acknowledged: set[str] = set()
        self.delivered = 0
        """Messages of both sides."""
        self.acknowledged_at = 0.0
        self.connected_at = 0.0
        """The connection over which the last acknowledgement came."""
        self.alarms = 0
        self._follower = Follower(Path(role.journal))

    def look(self) -> None:
        for entry in self._follower.new():
            match entry["event"]:
                case "acknowledged":
                    self.acknowledged.add(entry["client_id"])
                    self.acknowledged_at, self.connected_at = entry["at"], entry["connected_at"]
                case "delivered":
                    self.delivered += 1
                case "alarm":
                    self.alarms += 1


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
