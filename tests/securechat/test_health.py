"""What whoever watches the server is told: with a real database that is locked and a real Valkey that is away or frozen."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as current
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from pytest_django.fixtures import Settings

from securechat import certificates
from securechat.serving.valkey import EmbeddedValkey
from tests.securechat.test_serve import Site, prepared, ready, site, wait_until

__all__ = ["prepared", "ready", "site"]

ALL_WELL = {"ready": True, "database": "ok", "redis": "ok", "migrations": "ok", "certificate": "ok"}
ANSWERS_WITHIN_SECONDS = 3 + 2  # Three, and two for a machine that is busy with other tests.
database = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _certificates(settings: Settings, tmp_path: Path) -> None:
    settings.CERTS_DIR = str(tmp_path / "certs")
    certificates.init()


def readiness(query: str = "") -> tuple[int, dict[str, Any]]:
    began = time.monotonic()
    response = Client().get(f"/readyz{query}")
    assert time.monotonic() - began < ANSWERS_WITHIN_SECONDS
    return response.status_code, response.json()


def test_a_process_that_lives_says_so_without_a_database_under_any_name() -> None:
    stranger = Client()
    stranger.cookies[current.SESSION_COOKIE_NAME] = "x" * 32

    response = stranger.get("/healthz", headers={"host": "10.1.2.3:8451"})

    assert (response.status_code, response.json()) == (200, {"alive": True})
    assert response.headers["Cache-Control"] == "no-store"
    assert not response.cookies


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_it_takes_nothing(path: str) -> None:
    assert Client(enforce_csrf_checks=True).post(path).status_code == 405


@database
def test_a_server_that_is_ready_names_its_parts() -> None:
    assert readiness() == (200, ALL_WELL)


@database
def test_without_redis_it_is_not_ready_but_for_who_can_do_without(settings: Settings) -> None:
    settings.EFFECTIVE_REDIS_URL = "unix:///nonexistent/valkey.sock"
    said = ALL_WELL | {"redis": "It does not answer. Messages go on; who is online is unknown."}

    assert readiness() == (503, said | {"ready": False})
    assert readiness("?exclude=redis") == (200, said)


@database
def test_a_misspelt_exclusion_is_not_taken_for_a_good_state() -> None:
    assert readiness("?exclude=reddis") == (
        400,
        {"error": "exclude takes database, redis, migrations, certificate."},
    )


@database
def test_a_redis_that_froze_is_said_in_time_and_forgotten_when_it_goes_on(
    settings: Settings, tmp_path: Path
) -> None:
    with EmbeddedValkey(tmp_path / "run" / "valkey.sock") as valkey:
        settings.EFFECTIVE_REDIS_URL = f"unix://{valkey.socket}"
        assert readiness() == (200, ALL_WELL)
        assert valkey.pid is not None
        with frozen(valkey.pid):
            assert readiness()[0] == 503
            status, said = readiness()
            assert (status, said["database"]) == (503, "ok")
            assert said["redis"] != "ok"

        wait_until(lambda: readiness() == (200, ALL_WELL))


@database
def test_a_locked_database_is_said_in_time_and_forgotten_when_it_is_free() -> None:
    with locked(Path(connection.settings_dict["NAME"])):
        status, said = readiness()

    assert (status, said) == (503, ALL_WELL | {"ready": False, "database": "No answer within 2.5 s."})
    wait_until(lambda: readiness() == (200, ALL_WELL))


@database
def test_a_look_that_hangs_is_made_once_however_many_ask() -> None:
    with locked(Path(connection.settings_dict["NAME"])):
        for _ in range(3):
            readiness()
        looking = [name for name in thread_names() if name == "health"]

    assert len(looking) == 1
    wait_until(lambda: readiness() == (200, ALL_WELL))


@database
def test_a_look_that_hangs_for_good_is_given_up(settings: Settings) -> None:
    settings.HEALTH_GIVE_UP = timedelta(0)
    with locked(Path(connection.settings_dict["NAME"])):
        readiness()
        readiness()
        looking = [name for name in thread_names() if name == "health"]

    assert len(looking) == 2
    wait_until(lambda: "health" not in thread_names())


@database
def test_a_migration_that_is_missing_is_said_with_what_to_do() -> None:
    recorder = MigrationRecorder(connection)
    app, name = max(key for key in recorder.applied_migrations() if key[0] == "messaging")
    recorder.record_unapplied(app, name)
    try:
        status, said = readiness()
    finally:
        recorder.record_applied(app, name)

    assert (status, said["migrations"]) == (503, "The database lacks 1 of them. Run: manage.py migrate")


@database
def test_a_certificate_that_ended_is_said_with_what_to_do(settings: Settings, tmp_path: Path) -> None:
    settings.CERTS_DIR = str(tmp_path / "old")
    certificates.init(now=datetime.now(UTC) - timedelta(days=current.CERTIFICATE_DAYS + 1))

    status, said = readiness()

    assert status == 503
    assert said["certificate"].endswith("Run: manage.py certs renew")


@database
def test_a_certificate_that_is_not_there_is_said_without_its_path(settings: Settings, tmp_path: Path) -> None:
    settings.CERTS_DIR = str(tmp_path / "none")

    status, said = readiness()

    assert status == 503
    assert str(tmp_path) not in str(said)


def test_the_whole_server_answers_in_time_while_both_are_away(ready: Site) -> None:
    ready.serve()
    assert get(ready, "/readyz") == (200, ALL_WELL)
    valkey = ready.valkey()
    assert valkey is not None

    with frozen(valkey), locked(ready.folder / "var" / "securechat.sqlite3"):
        began = time.monotonic()
        status, said = get(ready, "/readyz")
        took = time.monotonic() - began
        assert get(ready, "/healthz") == (200, {"alive": True})

    assert took < ANSWERS_WITHIN_SECONDS
    assert status == 503
    assert [name for name, state in said.items() if state == "ok"] == ["migrations", "certificate"]
    wait_until(lambda: get(ready, "/readyz") == (200, ALL_WELL))


def get(site: Site, path: str) -> tuple[int, dict[str, Any]]:
    """Under a name that is not the server's, as a probe does."""
    trust = ssl.create_default_context(cafile=site.folder / "certs" / "root.crt")
    with closing(HTTPSConnection("localhost", site.port, context=trust, timeout=20)) as client:
        client.request("GET", path, headers={"Host": "probe.invalid", "Cookie": "__Host-securechat=abc"})
        response = client.getresponse()
        assert response.getheader("Set-Cookie") is None
        return response.status, json.loads(response.read())


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def thread_names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]
