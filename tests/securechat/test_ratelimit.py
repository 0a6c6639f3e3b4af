"""The limiter against a real Valkey, and when that Valkey goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from pytest_django import Settings

from securechat import ratelimit
from securechat.errors import TooFast
from securechat.redis import client, redis_state
from securechat.serving.valkey import EmbeddedValkey
from tests.securechat.test_serve import wait_until

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratelimit, "_local", ratelimit.Buckets())


def passes(count: int, *, scope: str = "log-in", key: str = "alice", limit: int = 5) -> list[bool]:
    return [_passes(lambda: ratelimit.check(scope, key, limit=limit, window=MINUTE)) for _ in range(count)]


def _passes(act: Callable[[], None]) -> bool:
    try:
        act()
    except TooFast:
        return False
    return True


def test_as_many_as_the_limit_pass_and_no_more() -> None:
    assert passes(7) == [True] * 5 + [False] * 2


def test_every_key_and_every_scope_has_a_bucket_of_its_own() -> None:
    passes(5)

    assert passes(1, key="bob") == [True]
    assert passes(1, scope="sign-up") == [True]
    assert passes(1) == [False]


def test_a_refusal_says_when_the_next_one_passes() -> None:
    passes(5)

    with pytest.raises(TooFast) as refusal:
        ratelimit.check("log-in", "alice", limit=5, window=MINUTE)

    assert refusal.value.retry_after_seconds in (
        11,
        12,
    )  # One token of five comes back in a fifth of the window.


def test_tokens_come_back_one_by_one() -> None:
    passes(5)
    (name,) = client().keys("*")
    client().incrby(name, -12_100_000)  # As if a fifth of the window had gone by.

    assert passes(2) == [True, False]


def test_two_processes_share_one_bucket() -> None:
    passes(5)
    ratelimit._local = ratelimit.Buckets()  # What another process begins with.

    assert passes(1) == [False]


def test_redis_sees_neither_the_name_nor_a_bucket_without_an_end() -> None:
    ratelimit.check("log-in", "alice", limit=5, window=MINUTE)

    (name,) = client().keys("*")
    assert b"alice" not in name
    assert 0 < client().pttl(name) <= 60_000


async def test_sockets_and_pages_count_together() -> None:
    for _ in range(3):
        await ratelimit.acheck("envelopes", "1", limit=5, window=MINUTE)

    assert await asyncio.to_thread(passes, 3, scope="envelopes", key="1") == [True, True, False]
    with pytest.raises(TooFast):
        await ratelimit.acheck("envelopes", "1", limit=5, window=MINUTE)


def test_without_redis_the_process_counts_for_itself_and_says_so_once(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.EFFECTIVE_REDIS_URL = f"unix://{tmp_path}/nobody.sock"

    with caplog.at_level(logging.WARNING):
        allowed = passes(7)

    assert allowed == [True] * 5 + [False] * 2
    assert [record.getMessage() for record in caplog.records] == [
        "Redis is away (ConnectionError): who is online is unknown, limits count for each process, the database is asked for news."
    ]


def test_redis_goes_in_the_middle_and_comes_back(settings: Settings, tmp_path: Path) -> None:
    settings.EFFECTIVE_REDIS_URL = f"unix://{tmp_path}/v.sock"
    valkey = EmbeddedValkey(tmp_path / "v.sock")
    with valkey:
        before = passes(5)
    away = passes(6)
    with EmbeddedValkey(tmp_path / "v.sock"):
        wait_until(lambda: not redis_state.is_away)
        back = passes(6)

    assert before == [True] * 5
    assert away == back == [True] * 5 + [False]


async def test_sockets_too_are_limited_without_redis(settings: Settings, tmp_path: Path) -> None:
    settings.EFFECTIVE_REDIS_URL = f"unix://{tmp_path}/nobody.sock"
    for _ in range(5):
        await ratelimit.acheck("envelopes", "1", limit=5, window=MINUTE)

    with pytest.raises(TooFast):
        await ratelimit.acheck("envelopes", "1", limit=5, window=MINUTE)


def test_local_buckets_fill_up_evenly_and_stay_few() -> None:
    buckets, second = ratelimit.Buckets(capacity=2), 1_000_000_000

    def take(name: str, now: int) -> int:
        return buckets.of(name, limit=2, per_second=1).take(now)

    assert [take("a", 0), take("a", 0), take("a", 0), take("a", second)] == [0, 0, second, 0]
    take("b", 0)
    take("c", 0)
    assert take("a", second) == 0  # Forgotten: the two newest are kept.


def test_a_bucket_stays_the_same_while_it_is_among_the_last() -> None:
    buckets = ratelimit.Buckets(capacity=2)

    def of(key: int) -> ratelimit.Bucket:
        return buckets.of(key, limit=1, per_second=1)

    first = of(1)
    assert of(2) is not first
    assert of(1) is first
    of(3)
    assert of(1) is first
