"""Real processes: what holds here holds for what `manage.py serve` starts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.resilience.site import Site, prepared_site


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with prepared_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def site(prepared: Site) -> Iterator[Site]:
    """Two servers and Valkey, running."""
    prepared.start_valkey()
    with prepared.serving():
        yield prepared


@pytest.fixture
def site_without_redis(prepared: Site) -> Iterator[Site]:
    """Two servers that were told of a Redis which is not there."""
    with prepared.serving():
        yield prepared
