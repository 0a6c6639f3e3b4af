from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import aauthenticate, authenticate
from django.db import IntegrityError, connections
from django.test import Client
from django.utils import timezone

from accounts.hashers import SecureChatPasswordHasher
from accounts.models import User
from accounts.services.legacy import import_person
from accounts.stretching import client_salt_for
from accounts.wire import encode_base64url
from tests.accounts.browser import Browser
from tests.factories import PASSWORD, auth_key_for, make_user, make_user_without_keys
from tests.hashers import CheapPasswordHasher

pytestmark = pytest.mark.django_db
WRONG: dict[str, Any] = {
    "code": "wrong_credentials",
    "message": "Username or password is incorrect.",
    "fields": {},
    "retry_after": None,
}


def parameters_of(name: str) -> Any:
    return Browser().post("/api/log-in-parameters/", {"username": name}).json()


def suspend(user: User) -> None:
    user.is_active = False
    user.save()


def test_who_knows_the_password_gets_in_and_gets_the_keys(alice: User) -> None:
    browser = Browser()

    answer = browser.log_in("aLICE1").json()

    assert browser.is_signed_in
    assert answer["username"] == "Alice1"
    assert answer["next_allowed"] is True
    assert answer["keys"] == browser.get("/api/keys/").json()
    alice.refresh_from_db()
    assert alice.last_login is not None
    assert alice.last_login <= timezone.now()


def test_a_log_in_has_a_session_key_of_its_own(alice: User) -> None:
    browser = Browser()
    session = browser.client.session
    session["fixed"] = "by somebody else"
    session.save()
    before = session.session_key
    browser.client.cookies["__Host-securechat"] = before or ""

    browser.log_in("Alice1")

    assert browser.client.session.session_key != before


def test_a_wrong_password_an_unknown_name_and_somebody_suspended_look_the_same(
    alice: User, bob: User
) -> None:
    suspend(bob)
    tries = [
        Browser().log_in("Alice1", "Wr0ng#One"),
        Browser().log_in("Nobody1"),
        Browser().log_in("No!"),
        Browser().log_in("Bobby"),
        Browser().log_in("Bobby", "Wr0ng#One"),
    ]

    assert [response.json() for response in tries] == [WRONG] * len(tries)
    assert {response.status_code for response in tries} == {403}
    ids = [response.headers.pop("X-Request-ID") for response in tries]
    assert len(set(ids)) == len(tries)
    assert len({tuple(sorted(response.headers.items())) for response in tries}) == 1


@pytest.mark.parametrize("name", ["Alice1", "Nobody1", "Bobby", "No!"])
def test_every_wrong_attempt_costs_one_hash(
    alice: User, bob: User, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspend(bob)
    Browser().log_in("Nobody2")  # Makes what an unknown name is compared with, once for the process.
    hashes = []
    real = SecureChatPasswordHasher._encode_with

    def counting(self: SecureChatPasswordHasher, *args: Any) -> str:
        hashes.append(1)
        return real(self, *args)

    browser = Browser()
    browser._token()
    wrong = auth_key_for(name, "Wr0ng#One")
    monkeypatch.setattr(SecureChatPasswordHasher, "_encode_with", counting)
    browser.post("/api/log-in/", {"username": name, "auth_key": wrong, "new_auth_key": None})

    assert len(hashes) == 1


def test_a_known_and_an_unknown_name_get_parameters_of_the_same_form(alice: User) -> None:
    known, unknown = parameters_of("Alice1"), parameters_of("Nobody1")

    assert known == {"client_salt": encode_base64url(bytes(alice.client_salt)), "legacy_salt": None}
    assert unknown == {"client_salt": encode_base64url(client_salt_for("nobody1")), "legacy_salt": None}
    assert parameters_of("NOBODY1") == unknown


@pytest.mark.parametrize("password", [PASSWORD, "", "ak1:", "ak1:" + "A" * 42, "ak1:" + "A" * 44])
def test_a_plain_password_is_no_key_even_where_it_is_right(password: str) -> None:
    make_user_without_keys("Oscar1")

    response = Browser().log_in("Oscar1", auth_key=password)

    assert response.json()["code"] == "malformed_request"
    assert authenticate(None, username="Oscar1", password=password) is None


def test_the_backend_alone_refuses_a_plain_password_and_takes_the_derived_one() -> None:
    user = make_user_without_keys("Oscar1")

    assert authenticate(None, username="Oscar1", password=PASSWORD) is None
    assert authenticate(None, username="Oscar1") is None
    assert authenticate(None, username="oscar1", password=auth_key_for("Oscar1")) == user


@pytest.mark.django_db(transaction=True)
async def test_the_backend_answers_the_same_without_a_thread() -> None:
    try:
        user = await sync_to_async(make_user_without_keys)("Oscar1")

        assert await aauthenticate(None, username="Oscar1", password=PASSWORD) is None
        assert await aauthenticate(None, username="Oscar1", password=auth_key_for("Oscar1")) == user
    finally:
        await sync_to_async(connections.close_all)()  # Of the thread that asked.


def test_attempts_at_one_name_are_limited_and_a_right_one_then_waits_too(alice: User, settings: Any) -> None:
    settings.LOG_IN_ATTEMPTS_PER_NAME = 3

    codes = [Browser().log_in(name, "Wr0ng#One").status_code for name in ("Alice1", "ALICE1", "alice1")]
    refused = Browser().log_in("Alice1")

    assert codes == [403, 403, 403]
    assert refused.status_code == 429
    assert refused.json()["code"] == "too_fast"
    assert refused.json()["retry_after"] >= 1
    assert refused.headers["Retry-After"] == str(refused.json()["retry_after"])


def test_attempts_at_an_unknown_name_are_limited_just_so(settings: Any) -> None:
    settings.LOG_IN_ATTEMPTS_PER_NAME = 3

    codes = [Browser().log_in("Nobody1").status_code for _ in range(4)]

    assert codes == [403, 403, 403, 429]


def test_attempts_from_one_address_are_limited_and_others_go_on(alice: User, settings: Any) -> None:
    settings.LOG_IN_ATTEMPTS_PER_ADDRESS = 3
    same = Client(REMOTE_ADDR="2001:db8:1:2::1")
    neighbour = Client(REMOTE_ADDR="2001:db8:1:2:ffff::9")
    other = Client(REMOTE_ADDR="2001:db8:1:3::1")
    body = json.dumps({"username": "Nobody1", "auth_key": auth_key_for("Nobody1"), "new_auth_key": None})

    def attempt(client: Client) -> int:
        return client.post("/api/log-in/", body, content_type="application/json").status_code

    assert [attempt(client) for client in (same, same, neighbour, same, neighbour)] == [
        403,
        403,
        403,
        429,
        429,
    ]
    assert attempt(other) == 403


def test_the_admin_is_allowed_next_to_staff_only(alice: User, bob: User) -> None:
    bob.is_staff = True
    bob.save()

    def next_allowed(name: str, asked: str) -> bool:
        body = {"username": name, "auth_key": auth_key_for(name), "new_auth_key": None}
        answer: bool = Browser().post(f"/api/log-in/?next={asked}", body).json()["next_allowed"]
        return answer

    assert next_allowed("Bobby", "/admin/") is True
    assert next_allowed("Alice1", "/admin/") is False
    assert next_allowed("Alice1", "/chat/") is True
    assert next_allowed("Alice1", "https://elsewhere.example/admin/") is True  # Leads to the start page.


class TestSomebodyOfTheFirstVersion:
    digest = hashlib.sha256(b"Passw0rd!0a1b2c3d").hexdigest()

    @pytest.fixture
    def oscar(self) -> User:
        return import_person(username="Oscar1", password_digest=self.digest, old_salt="0a1b2c3d")

    def keys(self) -> dict[str, str]:
        """The old key to prove, the new one to keep, as the browser makes them."""
        salt = client_salt_for("Oscar1")
        derive = CheapPasswordHasher().derive
        return {
            "auth_key": derive(name="Oscar1", password=self.digest, client_salt=salt),
            "new_auth_key": derive(name="Oscar1", password="Passw0rd!", client_salt=salt),
        }

    def test_is_told_the_old_salt(self, oscar: User) -> None:
        assert parameters_of("oscar1")["legacy_salt"] == "0a1b2c3d"
        assert oscar.password.startswith("securechat0$1$")

    def test_is_upgraded_in_the_log_in(self, oscar: User) -> None:
        browser = Browser()

        response = browser.log_in("Oscar1", **self.keys())

        assert response.status_code == 200
        assert browser.is_signed_in
        oscar.refresh_from_db()
        assert oscar.password.startswith("securechat1$")
        assert oscar.legacy_salt == ""
        assert parameters_of("oscar1")["legacy_salt"] is None
        assert Browser().log_in("Oscar1", auth_key=self.keys()["new_auth_key"]).status_code == 200
        assert Browser().log_in("Oscar1", **self.keys()).json() == WRONG

    def test_is_not_let_in_with_a_wrong_password(self, oscar: User) -> None:
        wrong = {**self.keys(), "auth_key": self.keys()["new_auth_key"]}

        assert Browser().log_in("Oscar1", **wrong).json() == WRONG
        oscar.refresh_from_db()
        assert oscar.is_legacy

    def test_has_to_bring_the_new_key_with_the_old(self, oscar: User) -> None:
        response = Browser().log_in("Oscar1", auth_key=self.keys()["auth_key"])

        assert response.json()["code"] == "malformed_request"
        oscar.refresh_from_db()
        assert oscar.is_legacy

    def test_cannot_be_anybody_else_by_sending_a_new_key(self, alice: User) -> None:
        response = Browser().log_in("Alice1", new_auth_key=self.keys()["new_auth_key"])

        assert response.json()["code"] == "malformed_request"
        assert Browser().log_in("Alice1").status_code == 200

    def test_record_of_another_form_is_not_imported(self) -> None:
        with pytest.raises(ValueError, match="first version"):
            import_person(username="Oscar1", password_digest="Passw0rd!", old_salt="0a1b2c3d")


def test_a_name_is_found_in_any_case_and_only_while_active(alice: User) -> None:
    assert User.objects.by_name("ALICE1") == alice
    assert User.objects.by_name("Al") is None

    suspend(alice)

    assert User.objects.by_name("Alice1") is None


def test_a_suspension_ends_a_session_at_the_next_page(alice: User) -> None:
    browser = Browser()
    browser.log_in("Alice1")

    suspend(alice)

    assert not browser.is_signed_in
    assert browser.get("/api/keys/").json()["code"] == "signed_out"


def test_two_names_that_differ_in_case_only_are_refused_by_the_database() -> None:
    make_user("Alice1")

    with pytest.raises(IntegrityError):
        make_user_without_keys("ALICE1")


@pytest.mark.parametrize("name", ["\\ud800", "\\u0000", "\\u212aelvin", "x" * 199])
def test_odd_names_are_wrong_and_no_crash(name: str) -> None:
    body = f'{{"username": "{name}"}}'
    response = Client().post("/api/log-in-parameters/", body, content_type="application/json")
    attempt = f'{{"username": "{name}", "auth_key": "{auth_key_for("Kelvin")}", "new_auth_key": null}}'
    refused = Client().post("/api/log-in/", attempt, content_type="application/json")

    assert response.status_code in (200, 400)
    assert refused.json()["code"] in ("wrong_credentials", "malformed_request")
