"""Prosody as Debian packages it, with its message archive on and its rate limits off.

What a chat of two does not need is not loaded. Its storage is the one that it comes with (files; nothing waits for the
disk): a message can be lost with the power after it was delivered.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from bench.peers.xmpp import DOMAIN, PASSWORD, XMPPServer, name_of
from tests.live_server import STOP_SECONDS, free_port

_CONFIGURATION = """
run_as_root = true
daemonize = false
data_path = "{home}"
pidfile = "{home}/prosody.pid"
log = {{ warn = "*console" }}
plugin_paths = {{}}
modules_enabled = {{ "roster", "saslauth", "disco", "carbons", "ping", "mam" }}
modules_disabled = {{ "s2s" }}
authentication = "internal_plain"
storage = "internal"
default_archive_policy = true
storage_archive_item_limit = 1000000
network_backend = "epoll"
network_settings = {{ nagle = false, tcp_backlog = 1024, read_size = 65536, opportunistic_writes = true }}
gc = {{ mode = "generational" }}
c2s_ports = {{}}
c2s_direct_tls_ports = {{ {port} }}
c2s_direct_tls_interfaces = {{ "127.0.0.1" }}
c2s_direct_tls_ssl = {{ key = "{certs}/server.key", certificate = "{certs}/server.crt" }}
ssl = {{ key = "{certs}/server.key", certificate = "{certs}/server.crt" }}
VirtualHost "{domain}"
"""


@dataclass
class Prosody(XMPPServer):
    name: str = "prosody"

    @staticmethod
    def is_installed() -> bool:
        return shutil.which("prosody") is not None

    def start(self) -> None:
        self._port = free_port()
        home = self._fresh_home()
        accounts = home / DOMAIN / "accounts"
        accounts.mkdir(parents=True)
        for person in range(self.people):
            (accounts / f"{name_of(person)}.dat").write_text(f'return {{ ["password"] = "{PASSWORD}"; }};\n')
        certs = self.chat.server.directory / "certs"
        configuration = _CONFIGURATION.format(home=home, port=self._port, certs=certs, domain=DOMAIN)
        (home / "prosody.cfg.lua").write_text(configuration)
        self._run(["prosody", "-F", "--config", str(home / "prosody.cfg.lua")], {"PATH": os.environ["PATH"]})

    def stop(self) -> None:
        """Asked politely, it waits for clients that have gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_SECONDS)
