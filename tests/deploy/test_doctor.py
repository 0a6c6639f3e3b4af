"""`manage.py doctor` on set-ups that are broken on purpose: each is found, named, and where it says how, mended."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from securechat.doctor.finding import Finding, State, as_text
from tests.live_server import ROOT, LiveServer, free_port

SECONDS = 120
LOG_IN = """
from django.contrib.sessions.backends.db import SessionStore
from accounts.models import User
from accounts.models.browser_session import Details
from accounts.services import sessions
store = SessionStore()
store.create()
sessions.begin(user=User.objects.get(), session_key=store.session_key, details=Details("Firefox", "127.0.0.1"))
"""


@dataclass
class Site:
    server: LiveServer
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.server.directory

    @property
    def database(self) -> Path:
        return self.folder / "var" / "securechat.sqlite3"

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in self._all().items() if value != "(none)"}
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=check,
        )

    def _all(self) -> dict[str, str]:
        from_sqlite = {
            name: value for name, value in self.server.environment.items() if name != "DATABASE_URL"
        }
        return {**from_sqlite, **self.environment}

    def doctor(self) -> tuple[int, dict[str, tuple[str, str, str]]]:
        """The exit code, and of each check the worst that it found: state, sentence, mend."""
        ran = self.manage("doctor", "--json", check=False)
        assert ran.stdout.startswith("{"), ran.stderr
        found: dict[str, tuple[str, str, str]] = {}
        for one in sorted(json.loads(ran.stdout)["findings"], key=lambda one: one["state"] == "failure"):
            found[one["check"]] = (one["state"], one["said"], one["mend"])
        return ran.returncode, found

    def execute(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.database)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> LiveServer:
    port = free_port()
    server = LiveServer(tmp_path_factory.mktemp("doctor"), port=port, public_port=port)
    site = Site(server)
    (server.directory / "var").mkdir()
    for command in (
        ("init_keys",),
        ("certs", "init"),
        ("migrate", "--verbosity", "0"),
        ("collectstatic", "--noinput", "--verbosity", "0"),
    ):
        site.manage(*command)
    site.environment["DJANGO_SUPERUSER_PASSWORD"] = "Tr0ub4dor&3"
    site.manage("createsuperuser", "--noinput", "--username", "Root01")
    site.manage("shell", "-v", "0", "-c", LOG_IN)
    return server


@pytest.fixture
def site(prepared: LiveServer, tmp_path: Path) -> Site:
    folder = tmp_path / "site"
    shutil.copytree(prepared.directory, folder)
    return Site(LiveServer(folder, port=prepared.port, public_port=prepared.port))


def test_a_whole_set_up_has_nothing_that_fails(site: Site) -> None:
    code, found = site.doctor()

    assert [check for check, (state, *_) in found.items() if state == "failure"] == []
    assert code == 0
    assert site.manage("doctor").stdout.count("ok  ") >= 15


Break = Callable[[Site], Any]


def lose_keys(site: Site) -> None:
    (site.folder / "certs" / "keys.json").rename(site.folder / "keys.copy")


def find_keys(site: Site) -> None:
    (site.folder / "keys.copy").rename(site.folder / "certs" / "keys.json")


def take_other_keys(site: Site) -> None:
    keys = site.folder / "certs" / "keys.json"
    shutil.copy(keys, site.folder / "keys.copy")
    keys.unlink()
    site.environment["DATABASE_URL"] = f"sqlite:///{site.folder}/empty.sqlite3"
    site.manage("migrate", "--verbosity", "0")
    site.manage("init_keys")
    site.environment.pop("DATABASE_URL")


def damage_keys(site: Site) -> None:
    keys = site.folder / "certs" / "keys.json"
    shutil.copy(keys, site.folder / "keys.copy")
    keys.write_text(keys.read_text()[:100])


def open_keys(site: Site) -> None:
    (site.folder / "certs" / "keys.json").chmod(0o644)


def close_keys(site: Site) -> None:
    (site.folder / "certs" / "keys.json").chmod(0o600)


def move_origin(site: Site) -> None:
    site.environment |= {
        "PUBLIC_ORIGIN": f"https://chat.example:{site.server.port}",
        "CERTIFICATE_HOSTS": "localhost",
    }
    site.manage("certs", "init", "--new-root")


def certify_origin(site: Site) -> None:
    site.environment["CERTIFICATE_HOSTS"] = "chat.example,localhost"
    site.manage("certs", "init", "--new-root")


def let_certificate_end(site: Site) -> None:
    site.environment["CERTIFICATE_DAYS"] = "0"
    site.manage("certs", "renew")
    site.environment.pop("CERTIFICATE_DAYS")


def renew_certificate(site: Site) -> None:
    site.manage("certs", "renew")


def mix_up_certificate(site: Site) -> None:
    certificate = site.folder / "certs" / "server.crt"
    before = certificate.read_text()
    site.manage("certs", "renew")
    certificate.write_text(before)


def forget_migrations(site: Site) -> None:
    site.environment["DATABASE_URL"] = f"sqlite:///{site.folder}/var/old.sqlite3"
    site.manage("migrate", "--verbosity", "0", "securechat")


def migrate(site: Site) -> None:
    site.manage("migrate", "--verbosity", "0")
    site.manage("createsuperuser", "--noinput", "--username", "Root01")


def remove_database(site: Site) -> None:
    site.database.unlink()


def damage_database(site: Site) -> None:
    site.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with site.database.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(os.urandom(4096 * 20))


def change_the_trail(site: Site) -> None:
    site.execute(
        "DROP TRIGGER securechat_audit_no_update",
        "UPDATE securechat_auditevent SET why = 'nothing happened' WHERE n = 1",
    )


def change_an_asset(site: Site) -> None:
    script = next((site.folder / "static" / "securechat").glob("chat*.js"))
    script.write_text(script.read_text() + "fetch('https://evil.example/')")


def collect_again(site: Site) -> None:
    site.manage("collectstatic", "--noinput", "--clear", "--verbosity", "0")


def name_a_redis_that_is_not_there(site: Site) -> None:
    site.environment["REDIS_URL"] = f"redis://127.0.0.1:{free_port()}/0"


def take_it_out_again(site: Site) -> None:
    site.environment.pop("REDIS_URL")


def name_a_postgresql_that_is_not_there(site: Site) -> None:
    site.environment["DATABASE_URL"] = f"postgres://nobody@127.0.0.1:{free_port()}/nothing"


def go_without_https(site: Site) -> None:
    site.environment["PUBLIC_ORIGIN"] = f"http://localhost:{site.server.port}"


def misspell_a_variable(site: Site) -> None:
    path = site.folder / "misspelled.env"
    path.write_text("SING_UPS_PER_ADDRESS_AND_HOUR=5\n")
    path.chmod(0o644)
    site.environment["ENV_FILE"] = str(path)


def put_the_clock_back(site: Site) -> None:
    site.execute(
        "DROP TRIGGER securechat_audit_no_update",
        "UPDATE securechat_auditevent SET at = '2090-01-01 00:00:00'",
    )


BROKEN: dict[str, tuple[Break, str, str, Break | None]] = {
    "keys lost": (lose_keys, "keys", "There is no key file", find_keys),
    "keys of another database": (take_other_keys, "stored keys", "do not open the rows", None),
    "keys damaged": (damage_keys, "keys", "damaged", None),
    "keys readable by others": (open_keys, "private files", "keys.json", close_keys),
    "certificate for another name": (move_origin, "certificate", "chat.example", certify_origin),
    "certificate ended": (let_certificate_end, "certificate", "ended", renew_certificate),
    "key of another certificate": (mix_up_certificate, "certificate", "is not the key", renew_certificate),
    "migrations missing": (forget_migrations, "migrations", "lacks", migrate),
    "no database": (remove_database, "database", "There is no", None),
    "database damaged": (damage_database, "database", "", None),
    "audit trail changed": (change_the_trail, "audit trail", "", None),
    "a script changed": (change_an_asset, "assets", "chat", collect_again),
    "Redis away": (name_a_redis_that_is_not_there, "redis", "does not answer", take_it_out_again),
    "PostgreSQL away": (name_a_postgresql_that_is_not_there, "database", "does not answer", None),
    "no HTTPS": (go_without_https, "origin", "https://", None),
    "environment readable by others": (misspell_a_variable, "environment", "readable by others", None),
    "clock behind": (put_the_clock_back, "clock", "2090", None),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found_and_can_be_mended(site: Site, name: str) -> None:
    break_it, check, part_of_what_is_said, mend_it = BROKEN[name]
    site.environment["DJANGO_SUPERUSER_PASSWORD"] = "Tr0ub4dor&3"

    break_it(site)
    code, found = site.doctor()

    state, said, mend = found[check]
    assert state == "failure", found
    assert part_of_what_is_said in said
    assert mend
    assert code == 1
    if mend_it is not None:
        mend_it(site)
        code, found = site.doctor()
        assert found[check][0] == "ok", found[check]
        assert code == 0


def test_a_port_that_another_program_has_is_found_and_ones_own_server_is_not(site: Site) -> None:
    with socket.create_server(("127.0.0.1", site.server.port)):
        code, found = site.doctor()
        assert (code, found["port"][0]) == (1, "failure")

    site.server.start()
    try:
        code, found = site.doctor()
    finally:
        site.server.stop()
    assert (code, found["port"]) == (0, ("ok", f"The server runs on {site.server.port}.", ""))


def test_a_variable_that_nothing_reads_is_a_warning(site: Site) -> None:
    misspell_a_variable(site)
    Path(site.environment["ENV_FILE"]).chmod(0o600)

    code, found = site.doctor()

    state, said, _ = found["environment"]
    assert (code, state) == (0, "warning")
    assert "SING_UPS_PER_ADDRESS_AND_HOUR" in said


@pytest.mark.parametrize(
    ("changes", "part"),
    [({"SECRET_KEY": "(none)"}, "SECRET_KEY"), ({"LISTEN_PORT": "eight"}, "eight")],
    ids=["no SECRET_KEY", "a port in words"],
)
def test_settings_that_cannot_be_read_are_a_finding_too(
    site: Site, changes: dict[str, str], part: str
) -> None:
    site.environment |= changes

    ran = site.manage("doctor", check=False)
    code, found = site.doctor()

    assert (ran.returncode, code) == (1, 1)
    assert "Traceback" not in ran.stderr
    assert ran.stdout.startswith("FAIL  settings")
    assert part in found["settings"][1]


def test_in_words_it_says_how_to_mend_it() -> None:
    text = as_text([Finding("disk", State.FAILURE, "It is full.", "Make room.")])

    assert text == "FAIL  disk          It is full.\n" + " " * 20 + "To mend: Make room."
