"""The operators' second factor: who has none is led to one, and without it the admin shows nothing."""

from __future__ import annotations

import io
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django.fixtures import Settings

from accounts.models import User
from accounts.services import second_factor
from securechat import audit
from securechat.audit import AuditEvent
from securechat.checks import check_second_factor_is_demanded
from tests import factories
from tests.factories import PASSWORD

pytestmark = pytest.mark.django_db
PEOPLE = "/admin/accounts/user/"
PAGE = "/admin/second-factor/"


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("Root01", PASSWORD)


@pytest.fixture
def client(root: User) -> Client:
    """Logged in with the password alone."""
    client = Client()
    client.force_login(root)
    return client


def code_of(user: User, *, steps_ahead: int = 0) -> str:
    """What the authenticator app of this person shows."""
    device = TOTPDevice.objects.get(user=user)
    totp = TOTP(device.bin_key, device.step, device.t0, device.digits, device.drift)
    totp.time = time.time() + steps_ahead * device.step
    return f"{totp.token():06}"


def actions() -> list[str]:
    return list(AuditEvent.objects.values_list("action", flat=True))


def enrol(client: Client, root: User) -> list[str]:
    client.get(PAGE)
    codes: list[str] = client.post(PAGE, {"code": code_of(root)}).context["codes"]
    return codes


def log_out_of_the_factor(client: Client) -> None:
    session = client.session
    del session["second_factor"]
    session.save()


def test_a_first_superuser_is_led_to_enrol_and_then_let_in(client: Client, root: User) -> None:
    page = client.get(PEOPLE, follow=True)

    assert page.redirect_chain[-1] == (f"{PAGE}?next=%2Fadmin%2Faccounts%2Fuser%2F", 302)
    text = page.content.decode()
    assert "<svg" in text
    assert "no-store" in page.headers["Cache-Control"]
    assert "Log entries" not in text

    done = client.post(PAGE, {"code": code_of(root), "next": PEOPLE})

    assert len(done.context["codes"]) == second_factor.BACKUP_CODES
    assert f'href="{PEOPLE}"' in done.content.decode()
    assert client.get(PEOPLE).status_code == 200
    assert actions()[-1] == "second_factor.enrol"


def test_a_wrong_code_enrols_nothing(client: Client, root: User) -> None:
    client.get(PAGE)

    answer = client.post(PAGE, {"code": "000000" if code_of(root) != "000000" else "000001"})

    assert answer.status_code == 403
    assert not second_factor.is_enrolled(root)
    assert client.get(PEOPLE).status_code == 302


def test_the_secret_stays_the_same_until_it_is_confirmed_and_is_not_shown_afterwards(
    client: Client, root: User
) -> None:
    first, second = client.get(PAGE), client.get(PAGE)
    assert first.context["secret"] == second.context["secret"]
    enrol(client, root)
    log_out_of_the_factor(client)

    assert "secret" not in client.get(PAGE).context


def test_another_session_has_to_prove_it_and_each_code_counts_once(client: Client, root: User) -> None:
    enrol(client, root)
    used = code_of(root)
    log_out_of_the_factor(client)

    assert client.get(PEOPLE).status_code == 302
    assert client.post(PAGE, {"code": used}).status_code == 403
    assert actions()[-1] == "second_factor.refuse"
    TOTPDevice.objects.update(throttling_failure_count=0)
    assert (
        client.post(PAGE, {"code": code_of(root, steps_ahead=1), "next": PEOPLE}).headers["Location"]
        == PEOPLE
    )
    assert client.get(PEOPLE).status_code == 200
    assert actions()[-1] == "second_factor.prove"


def test_a_backup_code_lets_in_once(client: Client, root: User) -> None:
    codes = enrol(client, root)
    log_out_of_the_factor(client)

    assert client.post(PAGE, {"code": f" {codes[0].upper()} "}).status_code == 302
    assert second_factor.backup_codes_left(root) == second_factor.BACKUP_CODES - 1
    log_out_of_the_factor(client)
    assert client.post(PAGE, {"code": codes[0]}).status_code == 403


def test_guessing_is_slowed_down(client: Client, root: User) -> None:
    codes = enrol(client, root)
    log_out_of_the_factor(client)
    for _ in range(2):
        client.post(PAGE, {"code": "wrong"})
    TOTPDevice.objects.update(throttling_failure_count=20)
    client.post(PAGE, {"code": "wrong"})
    refused = actions().count("second_factor.refuse")

    answer = client.post(PAGE, {"code": codes[0]})

    assert "Too soon after a wrong code" in answer.content.decode()
    assert client.get(PEOPLE).status_code == 302
    assert actions().count("second_factor.refuse") == refused


def test_it_counts_for_as_long_as_the_setting_says(client: Client, root: User, settings: Settings) -> None:
    enrol(client, root)
    session = client.session
    proved = session["second_factor"]
    age = settings.ADMIN_SECOND_FACTOR_AGE.total_seconds()

    session["second_factor"] = {**proved, "at": proved["at"] - age + 60}
    session.save()
    assert client.get(PEOPLE).status_code == 200
    session["second_factor"] = {**proved, "at": proved["at"] - age - 1}
    session.save()
    assert client.get(PEOPLE).status_code == 302
    settings.ADMIN_SECOND_FACTOR_AGE = timedelta(days=2)
    assert client.get(PEOPLE).status_code == 200


def test_one_persons_factor_is_none_of_another(client: Client, root: User) -> None:
    enrol(client, root)
    proved = client.session["second_factor"]
    other = User.objects.create_superuser("Root02", PASSWORD)
    theirs = Client()
    theirs.force_login(other)
    session = theirs.session
    session["second_factor"] = proved
    session.save()

    assert theirs.get(PEOPLE).status_code == 302


def test_a_setting_turns_the_demand_off(client: Client, settings: Settings) -> None:
    settings.ADMIN_SECOND_FACTOR = False

    assert client.get(PEOPLE).status_code == 200
    assert client.get(PAGE).headers["Location"] == "/admin/"


def test_a_deployment_is_warned_when_the_demand_is_off(settings: Settings) -> None:
    assert check_second_factor_is_demanded() == []
    settings.ADMIN_SECOND_FACTOR = False

    (warning,) = check_second_factor_is_demanded()

    assert "password alone" in warning.msg


def test_who_is_no_operator_has_no_such_page(alice: User) -> None:
    client = factories.client_of(alice)

    assert client.get(PAGE).status_code == 302
    assert client.post(PAGE, {"code": "000000"}).status_code == 302
    assert not TOTPDevice.objects.exists()


def test_it_leads_to_no_other_site_and_not_back_to_itself(client: Client, root: User) -> None:
    enrol(client, root)
    for asked in ("https://elsewhere.example/admin/", "/chat/", PAGE, "/admin/login/?next=/admin/"):
        assert client.get(PAGE, {"next": asked}).headers["Location"] == "/admin/"


def test_an_operator_resets_that_of_another_and_it_counts_no_more_at_once(client: Client, root: User) -> None:
    enrol(client, root)
    other = User.objects.create_superuser("Root02", PASSWORD)
    theirs = factories.client_of(other)
    assert theirs.get(PEOPLE).status_code == 200

    chosen = {"action": "reset_second_factor", "_selected_action": [other.pk, root.pk]}
    chosen |= {"confirmed": "yes", "reason": "Telephone lost."}
    answer = client.post(PEOPLE, chosen, follow=True)

    assert "1 reset, 1 left as they were." in answer.content.decode()
    assert theirs.get(PEOPLE).status_code == 302
    assert second_factor.is_enrolled(root)


def command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("second_factor", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_enrols_shows_and_resets(root: User, client: Client) -> None:
    said = command("enrol", "root01")
    codes = [line.strip() for line in said.splitlines()[-second_factor.BACKUP_CODES :]]

    assert "otpauth://totp/" in said
    assert client.post(PAGE, {"code": code_of(root)}).status_code == 302
    log_out_of_the_factor(client)
    assert client.post(PAGE, {"code": codes[3]}).status_code == 302
    assert json.loads(command("show", "Root01", "--json")) == {
        "username": "Root01",
        "enrolled": True,
        "backup_codes": 9,
    }
    assert "would be removed" in command("reset", "Root01", "--dry-run")
    assert second_factor.is_enrolled(root)
    assert "was removed" in command("reset", "Root01")
    assert client.get(PEOPLE).status_code == 302
    assert "Nothing was changed" in command("reset", "Root01")
    assert [event.source for event in audit.verified() if event.action == "second_factor.reset"] == [
        "command:second_factor"
    ]


def test_the_command_refuses_who_is_no_operator(alice: User) -> None:
    for arguments in (("enrol", "Alice1"), ("reset", "Nobody")):
        with pytest.raises(CommandError):
            command(*arguments)
    assert not TOTPDevice.objects.exists()


@pytest.mark.parametrize("code", ["", "\0", "ﬁ½²", "'; --", "9" * 500])
def test_odd_codes_are_wrong_and_no_crash(client: Client, root: User, code: str) -> None:
    client.get(PAGE)
    assert client.post(PAGE, {"code": code}).status_code == 403
    TOTPDevice.objects.update(throttling_failure_count=0)
    enrol(client, root)
    log_out_of_the_factor(client)

    assert client.post(PAGE, {"code": code}).status_code == 403


@pytest.mark.parametrize("model", ["otp_totp/totpdevice", "otp_static/staticdevice"])
def test_no_page_of_the_admin_shows_a_secret(root: User, model: str) -> None:
    response: Any = factories.client_of(root).get(f"/admin/{model}/")

    assert response.status_code == 404
