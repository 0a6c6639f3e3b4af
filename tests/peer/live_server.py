"""A whole server as ``manage.py serve`` runs it, on a free port of this machine, with everything in one folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
STOP_SECONDS = 20


@dataclass(frozen=True)
class LiveServer:
    origin: str
    ca_file: Path
    environment: dict[str, str]

    def manage(self, *arguments: str, standard_input: str | None = None) -> str:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            input=standard_input,
            check=True,
            capture_output=True,
            text=True,
        ).stdout


@contextmanager
def live_server(directory: Path) -> Iterator[LiveServer]:
    port = _free_port()
    environment = _environment(directory, port)
    (directory / "var").mkdir(parents=True, exist_ok=True)
    server = LiveServer(environment["PUBLIC_ORIGIN"], directory / "certs" / "root.crt", environment)
    for command in (["init_keys"], ["certs", "init"], ["migrate", "--verbosity", "0"]):
        server.manage(*command)
    server.manage("collectstatic", "--noinput", "--verbosity", "0")
    with (directory / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "serve"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        _wait_for(port, process)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)


def _environment(directory: Path, port: int) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "DATABASE_URL") if name in os.environ}
    return kept | {
        "ENV_FILE": str(directory / "none"),
        "SECRET_KEY": "only-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz",
        "PUBLIC_ORIGIN": f"https://localhost:{port}",
        "LISTEN_PORT": str(port),
        "VAR_DIR": str(directory / "var"),
        "CERTS_DIR": str(directory / "certs"),
        "STATIC_ROOT": str(directory / "static"),
        "SIGN_UPS_PER_ADDRESS_AND_HOUR": "1000",
        "LOG_IN_ATTEMPTS_PER_ADDRESS": "1000",
        "FRIEND_REQUESTS_PER_HOUR": "1000",
    }


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"The server ended with {process.returncode}.")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"Nothing listens on {port}.")
