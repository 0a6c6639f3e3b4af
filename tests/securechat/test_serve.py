"""`manage.py serve` as a process: what it refuses, how it ends, and what it does when its Valkey or itself is killed."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from pathlib import Path

import pytest
import redis

from scripts.sslyze import find_sslyze
from securechat.serving.server import bind

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Site:
    """One installation in a folder of its own; ``serve`` may run it several times."""

    folder: Path
    port: int
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "ENV_FILE": os.devnull,
            "SECRET_KEY": "only-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz",
            "PUBLIC_ORIGIN": f"https://localhost:{self.port}",
            "VAR_DIR": str(self.folder / "var"),
            "CERTS_DIR": str(self.folder / "certs"),
            "STATIC_ROOT": str(self.folder / "static"),
            "PYTHONUNBUFFERED": "1",
        }

    @property
    def socket(self) -> Path:
        return self.folder / "var" / "run" / "valkey.sock"

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        log = (self.folder / "serve.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "manage.py", "serve", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log.close()
        self.running.append(process)
        return process

    def serve(self, *arguments: str) -> subprocess.Popen[str]:
        """Returns when the server has said that it is there."""
        process = self.begin(*arguments)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("To stop"):
                return process
        raise AssertionError((self.folder / "serve.log").read_text())

    def health(self) -> int:
        context = ssl.create_default_context(cafile=self.folder / "certs" / "root.crt")
        connection = HTTPSConnection("localhost", self.port, context=context, timeout=10)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status
        finally:
            connection.close()

    def valkey(self) -> int | None:
        """The process id of the Valkey that answers."""
        try:
            with redis.Redis(unix_socket_path=str(self.socket), socket_timeout=2) as connection:
                return int(connection.info("server")["process_id"])
        except redis.RedisError:
            return None


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "var").mkdir()
    (tmp_path / "static").mkdir()
    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    site = Site(tmp_path, port)
    yield site
    for process in site.running:
        if process.poll() is None:
            process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys, a migrated database and the static files, to be copied."""
    site = Site(tmp_path_factory.mktemp("prepared"), 8443)
    (site.folder / "var").mkdir()
    (site.folder / "static").mkdir()
    for command in (
        ["init_keys"],
        ["migrate", "--verbosity", "0"],
        ["collectstatic", "--no-input", "--verbosity", "0"],
    ):
        done = site.manage(*command)
        assert done.returncode == 0, done.stderr
    return site.folder


@pytest.fixture
def ready(site: Site, prepared: Path) -> Site:
    shutil.copytree(prepared, site.folder, dirs_exist_ok=True)
    return site


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_is_missing_is_said_one_after_the_other(site: Site) -> None:
    refusals = [site.manage("serve")]
    for command in (["migrate", "--verbosity", "0"], ["init_keys"]):
        site.manage(*command)
        refusals.append(site.manage("serve"))

    assert [refusal.returncode for refusal in refusals] == [1, 1, 1]
    assert [refusal.stderr.strip().partition("manage.py ")[2] for refusal in refusals[:2]] == [
        "migrate",
        "init_keys",
    ]
    assert refusals[2].stderr.strip().endswith("Run: make build")
    (site.folder / "static" / "staticfiles.json").write_text('{"paths": {}, "version": "1.1", "hash": ""}')
    assert site.manage("serve").stderr.strip().endswith("Build the client: make build")
    assert not site.socket.exists()


def test_a_taken_port_is_said_before_anything_is_started(ready: Site) -> None:
    with bind("127.0.0.1", ready.port):
        refused = ready.manage("serve")

    assert refused.returncode == 1
    assert refused.stderr == (
        f"CommandError: Port {ready.port} is taken: stop what uses it, or choose another with --port or LISTEN_PORT.\n"
    )
    assert not ready.socket.exists()
    assert not (ready.folder / "certs" / "root.crt").exists()


def test_it_serves_and_ends_with_its_valkey(ready: Site) -> None:
    process = ready.serve()
    valkey = ready.valkey()
    assert valkey is not None
    assert ready.health() == 200

    began = time.monotonic()
    process.send_signal(signal.SIGTERM)

    assert process.wait(10) == 0
    assert time.monotonic() - began < 5
    assert not is_alive(valkey)
    assert not ready.socket.exists()


def test_its_tls_is_modern_to_sslyze(ready: Site) -> None:
    """Mozilla's profile comes with sslyze, and the root certificate is this installation's: nothing is fetched."""
    sslyze = find_sslyze()
    if sslyze is None:
        pytest.skip("sslyze is not here: make test gets it")
    ready.serve()

    scanned = subprocess.run(
        [
            sslyze,
            "--mozilla_config=modern",
            f"--certinfo_ca_file={ready.folder / 'certs' / 'root.crt'}",
            f"localhost:{ready.port}",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert f"localhost:{ready.port}: OK - Compliant." in scanned.stdout, scanned.stdout
    assert scanned.returncode == 0


def test_ctrl_c_ends_it_as_well(ready: Site) -> None:
    process = ready.serve()
    process.send_signal(signal.SIGINT)

    assert process.wait(10) == 0
    assert not ready.socket.exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_one_that_is_ended_while_it_starts_leaves_nothing_behind(ready: Site, how: signal.Signals) -> None:
    process = ready.begin()
    while not ready.socket.exists():
        assert process.poll() is None

    process.send_signal(how)

    assert process.wait(10) == 0
    assert ready.valkey() is None
    assert not ready.socket.exists()
    assert "Traceback" not in (ready.folder / "serve.log").read_text()


def test_a_second_start_keeps_the_certificates(ready: Site) -> None:
    first = ready.serve()
    first.terminate()
    first.wait(10)
    before = (ready.folder / "certs" / "server.crt").read_bytes()

    ready.serve()

    assert ready.health() == 200
    assert (ready.folder / "certs" / "server.crt").read_bytes() == before


def test_its_valkey_comes_back_and_pages_never_stop(ready: Site) -> None:
    ready.serve()
    first = ready.valkey()
    assert first is not None

    os.kill(first, signal.SIGKILL)

    assert ready.health() == 200
    wait_until(lambda: ready.valkey() not in (None, first))


def test_after_a_kill_the_next_start_clears_up(ready: Site) -> None:
    process = ready.serve()
    orphan = ready.valkey()
    process.kill()
    process.wait(10)
    assert orphan is not None
    assert is_alive(orphan)

    ready.serve()

    assert ready.health() == 200
    assert ready.valkey() not in (None, orphan)
    wait_until(lambda: not is_alive(orphan))


def test_a_second_server_shares_the_valkey_of_the_first(ready: Site) -> None:
    first = ready.serve()
    with bind("127.0.0.1", 0) as free:
        other_port = free.getsockname()[1]
    ready.serve("--port", str(other_port))
    first.terminate()
    first.wait(10)

    wait_until(lambda: ready.valkey() is not None)


def test_a_damaged_key_file_is_one_sentence(ready: Site) -> None:
    (ready.folder / "certs" / "keys.json").write_text("{}")

    refused = ready.manage("serve")

    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert "The key file is damaged" in refused.stderr
