"""The cast: Alice and Bob, and Mallory who is nobody's friend. What only one app's tests need is in that folder."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from accounts.models import User
from friends.models import Friendship
from securechat import ratelimit, sealed
from securechat.redis import redis_state
from securechat.serving.valkey import EmbeddedValkey
from tests import audit_trail, factories


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard() -> None:
    """Not so in what a shell starts in the background, and in the servers that it starts in turn."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def keys() -> sealed.KeyRing:
    """The server's keys, made anew for each test run."""
    ring = sealed.new_key_ring()
    sealed.write_key_file(ring, Path(settings.KEYS_FILE))
    return ring


@pytest.fixture(scope="session", autouse=True)
def valkey() -> Iterator[EmbeddedValkey]:
    """On ``settings.EMBEDDED_REDIS_SOCKET``, where every test's Redis client looks."""
    with EmbeddedValkey(Path(settings.EMBEDDED_REDIS_SOCKET)) as running:
        yield running


@pytest.fixture(scope="session", autouse=True)
def _emptying_the_database_is_allowed() -> Iterator[None]:
    """Between tests that commit, the database is emptied: also the audit trail, whose triggers refuse that."""
    with pytest.MonkeyPatch.context() as patch:
        emptying = type(connection.ops).sql_flush

        def sql_flush(self: Any, *args: Any, **kwargs: Any) -> list[str]:
            return audit_trail.emptying(emptying(self, *args, **kwargs))

        patch.setattr(type(connection.ops), "sql_flush", sql_flush)
        yield


@pytest.fixture(autouse=True)
def _empty_valkey(valkey: EmbeddedValkey) -> None:
    """Limits and presence of one test are nothing to the next."""
    valkey.flush()


@pytest.fixture(autouse=True)
def _redis_is_here() -> Iterator[None]:
    """A test whose Redis was away ends when the one of all tests answers again."""
    yield
    redis_state.forget()


@pytest.fixture(autouse=True)
def _fresh_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test is refused for what another one did. (Where a test runs a Valkey, that one is its own.)"""
    monkeypatch.setattr(ratelimit, "_local", ratelimit.Buckets())


@pytest.fixture
def alice(db: None) -> User:
    return factories.make_user("Alice1")


@pytest.fixture
def bob(db: None) -> User:
    return factories.make_user("Bobby")


@pytest.fixture
def mallory(db: None) -> User:
    return factories.make_user("Mallory")


@pytest.fixture
def friendship(alice: User, bob: User) -> Friendship:
    """Of Alice and Bob; Alice asked, so she is side 0."""
    return factories.befriend(alice, bob)


@pytest.fixture
def client_of() -> Callable[[User], Client]:
    return factories.client_of
