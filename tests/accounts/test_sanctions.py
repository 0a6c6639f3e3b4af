"""What operators impose: who may, what it does to log-ins and pages, and how it ends."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from accounts.errors import SanctionRefused
from accounts.models import Sanction, User
from accounts.services import sanctions
from securechat import audit, events
from tests import factories
from tests.accounts.browser import Browser, signed_in
from tests.factories import PASSWORD

pytestmark = pytest.mark.django_db
Kind = Sanction.Kind
PEOPLE, SANCTIONS = "admin:accounts_user_changelist", "admin:accounts_sanction_changelist"
Committing = Callable[[], AbstractContextManager[Any]]
TOMORROW = timedelta(days=1)


def impose(user: User, kind: Kind, **changes: Any) -> Sanction:
    ends_at = timezone.now() + TOMORROW if kind in Sanction.TIMED else None
    given = {"reason": "Insults.", "by": None, "source": "", "ends_at": ends_at, **changes}
    return sanctions.impose(user=user, kind=kind, **given)


def moderator(role: str = "Senior moderator", name: str = "Moder1") -> User:
    user = factories.make_user(name)
    user.is_staff = True
    user.save()
    user.groups.add(Group.objects.get(name=role))
    return user


def act(client: Client, action: str, *rows: Any, **more: Any) -> Any:
    (name,) = {PEOPLE if isinstance(row, User) else SANCTIONS for row in rows}
    chosen = {"action": action, "_selected_action": [row.pk for row in rows], **more}
    return client.post(reverse(name), chosen, follow=True)


def said(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


@pytest.mark.parametrize("kind", [Kind.SUSPENSION, Kind.BAN])
def test_who_is_shut_out_is_told_why_and_only_with_the_password(
    alice: User, kind: Kind, settings: Settings
) -> None:
    settings.APPEAL_ADDRESS = "appeals@chat.example"
    browser = signed_in("Alice1")
    sanction = impose(alice, kind)

    assert not browser.is_signed_in
    refused = Browser().log_in("Alice1")
    assert (refused.status_code, refused.json()["code"]) == (403, "shut_out")
    assert "The reason: Insults." in refused.json()["message"]
    assert "write to appeals@chat.example" in refused.json()["message"]
    assert Browser().log_in("Alice1", "Wr0ng#One").json()["code"] == "wrong_credentials"

    sanctions.lift(sanction=sanction, by=None, why="An error.", source="")
    assert Browser().log_in("Alice1").status_code == 200


def test_a_suspension_ends_by_itself(alice: User) -> None:
    impose(alice, Kind.SUSPENSION)
    Sanction.objects.update(
        starts_at=timezone.now() - 2 * TOMORROW, ends_at=timezone.now() - timedelta(seconds=1)
    )

    assert Browser().log_in("Alice1").status_code == 200


def test_sockets_and_pages_are_told_after_the_commit(
    alice: User, heard: list[events.Event], committing: Committing
) -> None:
    for kind in (Kind.MUTE, Kind.SUSPENSION, Kind.BAN):
        heard.clear()
        with committing():
            sanction = impose(alice, kind)
        assert events.SessionsChanged(alice.pk) in heard
        heard.clear()
        with committing():
            sanctions.lift(sanction=sanction, by=None, why="", source="")
        assert events.SessionsChanged(alice.pk) in heard


def test_a_warning_stands_on_every_page_until_it_was_read(alice: User) -> None:
    client = factories.client_of(alice)
    warning = impose(alice, Kind.WARNING, reason="Please stop <b>advertising</b>.")

    page = client.get("/friends/").content.decode()
    assert "The operators of this server warn you. The reason: Please stop &lt;b&gt;advertising" in page
    other = factories.make_user("Mallory")
    factories.client_of(other).post("/warning/", {"sanction": warning.pk, "next": "/friends/"})
    assert "warn you" in client.get("/settings/").content.decode()

    answer = client.post("/warning/", {"sanction": warning.pk, "next": "https://elsewhere.example/"})

    assert answer.headers["Location"] == "/"
    assert "warn you" not in client.get("/friends/").content.decode()
    warning.refresh_from_db()
    assert warning.acknowledged_at is not None
    for nonsense in ("", "x", "9" * 30, "-1"):
        assert client.post("/warning/", {"sanction": nonsense}).status_code == 302


def test_a_mute_cannot_be_read_away(alice: User) -> None:
    client = factories.client_of(alice)
    mute = impose(alice, Kind.MUTE)

    client.post("/warning/", {"sanction": mute.pk})

    assert "You cannot send messages until" in client.get("/friends/").content.decode()


def test_nobody_decides_about_themselves_or_about_operators(alice: User) -> None:
    senior, other = moderator(), moderator(name="Moder2")
    root = User.objects.create_superuser("Root01", PASSWORD)

    for user, by in ((senior, senior), (other, senior), (root, senior), (root, root), (root, None)):
        with pytest.raises(SanctionRefused):
            impose(user, Kind.BAN, by=by)
    impose(other, Kind.MUTE, by=root)
    assert Sanction.objects.count() == 1


@pytest.mark.parametrize("kind", [Kind.MUTE, Kind.SUSPENSION, Kind.BAN])
def test_the_same_again_is_refused_and_longer_is_not(alice: User, kind: Kind) -> None:
    impose(alice, kind)

    with pytest.raises(SanctionRefused, match="has that already"):
        impose(alice, kind)

    if kind in Sanction.TIMED:
        impose(alice, kind, ends_at=timezone.now() + 3 * TOMORROW)


def test_an_end_is_for_what_is_timed_and_lies_ahead(alice: User) -> None:
    for kind, ends_at in (
        (Kind.MUTE, None),
        (Kind.SUSPENSION, timezone.now() - TOMORROW),
        (Kind.BAN, timezone.now() + TOMORROW),
        (Kind.WARNING, timezone.now() + TOMORROW),
    ):
        with pytest.raises(SanctionRefused):
            impose(alice, kind, ends_at=ends_at)
    with pytest.raises(IntegrityError), transaction.atomic():
        Sanction.objects.create(user=alice, kind=Kind.BAN, reason="", ends_at=timezone.now())


def test_a_ban_waits_for_another_operator_where_two_are_needed(alice: User, settings: Settings) -> None:
    settings.BANS_NEED_TWO = True
    first, second = moderator(), moderator(name="Moder2")
    mine, theirs = factories.client_of(first), factories.client_of(second)

    asked = act(mine, "ban", alice, confirmed="yes", reason="Fraud.")
    ban = Sanction.objects.get()

    assert said(asked) == ["1 to be banned once another operator approves it."]
    assert Browser().log_in("Alice1").status_code == 200
    own = act(mine, "approve", ban, confirmed="yes", reason="Sure.")
    assert said(own) == [f"Skipped {ban.pk}: Somebody else than who asked for a ban has to approve it."]
    assert said(act(theirs, "approve", ban, confirmed="yes", reason="I saw it.")) == ["1 approved."]
    assert Browser().log_in("Alice1").json()["code"] == "shut_out"
    assert [event.action for event in audit.verified()][-2:] == ["user.ban", "sanction.approve"]


def test_an_operator_imposes_with_a_reason_and_an_end_and_is_told_what_was_skipped(alice: User) -> None:
    senior = moderator()
    client = factories.client_of(senior)
    page = act(client, "mute", alice, senior).content.decode()
    assert "Mute 2 people?" in page
    assert "Alice1" in page

    assert (
        "less than or equal"
        in act(client, "mute", alice, confirmed="yes", reason="Insults.", hours=10_000).content.decode()
    )
    done = act(client, "mute", alice, senior, confirmed="yes", reason="Insults.", hours=24)

    assert sorted(said(done)) == ["1 muted.", "Skipped: Nobody decides about themselves."]
    mute = Sanction.objects.get()
    assert (mute.kind, mute.imposed_by, mute.reason) == (Kind.MUTE, senior, "Insults.")
    over = act(client, "suspend", alice, confirmed="yes", reason="x", until="2020-01-01T00:00")
    assert "That is over already." in over.content.decode()
    shown = client.get(reverse("admin:accounts_user_change", args=[alice.pk])).content.decode()
    assert "in force" in shown
    lifted = act(client, "lift", mute, confirmed="yes", reason="A misunderstanding.")
    assert said(lifted) == ["1 lifted."]
    assert said(act(client, "lift", mute, confirmed="yes", reason="Again.")) == [
        f"Skipped {mute.pk}: It is not in force any more."
    ]


def test_a_moderator_mutes_but_does_not_suspend(alice: User) -> None:
    client = factories.client_of(moderator("Moderator"))

    offered = {
        name for name, _ in client.get(reverse(PEOPLE)).context["action_form"].fields["action"].choices
    }
    act(client, "ban", alice, confirmed="yes", reason="Fraud.")

    assert {"warn", "mute"} <= offered
    assert not {"suspend", "ban", "lift"} & offered
    assert not Sanction.objects.exists()


@pytest.mark.parametrize(("state", "found"), [("force", 2), ("ending", 1), ("waiting", 1), ("", 4)])
def test_sanctions_are_found_by_their_state(alice: User, settings: Settings, state: str, found: int) -> None:
    bob = factories.make_user("Bobby")
    impose(alice, Kind.MUTE, ends_at=timezone.now() + timedelta(hours=2))
    impose(bob, Kind.SUSPENSION, ends_at=timezone.now() + 5 * TOMORROW)
    sanctions.lift(sanction=impose(alice, Kind.SUSPENSION), by=None, why="", source="")
    settings.BANS_NEED_TWO = True
    impose(bob, Kind.BAN)
    client = factories.client_of(moderator())

    page = client.get(reverse(SANCTIONS), {"state": state} if state else {})

    assert page.context["cl"].result_count == found


def command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("sanction", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_imposes_lists_and_lifts(alice: User) -> None:
    tried = command("suspend", "alice1", "--reason", "Threats.", "--hours", "5", "--dry-run")
    assert "would be suspension of Alice1, until" in tried
    assert not Sanction.objects.exists()
    assert [event.action for event in audit.verified()] == []
    assert Browser().log_in("Alice1").status_code == 200

    (made,) = json.loads(
        command("suspend", "Alice1", "--reason", "Threats.", "--until", "2090-01-31T12:00", "--json")
    )
    assert (made["kind"], made["status"], made["ends_at"]) == (
        "suspension",
        "in force",
        "2090-01-31T12:00:00+00:00",
    )
    assert "in force: Threats." in command("list", "Alice1")
    assert "lifted" in command("lift", str(made["id"]), "--reason", "An error.")
    assert [event.source for event in audit.verified()] == ["command:sanction"] * 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("ban", "Nobody", "--reason", "x"), "There is nobody of that name."),
        (("ban", "Alice1"), "Say why"),
        (("ban", "Alice1", "--reason", "x", "--hours", "3"), "A ban has no end."),
        (("mute", "Alice1", "--reason", "x"), "Say until when"),
        (("mute", "Alice1", "--reason", "x", "--hours", "1", "--until", "2090-01-01"), "Say until when"),
        (("mute", "Alice1", "--reason", "x", "--until", "soon"), "--until takes a time"),
        (("mute", "Alice1", "--reason", "x", "--hours", "-1"), "The end has to be in the future."),
        (("lift", "17", "--reason", "x"), "There is no sanction of that number"),
    ],
)
def test_the_command_says_what_is_not_possible(alice: User, arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        command(*arguments)

    assert not Sanction.objects.exists()
