"""Keys that change: a browser that retires or is revoked, an account key anew, and the fresh start."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from accounts.models import User
from accounts.services import key_chain
from accounts.wire import encode_base64url
from securechat import events
from tests.accounts.browser import (
    Browser,
    chain_body,
    door,
    encoded,
    next_vault,
    recovery_body,
    renewal_body,
    reset_body,
    signed_in,
)
from tests.accounts.chains import Draft
from tests.accounts.conftest import Committing
from tests.factories import (
    Identity,
    auth_key_for,
    device_id_of,
    make_user,
    make_user_without_keys,
    raw_public,
)

pytestmark = pytest.mark.django_db
HERE, LOST = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
NEW = "An0ther#One"
WRONG = "ak1:" + encode_base64url(bytes(32))


@pytest.fixture
def alice(db: None, identity: Identity) -> User:
    """With the browsers ``HERE`` and ``LOST``."""
    user = make_user("Alice1", identity=identity, device=raw_public(HERE))
    key_chain.append_entries(user=user, entries=Draft.of(user, identity).add(LOST).new)
    return user


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json().get("code", "")


def bound(device: Ed25519PrivateKey) -> Browser:
    browser = signed_in("Alice1")
    response = browser.post("/api/browsers/", {"device": encode_base64url(device_id_of(device))})
    assert response.status_code == 200
    return browser


def stored(browser: Browser) -> tuple[Any, Any]:
    return browser.get("/api/keys/").json(), browser.get("/api/vault/").json()


# What a browser adds in passing


def test_a_new_account_key_comes_with_its_vault(alice: User, identity: Identity) -> None:
    browser, vault = signed_in("Alice1"), next_vault(alice)
    chain = Draft.of(alice, identity).add().rotate()

    response = browser.post("/api/key-chain/", chain_body(chain, vault))

    assert (response.status_code, response.json()) == (201, {"seq": 5})
    keys = browser.get("/api/keys/").json()
    assert (keys["chain"], keys["vault"]) == (encoded(chain.entries), vault)


def test_a_browser_retires_and_its_other_sessions_end(alice: User, identity: Identity) -> None:
    here, twin, other = bound(LOST), bound(LOST), bound(HERE)

    response = here.post("/api/key-chain/", chain_body(Draft.of(alice, identity).retire(LOST)))

    assert response.status_code == 201
    assert (here.is_signed_in, twin.is_signed_in, other.is_signed_in) == (True, False, True)
    assert key_chain.device_ids(alice) == {device_id_of(HERE)}


Drawing = Callable[[Draft], Draft]


@pytest.mark.parametrize(
    ("draw", "has_vault", "expected"),
    [
        (lambda chain: chain.rotate(), False, (400, "malformed_request")),
        (lambda chain: chain.add(), True, (400, "malformed_request")),
        (lambda chain: chain.rotate().rotate(), True, (400, "malformed_request")),
        (lambda chain: chain.add().add().add(), False, (400, "malformed_request")),
        (lambda chain: chain, False, (400, "malformed_request")),
        (lambda chain: chain.renew(), True, (400, "chain_refused")),
        (lambda chain: chain.revoke(device_id_of(LOST)), False, (400, "chain_refused")),
        (lambda chain: chain.reset(Identity("Alice1")), False, (400, "chain_refused")),
        (lambda chain: chain.reset(Identity("Alice1")).add(), False, (400, "chain_refused")),
    ],
)
def test_what_has_its_own_request_is_refused_here(
    alice: User, identity: Identity, draw: Drawing, has_vault: bool, expected: tuple[int, str]
) -> None:
    browser = signed_in("Alice1")
    before = stored(browser)
    body = chain_body(draw(Draft.of(alice, identity)), next_vault(alice) if has_vault else None)

    assert code(browser.post("/api/key-chain/", body)) == expected
    assert stored(browser) == before


def test_a_vault_that_lost_a_race_takes_its_account_key_back(alice: User, identity: Identity) -> None:
    browser = signed_in("Alice1")
    body = chain_body(Draft.of(alice, identity).rotate(), next_vault(alice))
    browser.put("/api/vault/", next_vault(alice))
    before = stored(browser)

    assert code(browser.post("/api/key-chain/", body)) == (409, "vault_conflict")
    assert stored(browser) == before


# A browser is revoked


def test_a_revoked_browser_is_out_and_the_others_stay(
    alice: User, identity: Identity, heard: list[events.Event], committing: Committing
) -> None:
    third = Ed25519PrivateKey.generate()
    key_chain.append_entries(user=alice, entries=Draft.of(alice, identity).add(third).new)
    here, lost, other = bound(HERE), bound(LOST), bound(third)
    chain = Draft.of(alice, identity).revoke(device_id_of(LOST)).renew()
    body = renewal_body(alice, chain)

    with committing():
        response = here.post("/api/keys/renew/", body)

    assert (response.status_code, list(response.json())) == (200, ["csrf_token"])
    assert (here.is_signed_in, lost.is_signed_in, other.is_signed_in) == (True, False, True)
    assert code(lost.get("/api/keys/")) == (401, "signed_out")
    assert {events.KeysChanged(alice.pk), events.SessionsChanged(alice.pk)} <= set(heard)
    keys = here.get("/api/keys/").json()
    assert (keys["chain"], keys["doors"], keys["vault"]) == (
        encoded(chain.entries),
        body["doors"],
        body["vault"],
    )
    assert here.post("/api/browsers/", {"device": encode_base64url(device_id_of(HERE))}).status_code == 200
    assert Browser().log_in("Alice1").status_code == 200


@pytest.mark.parametrize("revoke", [True, False])
def test_a_session_that_says_it_is_this_browser_ends(alice: User, identity: Identity, revoke: bool) -> None:
    """Whoever knows the password can say so: a session proves no key."""
    third = Ed25519PrivateKey.generate()
    key_chain.append_entries(user=alice, entries=Draft.of(alice, identity).add(third).new)
    here, twin, other, unbound = bound(HERE), bound(HERE), bound(third), signed_in("Alice1")
    chain = Draft.of(alice, identity)
    chain = (chain.revoke(device_id_of(LOST)) if revoke else chain).renew()

    assert here.post("/api/keys/renew/", renewal_body(alice, chain)).status_code == 200

    assert (here.is_signed_in, twin.is_signed_in) == (True, False)
    assert (other.is_signed_in, unbound.is_signed_in) == (True, True)


@pytest.mark.parametrize("says", [True, False])
def test_where_no_other_browser_stands_no_other_session_does(
    alice: User, identity: Identity, says: bool
) -> None:
    here = bound(HERE) if says else signed_in("Alice1")
    twin, lost, unbound = bound(HERE), bound(LOST), signed_in("Alice1")
    chain = Draft.of(alice, identity).revoke(device_id_of(LOST)).renew()

    assert here.post("/api/keys/renew/", renewal_body(alice, chain)).status_code == 200

    others = (twin, lost, unbound)
    assert (here.is_signed_in, [each.is_signed_in for each in others]) == (True, [False] * 3)
    assert [each["is_this"] for each in here.get("/api/browsers/").json()["browsers"]] == [True]


def test_who_knows_ones_password_is_locked_out(
    alice: User, identity: Identity, heard: list[events.Event], committing: Committing
) -> None:
    here, lost, unbound = bound(HERE), bound(LOST), signed_in("Alice1")
    shown = next(each for each in here.get("/api/browsers/").json()["browsers"] if each["is_this"])
    chain = Draft.of(alice, identity).revoke(device_id_of(LOST)).renew()
    body = renewal_body(alice, chain, new_auth_key=auth_key_for("Alice1", NEW))

    with committing():
        response = here.post("/api/keys/renew/", body)

    assert response.status_code == 200
    assert (here.is_signed_in, lost.is_signed_in, unbound.is_signed_in) == (True, False, False)
    assert events.SessionsChanged(alice.pk) in heard
    assert [Browser().log_in("Alice1", each).status_code for each in ("Tr0ub4dor&3", NEW)] == [403, 200]
    after = next(each for each in here.get("/api/browsers/").json()["browsers"] if each["is_this"])
    assert {**after, "seen_at": 0} == {**shown, "seen_at": 0}


def test_keys_are_renewed_without_sending_anybody_away(alice: User, identity: Identity) -> None:
    here, lost = bound(HERE), bound(LOST)

    response = here.post("/api/keys/renew/", renewal_body(alice, Draft.of(alice, identity).renew()))

    assert response.status_code == 200
    assert (here.is_signed_in, lost.is_signed_in) == (True, True)


def test_who_revokes_the_browser_in_front_of_them_is_no_browsers_session_any_more(
    alice: User, identity: Identity
) -> None:
    here = bound(HERE)
    chain = Draft.of(alice, identity).revoke(device_id_of(HERE)).renew()

    assert here.post("/api/keys/renew/", renewal_body(alice, chain)).status_code == 200

    assert here.get("/api/browsers/").json()["browsers"][0]["device"] is None


@pytest.mark.parametrize(
    ("draw", "changes", "expected"),
    [
        ("renew", {"auth_key": WRONG}, (403, "wrong_credentials")),
        ("renew", {"doors": [door("password")]}, (400, "invalid_keys")),
        ("renew", {"vault": {"version": 9, "box": "AAAA"}}, (409, "vault_conflict")),
        ("renew", {"new_auth_key": NEW}, (400, "malformed_request")),
        ("rotate", {}, (400, "chain_refused")),
        ("revoke", {}, (400, "chain_refused")),
        ("renew, revoke", {}, (400, "chain_refused")),
        ("add, renew", {}, (400, "chain_refused")),
        ("renew twice", {}, (400, "chain_refused")),
        ("stranger, renew", {}, (400, "chain_refused")),
        ("nothing", {}, (400, "malformed_request")),
        ("older", {}, (409, "chain_conflict")),
    ],
)
def test_a_renewal_is_whole_or_not_at_all(
    alice: User, identity: Identity, draw: str, changes: dict[str, Any], expected: tuple[int, str]
) -> None:
    lost = device_id_of(LOST)
    drawings: dict[str, Drawing] = {
        "renew": lambda chain: chain.revoke(lost).renew(),
        "rotate": lambda chain: chain.revoke(lost).rotate(),
        "revoke": lambda chain: chain.revoke(lost),
        "renew, revoke": lambda chain: chain.renew().revoke(lost),
        "add, renew": lambda chain: chain.add().renew(),
        "renew twice": lambda chain: chain.renew().rotate(),
        "stranger, renew": lambda chain: chain.revoke(os.urandom(16)).renew(),
        "nothing": lambda chain: chain,
        "older": lambda chain: chain.revoke(device_id_of(HERE)).renew(),
    }
    here, there = bound(HERE), bound(LOST)
    chain = Draft.of(alice, identity)
    if draw == "older":
        chain = Draft(identity, chain.entries[:2])  # From before there was LOST.
    before = stored(here)

    assert (
        code(here.post("/api/keys/renew/", renewal_body(alice, drawings[draw](chain), **changes))) == expected
    )

    assert stored(here) == before
    assert there.is_signed_in
    assert Browser().log_in("Alice1").status_code == 200


# Starting fresh


def test_who_lost_both_starts_fresh(alice: User, heard: list[events.Event], committing: Committing) -> None:
    here, other, fresh = signed_in("Alice1"), bound(LOST), Identity("Alice1")
    device = Ed25519PrivateKey.generate()
    here.post("/api/recovery-code/confirm/")
    chain = Draft.of(alice, fresh).reset(fresh).add(device)
    body = reset_body(alice, chain, recovery_hash=encode_base64url(fresh.recovery_hash()))

    with committing():
        response = here.post("/api/keys/reset/", body)

    assert (response.status_code, list(response.json())) == (200, ["csrf_token"])
    assert (here.is_signed_in, other.is_signed_in) == (True, False)
    assert {events.KeysChanged(alice.pk), events.SessionsChanged(alice.pk)} <= set(heard)
    keys = here.get("/api/keys/").json()
    assert (keys["chain"], keys["doors"], keys["vault"]) == (
        encoded(chain.entries),
        body["doors"],
        body["vault"],
    )
    assert keys["recovery_confirmed"] is False
    assert key_chain.device_ids(alice) == {device_id_of(device)}
    (session,) = here.get("/api/browsers/").json()["browsers"]
    assert session["device"] == encode_base64url(device_id_of(device))
    begin = {"username": "Alice1", "recovery_proof": encode_base64url(fresh.recovery_proof)}
    assert Browser().post("/api/recovery/begin/", begin).status_code == 200


@pytest.mark.parametrize(
    ("draw", "changes", "expected"),
    [
        (lambda chain: chain.reset(Identity("Alice1")).add(), {"auth_key": WRONG}, (403, "wrong_credentials")),
        (lambda chain: chain.reset(Identity("Alice1")).add(), {"doors": []}, (400, "invalid_keys")),
        (lambda chain: chain.reset(Identity("Alice1")).add(), {"vault": {"version": 1, "box": "AAAA"}}, (409, "vault_conflict")),
        (lambda chain: chain.reset(Identity("Alice1")).add(LOST), {}, (400, "chain_refused")),
        (lambda chain: chain.reset(Identity("Alice1")), {}, (400, "chain_refused")),
        (lambda chain: chain.add(), {}, (400, "chain_refused")),
        (lambda chain: chain.renew().add(), {}, (400, "chain_refused")),
        (lambda chain: chain.reset(Identity("Alice1")).add().add(), {}, (400, "chain_refused")),
        (lambda chain: chain, {}, (400, "chain_refused")),
    ],
)  # fmt: skip
def test_a_fresh_start_is_whole_or_not_at_all(
    alice: User, identity: Identity, draw: Drawing, changes: dict[str, Any], expected: tuple[int, str]
) -> None:
    here, other = signed_in("Alice1"), bound(LOST)
    before = stored(here)

    body = reset_body(alice, draw(Draft.of(alice, identity)), **changes)

    assert code(here.post("/api/keys/reset/", body)) == expected
    assert stored(here) == before
    assert other.is_signed_in


@pytest.mark.parametrize("path", ["/api/keys/renew/", "/api/keys/reset/"])
def test_guesses_at_the_password_are_limited(
    alice: User, identity: Identity, settings: Any, path: str
) -> None:
    browser = signed_in("Alice1")
    settings.LOG_IN_ATTEMPTS_PER_NAME = 2
    chain, wrong = Draft.of(alice, identity).renew(), auth_key_for("Alice1", "Wr0ng#One")
    body = (renewal_body if "renew" in path else reset_body)(alice, chain, auth_key=wrong)

    assert [browser.post(path, body).status_code for _ in range(3)] == [403, 403, 429]


@pytest.mark.parametrize("path", ["/api/keys/renew/", "/api/keys/reset/"])
def test_who_has_no_keys_has_none_to_change(alice: User, identity: Identity, path: str) -> None:
    oscar = make_user_without_keys("Oscar1")
    fresh = Identity("Oscar1")
    is_renewal = "renew" in path
    chain = Draft(fresh, [fresh.genesis()])
    chain = chain.renew() if is_renewal else chain.reset(Identity("Oscar1")).add()
    make, vault = (renewal_body if is_renewal else reset_body), {"version": 2, "box": "AAAA"}
    body = make(alice, chain, auth_key=auth_key_for("Oscar1"), vault=vault)

    assert code(signed_in("Oscar1").post(path, body)) == (409, "keys_missing")
    assert not key_chain.has_keys(oscar)


@pytest.mark.parametrize("path", ["/api/keys/renew/", "/api/keys/reset/"])
def test_nobody_but_who_is_logged_in_changes_keys(alice: User, identity: Identity, path: str) -> None:
    chain = Draft.of(alice, identity).renew()
    body = (renewal_body if "renew" in path else reset_body)(alice, chain)

    assert code(Browser().post(path, body)) == (401, "signed_out")


def test_recovery_adds_a_browser_and_nothing_else(alice: User, identity: Identity) -> None:
    entry = encoded(Draft.of(alice, identity).revoke(device_id_of(LOST)).new)[0]

    response = Browser().post("/api/recovery/finish/", recovery_body(alice, identity, entry=entry))

    assert code(response) == (400, "chain_refused")
