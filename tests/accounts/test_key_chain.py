"""What a key chain may say, and what of it stands."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.chain import ChainState, EntryRefused, NotNext
from accounts.errors import ChainConflict, ChainRefused
from accounts.models import User
from accounts.services import key_chain, vaults
from accounts.wire import ACCOUNT_KEY_BYTES, MalformedBytes
from tests.accounts.chains import Draft
from tests.factories import Identity, device_id_of, make_user, raw_public

DEVICE, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


@pytest.fixture
def alice(db: None, identity: Identity) -> User:
    return make_user("Alice1", identity=identity, device=raw_public(DEVICE))


def draft(identity: Identity) -> Draft:
    """Genesis and ``DEVICE``."""
    return Draft(identity, [identity.genesis()]).add(DEVICE)


def state_after(chain: Draft) -> ChainState:
    state = ChainState(chain.identity.origin, "alice1")
    for entry in chain.entries:
        state.follow(entry)
    return state


def test_who_signs_up_has_keys_and_one_browser(alice: User) -> None:
    keys = vaults.keys_of(alice)

    assert keys is not None
    assert key_chain.has_keys(alice)
    assert key_chain.device_ids(alice) == {device_id_of(DEVICE)}
    assert [door.kind for door in keys.doors] == ["password", "recovery"]


# What stands


def test_a_revoked_browser_ends_and_the_others_stand(identity: Identity) -> None:
    state = state_after(draft(identity).add(OTHER).revoke(device_id_of(DEVICE)))

    assert state.standing() == {device_id_of(OTHER)}
    ended = state.devices[device_id_of(DEVICE)]
    assert (ended.public, ended.added_seq, ended.ended_seq) == (raw_public(DEVICE), 2, 4)


def test_a_browser_retires_itself(identity: Identity) -> None:
    assert state_after(draft(identity).retire(DEVICE)).standing() == frozenset()


def test_account_keys_count_on_and_the_vault_key_with_them_or_not(identity: Identity) -> None:
    state = state_after(draft(identity).rotate().renew().rotate())

    assert (state.generation, state.vault_generation) == (4, 2)


def test_a_reset_ends_every_browser_and_the_new_identity_signs_from_there(identity: Identity) -> None:
    fresh = Identity("Alice1")

    state = state_after(draft(identity).rotate().reset(fresh).add(OTHER).revoke(device_id_of(OTHER)).rotate())

    assert state.identity_public == raw_public(fresh.key)
    assert state.standing() == frozenset()
    assert state.devices[device_id_of(DEVICE)].ended_seq == 4
    assert (state.generation, state.vault_generation) == (4, 2)


# What is refused. Each is one entry after genesis, DEVICE and OTHER, and a change of one that is taken.

Change = Callable[[Draft], Draft]
_fresh = Identity("Alice1")
_foreign = Identity("Alice1", origin="https://elsewhere.example")
TAKEN: dict[str, Change] = {
    "a revocation": lambda chain: chain.revoke(device_id_of(DEVICE)),
    "a retirement": lambda chain: chain.retire(DEVICE),
    "a new account key": lambda chain: chain.rotate(),
    "new keys": lambda chain: chain.renew(),
    "a reset": lambda chain: chain.reset(_fresh),
    "another browser": lambda chain: chain.add(),
}


def signed_by(key: Ed25519PrivateKey, kind: str, payload: list[object]) -> Change:
    return lambda chain: chain.say(kind, payload, key=key)


def _rotation(generation: int, vault_generation: int) -> Change:
    return lambda chain: chain.say("ak_rotate", [generation, bytes(ACCOUNT_KEY_BYTES), vault_generation])


def _reset_to(identity: Identity, generation: int = 2) -> Change:
    def change(chain: Draft) -> Draft:
        payload: list[object] = [
            identity.origin, identity.name.lower(), raw_public(identity.key), generation, bytes(ACCOUNT_KEY_BYTES),
        ]  # fmt: skip
        return chain.say("reset", payload, key=identity.key)

    return change


REFUSED: dict[str, Change] = {
    "a revocation by a browser": signed_by(OTHER, "device_revoke", [device_id_of(DEVICE)]),
    "a revocation of nobody": lambda chain: chain.revoke(os.urandom(16)),
    "a retirement by the identity": lambda chain: chain.say("device_retire", [device_id_of(DEVICE)]),
    "a retirement by another browser": signed_by(OTHER, "device_retire", [device_id_of(DEVICE)]),
    "a retirement of nobody": lambda chain: chain.retire(Ed25519PrivateKey.generate()),
    "an account key by a browser": signed_by(OTHER, "ak_rotate", [2, bytes(ACCOUNT_KEY_BYTES), 1]),
    "the same generation": _rotation(1, 1),
    "a generation left out": _rotation(3, 1),
    "a vault generation left out": _rotation(2, 3),
    "a reset with the same identity": lambda chain: chain.reset(chain.identity),
    "a reset of the same generation": _reset_to(_fresh, 1),
    "a reset with a generation left out": _reset_to(_fresh, 3),
    "a reset of another name": _reset_to(Identity("Mallory")),
    "a reset of another server": _reset_to(_foreign),
    "a reset signed by the identity before": lambda chain: chain.say(
        "reset", [chain.identity.origin, "alice1", raw_public(_fresh.key), 2, bytes(ACCOUNT_KEY_BYTES)]
    ),
    "a browser twice": lambda chain: chain.add(OTHER),
    "a browser by a browser": signed_by(OTHER, "device_add", [bytes(32)]),
    "genesis again": lambda chain: chain.say(
        "genesis", [chain.identity.origin, "alice1", raw_public(chain.identity.key), 1, bytes(ACCOUNT_KEY_BYTES)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TAKEN)
def test_the_chain_takes(what: str, identity: Identity) -> None:
    state_after(TAKEN[what](draft(identity).add(OTHER)))


@pytest.mark.parametrize("what", REFUSED)
def test_the_chain_refuses(what: str, identity: Identity) -> None:
    chain = draft(identity).add(OTHER)
    state = state_after(chain)
    before = (state.seq, state.head, state.generation, state.vault_generation, state.standing())

    with pytest.raises(EntryRefused):
        state.follow(REFUSED[what](chain).entries[-1])

    assert before == (state.seq, state.head, state.generation, state.vault_generation, state.standing())


@pytest.mark.parametrize("how", ["revoked", "retired", "reset"])
@pytest.mark.parametrize("then", ["revoke", "retire", "add"])
def test_a_browser_that_ended_is_over(how: str, then: str, identity: Identity) -> None:
    """Nobody revokes it again, it says nothing any more, and it is not added a second time."""
    ends: dict[str, Change] = {
        "revoked": lambda chain: chain.revoke(device_id_of(DEVICE)),
        "retired": lambda chain: chain.retire(DEVICE),
        "reset": lambda chain: chain.reset(_fresh),
    }
    thens: dict[str, Change] = {
        "revoke": lambda chain: chain.revoke(device_id_of(DEVICE)),
        "retire": lambda chain: chain.retire(DEVICE),
        "add": lambda chain: chain.add(DEVICE),
    }
    chain = ends[how](draft(identity).add(OTHER))
    state = state_after(chain)

    with pytest.raises(EntryRefused):
        state.follow(thens[then](chain).entries[-1])


def test_after_a_reset_the_identity_before_signs_nothing(identity: Identity) -> None:
    chain = draft(identity).reset(_fresh)
    state = state_after(chain)
    chain.identity = identity

    with pytest.raises(EntryRefused):
        state.follow(chain.add().entries[-1])


def test_an_identity_comes_back_by_no_reset(identity: Identity) -> None:
    chain = draft(identity).reset(_fresh)
    state = state_after(chain)

    with pytest.raises(EntryRefused):
        state.follow(chain.reset(identity).entries[-1])


def test_an_entry_that_does_not_follow_is_told_apart(identity: Identity) -> None:
    chain = draft(identity).add().add()
    state = state_after(Draft(identity, chain.entries[:2]))

    with pytest.raises(NotNext):
        state.follow(chain.entries[3])
    with pytest.raises(NotNext):
        state.follow(draft(identity).add().entries[-1])


@pytest.mark.parametrize("what", TAKEN)
def test_every_single_flipped_bit_is_refused(what: str, identity: Identity) -> None:
    chain = draft(identity).add(OTHER)
    state = state_after(chain)
    entry = TAKEN[what](chain).entries[-1]

    for place in range(0, len(entry), 1 if len(entry) < 400 else 13):
        flipped = bytearray(entry)
        flipped[place] ^= 1 << (place % 8)
        with pytest.raises(MalformedBytes):
            state.follow(bytes(flipped))
    state.follow(entry)


def test_a_number_is_one_number(identity: Identity) -> None:
    """``true`` and zero are not, also where a signature would hold."""
    for generation, vault_generation in ((True, 1), (2, True), (0, 1), (2, 0), (2**53, 1)):
        chain = draft(identity)
        state = state_after(chain)
        payload: list[object] = [generation, bytes(ACCOUNT_KEY_BYTES), vault_generation]
        with pytest.raises(MalformedBytes):
            state.follow(chain.say("ak_rotate", payload).entries[-1])


# What is stored


def test_an_append_is_whole_or_not_at_all(alice: User, identity: Identity) -> None:
    chain = Draft.of(alice, identity).add(OTHER).add(OTHER)

    with pytest.raises(ChainRefused):
        key_chain.append_entries(user=alice, entries=chain.new)

    assert len(key_chain.entries_of(alice)) == 2


def test_an_append_says_who_came_and_who_went(alice: User, identity: Identity) -> None:
    chain = Draft.of(alice, identity).add(OTHER).revoke(device_id_of(DEVICE)).renew()

    growth = key_chain.append_entries(user=alice, entries=chain.new)

    ended = frozenset([device_id_of(DEVICE)])
    assert (growth.seq, growth.added, growth.ended) == (5, frozenset([device_id_of(OTHER)]), ended)
    assert key_chain.device_ids(alice) == {device_id_of(OTHER)}
    assert key_chain.entries_of(alice) == chain.entries


def test_an_append_on_an_older_chain_is_a_conflict(alice: User, identity: Identity) -> None:
    first, second = (Draft.of(alice, identity).add().add() for _ in range(2))
    key_chain.append_entries(user=alice, entries=first.new)

    with pytest.raises(ChainConflict):
        key_chain.append_entries(user=alice, entries=second.new)
    with pytest.raises(ChainConflict):
        key_chain.append_entries(user=alice, entries=first.new)


def test_what_stands_is_read_again_only_when_the_chain_grew(alice: User, identity: Identity) -> None:
    known = key_chain.standing(alice)

    with CaptureQueriesContext(connection) as queries:
        assert key_chain.standing(alice, known) is known
    assert len(queries) == 1

    key_chain.append_entries(user=alice, entries=Draft.of(alice, identity).retire(DEVICE).new)
    assert key_chain.standing(alice, known).devices == frozenset()


def test_a_full_chain_still_has_room_to_end_every_browser(
    alice: User, identity: Identity, settings: Any
) -> None:
    settings.MAX_CHAIN_ENTRIES = 8
    chain = Draft.of(alice, identity).add(OTHER)
    key_chain.append_entries(user=alice, entries=chain.new)
    for one_more in (Draft.of(alice, identity).add().add(), Draft.of(alice, identity).rotate().rotate()):
        with pytest.raises(ChainRefused):
            key_chain.append_entries(user=alice, entries=one_more.new)

    ends = Draft.of(alice, identity).rotate().revoke(device_id_of(DEVICE)).revoke(device_id_of(OTHER)).renew()
    key_chain.append_entries(user=alice, entries=ends.new)
    last = Draft.of(alice, identity, generation=3, vault_generation=2).renew()
    key_chain.append_entries(user=alice, entries=last.new)

    assert len(key_chain.entries_of(alice)) == 8
    beyond = Draft.of(alice, identity, generation=4, vault_generation=3).renew()
    with pytest.raises(ChainRefused):
        key_chain.append_entries(user=alice, entries=beyond.new)
