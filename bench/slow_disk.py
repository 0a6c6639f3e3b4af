"""How long a durable commit waits for the disk, and a disk that is slower than this machine's.

python -m bench.slow_disk FOLDER, with or without the preloaded library; prints JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
_TIMES = 101


def slowed(folder: Path, milliseconds: int) -> dict[str, str]:
    """The environment in which a program waits that much longer for each fsync; empty for 0. Needs a C compiler."""
    if not milliseconds:
        return {}
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("--fsync-delay-milliseconds needs a C compiler (cc).")
    library = folder / "slow_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl"], check=True)
    folder.chmod(0o755)  # PostgreSQL may run as somebody else.
    return {"LD_PRELOAD": str(library), "FSYNC_DELAY_MILLISECONDS": str(milliseconds)}


def waits(folder: Path, environment: Mapping[str, str], *, at_least_milliseconds: float) -> dict[str, float]:
    """Medians, in that environment. Ends the run where SQLite's commit does not feel the delay."""
    made = subprocess.run(
        [sys.executable, "-m", "bench.slow_disk", str(folder)],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    measured: dict[str, float] = json.loads(made.stdout)
    if min(measured.values()) < at_least_milliseconds:
        raise SystemExit(f"The delay does not reach SQLite: {measured}")
    return measured


def main() -> None:
    folder = Path(sys.argv[1])
    print(json.dumps({"fsync_milliseconds": _fsync(folder), "sqlite_commit_milliseconds": _commit(folder)}))


def _fsync(folder: Path) -> float:
    took = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(_TIMES):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fdatasync(file)
            took.append(time.perf_counter() - began)
    return round(statistics.median(took) * 1000, 2)


def _commit(folder: Path) -> float:
    """As the chat's database is set: WAL with ``synchronous=FULL``."""
    took = []
    with closing(sqlite3.connect(folder / "commits.sqlite3", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE row (bytes BLOB)")
        for _ in range(_TIMES):
            began = time.perf_counter()
            database.execute("INSERT INTO row VALUES (?)", [bytes(1024)])
            took.append(time.perf_counter() - began)
    return round(statistics.median(took) * 1000, 2)


if __name__ == "__main__":
    main()
