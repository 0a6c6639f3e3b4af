"""Sign-up by invitation, and none at all: what is asked, what a code is good for, and what is kept of it."""

from __future__ import annotations

import io
import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone
from pytest_django import Settings

from accounts.errors import InviteRefused
from accounts.models import Invite, User
from accounts.services import invites, passwords
from securechat.audit import AuditEvent
from tests import factories
from tests.accounts.browser import Browser, sign_up_body

pytestmark = pytest.mark.django_db
REFUSED = "This invite code cannot be used. Check it, or ask for another one."


@pytest.fixture
def by_invite(settings: Settings) -> None:
    settings.SIGN_UP = "invite"


def an_invite(**changes: Any) -> tuple[Invite, str]:
    return invites.make(**{"uses": 1, "days": 7, "note": "", "by": None, "source": "test", **changes})


def sign_up(name: str, **more: Any) -> Any:
    return Browser().post("/api/sign-up/", sign_up_body(name, **more))


def test_open_to_everybody_asks_for_nothing() -> None:
    assert sign_up("Alice1").status_code == 201
    assert 'id="invite"' not in Browser().client.get("/sign-up/").content.decode()


@pytest.mark.usefixtures("by_invite")
def test_a_code_makes_one_account_however_it_is_typed() -> None:
    invite, code = an_invite()

    assert 'id="invite"' in Browser().client.get("/sign-up/").content.decode()
    assert sign_up("Alice1", invite=code.lower().replace("-", " ")).status_code == 201
    second = sign_up("Bobby", invite=code)

    assert (second.status_code, second.json()["code"], second.json()["message"]) == (
        403,
        "invite_refused",
        REFUSED,
    )
    assert not User.objects.filter(username="Bobby").exists()
    invite.refresh_from_db()
    assert (invite.uses_left, invite.status) == (0, "used up")


@pytest.mark.usefixtures("by_invite")
@pytest.mark.parametrize("which", ["none", "wrong", "expired", "revoked"])
def test_codes_that_cannot_be_used_look_the_same(which: str) -> None:
    invite, code = an_invite()
    if which == "expired":
        Invite.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    if which == "revoked":
        invites.revoke(invite=invite, by=None, source="test")
    given = {"none": None, "wrong": "0000-0000-0000-0000"}.get(which, code)

    answer = sign_up("Alice1", invite=given)

    assert answer.json()["code"] == "invite_refused"
    assert not User.objects.exists()


@pytest.mark.usefixtures("by_invite")
def test_a_refused_sign_up_costs_no_use() -> None:
    invite, code = an_invite(uses=2)
    assert sign_up("Alice1", invite=code).status_code == 201

    assert sign_up("alice1", invite=code).json()["code"] == "username_taken"
    assert sign_up("x!", invite=code).json()["code"] == "invalid_username"

    invite.refresh_from_db()
    assert invite.uses_left == 1


def test_closed_to_everybody(settings: Settings) -> None:
    settings.SIGN_UP = "closed"
    _, code = an_invite()

    assert sign_up("Alice1", invite=code).json()["code"] == "sign_up_closed"
    assert "This server takes no new accounts." in Browser().client.get("/sign-up/").content.decode()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("by_invite")
def test_of_many_at_once_no_more_sign_up_than_it_is_for() -> None:
    invite, code = an_invite(uses=3)
    done: list[str] = []
    refused: list[str] = []
    barrier = threading.Barrier(8)

    def run(name: str) -> None:
        barrier.wait()
        try:
            passwords.sign_up(
                username=name,
                auth_key=factories.auth_key_for(name),
                keys=factories.Identity(name).keys(),
                invite=code,
            )
            done.append(name)
        except InviteRefused:
            refused.append(name)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(f"Person{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(done), len(refused)) == (3, 5)
    assert User.objects.count() == 3
    invite.refresh_from_db()
    assert invite.uses_left == 0


def test_the_code_is_stored_nowhere() -> None:
    _, code = an_invite(note="For Carol")

    stored = [str(value) for value in Invite.objects.values_list().get()]
    stored += [str(value) for event in AuditEvent.objects.all() for value in event.as_dict().values()]
    tidy = code.replace("-", "")
    assert not any(code in text or tidy in text for text in stored)
    assert len(tidy) == 16
    assert len({an_invite()[1] for _ in range(20)}) == 20


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("invite", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


@pytest.mark.usefixtures("by_invite")
def test_the_command_makes_lists_and_revokes() -> None:
    made = json.loads(run("make", "--uses", "2", "--days", "3", "--note", "Class 4b", "--json"))
    assert sign_up("Alice1", invite=made["code"]).status_code == 201

    assert run("list").startswith(f"{made['id']}: usable, 1 of 2 left, until ")
    assert "Class 4b" in run("list")
    assert run("revoke", str(made["id"]), "--reason", "Posted.") == f"Invite {made['id']} revoked.\n"
    assert json.loads(run("list", "--json"))[0]["status"] == "revoked"
    assert sign_up("Bobby", invite=made["code"]).json()["code"] == "invite_refused"
    with pytest.raises(CommandError, match="revoked already"):
        run("revoke", str(made["id"]))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(("make", "--uses", "0"), "1 to 10,000 accounts"), (("revoke", "9"), "no invite of that number")],
)
def test_the_command_refuses(arguments: tuple[str, ...], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        run(*arguments)


def test_an_operator_sees_and_revokes_them() -> None:
    invite, _ = an_invite(note="For Carol")
    user = factories.make_user_without_keys("Opera1")
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.refresh_from_db()
    user.groups.add(Group.objects.get(name="Operator"))
    client = factories.client_of(user)

    assert "For Carol" in client.get("/admin/accounts/invite/").content.decode()
    chosen = {"action": "revoke", "_selected_action": [invite.pk], "confirmed": "yes", "reason": "Posted."}
    client.post("/admin/accounts/invite/", chosen)

    invite.refresh_from_db()
    assert invite.status == "revoked"
