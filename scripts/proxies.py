"""The proxies that can stand in front of several processes, and their configurations in deploy/, fitted to a place."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.debian import debian_packages
from scripts.steps import ROOT

WHAT_TO_DO = (
    "There is neither HAProxy nor nginx with its stream module: install one "
    "(apt install haproxy, or apt install nginx libnginx-mod-stream)."
)
_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"])
_NGINX_WRITES = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_EXAMPLE = re.compile(r"127\.0\.0\.1:845[123]\b")


@dataclass(frozen=True)
class Place:
    """Where the proxy listens and what is behind it; ``folder`` is for what it writes."""

    folder: Path
    origin: str
    address: str
    port: int
    plain_port: int
    servers: Sequence[int]


@dataclass(frozen=True)
class Proxy:
    name: str
    program: str
    example: Path

    def write_configuration(self, place: Place) -> Path:
        file = place.folder / self.example.name
        file.write_text(fitted(self.example.read_text(encoding="utf-8"), place), encoding="utf-8")
        return file

    def check(self, configuration: Path) -> list[str]:
        """The command that reads it and says what is wrong."""
        if self.name == "haproxy":
            return [self.program, "-c", "-f", str(configuration)]
        return [*self._nginx(configuration), "-t"]

    def serve(self, configuration: Path) -> list[str]:
        """The command that runs it in the foreground."""
        if self.name == "haproxy":
            return [self.program, "-db", "-f", str(configuration)]
        return [*self._nginx(configuration), "-g", "daemon off;"]

    def _nginx(self, configuration: Path) -> list[str]:
        return [self.program, "-e", "stderr", "-c", str(configuration)]


def fitted(example: str, place: Place) -> str:
    """An example of deploy/ with this place's addresses, origin and files, and a line for each process."""
    lines: list[str] = []
    for line in example.splitlines():
        if found := _EXAMPLE.search(line):
            if found[0].endswith("8451"):
                lines += [line.replace("8451", str(port)) for port in place.servers]
        elif "[::]:" not in line:
            lines.append(line)
        if line == "http {":  # Debian's own folders are root's.
            lines += [f"    {name}_temp_path {place.folder}/{name};" for name in _NGINX_WRITES]
    text = "\n".join([*lines, ""])
    for before, after in (
        (r"(bind|listen) :?443\b", rf"\1 {place.address}:{place.port}"),
        (r"(bind|listen) :?80\b", rf"\1 {place.address}:{place.plain_port}"),
        (re.escape("https://chat.example"), place.origin),
        (r"maxconn 50000", f"maxconn {_connections()}"),
        (r"/run/nginx\.pid", f"{place.folder}/nginx.pid"),
        (r"/var/log/nginx/error\.log", "stderr"),
    ):
        text = re.sub(before, after, text)
    return text


def _connections() -> int:
    """HAProxy does not start where it may not open two files for each."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 50_000 if files == resource.RLIM_INFINITY else min(50_000, (files - 200) // 2)


def find_proxies() -> list[Proxy]:
    """Those that are here, the one to take first."""
    haproxy, nginx = (shutil.which(name, path=_PLACES) for name in ("haproxy", "nginx"))
    found = []
    if haproxy:
        found.append(Proxy("haproxy", haproxy, ROOT / "deploy" / "haproxy.cfg"))
    if nginx and _has_streams(nginx):
        found.append(Proxy("nginx", nginx, ROOT / "deploy" / "nginx.conf"))
    return found


def get_proxies() -> list[Proxy]:
    """Installs Debian's HAProxy as root where there is none of them; empty where that does not work."""
    found = find_proxies()
    if not found and debian_packages("haproxy"):
        found = find_proxies()
    return found


def _has_streams(nginx: str) -> bool:
    """Built in, or as a module that is there and that the configuration loads."""
    built = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=False).stderr
    modules = re.search(r"--modules-path=(\S+)", built)
    return bool(re.search(r"--with-stream(\s|$)", built)) or (
        modules is not None and (Path(modules[1]) / "ngx_stream_module.so").exists()
    )
