from __future__ import annotations

import os
from typing import Any

import pytest
from django.contrib.sessions.models import Session

from accounts.models import User
from accounts.services import key_chain
from accounts.wire import encode_base64url
from securechat import events
from tests.accounts.browser import (
    Browser,
    door,
    next_vault,
    password_body,
    recovery_body,
    signed_in,
)
from tests.accounts.conftest import Committing
from tests.factories import PASSWORD, Identity, auth_key_for, make_user, make_user_without_keys

pytestmark = pytest.mark.django_db
NEW = "An0ther#One"
WRONG_RECOVERY: dict[str, Any] = {
    "code": "wrong_recovery",
    "message": "Username or recovery code is incorrect.",
    "fields": {},
    "retry_after": None,
}


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def begin(name: str, proof: bytes) -> Any:
    body = {"username": name, "recovery_proof": encode_base64url(proof)}
    return Browser().post("/api/recovery/begin/", body)


def new_code_body(user: User, password: str = PASSWORD) -> dict[str, Any]:
    return {
        "auth_key": auth_key_for(user.username, password),
        "door": door("recovery"),
        "recovery_hash": encode_base64url(os.urandom(32)),
        "vault": next_vault(user),
    }


def test_a_new_password_keeps_this_session_and_ends_the_others(
    alice: User, heard: list[events.Event], committing: Committing
) -> None:
    here, there = signed_in("Alice1"), signed_in("Alice1")
    key_before = here.client.session.session_key
    body = password_body(alice, new=NEW)

    with committing():
        response = here.post("/api/password/", body)

    assert response.status_code == 200
    assert here.is_signed_in
    assert here.client.session.session_key != key_before
    assert not there.is_signed_in
    assert events.SessionsChanged(alice.pk) in heard
    assert here.get("/api/vault/").json() == body["vault"]
    assert body["door"] in here.get("/api/keys/").json()["doors"]
    assert Browser().log_in("Alice1").status_code == 403
    assert Browser().log_in("Alice1", NEW).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_others_hear_of_it_when_this_session_is_stored_under_its_new_key(
    transactional_db: None, identity: Identity
) -> None:
    """Else this person's own tabs would look, and find themselves signed out."""
    alice = make_user("Alice1", identity=identity)
    browser = signed_in("Alice1")
    found: list[bool] = []
    stop = events.listen(lambda _: found.append(has_session(alice)))

    browser.post("/api/password/", password_body(alice, new=NEW))
    stop()

    assert found == [True]


def has_session(user: User) -> bool:
    """Whether some stored session is this person's as they are now."""

    user.refresh_from_db()
    hashes = [row.get_decoded().get("_auth_user_hash") for row in Session.objects.all()]
    return user.get_session_auth_hash() in hashes


def test_a_wrong_current_password_changes_nothing(alice: User) -> None:
    browser = signed_in("Alice1")
    before = browser.get("/api/keys/").json()

    response = browser.post("/api/password/", password_body(alice, old="Wr0ng#One", new=NEW))

    assert code(response) == (403, "wrong_credentials")
    assert response.json()["message"] == "Your current password is incorrect."
    assert browser.get("/api/keys/").json() == before
    assert Browser().log_in("Alice1").status_code == 200


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"door": door("recovery")}, (400, "invalid_keys")),
        ({"vault": {"version": 9, "box": "AAAA"}}, (409, "vault_conflict")),
        ({"new_auth_key": NEW}, (400, "malformed_request")),
    ],
)
def test_a_password_change_is_whole_or_not_at_all(
    alice: User, changes: dict[str, Any], expected: tuple[int, str]
) -> None:
    browser = signed_in("Alice1")
    before = browser.get("/api/keys/").json()

    response = browser.post("/api/password/", {**password_body(alice, new=NEW), **changes})

    assert code(response) == expected
    assert browser.get("/api/keys/").json() == before
    assert Browser().log_in("Alice1").status_code == 200


def test_guesses_at_the_current_password_are_limited(alice: User, settings: Any) -> None:
    browser = signed_in("Alice1")
    settings.LOG_IN_ATTEMPTS_PER_NAME = 2
    body = password_body(alice, old="Wr0ng#One", new=NEW)

    codes = [browser.post("/api/password/", body).status_code for _ in range(3)]

    assert codes == [403, 403, 429]


def test_the_recovery_code_opens_what_the_password_opened(alice: User, identity: Identity) -> None:
    keys = signed_in("Alice1").get("/api/keys/").json()

    begun = begin("aLICE1", identity.recovery_proof).json()

    assert begun == {
        "client_salt": encode_base64url(bytes(alice.client_salt)),
        "chain": keys["chain"],
        "door": next(each for each in keys["doors"] if each["kind"] == "recovery"),
        "vault": keys["vault"],
    }


def test_beginning_changes_nothing_and_may_be_repeated(alice: User, identity: Identity) -> None:
    assert begin("Alice1", identity.recovery_proof).json() == begin("Alice1", identity.recovery_proof).json()
    assert Browser().log_in("Alice1").status_code == 200


def test_a_wrong_code_an_unknown_name_and_one_without_a_code_look_the_same(alice: User, bob: User) -> None:
    make_user_without_keys("Oscar1")
    bob.is_active = False
    bob.save()
    tries = [begin(name, os.urandom(32)) for name in ("Alice1", "Nobody1", "Oscar1", "Bobby", "No!")]

    assert [response.json() for response in tries] == [WRONG_RECOVERY] * len(tries)
    assert {response.status_code for response in tries} == {403}


def test_recovery_sets_a_password_a_code_and_a_browser_and_signs_in(
    alice: User, identity: Identity, heard: list[events.Event], committing: Committing
) -> None:
    old = signed_in("Alice1")
    body = recovery_body(alice, identity)
    browser = Browser()

    with committing():
        response = browser.post("/api/recovery/finish/", body)

    assert response.status_code == 200
    assert response.json()["username"] == "Alice1"
    assert browser.is_signed_in
    assert not old.is_signed_in
    assert {events.SessionsChanged(alice.pk), events.KeysChanged(alice.pk)} <= set(heard)
    keys = browser.get("/api/keys/").json()
    assert keys["doors"] == body["doors"]
    assert keys["vault"] == body["vault"]
    assert keys["chain"][2] == body["entry"]
    assert Browser().log_in("Alice1", NEW).status_code == 200
    assert Browser().log_in("Alice1").status_code == 403


def test_a_recovery_code_works_once(alice: User, identity: Identity) -> None:
    Browser().post("/api/recovery/finish/", recovery_body(alice, identity))

    assert begin("Alice1", identity.recovery_proof).json() == WRONG_RECOVERY
    again = Browser().post("/api/recovery/finish/", recovery_body(alice, identity))
    assert again.json() == WRONG_RECOVERY


def test_the_code_that_was_used_is_not_the_new_one(alice: User, identity: Identity) -> None:
    same = encode_base64url(identity.recovery_hash())

    response = Browser().post("/api/recovery/finish/", recovery_body(alice, identity, recovery_hash=same))

    assert code(response) == (400, "invalid_keys")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"vault": {"version": 9, "box": "AAAA"}}, (409, "vault_conflict")),
        ({"doors": [door("password")]}, (400, "invalid_keys")),
        ({"doors": [door("password"), door("password")]}, (400, "invalid_keys")),
        ({"entry": encode_base64url(b"\x80")}, (400, "chain_refused")),
        ({"new_auth_key": "An0ther#One"}, (400, "malformed_request")),
        ({"recovery_proof": "AAAA"}, (400, "malformed_request")),
    ],
)
def test_a_recovery_is_whole_or_not_at_all(
    alice: User, identity: Identity, changes: dict[str, Any], expected: tuple[int, str]
) -> None:
    before = signed_in("Alice1").get("/api/keys/").json()

    response = Browser().post("/api/recovery/finish/", recovery_body(alice, identity, **changes))

    assert code(response) == expected
    assert signed_in("Alice1").get("/api/keys/").json() == before
    assert begin("Alice1", identity.recovery_proof).status_code == 200


def test_tries_at_a_recovery_code_are_limited(alice: User, identity: Identity, settings: Any) -> None:
    settings.LOG_IN_ATTEMPTS_PER_NAME = 2

    codes = [begin("Alice1", os.urandom(32)).status_code for _ in range(2)]

    assert codes == [403, 403]
    assert begin("Alice1", identity.recovery_proof).status_code == 429
    finish = Browser().post("/api/recovery/finish/", recovery_body(alice, identity))
    assert finish.status_code == 429


def test_a_new_code_replaces_the_old_and_has_to_be_typed_back(alice: User, identity: Identity) -> None:
    browser = signed_in("Alice1")
    assert browser.post("/api/recovery-code/confirm/").status_code == 200
    assert browser.get("/api/keys/").json()["recovery_confirmed"] is True
    body = new_code_body(alice)

    response = browser.post("/api/recovery-code/", body)

    assert response.status_code == 200
    keys = browser.get("/api/keys/").json()
    assert keys["recovery_confirmed"] is False
    assert body["door"] in keys["doors"]
    assert keys["vault"] == body["vault"]
    assert browser.is_signed_in
    assert begin("Alice1", identity.recovery_proof).json() == WRONG_RECOVERY


def test_a_new_code_needs_the_password(alice: User, identity: Identity) -> None:
    response = signed_in("Alice1").post("/api/recovery-code/", new_code_body(alice, "Wr0ng#One"))

    assert code(response) == (403, "wrong_credentials")
    assert begin("Alice1", identity.recovery_proof).status_code == 200


def test_who_has_no_keys_has_neither_vault_nor_code() -> None:
    user = make_user_without_keys("Oscar1")
    browser = signed_in("Oscar1")
    vault = {"version": 2, "box": "AAAA"}
    change = {
        "auth_key": auth_key_for("Oscar1"),
        "new_auth_key": auth_key_for("Oscar1", NEW),
        "door": door("password"),
        "vault": vault,
    }

    assert code(browser.post("/api/password/", change)) == (409, "keys_missing")
    assert code(browser.post("/api/recovery-code/confirm/")) == (409, "keys_missing")
    assert code(browser.put("/api/vault/", vault)) == (409, "keys_missing")
    assert code(browser.get("/api/vault/")) == (409, "keys_missing")
    assert not key_chain.has_keys(user)


def test_nobody_but_who_is_logged_in_changes_a_password(alice: User) -> None:
    assert code(Browser().post("/api/password/", password_body(alice, new=NEW))) == (401, "signed_out")
    assert code(Browser().post("/api/recovery-code/", new_code_body(alice))) == (401, "signed_out")
