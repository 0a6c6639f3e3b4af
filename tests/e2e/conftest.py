"""A whole server, as `manage.py serve` runs it, behind a proxy that records, and Chromium in front."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.e2e.person import Person
from tests.e2e.recording_proxy import RecordingProxy

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "var" / "screenshots"
FAILED = pytest.StashKey[bool]()
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class LiveServer:
    """A running server: where it is, what it keeps, and the proxy that records what it receives."""

    origin: str
    directory: Path
    environment: dict[str, str]
    proxy: RecordingProxy
    process: subprocess.Popen[bytes]

    @property
    def root_certificate(self) -> Path:
        return self.directory / "certs" / "root.crt"

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

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def start(self) -> None:
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "serve"], cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )
        wait_for_port(int(self.environment["LISTEN_PORT"]), self.process)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"The server ended with {process.returncode}.")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"Nothing listens on {port}.")


def environment_for(directory: Path, *, public_port: int, listen_port: int) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "DATABASE_URL") if name in os.environ}
    return kept | {
        "ENV_FILE": str(directory / "none"),
        "SECRET_KEY": "only-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz",
        "PUBLIC_ORIGIN": f"https://localhost:{public_port}",
        "LISTEN_PORT": str(listen_port),
        "VAR_DIR": str(directory / "var"),
        "CERTS_DIR": str(directory / "certs"),
        "STATIC_ROOT": str(directory / "static"),
        "SIGN_UPS_PER_ADDRESS_AND_HOUR": "1000",
        "LOG_IN_ATTEMPTS_PER_ADDRESS": "1000",
        "FRIEND_REQUESTS_PER_HOUR": "1000",
    }


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    directory = tmp_path_factory.mktemp("server")
    (directory / "var").mkdir()
    public_port, listen_port = free_port(), free_port()
    environment = environment_for(directory, public_port=public_port, listen_port=listen_port)
    proxy = RecordingProxy(
        port=public_port,
        server_port=listen_port,
        certificate=directory / "certs" / "server.crt",
        key=directory / "certs" / "server.key",
    )
    live = LiveServer(environment["PUBLIC_ORIGIN"], directory, environment, proxy, process=None)  # type: ignore[arg-type]
    for command in (["init_keys"], ["certs", "init"], ["migrate", "--verbosity", "0"], ["collectstatic", "--noinput"]):
        live.manage(*command)
    live.start()
    proxy.start()
    yield live
    proxy.stop()
    live.process.send_signal(signal.SIGTERM)
    live.process.wait(20)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, object]) -> dict[str, object]:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    executable = {"executable_path": found} if found else {}
    return {**browser_type_launch_args, **executable, "args": CHROMIUM_ARGUMENTS}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture
def new_person(
    browser: Browser, server: LiveServer, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Person]]:
    """Makes a person in a browser of their own; alarms and errors on their console fail the test."""
    people: list[Person] = []

    def make(name: str, password: str = "Passw0rd!", **context: object) -> Person:
        person = Person.in_new_context(browser, server.origin, name=name, password=password, **context)
        people.append(person)
        return person

    yield make
    problems = [problem for person in people for problem in person.problems]
    if problems or request.node.stash.get(FAILED, False):
        for person in people:
            person.screenshot(RESULTS / f"{request.node.originalname}-{person.name}.png")
    for person in people:
        person.context.close()
    assert problems == []
