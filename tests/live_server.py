"""A whole server as ``manage.py serve`` runs it, on free ports of this machine, with everything in one folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 60
STOP_SECONDS = 20
_PREPARATION = (
    ["init_keys"],
    ["certs", "init"],
    ["migrate", "--verbosity", "0"],
    ["collectstatic", "--noinput", "--verbosity", "0"],
)


@dataclass
class LiveServer:
    """``public_port`` differs from ``port`` where a proxy stands in front; ``root`` is the project or a copy of it.

    ``settings`` are more variables of its environment, ``wrapper`` is put before the command.
    """

    directory: Path
    port: int
    public_port: int
    root: Path = ROOT
    settings: Mapping[str, str] = field(default_factory=dict)
    wrapper: Sequence[str] = ()
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def origin(self) -> str:
        return f"https://localhost:{self.public_port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ca_file(self) -> Path:
        return self.directory / "certs" / "root.crt"

    @property
    def log_file(self) -> Path:
        return self.directory / "server.log"

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: os.environ[name] for name in ("PATH", "HOME", "LANG", "DATABASE_URL") if name in os.environ
        }
        return kept | {
            "ENV_FILE": str(self.directory / "none"),
            "SECRET_KEY": "only-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz",
            "PUBLIC_ORIGIN": self.origin,
            "LISTEN_PORT": str(self.port),
            "VAR_DIR": str(self.directory / "var"),
            "CERTS_DIR": str(self.directory / "certs"),
            "STATIC_ROOT": str(self.directory / "static"),
            "SIGN_UPS_PER_ADDRESS_AND_HOUR": "1000",
            "LOG_IN_ATTEMPTS_PER_ADDRESS": "1000",
            "FRIEND_REQUESTS_PER_HOUR": "1000",
            **self.settings,
        }

    def manage(self, *arguments: str, standard_input: str | None = None) -> str:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.root,
            env=self.environment,
            input=standard_input,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def beside(self) -> LiveServer:
        """One more process on the same keys, certificates and origin. Both need a ``DATABASE_URL`` and a ``REDIS_URL``."""
        assert {"DATABASE_URL", "REDIS_URL"} <= self.settings.keys()
        return replace(self, port=free_port())

    def prepare(self) -> None:
        (self.directory / "var").mkdir(parents=True, exist_ok=True)
        for command in _PREPARATION:
            self.manage(*command)

    def start(self) -> None:
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.wrapper, sys.executable, "manage.py", "serve"],
                cwd=self.root,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self._wait()

    def stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(STOP_SECONDS)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def end(self) -> None:
        """``stop`` where it runs."""
        if self.is_running:
            self.stop()

    def wait(self) -> int:
        """Its exit code."""
        assert self._process is not None
        return self._process.wait(STOP_SECONDS)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def _wait(self) -> None:
        assert self._process is not None
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"The server ended with {self._process.returncode}: see {self.log_file}.")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise TimeoutError(f"Nothing listens on {self.port}.")


@contextmanager
def live_server(directory: Path, *, behind_proxy: bool = False, root: Path = ROOT) -> Iterator[LiveServer]:
    """Prepared and started; stopped politely at the end."""
    port = free_port()
    server = LiveServer(directory, port=port, public_port=free_port() if behind_proxy else port, root=root)
    server.prepare()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
