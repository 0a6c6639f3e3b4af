from __future__ import annotations

import os
from typing import Any

import pytest

from accounts.models import User, Vault
from accounts.services import key_chain
from accounts.wire import encode_base64url, entry_hash
from securechat import events, sealed
from tests.accounts.browser import Browser, next_entry, next_vault, signed_in
from tests.accounts.conftest import Committing
from tests.factories import Identity, raw_public

pytestmark = pytest.mark.django_db


def one(entry: str) -> dict[str, Any]:
    return {"entries": [entry], "vault": None}


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_another_browser_is_added_and_others_are_told(
    alice: User, identity: Identity, heard: list[events.Event], committing: Committing
) -> None:
    browser = signed_in("Alice1")
    entry = next_entry(alice, identity)

    with committing():
        response = browser.post("/api/key-chain/", one(entry))

    assert (response.status_code, response.json()) == (201, {"seq": 3})
    assert browser.get("/api/keys/").json()["chain"][2] == entry
    assert len(key_chain.device_ids(alice)) == 2
    assert events.KeysChanged(alice.pk) in heard


def test_who_lost_the_race_is_told_so_and_nothing_is_replaced(alice: User, identity: Identity) -> None:
    browser = signed_in("Alice1")
    first, second = next_entry(alice, identity), next_entry(alice, identity)

    assert browser.post("/api/key-chain/", one(first)).status_code == 201
    assert code(browser.post("/api/key-chain/", one(second))) == (409, "chain_conflict")
    assert code(browser.post("/api/key-chain/", one(first))) == (409, "chain_conflict")
    assert browser.get("/api/keys/").json()["chain"][2] == first


def test_an_entry_of_another_identity_is_refused(alice: User) -> None:
    response = signed_in("Alice1").post("/api/key-chain/", one(next_entry(alice, Identity("Alice1"))))

    assert code(response) == (400, "chain_refused")


def test_a_browser_is_on_the_chain_once(alice: User, identity: Identity) -> None:
    device = raw_public(Identity("x").key)
    browser = signed_in("Alice1")

    def entry() -> str:
        chain = key_chain.entries_of(alice)
        add = identity.device_add(before=chain[-1], seq=len(chain) + 1, device=device)
        return encode_base64url(add)

    assert browser.post("/api/key-chain/", one(entry())).status_code == 201
    assert code(browser.post("/api/key-chain/", one(entry()))) == (400, "chain_refused")


def test_a_second_genesis_is_refused(alice: User, identity: Identity) -> None:
    chain = key_chain.entries_of(alice)
    payload = [identity.origin, "alice1", raw_public(identity.key), 1, os.urandom(1216)]
    genesis = identity.entry(seq=3, prev=entry_hash(chain[-1]), kind="genesis", payload=payload)

    response = signed_in("Alice1").post("/api/key-chain/", one(encode_base64url(genesis)))

    assert code(response) == (400, "chain_refused")


def test_a_chain_has_an_end(alice: User, identity: Identity, settings: Any) -> None:
    settings.MAX_CHAIN_ENTRIES = 2

    response = signed_in("Alice1").post("/api/key-chain/", one(next_entry(alice, identity)))

    assert code(response) == (400, "chain_refused")


def test_an_entry_that_is_too_long_is_refused(alice: User, settings: Any) -> None:
    response = signed_in("Alice1").post("/api/key-chain/", one(encode_base64url(bytes(2049))))

    assert code(response) == (400, "malformed_request")


def test_a_vault_is_replaced_by_the_next_version_only(alice: User) -> None:
    browser = signed_in("Alice1")
    second = next_vault(alice)

    assert browser.put("/api/vault/", second).json() == second
    assert code(browser.put("/api/vault/", second)) == (409, "vault_conflict")
    assert code(browser.put("/api/vault/", {**second, "version": 4})) == (409, "vault_conflict")
    assert browser.get("/api/vault/").json() == second


@pytest.mark.parametrize("version", [0, -1, True, "2", 2.0, 2**53])
def test_a_version_is_a_positive_integer(alice: User, version: object) -> None:
    response = signed_in("Alice1").put("/api/vault/", {**next_vault(alice), "version": version})

    assert code(response) == (400, "malformed_request")


def test_a_vault_that_is_too_large_is_refused(alice: User, settings: Any) -> None:
    settings.MAX_VAULT_BYTES = 99

    response = signed_in("Alice1").put("/api/vault/", next_vault(alice))

    assert code(response) == (400, "malformed_request")


def test_nobody_gets_anothers_keys(alice: User, mallory: User) -> None:
    browser = signed_in("Mallory")

    assert browser.get("/api/keys/").json()["username"] == "Mallory"
    assert browser.get("/api/vault/").json()["box"] == encode_base64url(Vault.objects.get(user=mallory).box)


def test_a_sealed_row_cannot_be_moved_to_another_person(alice: User, mallory: User) -> None:
    mine = Vault.objects.get(user=mallory)
    mine.sealed_box = Vault.objects.get(user=alice).sealed_box

    with pytest.raises(sealed.SealBroken):
        _ = mine.box


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/keys/", None),
        ("GET", "/api/vault/", None),
        ("PUT", "/api/vault/", {"version": 2, "box": "AAAA"}),
        ("POST", "/api/key-chain/", {"entries": ["AAAA"], "vault": None}),
        ("POST", "/api/recovery-code/confirm/", None),
    ],
)
def test_who_is_not_logged_in_is_told_so(method: str, path: str, body: object) -> None:
    assert code(Browser().request(method, path, body)) == (401, "signed_out")


@pytest.mark.parametrize("path", ["/api/log-in/", "/api/sign-up/", "/api/password/", "/api/key-chain/"])
def test_other_methods_are_not_allowed(path: str) -> None:
    assert Browser().client.get(path).status_code == 405
