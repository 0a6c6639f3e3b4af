"""What every test may use: a real Valkey for the whole session, and the cast."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from securechat.serving.valkey import EmbeddedValkey


@pytest.fixture(scope="session", autouse=True)
def valkey() -> Iterator[EmbeddedValkey]:
    """On ``settings.EMBEDDED_REDIS_SOCKET``, where every test's Redis client looks."""
    with EmbeddedValkey(Path(settings.EMBEDDED_REDIS_SOCKET)) as running:
        yield running


@pytest.fixture(autouse=True)
def _empty_valkey(valkey: EmbeddedValkey) -> None:
    """Limits and presence of one test are nothing to the next."""
    valkey.flush()
