"""Where somebody is logged in: what they see of it, whose browser a session is, and how it ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from accounts.models import BrowserSession, User
from accounts.models.browser_session import Details
from accounts.services import key_chain, sessions
from accounts.user_agent import UNKNOWN, describe
from accounts.wire import encode_base64url
from securechat import events, sealed
from tests.accounts.browser import (
    Browser,
    chain_body,
    keys_body,
    password_body,
    recovery_body,
    sign_up_body,
    signed_in,
)
from tests.accounts.chains import Draft
from tests.accounts.conftest import Committing
from tests.factories import (
    PASSWORD,
    Identity,
    auth_key_for,
    device_id_of,
    make_user,
    make_user_without_keys,
    raw_public,
)

pytestmark = pytest.mark.django_db
HERE, THERE = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0"


@pytest.fixture
def alice(db: None, identity: Identity) -> User:
    user = make_user("Alice1", identity=identity, device=raw_public(HERE))
    key_chain.append_entries(user=user, entries=Draft.of(user, identity).add(THERE).new)
    return user


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json().get("code", "")


def shown(browser: Browser) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = browser.get("/api/browsers/").json()["browsers"]
    return found


def this(browser: Browser) -> dict[str, Any]:
    return next(each for each in shown(browser) if each["is_this"])


def text_of(device: Ed25519PrivateKey) -> str:
    return encode_base64url(device_id_of(device))


def bind(browser: Browser, device: Ed25519PrivateKey) -> Any:
    return browser.post("/api/browsers/", {"device": text_of(device)})


# What is shown


def test_one_sees_where_one_is_logged_in(alice: User, bob: User) -> None:
    before = timezone.now().timestamp() * 1000
    there = Browser(
        Client(enforce_csrf_checks=True, headers={"user-agent": FIREFOX}, REMOTE_ADDR="2001:db8::7")
    )
    there.log_in("Alice1")
    here = signed_in("Alice1")
    signed_in("Bobby")
    bind(there, THERE)

    first, second = shown(here)

    assert (first["is_this"], second["is_this"]) == (True, False)
    assert (second["name"], second["address"], second["device"]) == (
        "Firefox on Windows",
        "2001:db8::7",
        text_of(THERE),
    )
    assert (first["name"], first["address"], first["device"]) == (UNKNOWN, "127.0.0.1", None)
    assert before - 1 <= second["signed_in_at"] <= second["seen_at"] <= timezone.now().timestamp() * 1000
    assert set(first) == {"session", "device", "name", "address", "signed_in_at", "seen_at", "is_this"}


def test_the_name_of_a_session_opens_nothing(alice: User) -> None:
    here = signed_in("Alice1")

    assert here.client.session.session_key not in here.get("/api/browsers/").content.decode()


@pytest.mark.parametrize("how", ["log in", "log in again", "sign up", "recovery", "admin"])
def test_every_log_in_is_shown(alice: User, identity: Identity, how: str) -> None:
    here = signed_in("Alice1")
    name, user = "Alice1", alice
    match how:
        case "log in":
            Browser().log_in("Alice1")
        case "log in again":
            again = signed_in("Alice1")
            again.log_in("Alice1")
        case "sign up":
            name = "Newcomer"
            Browser().post("/api/sign-up/", sign_up_body(name))
            user = User.objects.get(username=name)
        case "recovery":
            Browser().post("/api/recovery/finish/", recovery_body(alice, identity))
        case "admin":
            name, user = "Root01", User.objects.create_superuser("Root01", PASSWORD)
            client = Client()
            client.post("/admin/login/", {"username": name, "password": auth_key_for(name)})
            client.get("/admin/")
    expected = {"sign up": 1, "recovery": 1, "admin": 1}.get(how, 2)

    assert BrowserSession.objects.filter(user=user).count() == expected
    assert here.is_signed_in == (how != "recovery")


def test_a_session_that_nobody_wrote_down_is_when_it_is_used(alice: User) -> None:
    """Of a server before it knew of sessions, say."""
    client = Client()
    client.force_login(alice)
    assert not BrowserSession.objects.exists()

    for _ in range(2):
        client.get("/settings/")

    assert BrowserSession.objects.get().session_id == client.session.session_key


def test_use_is_noted_coarsely(alice: User, settings: Any) -> None:
    browser = signed_in("Alice1")
    before = BrowserSession.objects.get().seen_at
    browser.client.get("/settings/")
    assert BrowserSession.objects.get().seen_at == before
    long_ago = timezone.now() - settings.SESSION_SEEN_EVERY - timedelta(seconds=1)
    BrowserSession.objects.update(seen_at=long_ago)

    browser.client.get("/settings/")

    assert BrowserSession.objects.get().seen_at > before


def test_who_logged_out_or_was_away_too_long_is_not_shown(alice: User) -> None:
    here, out, expired = (signed_in("Alice1") for _ in range(3))
    Session.objects.filter(pk=expired.client.session.session_key).update(
        expire_date=timezone.now() - timedelta(seconds=1)
    )
    out.client.logout()

    assert [each["is_this"] for each in shown(here)] == [True]


@pytest.mark.parametrize(
    ("user_agent", "brands", "expected"),
    [
        (FIREFOX, "", "Firefox on Windows"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36",
         '"Chromium";v="128", "Not;A=Brand";v="24", "Google Chrome";v="128"', "Chrome on Linux"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36",
         '"Chromium";v="128", "Not;A=Brand";v="24"', "Chromium on Linux"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36",
         "", "Chrome on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36 Edg/128.0.0.0",
         "", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_6) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15",
         "", "Safari on macOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1",
         "", "Safari on iPhone"),
        ("Mozilla/5.0 (Linux; Android 14; Mobile; rv:130.0) Gecko/130.0 Firefox/130.0", "", "Firefox on Android"),
        ("Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/26.0 Chrome/122.0.0.0 Mobile Safari/537.36",
         "", "Samsung Internet on Android"),
        ("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36",
         "", "Chrome on ChromeOS"),
        ("<script>alert(1)</script>", "\u202e", UNKNOWN),
        ("", "", UNKNOWN),
    ],
)  # fmt: skip
def test_a_browser_is_described_in_a_few_words(user_agent: str, brands: str, expected: str) -> None:
    assert describe({"user-agent": user_agent, "sec-ch-ua": brands}) == expected


# Whose session it is


def test_a_session_is_bound_to_a_browser_of_the_chain(alice: User) -> None:
    here = signed_in("Alice1")

    assert bind(here, HERE).status_code == 200
    assert bind(here, HERE).status_code == 200
    assert this(here)["device"] == text_of(HERE)


def test_a_session_slips_into_no_other_browser(alice: User) -> None:
    """Else whoever holds a stolen one would name a browser that is not going to be revoked."""
    here = signed_in("Alice1")
    bind(here, HERE)

    assert code(bind(here, THERE)) == (409, "browser_bound")
    assert this(here)["device"] == text_of(HERE)


def test_only_what_stands_on_ones_own_chain_is_a_browser(alice: User, bob: User, identity: Identity) -> None:
    here = signed_in("Alice1")
    (bobs,) = key_chain.device_ids(bob)
    key_chain.append_entries(user=alice, entries=Draft.of(alice, identity).retire(THERE).new)

    assert code(here.post("/api/browsers/", {"device": encode_base64url(bobs)})) == (400, "unknown_device")
    assert code(bind(here, THERE)) == (400, "unknown_device")
    assert this(here)["device"] is None


@pytest.mark.parametrize("device", ["", "AAAA", None, 1, encode_base64url(bytes(17))])
def test_a_device_id_has_16_bytes(alice: User, device: object) -> None:
    response = signed_in("Alice1").post("/api/browsers/", {"device": device})

    assert code(response) == (400, "malformed_request")


def test_where_the_browser_ended_another_one_may_begin(alice: User, identity: Identity) -> None:
    here, new = signed_in("Alice1"), Ed25519PrivateKey.generate()
    bind(here, THERE)
    key_chain.append_entries(user=alice, entries=Draft.of(alice, identity).retire(THERE).new)
    assert this(here)["device"] is None

    here.post("/api/key-chain/", chain_body(Draft.of(alice, identity).add(new)))

    assert this(here)["device"] == text_of(new)


def test_the_browser_that_makes_the_keys_is_bound_to_its_session(identity: Identity, alice: User) -> None:
    signing_up, first, recovering = Browser(), Browser(), Browser()
    signing_up.post("/api/sign-up/", sign_up_body("Newcomer"))
    make_user_without_keys("Oscar1")
    first.log_in("Oscar1")
    first.post("/api/keys/", {"keys": keys_body(Identity("Oscar1").keys())})
    recovering.post("/api/recovery/finish/", recovery_body(alice, identity))

    assert all(this(browser)["device"] for browser in (signing_up, first, recovering))


def test_logging_in_again_is_a_session_of_its_own(alice: User) -> None:
    here = signed_in("Alice1")
    bind(here, HERE)
    before = this(here)

    here.log_in("Alice1")

    assert [each["is_this"] for each in shown(here)] == [True]
    assert this(here)["device"] is None
    assert this(here)["session"] != before["session"]


def test_a_new_password_keeps_what_is_known_of_this_session(alice: User) -> None:
    here, there = signed_in("Alice1"), signed_in("Alice1")
    bind(here, HERE)
    before = this(here)

    here.post("/api/password/", password_body(alice, new="An0ther#One"))

    assert shown(here) == [before]
    assert not there.is_signed_in


# How it ends


def test_a_session_is_ended_from_another_one(
    alice: User, heard: list[events.Event], committing: Committing
) -> None:
    here, there = signed_in("Alice1"), signed_in("Alice1")
    session = this(there)["session"]

    with committing():
        response = here.post("/api/browsers/end/", {"session": session})

    assert (response.status_code, response.json()) == (200, {})
    assert (here.is_signed_in, there.is_signed_in) == (True, False)
    assert code(there.get("/api/keys/")) == (401, "signed_out")
    assert heard == [events.SessionsChanged(alice.pk)]
    assert [each["is_this"] for each in shown(here)] == [True]
    assert code(here.post("/api/browsers/end/", {"session": session})) == (404, "session_not_found")


def test_ending_ones_own_is_logging_out(alice: User) -> None:
    here = signed_in("Alice1")

    assert here.post("/api/browsers/end/", {"session": this(here)["session"]}).status_code == 200

    assert not here.is_signed_in


def test_nobody_ends_anothers_session(alice: User, mallory: User) -> None:
    here, mallorys = signed_in("Alice1"), signed_in("Mallory")
    theirs = this(here)["session"]

    for session in (theirs, str(uuid4())):
        assert code(mallorys.post("/api/browsers/end/", {"session": session})) == (404, "session_not_found")
    assert here.is_signed_in


@pytest.mark.parametrize("session", ["", 1, None, "x" * 36, uuid4().hex, str(uuid4()).upper()])
def test_a_session_has_one_name(alice: User, session: object) -> None:
    response = signed_in("Alice1").post("/api/browsers/end/", {"session": session})

    assert code(response) == (400, "malformed_request")


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", ""), ("POST", "end/")])
def test_who_is_not_logged_in_has_no_browsers(method: str, path: str) -> None:
    body = {"device": text_of(HERE)} if path == "" else {"session": str(uuid4())}

    assert code(Browser().request(method, f"/api/browsers/{path}", body)) == (401, "signed_out")


# What a stolen database does not show


def test_whose_device_it_is_stays_sealed(alice: User) -> None:
    browser = signed_in("Alice1")
    bind(browser, HERE)
    row = BrowserSession.objects.get()
    visible = b"".join(bytes(getattr(row, field.attname, b"") or b"") if field.attname == "sealed_details"
                       else str(getattr(row, field.attname)).encode() for field in row._meta.fields)  # fmt: skip

    assert row.details == Details(UNKNOWN, "127.0.0.1", device_id_of(HERE))
    for secret in (device_id_of(HERE), text_of(HERE).encode(), b"127.0.0.1"):
        assert secret not in visible
    assert not any(secret in Session.objects.get().session_data.encode() for secret in (device_id_of(HERE),))


def test_sealed_details_are_of_one_session(alice: User) -> None:
    signed_in("Alice1")
    signed_in("Alice1")
    first, second = BrowserSession.objects.all()
    first.sealed_details = second.sealed_details

    with pytest.raises(sealed.SealBroken):
        _ = first.details


def test_a_request_in_a_session_that_ends_meanwhile_makes_no_row(
    transactional_db: None, identity: Identity
) -> None:
    alice = make_user("Alice1", identity=identity)

    sessions.see(user=alice, session_key="of-a-session-that-is-gone", details=Details("", ""))

    assert not BrowserSession.objects.exists()
