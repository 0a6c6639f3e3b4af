"""What strace saw: system calls of all threads of some processes, with the moment in which each began and ended."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

TRACED = "fsync,fdatasync,read,recvfrom,recvmsg,write,writev,sendto,sendmsg"
_OPTIONS = ["-f", "-ttt", "-T", "-yy", "-s", "0", "-e", f"trace={TRACED}"]
_LINE = re.compile(
    r"^(?P<thread>\d+)\s+(?P<began>\d+\.\d+) "
    r"(?:<\.\.\. (?P<resumed>\w+) resumed>.*|(?P<name>\w+)\((?P<fd>\d+)<(?P<file>.*?)>(?=[,)\s]).*?)"
    r"(?:= (?P<result>-?\d+)[^<]*<(?P<took>\d+\.\d+)>|(?P<unfinished><unfinished \.\.\.>))$"
)


@dataclass(frozen=True)
class Call:
    name: str
    file: str
    """The path, or ``TCP:[…]`` with both addresses."""
    result: int
    began: float
    ended: float
    """Seconds since 1970."""


def skip_without_strace(folder: Path) -> None:
    """Skips where there is none, or where it may not trace."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not here: apt install strace")
    try_out = ["strace", "-f", "-o", str(folder / "try-out"), "true"]
    tried = subprocess.run(try_out, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace may not trace here: {tried.stderr.strip()}")


def traced(output: Path) -> list[str]:
    """What to put before a command. ``-D``: signals and the process id are the command's own."""
    return ["strace", "-D", "--seccomp-bpf", *_OPTIONS, "-o", str(output)]


@contextmanager
def attached(output: Path, pids: Sequence[int]) -> Iterator[None]:
    """Skips where strace may not attach to processes that run; does nothing where there are none."""
    if not pids:
        output.touch()
        yield
        return
    which = [argument for pid in pids for argument in ("-p", str(pid))]
    log = output.with_suffix(".log")
    with (
        log.open("w") as messages,
        subprocess.Popen(["strace", *_OPTIONS, "-o", str(output), *which], stderr=messages) as tracer,
    ):
        try:
            while (said := log.read_text()).count("attached") < len(pids):
                if tracer.poll() is not None:
                    pytest.skip(f"strace may not attach here: {said.strip()}")
                time.sleep(0.02)
            yield
        finally:
            tracer.terminate()


def calls(output: Path) -> list[Call]:
    """Those that came to an end, in the order in which they began."""
    found, pending = [], {}
    for line in output.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        if match["unfinished"]:
            pending[match["thread"]] = match
            continue
        began = match if match["name"] else pending.pop(match["thread"], None)
        if began is not None and began["name"]:
            at = float(began["began"])
            found.append(
                Call(began["name"], began["file"], int(match["result"]), at, at + float(match["took"]))
            )
    return sorted(found, key=lambda call: call.began)
