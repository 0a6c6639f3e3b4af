from __future__ import annotations

import json
import os
from typing import Any

import pytest
from django.test import Client

from accounts.models import Door, KeyChainEntry, User, Vault
from accounts.services import key_chain
from accounts.wire import encode_base64url
from tests.accounts.browser import Browser, keys_body, sign_up_body, signed_in
from tests.factories import Identity, auth_key_for, make_user

pytestmark = pytest.mark.django_db


def refusal(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_signing_up_makes_the_person_their_keys_and_a_session() -> None:
    browser = Browser()

    response = browser.post("/api/sign-up/", sign_up_body("Test01"))

    assert response.status_code == 201
    assert list(response.json()) == ["csrf_token"]
    assert browser.is_signed_in
    user = User.objects.get()
    assert (user.username, user.folded_name) == ("Test01", "test01")
    assert key_chain.has_keys(user)
    assert browser.get("/api/keys/").json()["recovery_confirmed"] is False


def test_names_are_unique_whatever_the_case() -> None:
    make_user("Test01")

    response = Browser().post("/api/sign-up/", sign_up_body("tEST01"))

    assert refusal(response) == (409, "username_taken")
    assert response.json()["fields"] == {"username": ["This username is already taken."]}


def test_each_broken_rule_of_the_name_is_answered_beside_the_field() -> None:
    response = Browser().post("/api/sign-up/", sign_up_body("T-1"))

    assert refusal(response) == (400, "invalid_username")
    assert response.json()["fields"]["username"] == [
        "Use at least 5 characters.",
        "Use letters and numbers only, no spaces or symbols.",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"auth_key": "Tr0ub4dor&3"},
        {"auth_key": "ak1:AAAA"},
        {"auth_key": None},
        {"password": "Tr0ub4dor&3"},
        {"username": 12345},
        {"keys": None},
    ],
)
def test_a_body_of_another_form_is_refused_and_makes_nobody(changes: dict[str, Any]) -> None:
    response = Browser().post("/api/sign-up/", sign_up_body("Test01", **changes))

    assert refusal(response) == (400, "malformed_request")
    assert "Tr0ub4dor" not in response.content.decode()
    assert not User.objects.exists()


def foreign_origin(identity: Identity) -> dict[str, Any]:
    return keys_body(Identity(identity.name, origin="https://elsewhere.example").keys())


def other_name(identity: Identity) -> dict[str, Any]:
    return keys_body(Identity("Mallory").keys())


def typed_name_instead_of_the_folded(identity: Identity) -> dict[str, Any]:
    payload = [identity.origin, identity.name, os.urandom(32), 1, os.urandom(1216)]
    genesis = identity.entry(seq=1, prev=bytes(32), kind="genesis", payload=payload)
    return chain(identity, genesis, identity.device_add(before=genesis, seq=2))


def device_of_another_identity(identity: Identity) -> dict[str, Any]:
    genesis = identity.genesis()
    return chain(identity, genesis, Identity(identity.name).device_add(before=genesis, seq=2))


def broken_link(identity: Identity) -> dict[str, Any]:
    genesis = identity.genesis()
    return chain(identity, genesis, identity.device_add(before=identity.genesis(), seq=2))


def gap(identity: Identity) -> dict[str, Any]:
    genesis = identity.genesis()
    return chain(identity, genesis, identity.device_add(before=genesis, seq=3))


def two_geneses(identity: Identity) -> dict[str, Any]:
    return chain(identity, identity.genesis(), identity.genesis())


def no_device(identity: Identity) -> dict[str, Any]:
    return chain(identity, identity.genesis())


def unknown_kind(identity: Identity) -> dict[str, Any]:
    genesis = identity.genesis()
    retire = identity.entry(seq=2, prev=bytes(32), kind="device_retire", payload=[os.urandom(32)])
    return chain(identity, genesis, retire)


def changed_bytes(identity: Identity) -> dict[str, Any]:
    genesis, device = identity.keys().chain
    return chain(identity, genesis[:-1] + bytes([genesis[-1] ^ 1]), device)


def longer_encoding(identity: Identity) -> dict[str, Any]:
    """The same array of two with its length in two bytes; everything that follows fits it."""
    genesis = b"\x98\x02" + identity.genesis()[1:]
    return chain(identity, genesis, identity.device_add(before=genesis, seq=2))


def two_password_doors(identity: Identity) -> dict[str, Any]:
    keys = keys_body(identity.keys())
    return {**keys, "doors": [keys["doors"][0], keys["doors"][0]]}


def one_door(identity: Identity) -> dict[str, Any]:
    keys = keys_body(identity.keys())
    return {**keys, "doors": keys["doors"][:1]}


def later_vault(identity: Identity) -> dict[str, Any]:
    keys = keys_body(identity.keys())
    return {**keys, "vault": {**keys["vault"], "version": 2}}


def chain(identity: Identity, *entries: bytes) -> dict[str, Any]:
    return {**keys_body(identity.keys()), "chain": [encode_base64url(entry) for entry in entries]}


@pytest.mark.parametrize(
    "make",
    [
        foreign_origin,
        other_name,
        typed_name_instead_of_the_folded,
        device_of_another_identity,
        broken_link,
        gap,
        two_geneses,
        no_device,
        unknown_kind,
        changed_bytes,
        longer_encoding,
        two_password_doors,
        one_door,
        later_vault,
    ],
)
def test_keys_that_do_not_hold_together_are_refused_and_make_nobody(make: Any) -> None:
    response = Browser().post("/api/sign-up/", sign_up_body("Test01", keys=make(Identity("Test01"))))

    assert refusal(response) == (400, "invalid_keys")
    assert not User.objects.exists()


def test_bytes_in_another_encoding_than_base64url_are_refused() -> None:
    keys = keys_body(Identity("Test01").keys())
    keys["recovery_hash"] += "="

    response = Browser().post("/api/sign-up/", sign_up_body("Test01", keys=keys))

    assert refusal(response) == (400, "malformed_request")


def test_what_is_not_json_is_refused() -> None:
    response = Client().post("/api/sign-up/", {"username": "Test01", "password": "Tr0ub4dor&3"})

    assert refusal(response) == (400, "malformed_request")


def test_a_request_without_the_token_of_a_page_is_refused() -> None:
    response = Client(enforce_csrf_checks=True).post(
        "/api/sign-up/", json.dumps(sign_up_body("Test01")), content_type="application/json"
    )

    assert response.status_code == 403
    assert not User.objects.exists()


def test_sign_ups_from_one_address_are_limited(settings: Any) -> None:
    settings.SIGN_UPS_PER_ADDRESS_AND_HOUR = 2
    browser = Browser()
    names = ("Test01", "Test02", "Test03")

    codes = [browser.post("/api/sign-up/", sign_up_body(name)).status_code for name in names]

    assert codes == [201, 201, 429]
    assert User.objects.count() == 2


def test_what_was_sent_is_not_in_the_database_as_it_was() -> None:
    body = sign_up_body("Test01")
    keys = Identity("Test01").keys()
    body["keys"] = keys_body(keys)
    Browser().post("/api/sign-up/", body)

    stored = [bytes(row.sealed_entry) for row in KeyChainEntry.objects.all()]
    stored += [bytes(row.sealed_content) for row in Door.objects.all()]
    stored += [bytes(row.sealed_box) for row in Vault.objects.all()]
    stored += [User.objects.get().password.encode()]

    parts = [keys.vault.box, keys.doors[0].public, *keys.chain, body["auth_key"].encode()]
    assert not any(part in row for part in parts for row in stored)


def test_who_was_made_without_a_browser_makes_keys_at_the_first_log_in() -> None:
    User.objects.create_user("Oscar1", "Tr0ub4dor&3")
    browser = Browser()
    answer = browser.post(
        "/api/log-in/", {"username": "Oscar1", "auth_key": auth_key_for("Oscar1"), "new_auth_key": None}
    )
    assert answer.json()["keys"] is None
    assert refusal(browser.get("/api/keys/")) == (409, "keys_missing")

    made = browser.post("/api/keys/", {"keys": keys_body(Identity("Oscar1").keys())})
    again = browser.post("/api/keys/", {"keys": keys_body(Identity("Oscar1").keys())})

    assert made.status_code == 201
    assert refusal(again) == (409, "keys_exist")
    assert len(browser.get("/api/keys/").json()["chain"]) == 2


def test_the_keys_come_back_as_they_were_sent() -> None:
    identity = Identity("Test01")
    keys = keys_body(identity.keys())
    browser = Browser()
    browser.post("/api/sign-up/", sign_up_body("Test01", keys=keys))

    answer = signed_in("test01").get("/api/keys/").json()

    assert answer == {
        "username": "Test01",
        "chain": keys["chain"],
        "doors": keys["doors"],
        "vault": keys["vault"],
        "recovery_confirmed": False,
    }
