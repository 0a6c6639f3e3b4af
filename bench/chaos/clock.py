"""`manage.py serve` with a clock that can be moved while it runs: what a wrong or corrected system clock does to a server.

python -m bench.chaos.clock FILE …, in that server's environment, as the wrapper of its command, which it then is. FILE holds the
seconds to add, as text. What is moved is what the program reads (``time.time``, Django's ``timezone.now``), not the machine's
clock, which belongs to everybody on it; the database and Redis keep theirs. Nothing of this is in the product.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

_LOOK_EVERY_SECONDS = 0.1


class MovableClock:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._real = time.time
        self._looked_at = 0.0
        self._offset = 0.0

    def time(self) -> float:
        if time.monotonic() - self._looked_at > _LOOK_EVERY_SECONDS:
            self._looked_at = time.monotonic()
            self._offset = read_offset(self._file)
        return self._real() + self._offset

    def time_ns(self) -> int:
        return round(self.time() * 1e9)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time(), UTC)


def read_offset(file: Path) -> float:
    return float(file.read_text(encoding="ascii"))


def write_offset(file: Path, seconds: float) -> None:
    """At once: a reader sees the old text or the new."""
    new = file.with_suffix(".new")
    new.write_text(str(seconds), encoding="ascii")
    new.replace(file)


def install(file: Path) -> None:
    """Before anything of the server is imported: a model's default keeps the function that it finds."""
    from django.utils import timezone

    clock = MovableClock(file)
    time.time, time.time_ns = clock.time, clock.time_ns
    timezone.now = clock.now


def main() -> None:
    install(Path(sys.argv[1]))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "securechat.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", "serve"])


if __name__ == "__main__":
    main()
