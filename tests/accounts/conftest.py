"""Alice with the identity that she signs with, and an ear at the doorbell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from accounts.models import User
from securechat import events
from tests.factories import Identity, make_user

Committing = Callable[[], AbstractContextManager[Any]]


@pytest.fixture
def identity() -> Identity:
    return Identity("Alice1")


@pytest.fixture
def alice(db: None, identity: Identity) -> User:
    return make_user("Alice1", identity=identity)


@pytest.fixture
def heard() -> Iterator[list[events.Event]]:
    rung: list[events.Event] = []
    stop = events.listen(rung.append)
    yield rung
    stop()


@pytest.fixture
def committing(django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[Any]]) -> Committing:
    """What happens inside is committed at its end, as far as the doorbell can tell."""
    return lambda: django_capture_on_commit_callbacks(execute=True)
