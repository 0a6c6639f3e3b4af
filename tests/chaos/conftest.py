from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.chaos.site import prepare


@pytest.fixture(scope="session")
def prepared() -> Iterator[Path]:
    """Keys, certificates, static files and an empty database, to be copied."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        prepare(Path(folder))
        yield Path(folder)


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short path, as a socket of Valkey will be in it."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as path:
        yield Path(path)
