"""Friends' own fixtures: a friendship of Alice and Bob, and an ear at the doorbell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from securechat import events


class Heard:
    """The events that were published; the test's transaction stands for the commit of what is inside ``committing``."""

    def __init__(self, capture: Callable[..., AbstractContextManager[Any]]) -> None:
        self._capture = capture
        self.events: list[events.Event] = []

    def committing(self) -> AbstractContextManager[Any]:
        return self._capture(execute=True)

    def taken(self) -> list[events.Event]:
        taken, self.events = self.events, []
        return taken


@pytest.fixture
def heard(
    django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[Any]],
) -> Iterator[Heard]:
    ear = Heard(django_capture_on_commit_callbacks)
    stop = events.listen(lambda event: ear.events.append(event))
    yield ear
    stop()
