"""Steps of a longer run: what is being done, how long it took, and one sentence when it fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "var" / "log"
_SHOWN_LINES = 15

# What a failed command wrote, and what that means.
_CAUSES = [
    (
        r"Temporary failure in name resolution|Name or service not known|Network is unreachable|NewConnectionError"
        r"|Failed to establish a new connection|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|nodename nor servname",
        "The package index cannot be reached: check the network, or the proxy's settings.",
    ),
    (
        r"No matching distribution found for (\S+)",
        "pip finds no ready-made {0}: check the network, and that this is Python 3.11, 3.12 or 3.13 on Linux or macOS.",
    ),
    (r"No space left on device|ENOSPC", "The disk is full."),
    (r"Read-only file system|EROFS", "The disk is read-only: clone into a folder that you may write."),
    (r"Permission denied|EACCES", "This user may not write there: clone into a folder of your own."),
    (
        r"ensurepip is not available|No module named (?:venv|ensurepip)",
        "Python has no venv: on Debian, apt install python3-venv.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        "The package index shows a certificate that this computer does not trust.",
    ),
]


class Steps:
    """``[3/7] Building the client…  2.1 s``"""

    def __init__(self, total: int) -> None:
        self._total = total
        self._number = 0

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        self._number += 1
        print(f"[{self._number}/{self._total}] {what}…", end="", flush=True)
        began = time.monotonic()
        yield
        print(f"  {time.monotonic() - began:.1f} s", flush=True)


def fail(sentence: str, log: Path | None = None) -> NoReturn:
    if log and log.exists():
        lines = log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]
        print("\n\n" + "\n".join(f"    {line}" for line in lines), file=sys.stderr)
        sentence += f" The whole log: {log.relative_to(ROOT)}"
    print(f"\n{sentence}", file=sys.stderr)
    sys.exit(1)


def run(
    command: Sequence[str | Path],
    *,
    log: str,
    otherwise: str,
    cwd: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Runs quietly; output goes to ``var/log/<log>.log``, of which the end is shown where it fails."""
    file = LOGS / f"{log}.log"
    LOGS.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as output:
        code = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if code:
        fail(_explain(file, otherwise), file)


def _explain(log: Path, otherwise: str) -> str:
    text = log.read_text(errors="replace")
    for pattern, sentence in _CAUSES:
        if found := re.search(pattern, text):
            return sentence.format(*found.groups())
    return otherwise
