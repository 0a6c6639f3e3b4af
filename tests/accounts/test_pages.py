from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from securechat import events
from tests.accounts.browser import Browser, signed_in
from tests.accounts.conftest import Committing
from tests.factories import client_of, make_user_without_keys

pytestmark = pytest.mark.django_db
CANARY = "Tr0ub4dor&Canary"
FORM_PAGES = ["/sign-up/", "/log-in/", "/recover/"]


def data_of(response: Any) -> dict[str, Any]:
    """What the page's script reads."""
    found = re.search(
        r'<script id="page-data" type="application/json">(.*?)</script>', response.content.decode()
    )
    assert found is not None
    data: dict[str, Any] = json.loads(found.group(1))
    return data


@pytest.mark.parametrize("path", FORM_PAGES)
def test_the_script_gets_the_rules_and_the_way_on(path: str, client: Client, settings: Any) -> None:
    data = data_of(client.get(path))

    assert data["origin"] == settings.PUBLIC_ORIGIN
    assert data["username"] is None
    assert data["next"] == "/"
    assert [rule["kind"] for rule in data["rules"]["username"]] == [
        "min_length",
        "max_length",
        "alphanumeric",
    ]
    assert len(data["rules"]["password"]) == 8
    assert data["worker_url"].startswith("/static/securechat/argon2-worker")
    assert data["urls"]["api"]["log_in"] == "/api/log-in/"


@pytest.mark.parametrize("path", FORM_PAGES)
def test_no_password_field_has_a_name_that_a_form_would_send(path: str, client: Client) -> None:
    page = client.get(path).content.decode()

    assert not re.search(r'<input[^>]*type="password"[^>]*\sname=', page)
    assert not re.search(r'<input[^>]*\sname=[^>]*type="password"', page)
    assert "<noscript>" in page


@pytest.mark.parametrize("path", FORM_PAGES)
def test_a_plain_form_is_refused_and_the_password_not_echoed(
    path: str, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    response = client.post(path, {"username": "Test01", "password": CANARY, "password2": CANARY})

    assert response.status_code == 400
    assert "this page needs JavaScript" in response.content.decode()
    assert CANARY not in response.content.decode()
    assert CANARY not in caplog.text
    assert not User.objects.exists()


def test_who_is_logged_in_goes_on_from_the_log_in(alice: User) -> None:
    client = client_of(alice)

    assert client.get("/log-in/").headers["Location"] == "/"
    assert client.get("/sign-up/?next=/chat/").headers["Location"] == "/chat/"
    assert client.get("/recover/").status_code == 200


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/chat/?a=1", "/chat/?a=1"),
        ("https://elsewhere.example/", "/"),
        ("//elsewhere.example/", "/"),
        ("///elsewhere.example", "/"),
        ("\\\\elsewhere.example", "/"),
        ("/\\elsewhere.example", "/"),
        ("javascript:alert(1)", "/"),
        ("http://testserver/chat/", "/"),
        ("chat/", "/"),
        ("/log-out/", "/"),
        ("/log-in/?next=/log-in/", "/"),
        ("", "/"),
    ],
)
def test_only_paths_of_this_site_are_gone_to(asked: str, path: str, alice: User) -> None:
    query = {"next": asked}

    assert data_of(Client().get("/log-in/", query))["next"] == path
    assert client_of(alice).get("/log-in/", query).headers["Location"] == path


def test_who_may_not_open_the_admin_is_not_sent_there_in_circles(alice: User) -> None:
    response = client_of(alice).get("/log-in/", {"next": "/admin/"})

    assert response.status_code == 200


def test_pages_for_a_person_ask_others_to_log_in(client: Client) -> None:
    assert client.get("/settings/").headers["Location"] == "/log-in/?next=/settings/"


def test_the_settings_know_whether_there_are_keys_and_a_kept_code(alice: User) -> None:
    browser = signed_in("Alice1")
    before = data_of(browser.client.get("/settings/"))
    browser.post("/api/recovery-code/confirm/")
    after = data_of(browser.client.get("/settings/"))
    without = data_of(client_of(make_user_without_keys("Oscar1")).get("/settings/"))

    assert (before["has_keys"], before["recovery_confirmed"]) == (True, False)
    assert (after["has_keys"], after["recovery_confirmed"]) == (True, True)
    assert (without["has_keys"], without["recovery_confirmed"]) == (False, False)
    assert before["username"] == "Alice1"


def test_a_form_on_the_settings_page_changes_nothing_either(alice: User) -> None:
    response = client_of(alice).post("/settings/", {"password": CANARY})

    assert response.status_code == 400
    assert CANARY not in response.content.decode()


def test_logging_out_is_asked_first_and_then_ends_the_session(
    alice: User, heard: list[events.Event], committing: Committing
) -> None:
    client = client_of(alice)
    page = client.get("/log-out/")
    assert page.status_code == 200
    assert client.get("/settings/").status_code == 200

    with committing():
        response = client.post("/log-out/")

    assert response.headers["Location"] == "/"
    assert "Clear-Site-Data" not in response.headers
    assert client.get("/settings/").status_code == 302
    assert events.SessionsChanged(alice.pk) in heard


def test_on_a_foreign_computer_the_browser_is_told_to_keep_nothing(alice: User) -> None:
    response = client_of(alice).post("/log-out/", {"remove_everything": "1"})

    assert response.headers["Clear-Site-Data"] == '"storage"'


def test_a_log_out_needs_the_token_of_a_page(alice: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)

    assert client.post("/log-out/").status_code == 403
    assert client.get("/settings/").status_code == 200


def test_who_is_logged_out_already_just_goes_on(client: Client) -> None:
    assert client.get("/log-out/").headers["Location"] == "/"
    assert client.post("/log-out/").headers["Location"] == "/"


def test_pages_stay_out_of_caches(alice: User) -> None:
    assert client_of(alice).get("/settings/").headers["Cache-Control"] == "no-store"
    assert Browser().get("/api/keys/").headers["Cache-Control"] == "no-store"
