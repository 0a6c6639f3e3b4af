"""The embedded Valkey, as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from securechat.serving.valkey import EmbeddedValkey, ValkeyUnavailable

OWNER = """
import sys, time
from pathlib import Path
from securechat.serving.valkey import EmbeddedValkey
valkey = EmbeddedValkey(Path(sys.argv[1]))
valkey.start()
print(valkey.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "run" / "valkey.sock"


def connect(socket: Path) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(socket), socket_timeout=2)


def wait_until(holds: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.02)


def answers(socket: Path) -> bool:
    try:
        with connect(socket) as connection:
            return bool(connection.ping())
    except redis.RedisError:
        return False


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_answers_on_a_private_socket_and_is_gone_afterwards(socket: Path) -> None:
    with EmbeddedValkey(socket) as valkey:
        pid = valkey.pid
        assert pid is not None
        assert answers(socket)
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert socket.stat().st_mode & 0o077 == 0

    assert not is_alive(pid)
    assert not socket.exists()


def test_it_opens_no_port_and_keeps_nothing_on_disk(socket: Path) -> None:
    with EmbeddedValkey(socket), connect(socket) as connection:
        connection.set("a", "b")
        options = connection.config_get("port", "save", "appendonly")

    assert options == {"port": "0", "save": "", "appendonly": "no"}
    assert [path.name for path in socket.parent.iterdir()] == ["valkey.lock"]


def test_it_comes_back_when_it_dies(socket: Path) -> None:
    with EmbeddedValkey(socket) as valkey:
        first = valkey.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: valkey.pid not in (None, first) and answers(socket))


def test_a_second_server_shares_it_and_takes_over_when_the_first_ends(socket: Path) -> None:
    first, second = EmbeddedValkey(socket), EmbeddedValkey(socket)
    first.start()
    second.start()
    assert second.pid is None

    first.stop()

    wait_until(lambda: second.pid is not None and answers(socket))
    second.stop()
    assert not answers(socket)


def test_what_a_killed_server_left_behind_is_replaced(socket: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, str(socket)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        orphan = int(owner.stdout.readline())
        owner.kill()
    assert is_alive(orphan)

    with EmbeddedValkey(socket) as valkey:
        assert valkey.pid != orphan
        assert answers(socket)
        wait_until(lambda: not is_alive(orphan))


def test_a_path_that_no_socket_can_have_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValkeyUnavailable, match="too long"):
        EmbeddedValkey(tmp_path / ("deep" * 30) / "valkey.sock").start()
