"""The known answers of ``tests/vectors/`` against the server's own reading of the protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accounts import stretching, wire
from accounts.errors import ChainConflict, ChainRefused, KeysInvalid
from accounts.models import User
from accounts.services import key_chain
from tests.factories import make_user_without_keys

VECTORS = Path(__file__).parents[1] / "vectors"
CHAINS = json.loads((VECTORS / "key_chain.json").read_text())
DERIVATION = json.loads((VECTORS / "derivation.json").read_text())


@pytest.fixture
def alice(db: None, settings: Any) -> User:
    """Of the vectors' server."""
    settings.PUBLIC_ORIGIN = CHAINS["origin"]
    return make_user_without_keys(CHAINS["name"])


def entries_of(hexes: list[str]) -> list[bytes]:
    return [bytes.fromhex(entry) for entry in hexes]


def store(user: User, entries: list[bytes]) -> None:
    key_chain.begin_chain(user=user, entries=entries[:2])
    for entry in entries[2:]:
        key_chain.append_entry(user=user, entry=entry)


def test_the_servers_derivation_is_the_browsers(settings: Any) -> None:
    settings.PUBLIC_ORIGIN = DERIVATION["origin"]

    derived = stretching.derive_auth_key(
        name=DERIVATION["name"],
        password=DERIVATION["password"],
        client_salt=bytes.fromhex(DERIVATION["client_salt"]),
    )

    assert derived == DERIVATION["auth_key"]


def test_a_good_chain_is_stored_with_its_hashes(alice: User) -> None:
    entries = entries_of(CHAINS["entries"])

    store(alice, entries)

    assert key_chain.entries_of(alice) == entries
    assert key_chain.entries_of(alice, after=2) == entries[2:]
    assert [wire.entry_hash(entry).hex() for entry in entries] == CHAINS["hashes"]


@pytest.mark.parametrize("chain", CHAINS["refused"], ids=lambda chain: str(chain["why"]))
def test_a_bad_chain_is_refused(alice: User, chain: dict[str, Any]) -> None:
    with pytest.raises((KeysInvalid, ChainRefused, ChainConflict)):
        store(alice, entries_of(chain["entries"]))


@pytest.mark.parametrize("position", range(8))
def test_every_single_flipped_bit_of_an_entry_is_refused(alice: User, position: int) -> None:
    genesis, device = entries_of(CHAINS["entries"])[:2]

    for place in range(len(device)):
        flipped = bytearray(device)
        flipped[place] ^= 1 << position
        with pytest.raises(KeysInvalid):
            key_chain.begin_chain(user=alice, entries=[genesis, bytes(flipped)])
    assert not key_chain.has_keys(alice)
