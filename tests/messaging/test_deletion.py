"""An account is deleted: what goes, what friends keep, whichever of the two asked for the friendship."""

from __future__ import annotations

import io
import json
import threading
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connections, models

from accounts.errors import DeletionRefused, UsernameTaken
from accounts.models import BrowserSession, Door, KeyChainEntry, RecoveryCode, User, Vault
from accounts.services import passwords
from accounts.services.deletion import Deletion, delete_account
from friends import services
from friends.errors import UnknownUsername
from friends.models import Friendship
from messaging import protocol
from messaging.connection import CloseCode
from messaging.models import Conversation, Envelope, Report
from messaging.services import reports
from securechat.audit import AuditEvent
from tests import factories
from tests.accounts.browser import signed_in
from tests.messaging.conftest import Person, befriend, make_person
from tests.messaging.test_reading import chain_of, fill, page

pytestmark = pytest.mark.django_db(transaction=True)

# Of each relation to an account: what becomes of its rows. A new one has to be decided here, and in the export.
DECIDED = {
    "accounts.BrowserSession.user": "goes",
    "accounts.DailySignal.user": "goes",
    "accounts.Door.user": "goes",
    "accounts.Invite.made_by": "stays, without the name",
    "accounts.KeyChainEntry.user": "stays while a friend keeps a conversation",
    "accounts.RecoveryCode.user": "goes",
    "accounts.Sanction.user": "goes",
    "accounts.Sanction.imposed_by": "stays, without the name of who imposed it",
    "accounts.Vault.user": "goes",
    "admin.LogEntry.user": "goes",
    "friends.Friendship.sender": "stays where it was approved and the friend's account is there",
    "messaging.Report.assignee": "stays, without the name",
    "messaging.Report.reported": "stays, with the name as it was",
    "otp_static.StaticDevice.user": "goes",
    "otp_totp.TOTPDevice.user": "goes",
    "accounts.User.groups": "goes",
    "accounts.User.user_permissions": "goes",
}


def delete(user: User, **more: Any) -> Deletion:
    return delete_account(user=user, by=None, source="test", why="Because.", **more)


@pytest.fixture
def conversation(request: pytest.FixtureRequest, a: Person, b: Person) -> UUID:
    """``a`` asked, or was asked."""
    first, second = (a, b) if getattr(request, "param", "a asked") == "a asked" else (b, a)
    return befriend(first, second)


either = pytest.mark.parametrize("conversation", ["a asked", "a was asked"], indirect=True)


@either
async def test_the_friend_keeps_all_of_it_and_is_told(a: Person, b: Person, conversation: UUID) -> None:
    async with b.socket() as bob:
        await fill(bob, b.tab(conversation), 3)
        await sync_to_async(delete)(a.user)

        told = await bob.next(protocol.ConversationChanged)
        history = await bob.ask(page(conversation, "before", 0), protocol.History)
        chain = await bob.ask(chain_of("peer", conversation), protocol.Chain)
        refusal = await bob.refusal_of(b.tab(conversation).send(9))

    assert (told.summary.peer, told.summary.open, told.summary.peer_deleted) == ("Alice1", False, True)
    assert told.summary.peer_has_keys
    assert (len(history.rows), len(chain.entries)) == (3, 2)
    assert refusal == "conversation_closed"


@either
async def test_open_sockets_of_who_is_gone_are_closed(a: Person, conversation: UUID) -> None:
    async with a.socket() as alice:
        await sync_to_async(delete)(a.user)

        assert await alice.closed_with() == CloseCode.SIGNED_OUT


@either
def test_what_was_the_accounts_is_gone_and_the_name_is_kept(a: Person, b: Person, conversation: UUID) -> None:
    deletion = delete(a.user)

    gone = User.objects.get(pk=a.user.pk)
    assert gone.is_deleted
    assert not gone.is_active
    assert not gone.has_usable_password()
    for model in (BrowserSession, Vault, Door, RecoveryCode):
        assert not model.objects.filter(user=gone).exists()
    assert KeyChainEntry.objects.filter(user=gone).count() == 2
    assert Session.objects.count() == 1  # Bobby's.
    assert deletion.removed["vaults"] == 1
    assert deletion.kept["conversations, for the friend"] == 1
    with pytest.raises(UsernameTaken):
        factories.make_user("alice1")
    assert passwords.log_in_parameters("Alice1") == passwords.log_in_parameters("ALICE1")
    assert signed_in("Bobby").client.get("/friends/").status_code == 200


def test_without_friends_the_whole_account_goes_and_the_name_is_free(a: Person) -> None:
    delete(a.user)

    assert not User.objects.filter(pk=a.user.pk).exists()
    assert not KeyChainEntry.objects.exists()
    factories.make_user("Alice1")


@either
def test_when_the_last_friend_goes_too_all_of_it_goes(a: Person, b: Person, conversation: UUID) -> None:
    delete(a.user)
    deletion = delete(b.user)

    assert not User.objects.exists()
    assert not Conversation.objects.exists()
    assert deletion.removed["conversations that nobody else has"] == 1
    assert deletion.removed["names of deleted friends"] == 1


async def test_messages_of_two_deleted_people_go_with_them(a: Person, b: Person) -> None:
    conversation = await sync_to_async(befriend)(a, b)
    async with b.socket() as bob:
        await fill(bob, b.tab(conversation), 3)
    await sync_to_async(delete)(a.user)
    assert await Envelope.objects.acount() == 3

    await sync_to_async(delete)(b.user)

    assert await Envelope.objects.acount() == 0


def test_a_third_friend_still_keeps_the_name(a: Person, b: Person, m: Person) -> None:
    befriend(a, b)
    befriend(m, a)
    delete(a.user)
    delete(b.user)

    assert User.objects.get(folded_name="alice1").is_deleted
    assert not User.objects.filter(folded_name="bobby").exists()


def test_requests_and_blocks_go(a: Person, b: Person, m: Person) -> None:
    services.request_friendship(sender=a.user, username="Bobby")
    services.request_friendship(sender=m.user, username="Alice1")
    asked = Friendship.objects.between(a.user, m.user).get()
    services.block_person(blocked_by=a.user, public_id=asked.public_id)

    deletion = delete(a.user)

    assert not Friendship.objects.exists()
    assert deletion.removed["requests and blocks"] == 2


def test_a_friend_who_blocked_can_still_lift_it_and_asks_nobody(a: Person, b: Person) -> None:
    befriend(a, b)
    row = Friendship.objects.between(a.user, b.user).get()
    services.block_person(blocked_by=b.user, public_id=row.public_id)
    delete(a.user)

    services.unblock_person(unblocked_by=b.user, public_id=row.public_id)

    assert Friendship.objects.get().status == Friendship.Status.ENDED
    with pytest.raises(UnknownUsername):
        services.request_friendship(sender=b.user, username="Alice1")


def test_a_request_after_the_end_is_withdrawn(a: Person, b: Person) -> None:
    befriend(a, b)
    row = Friendship.objects.between(a.user, b.user).get()
    services.end_friendship(ended_by=a.user, public_id=row.public_id)
    services.request_friendship(sender=a.user, username="Bobby")
    assert Friendship.objects.received_by(b.user).count() == 1

    delete(a.user)

    assert Friendship.objects.received_by(b.user).count() == 0
    assert Friendship.objects.get().status == Friendship.Status.ENDED


def test_who_is_gone_can_still_be_reported_and_not_be_sanctioned(
    a: Person, b: Person, conversation: UUID
) -> None:
    delete(a.user)

    report = reports.make_report(
        by=b.user, conversation=conversation, category=Report.Category.THREAT, note="", disclosed=()
    )

    assert report.reported == a.user


def test_a_dry_run_says_the_same_and_changes_nothing(a: Person, b: Person, conversation: UUID) -> None:
    before = AuditEvent.objects.count()

    would = delete(a.user, dry_run=True)

    assert User.objects.get(pk=a.user.pk).is_active
    assert Friendship.objects.get().is_open
    assert AuditEvent.objects.count() == before
    done = delete(a.user)
    assert (would.removed, would.kept) == (done.removed, done.kept)


def test_the_trail_has_it_and_keeps_the_name(a: Person) -> None:
    delete(a.user)

    event = AuditEvent.objects.order_by("n").last()
    assert event is not None
    assert (event.action, event.on, event.why) == ("user.delete", f"user:{a.user.pk}", "Because.")
    assert json.loads(event.before)["username"] == "Alice1"


def test_a_superuser_is_not_deleted(a: Person) -> None:
    User.objects.filter(pk=a.user.pk).update(is_superuser=True)

    with pytest.raises(DeletionRefused, match="superuser"):
        delete(a.user)


@either
def test_of_two_deletions_at_once_one_is_refused(a: Person, b: Person, conversation: UUID) -> None:
    refused: list[str] = []
    barrier = threading.Barrier(2)

    def run() -> None:
        barrier.wait()
        try:
            delete(a.user)
        except DeletionRefused as refusal:
            refused.append(str(refusal))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert refused == ["This account is deleted already."]
    assert AuditEvent.objects.filter(action="user.delete").count() == 1


def test_every_relation_to_an_account_is_decided() -> None:
    found = {
        f"{model._meta.label}.{field.name}"
        for model in apps.get_models()
        for field in (*model._meta.local_fields, *model._meta.local_many_to_many)
        if (field.related_model is User and isinstance(field, models.ForeignKey))
        or (model is User and isinstance(field, models.ManyToManyField))
    }
    assert found == set(DECIDED)


# The command


def command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("delete_user", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_says_what_goes_and_what_is_left(a: Person, b: Person, conversation: UUID) -> None:
    said = command("Alice1", "--dry-run")

    assert "Alice1: would be deleted" in said
    assert "1 vaults" in said
    assert "left: 1 conversations, for the friend" in said
    assert "Nothing was changed." in said
    assert User.objects.get(pk=a.user.pk).is_active


def test_the_command_asks_for_the_name(a: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "yes")
    with pytest.raises(CommandError, match="not the name"):
        command("Alice1", "--reason", "Because.")
    assert User.objects.filter(pk=a.user.pk).exists()

    monkeypatch.setattr("builtins.input", lambda *_: "Alice1")
    command("Alice1", "--reason", "Because.")
    assert not User.objects.filter(pk=a.user.pk).exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("Alice1", "--yes"), "Say why"),
        (("Nobody1", "--reason", "x", "--yes"), "nobody of that name"),
        (("Alice1", "--reason", "x", "--json"), "give --yes"),
    ],
)
def test_the_command_refuses(a: Person, arguments: tuple[str, ...], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        command(*arguments)


def test_the_command_answers_programs(a: Person) -> None:
    said = json.loads(command("Alice1", "--reason", "x", "--yes", "--json"))

    assert (said["deleted"], said["name_stays"], said["removed"]["vaults"]) == (True, False, 1)


# By oneself


def test_nobody_is_deleted_without_the_password() -> None:
    user = factories.make_user("Alice1")
    browser = signed_in("Alice1")

    answer = browser.post(
        "/api/account/delete/", {"auth_key": factories.auth_key_for("Alice1", "Wr0ng#password")}
    )

    assert answer.json()["code"] == "wrong_credentials"
    assert User.objects.filter(pk=user.pk, is_active=True).exists()


def test_with_it_the_account_goes_and_the_browser_is_signed_out() -> None:
    factories.make_user("Alice1")
    browser = signed_in("Alice1")

    answer = browser.post("/api/account/delete/", {"auth_key": factories.auth_key_for("Alice1")})

    assert answer.status_code == 200
    assert not User.objects.exists()
    assert not browser.is_signed_in
    event = AuditEvent.objects.order_by("n").last()
    assert event is not None
    assert (event.by_name, event.source) == ("Alice1", "settings")


def test_in_the_admin_it_is_asked_first_and_says_what_goes() -> None:
    alice = make_person("Alice1")
    befriend(alice, make_person("Bobby"))
    client = factories.client_of(User.objects.create_superuser("Root01", factories.PASSWORD))
    address = f"/admin/accounts/user/{alice.user.pk}/delete/"

    page_ = client.get(address).content.decode()
    assert "1 vaults" in page_
    assert "1 conversations, for the friend" in page_
    assert User.objects.get(pk=alice.user.pk).is_active

    client.post(address, {"confirmed": "yes", "reason": ""})
    assert User.objects.get(pk=alice.user.pk).is_active

    client.post(address, {"confirmed": "yes", "reason": "Asked for it."})
    assert User.objects.get(pk=alice.user.pk).is_deleted
    shown = client.get(f"/admin/accounts/user/{alice.user.pk}/change/")
    assert shown.status_code == 200
    assert "_save" not in shown.content.decode()
