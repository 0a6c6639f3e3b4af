"""ejabberd as Debian packages it, with its message archive on and its shapers off.

What a chat of two does not need is not loaded. Its archive is in Mnesia, as it comes (nothing waits for the disk); in SQLite,
which it recommends for small servers; or in PostgreSQL, which waits for the disk as it does for us.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.peers.xmpp import DOMAIN, PASSWORD, XMPPServer, name_of
from bench.postgresql import PostgreSQL
from tests.live_server import free_port

Archive = Literal["mnesia", "sqlite", "postgresql"]
_SCHEMA = Path("/usr/share/ejabberd/sql/pg.sql")
_CONFIGURATION = """
loglevel: error
hosts: ["{domain}"]
certfiles: ["{home}/server.pem"]
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    tls: true
    shaper: none
    access: all
    backlog: 1024
auth_password_format: plain
modules:
  mod_roster: {{}}
  mod_disco: {{}}
  mod_carboncopy: {{}}
  mod_ping: {{}}
  mod_offline: {{}}
  mod_mam:
    default: always
    assume_mam_usage: true
    db_type: {archive}
"""
_SQLITE = """
sql_type: sqlite
sql_database: "{database}"
"""
_POSTGRESQL = """
sql_type: pgsql
sql_server: "127.0.0.1"
sql_port: {port}
sql_database: "postgres"
sql_username: "postgres"
"""
# Kernel poll and so many processes as its own start script asks for; what waits for work does not burn the core meanwhile.
_EMULATOR = (
    *("+K", "true", "+P", "250000"),
    *("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"),
)
# Makes the accounts; without distribution, so that nothing listens but the clients' port.
_ACCOUNTS = f'[ejabberd_auth:try_register(list_to_binary(Name), <<"{DOMAIN}">>, <<"{PASSWORD}">>) || Name <- [{{names}}]].'


@dataclass
class Ejabberd(XMPPServer):
    name: str = "ejabberd"
    archive: Archive = "mnesia"
    _database: PostgreSQL | None = None

    @staticmethod
    def is_installed(archive: Archive = "mnesia") -> bool:
        driver = {"mnesia": "mnesia", "sqlite": "p1_sqlite3", "postgresql": "p1_pgsql"}[archive]
        is_there = any(Path("/usr/lib/erlang/lib").glob(f"{driver}-*"))
        return is_there and shutil.which("erl") is not None and bool(_folders())

    @property
    def pids(self) -> Sequence[int]:
        return [*super().pids, *([self._database.pid] if self._database else [])]

    def start(self) -> None:
        self._port = free_port()
        home = self._fresh_home()
        certs = self.chat.server.directory / "certs"
        key_and_chain = [(certs / file).read_bytes() for file in ("server.key", "server.crt")]
        (home / "server.pem").write_bytes(b"".join(key_and_chain))
        configuration = _CONFIGURATION.format(
            domain=DOMAIN,
            home=home,
            port=self._port,
            archive="mnesia" if self.archive == "mnesia" else "sql",
        )
        (home / "ejabberd.yml").write_text(configuration + self._sql(home))
        names = ", ".join(f'"{name_of(person)}"' for person in range(self.people))
        self._run(
            [
                *("erl", "-noinput", *_EMULATOR),
                *("-mnesia", "dir", f'"{home}/database"', "-ejabberd", "log_rotate_count", "0"),
                *("-s", "ejabberd", "-eval", _ACCOUNTS.format(names=names)),
            ],
            {
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "ERL_LIBS": str(_folders()[0].parent),
                "ERL_MAX_PORTS": "32000",
                "EJABBERD_CONFIG_PATH": str(home / "ejabberd.yml"),
                "EJABBERD_LOG_PATH": str(home / "ejabberd.log"),
            },
        )

    def stop(self) -> None:
        super().stop()
        if self._database is not None:
            self._database.stop()
            self._database = None

    def _sql(self, home: Path) -> str:
        if self.archive == "mnesia":
            return ""
        if self.archive == "sqlite":
            return _SQLITE.format(database=home / "ejabberd.sqlite")
        self._database = PostgreSQL(home / "postgresql", self.chat.environment)
        self._database.start()
        self._database.execute(_SCHEMA.read_text(encoding="utf-8"))
        return _POSTGRESQL.format(port=self._database.port)


def _folders() -> list[Path]:
    """Where the package keeps its programs."""
    return sorted(Path("/usr/lib").glob("*/ejabberd-*"))
