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
def site(prepared: Site) -> Site:
    """Two servers and Valkey, running; those of the test before, where they still do."""
    prepared.start_valkey()
    prepared.serve()
    prepared.forget_log()
    return prepared


@pytest.fixture
def fresh_site(prepared: Site) -> Iterator[Site]:
    """Whose servers know of no Redis that was away, and end with the test."""
    prepared.end()
    prepared.forget_log()
    prepared.start_valkey()
    prepared.serve()
    yield prepared
    prepared.end()


@pytest.fixture
def site_without_redis(prepared: Site) -> Iterator[Site]:
    """Two servers that were told of a Redis which is not there."""
    prepared.end()
    prepared.forget_log()
    prepared.serve()
    yield prepared
    prepared.end()
