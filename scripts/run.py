"""`make run`: from a fresh clone to a running server. Needs Python and a network at the first time, and no root."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import toolbox
from scripts.steps import ROOT, Steps, fail, run
from scripts.toolbox import PYTHON

ENV_FILE = ROOT / ".env"


def main() -> None:
    choose_port()
    prepare()
    os.execv(PYTHON, [str(PYTHON), "manage.py", "serve"])


def choose_port() -> None:
    """``make run PORT=9443`` is a server of another origin, with accounts of its own."""
    os.chdir(ROOT)
    if port := os.environ.get("PORT"):
        os.environ["PUBLIC_ORIGIN"] = f"https://localhost:{port}"
        os.environ["LISTEN_PORT"] = port


def prepare(*, development: bool = False) -> None:
    """Everything that `manage.py serve` needs."""
    steps = Steps(5)
    prepare_program(steps, development=development)
    with steps.step("Preparing keys, certificates and the database"):
        prepare_data()


def prepare_program(steps: Steps, *, development: bool = False) -> None:
    """Four steps of it: what does not depend on where the data is."""
    toolbox.check_folder()
    _check_port()
    with steps.step("Installing the Python packages"):
        toolbox.install_python_packages(development=development)
    with steps.step("Installing the client's packages"):
        node = toolbox.find_node()
        toolbox.install_client_packages(node)
    with steps.step("Building the client"):
        toolbox.build_client(node)
    with steps.step("Collecting the static files"):
        write_env_file()
        collect_static_files()


def prepare_data(environment: Mapping[str, str] | None = None) -> None:
    run(
        [PYTHON, "scripts/first_data.py"],
        log="first-data",
        otherwise="The server's keys, certificates or tables could not be prepared.",
        environment=environment,
    )


def build() -> None:
    """What `serve` needs beside keys and a database."""
    toolbox.check_folder()
    steps = Steps(3)
    with steps.step("Installing the Python packages"):
        toolbox.install_python_packages(development=False)
    with steps.step("Building the client"):
        node = toolbox.find_node()
        toolbox.install_client_packages(node)
        toolbox.build_client(node)
    with steps.step("Collecting the static files"):
        if not setting("SECRET_KEY"):
            write_env_file()
        collect_static_files()


def write_env_file() -> None:
    """A secret of one's own, readable by its owner only. What is there stays as it is."""
    try:
        descriptor = os.open(ENV_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(
            f"# Made by `make run`; .env.example explains every variable.\nSECRET_KEY={secrets.token_urlsafe(50)}\n"
        )


def collect_static_files() -> None:
    wanted = toolbox.hash_of(
        [
            ROOT / "requirements.txt",
            ROOT / "securechat" / "settings.py",
            ROOT / "securechat" / "static_files.py",
            toolbox.DIST / ".built-from",
        ],
        sys.version,
    )
    stamp = ROOT / "staticfiles" / ".collected-from"
    if stamp.exists() and stamp.read_text() == wanted and (stamp.parent / "staticfiles.json").exists():
        return
    _manage("collectstatic", "--noinput", "--clear", otherwise="The static files could not be collected.")
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(wanted)


def _manage(command: str, *arguments: str, otherwise: str) -> None:
    run([PYTHON, "manage.py", command, *arguments], log=command, otherwise=otherwise)


def _check_port() -> None:
    """Now rather than after a minute; `serve` looks again."""
    port = listen_port()
    address = setting("LISTEN_ADDRESS") or "127.0.0.1"
    try:
        socket.create_server(
            (address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET
        ).close()
    except PermissionError:
        fail(f"Port {port} needs more rights: choose one above 1023, for example make run PORT=8443.")
    except OSError as error:
        if error.errno in (48, 98):
            fail(
                f"Port {port} is taken: stop what uses it, or choose another, for example make run PORT={port + 1}."
            )
        fail(f"This computer cannot listen on {address}, port {port}: {error.strerror}.")


def public_origin() -> str:
    return setting("PUBLIC_ORIGIN") or "https://localhost:8443"


def listen_port() -> int:
    return int(setting("LISTEN_PORT") or urlsplit(public_origin()).port or 443)


def setting(name: str) -> str:
    """From the environment or `.env`, before Django is there to ask."""
    if name in os.environ or not ENV_FILE.exists():
        return os.environ.get(name, "")
    lines = [line.strip() for line in ENV_FILE.read_text().splitlines()]
    return next((line.partition("=")[2].strip("'\" ") for line in lines if line.startswith(f"{name}=")), "")


if __name__ == "__main__":
    build() if sys.argv[1:] == ["build"] else main()
