"""Where the server's time for a message goes: by thread and by what runs there, from Linux' perf on a full server.

python -m bench.message_cost [--postgresql] [--messages 60000] [--folder /dev/shm]

perf samples by a timer of the kernel. py-spy stops the process for each look, which makes system calls look dearer than they are.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import allow_many_files, cores, cpu_seconds, pinned
from bench.ready import set_up_django
from bench.throughput import PAIRS, WINDOW

_PER_SECOND = 2_000
_THREAD = re.compile(r"^(?P<name>\S.*?)\s+(?P<tid>\d+)\s*$")
_FRAME = re.compile(r"^\s*[0-9a-f]+\s+(?P<symbol>.*) \((?P<file>.*)\)\s*$")
_KINDS = {
    "libpython": "Python",
    "libsqlite3": "SQLite",
    "_rust.abi3": "OpenSSL",
    "libcrypto": "OpenSSL",
    "_cffi_backend": "OpenSSL",
    "libc.so": "copying and memory (libc)",
    "loop.cpython": "uvloop",
}
_FILES = re.compile(r"pwrite|pread|fsync|fdatasync|openat|fcntl|ext4|unlink")


@dataclass(frozen=True)
class Sample:
    name: str
    tid: int
    stack: tuple[tuple[str, str], ...]
    """Symbols and their files, the innermost first."""

    @property
    def kind(self) -> str:
        _, file = self.stack[0]
        if "kernel" in file:
            is_file = any(_FILES.search(symbol) for symbol, _ in self.stack)
            return "kernel, for files" if is_file else "kernel, for sockets and threads"
        return next((kind for part, kind in _KINDS.items() if part in file), "other")


def main() -> None:
    arguments = _arguments()
    if shutil.which("perf") is None:
        sys.exit("perf is not here: apt install linux-perf")
    set_up_django()
    from bench.results import record

    with tempfile.TemporaryDirectory(prefix="securechat-bench-", dir=arguments.folder) as folder:
        figures = _measure(Path(folder), arguments)
    name = "message_cost_postgresql" if arguments.postgresql else "message_cost"
    record(name, figures, command="python -m bench.message_cost " + " ".join(sys.argv[1:]))


def _measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.load import Load
    from bench.postgresql import PostgreSQL
    from bench.servers import Chat

    allow_many_files()
    server_core, load_core = cores()
    os.sched_setaffinity(0, {load_core})
    database = PostgreSQL(folder / "postgresql") if arguments.postgresql else None
    chat = Chat(folder / "securechat", database=database)
    recorded = folder / "perf.data"
    perf = ["perf", "record", "-e", "cpu-clock", "-F", str(_PER_SECOND), "-g", "-C", str(server_core)]
    running: list[subprocess.Popen[bytes]] = []
    marks: list[tuple[float, float]] = []

    def mark() -> None:
        marks.append((time.perf_counter(), sum(map(cpu_seconds, chat.pids))))

    def begin() -> None:
        mark()
        running.append(subprocess.Popen([*perf, "-o", str(recorded)], stderr=subprocess.DEVNULL))

    def end() -> None:
        mark()
        running[0].send_signal(signal.SIGINT)

    with pinned(server_core):
        chat.prepare(PAIRS)
        chat.start()
    try:
        messages = arguments.messages
        load = Load(chat.pairs(PAIRS, messages // PAIRS))
        began, ended = messages // 10, messages - messages // 10
        load.saturate(messages, window=WINDOW, on_count={began: begin, ended: end})
        load.close()
        main_thread = chat.server.pid
    finally:
        for one in running:
            one.send_signal(signal.SIGINT)  # A second one does no harm.
            one.wait()
        chat.stop()
    (start, cpu_before), (stop, cpu_after) = marks
    microseconds = (cpu_after - cpu_before) / (ended - began) * 1e6
    return {
        "messages_per_second": round((ended - began) / (stop - start)),
        "server_cpu_microseconds_each": round(microseconds),
        "of_which": _shares(list(_samples(recorded)), main_thread, microseconds),
    }


def _shares(samples: list[Sample], main_thread: int, microseconds: float) -> dict[str, dict[str, float]]:
    """Microseconds of a message, by who spends them and on what; the largest first."""
    threads = Counter(
        sample.tid for sample in samples if sample.tid != main_thread and "python" in sample.name
    )
    writer = threads.most_common(1)[0][0]

    def who(sample: Sample) -> str:
        names = {main_thread: "event loop", writer: "writer's thread"}
        return names.get(sample.tid) or ("PostgreSQL" if "postgres" in sample.name else "others")

    samples = [sample for sample in samples if "swapper" not in sample.name]
    whole = Counter(map(who, samples))
    parts = Counter((who(sample), sample.kind) for sample in samples)
    each = microseconds / len(samples)
    return {
        one: {"all": round(count * each, 1)}
        | {
            kind: round(n * each, 1)
            for (whose, kind), n in parts.most_common()
            if whose == one and n * each >= 0.1
        }
        for one, count in whole.most_common()
    }


def _samples(recorded: Path) -> Iterator[Sample]:
    printed = subprocess.run(
        ["perf", "script", "-i", str(recorded), "-F", "comm,tid,ip,sym,dso"],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    for block in printed.stdout.split("\n\n"):
        first, *rest = block.strip("\n").splitlines() or [""]
        thread = _THREAD.match(first)
        frames = tuple((match["symbol"], match["file"]) for line in rest if (match := _FRAME.match(line)))
        if thread and frames:
            yield Sample(thread["name"], int(thread["tid"]), frames)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=60_000)
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite")
    parser.add_argument("--folder", help="where the database is")
    return parser.parse_args()


if __name__ == "__main__":
    main()
