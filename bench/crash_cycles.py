"""Processes that bring people online and are killed at any moment, many times over: afterwards nobody may be left online.

python -m bench.crash_cycles [--cycles 1000] [--ttl-seconds 12]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PEOPLE = 50
SOCKETS_EACH = 2
_LIVES_SECONDS = 0.04


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="securechat-crashes-") as folder:
        socket = Path(folder) / "valkey.sock"
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "securechat.settings",
            "ENV_FILE": os.devnull,
            "SECRET_KEY": "only-for-measurements",
            "VAR_DIR": folder,
            "REDIS_URL": f"unix://{socket}",
            "PRESENCE_TTL_SECONDS": str(arguments.ttl_seconds),
        }
        import django

        django.setup()
        from securechat.serving.valkey import EmbeddedValkey

        valkey = EmbeddedValkey(socket)
        valkey.start()
        try:
            figures = measure(arguments.cycles, random.Random(arguments.seed))
        finally:
            valkey.stop()
    print(figures)
    if arguments.record:
        from bench.results import record

        record("crash_cycles", figures, command="python -m bench.crash_cycles --record")
    ghosts = figures["online"] + figures["connections_left"] + figures["counts_left"]
    sys.exit(1 if ghosts or not figures["seen_online"] else 0)


def measure(cycles: int, chance: random.Random) -> dict[str, Any]:
    from django.conf import settings

    began = time.monotonic()
    seen = 0
    for cycle in range(cycles):
        _crash(cycle, chance.uniform(0, _LIVES_SECONDS))
        if cycle % 10 == 0:
            seen += _online()
    crashed_in = time.monotonic() - began
    time.sleep(settings.PRESENCE_TTL.total_seconds())
    online = _online()
    connections_left, counts_left = _left()
    return {
        "cycles": cycles,
        "people": PEOPLE,
        "sockets_each": SOCKETS_EACH,
        "seconds": round(crashed_in, 1),
        "seen_online": seen,
        "online": online,
        "connections_left": connections_left,
        "counts_left": counts_left,
    }


def _crash(cycle: int, lives_seconds: float) -> None:
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(_live(cycle))
        finally:
            os._exit(0)
    time.sleep(lives_seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


async def _live(cycle: int) -> None:
    """As a process with sockets does: renews, lets some leave, sweeps; until it is killed."""
    from datetime import timedelta

    from messaging import presence

    keys = [
        presence.connection_key(person, f"{cycle}x{number}")
        for person in range(1, PEOPLE + 1)
        for number in range(SOCKETS_EACH)
    ]
    while True:
        await presence.renew(keys)
        await presence.leave(keys[::7], grace=timedelta(milliseconds=1))
        await presence.sweep()


def _online() -> int:
    """How many people pages would show as online."""
    from messaging import presence

    return sum(bool(online) for online in presence.is_online(range(1, PEOPLE + 1)).values())


def _left() -> tuple[int, int]:
    from securechat.redis import client

    prefix = "securechat:presence"
    return int(client().zcard(f"{prefix}:connections")), int(client().hlen(f"{prefix}:counts"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--ttl-seconds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="keep the figures in bench/results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
