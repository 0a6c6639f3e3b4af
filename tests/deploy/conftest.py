"""Two processes on a PostgreSQL and a Valkey of their own, behind each proxy that is here, as `make run-cluster` runs three."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from scripts.cluster import Cluster
from scripts.proxies import WHAT_TO_DO, Proxy, find_proxies
from scripts.steps import ROOT
from tests.live_server import free_port

PROXIES: list[Proxy | None] = [*find_proxies()]


@pytest.fixture(scope="package", params=PROXIES or [None], ids=lambda found: found.name if found else "none")
def proxy(request: pytest.FixtureRequest) -> Proxy:
    if request.param is None:
        pytest.skip(WHAT_TO_DO)
    found: Proxy = request.param
    return found


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="package")
def port() -> int:
    return free_port()


@pytest.fixture(scope="package")
def environment(folder: Path, port: int) -> dict[str, str]:
    """With what was made once for all proxies: keys, certificate, static files."""
    made = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "ENV_FILE": os.devnull,
        "SECRET_KEY": "only-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz",
        "PUBLIC_ORIGIN": f"https://localhost:{port}",
        "VAR_DIR": str(folder / "var"),
        "CERTS_DIR": str(folder / "certs"),
        "STATIC_ROOT": str(folder / "static"),
        "MAX_CONNECTIONS_PER_ADDRESS": "20",
    }
    (folder / "static").mkdir()
    manage(made, "collectstatic", "--noinput", "--verbosity", "0")
    return made


@pytest.fixture(scope="package")
def cluster(folder: Path, port: int, proxy: Proxy, environment: dict[str, str]) -> Iterator[Cluster]:
    made = Cluster(
        folder,
        proxy,
        environment,
        origin=environment["PUBLIC_ORIGIN"],
        address="127.0.0.1",
        port=port,
        processes=2,
    )
    with made.running(prepare=prepare_data):
        yield made


def prepare_data(environment: Mapping[str, str]) -> None:
    subprocess.run([sys.executable, "scripts/first_data.py"], cwd=ROOT, env=environment, check=True)


def manage(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment, check=True)
