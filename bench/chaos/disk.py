"""A disk that can be full for a while, as honestly as this machine and its user allow."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from bench.chaos.site import OwnSite

_CHUNK = bytes(1 << 20)
_LEAST_BYTES = 64 << 20
_BYTES_A_MESSAGE = 4_096


class Disk(Protocol):
    how: str

    def fill(self) -> None: ...

    def free(self) -> None: ...

    def close(self) -> None: ...


class SmallTmpfs:
    """A file system of its own, in memory, in which another file takes whatever is left: the kernel says ENOSPC."""

    how = "a small tmpfs, filled by another file"

    def __init__(self, folder: Path, *, messages: int) -> None:
        """Raises ``OSError`` where this user may not mount one."""
        folder.mkdir(exist_ok=True)
        size = _LEAST_BYTES + messages * _BYTES_A_MESSAGE
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise OSError(errno.EPERM, done.stderr.decode(errors="replace").strip())
        self._folder, self._filler = folder, folder / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            for chunk in (_CHUNK, _CHUNK[:4096]):
                with suppress(OSError):
                    while file.write(chunk):
                        pass

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self._folder)], check=True)


class FileSizeQuota:
    """The server may not write to any file meanwhile (RLIMIT_FSIZE of 0 on the running process): the kernel says EFBIG."""

    how = "RLIMIT_FSIZE of 0 on the running server, as mounting needs root"

    def __init__(self, site: OwnSite) -> None:
        self._site = site

    def fill(self) -> None:
        self._limit(lambda _: 0)

    def free(self) -> None:
        self._limit(lambda hard: hard)

    def close(self) -> None:
        pass

    def _limit(self, soft: Callable[[int], int]) -> None:
        for process in self._site.processes:
            with suppress(ProcessLookupError):
                pid = process.own_server.pid
                _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft(hard), hard))


def small_disk(folder: Path, *, messages: int) -> SmallTmpfs | None:
    """None where it cannot be had."""
    if os.geteuid():
        return None
    try:
        return SmallTmpfs(folder, messages=messages)
    except (OSError, FileNotFoundError):
        return None


def move_messages_to(folder: Path, site: OwnSite) -> None:
    """PostgreSQL keeps the messages there from now on, and its log where it was: a full disk is an error, not its end."""
    with site.postgresql() as postgresql:
        (data,) = postgresql.execute("SHOW data_directory").fetchone() or ("",)
        owner = Path(data).stat()
        os.chown(folder, owner.st_uid, owner.st_gid)
        postgresql.execute(f"CREATE TABLESPACE chaos LOCATION '{folder}'")
        postgresql.execute("ALTER TABLE messaging_envelope SET TABLESPACE chaos")
