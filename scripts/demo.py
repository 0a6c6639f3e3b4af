"""`make demo`: two friends with a conversation and a third who asks, so that there is something to look at.

The people are Python clients that encrypt as the browser does and speak HTTPS to the server: the running one, or one started
for it. A second run finds them there and changes nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from accounts.demo_people import DEMO_PASSWORDS as PASSWORDS
from scripts import run, toolbox
from scripts.steps import LOGS, ROOT, Steps, fail
from scripts.toolbox import PYTHON

if TYPE_CHECKING:
    from tests.peer.client import Peer

LINES = [
    ("Alice", "Hello Bobby! Can you read this?"),
    ("Bobby", "Yes. The server cannot, it only stores it."),
    ("Alice", "Then let us compare safety numbers when we meet."),
    ("Bobby", "Tomorrow at noon? 🍵"),
]
_START_SECONDS = 60


def main() -> None:
    run.choose_port()
    if _answers():
        with Steps(1).step("Installing the Python packages"):
            toolbox.install_python_packages(development=True)
        _with_project_python()
        asyncio.run(_make_people())
    else:
        run.prepare(development=True)
        _with_project_python()
        with _server():
            asyncio.run(_make_people())
    print(f"\nAt {run.public_origin()}/ you can now log in as")
    for name, password in PASSWORDS.items():
        print(f"  {name}  {password}")
    if not _answers():
        print("\nThe server is not running any more: make run")


def _with_project_python() -> None:
    """Starts over in `.venv`, where the clients' libraries are."""
    if Path(sys.prefix).resolve() != toolbox.VENV.resolve():
        sys.stdout.flush()
        os.execv(PYTHON, [str(PYTHON), str(Path(__file__).resolve())])


def _answers() -> bool:
    where = urlsplit(run.public_origin())
    try:
        socket.create_connection((where.hostname or "localhost", where.port or 443), timeout=2).close()
    except OSError:
        return False
    return True


@contextmanager
def _server() -> Iterator[None]:
    log = LOGS / "demo-server.log"
    with log.open("wb") as output:
        process = subprocess.Popen([PYTHON, "manage.py", "serve"], cwd=ROOT, stdout=output, stderr=output)
    deadline = time.monotonic() + _START_SECONDS
    while not _answers():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            fail("The server did not start.", log)
        time.sleep(0.2)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


async def _make_people() -> None:
    from tests.peer.client import Peer
    from tests.peer.http import HttpRefused

    root = Path(run.setting("CERTS_DIR") or ROOT / "certs") / "root.crt"
    people = {name: Peer(run.public_origin(), root) for name in PASSWORDS}
    new = []
    for name, peer in people.items():
        try:
            code = await peer.sign_up(name, PASSWORDS[name])
        except HttpRefused as refusal:
            if refusal.code != "username_taken":
                fail(f"{name} could not sign up: {refusal}")
            continue
        await peer.confirm_recovery_code()
        print(f"{name} signed up. Recovery code: {code}")
        new.append(name)
    if not new:
        print("Alice, Bobby and Carol are there already; nothing was changed.")
        return
    for name in PASSWORDS.keys() - set(new):  # Of a run that did not come to its end.
        await people[name].log_in(name, PASSWORDS[name])
    alice, bobby, carol = people.values()
    with suppress(HttpRefused):
        await carol.add_friend("Alice")
    with suppress(HttpRefused):
        await alice.add_friend("Bobby")
        await bobby.approve(["Alice"])
    await _talk(alice, bobby)


async def _talk(alice: Peer, bobby: Peer) -> None:
    await alice.connect()
    await bobby.connect()
    if not await alice.read("Bobby"):
        for name, text in LINES:
            peer, other = (alice, "Bobby") if name == "Alice" else (bobby, "Alice")
            await peer.send(other, text)
        await bobby.read("Alice")
    await alice.disconnect()
    await bobby.disconnect()
    print(f"Alice and Bobby are friends and wrote {len(LINES)} messages; Carol asks Alice to be a friend.")


if __name__ == "__main__":
    main()
