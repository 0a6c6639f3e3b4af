"""Whatever operators and commands change is in the audit trail: every action and every command, found by walking.

A new action or command has no entry here, and fails: give it one, or say that it changes nothing.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.core.management import call_command, get_commands
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from accounts.demo_people import DEMO_PASSWORDS
from accounts.models import BrowserSession, Invite, Sanction, User
from accounts.services import invites
from friends import services
from friends.models import Friendship
from messaging.models import Report
from messaging.services import reports
from securechat import audit, sealed
from securechat.audit import AuditEvent
from securechat.audited_admin import AuditedModelAdmin, ReadOnlyAdmin
from tests import factories
from tests.accounts.browser import Browser
from tests.accounts.test_sanctions import impose
from tests.factories import PASSWORD
from tests.first_version import FirstVersion
from tests.messaging.test_demo_attack import make_talk

pytestmark = pytest.mark.django_db
OURS = ("securechat", "accounts", "friends", "messaging")
REASON = {"confirmed": "yes", "reason": "Asked for by both.", "hours": "24", "until": "2090-01-01T12:00"}


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("Root01", PASSWORD)


@pytest.fixture
def operator(root: User) -> Client:
    return factories.client_of(root)


@pytest.fixture(autouse=True)
def _own_files(settings: Settings, tmp_path: Path) -> None:
    """Made before the people of a test are."""
    settings.KEYS_FILE = str(tmp_path / "keys.json")
    settings.CERTS_DIR = str(tmp_path / "certs")
    settings.VAR_DIR = str(tmp_path)
    sealed.write_key_file(sealed.new_key_ring(), Path(settings.KEYS_FILE))


def recorded_since(n: int) -> list[tuple[str, str]]:
    return [(event.action, event.on) for event in audit.verified() if event.n > n]


def newest() -> int:
    head = AuditEvent.objects.head()
    return head.n if head else 0


# The admin's actions

Target = Callable[[], Any]


def a_person() -> User:
    return factories.make_user("Alice1")


def an_invite() -> Invite:
    return invites.make(uses=1, days=1, note="", by=None, source="test")[0]


def an_inactive_person() -> User:
    user = factories.make_user_without_keys("Alice1")
    User.objects.filter(pk=user.pk).update(is_active=False)
    return user


def an_enrolled_person() -> User:
    user = User.objects.create_superuser("Root02", PASSWORD)
    factories.client_of(user)
    return user


def a_friendship() -> Friendship:
    return factories.befriend(factories.make_user("Alice1"), factories.make_user("Bobby"))


def a_request() -> Friendship:
    alice, bob = factories.make_user("Alice1"), factories.make_user("Bobby")
    services.request_friendship(sender=alice, username="Bobby")
    return Friendship.objects.between(alice, bob).get()


def a_report() -> Report:
    friendship = a_friendship()
    return reports.make_report(
        by=User.objects.get_by_natural_key("Bobby"),
        conversation=friendship.public_id,
        category=Report.Category.SPAM,
        note="",
        disclosed=(),
    )


def a_claimed_report() -> Report:
    report = a_report()
    reports.claim_reports(ids=[report.pk], by=User.objects.get_by_natural_key("Root01"))
    return report


def a_mute() -> Sanction:
    return impose(a_person(), Sanction.Kind.MUTE)


def a_ban_that_waits() -> Sanction:
    ban = impose(a_person(), Sanction.Kind.BAN)
    ban.needs_approval = True
    ban.save()
    return ban


def a_session() -> BrowserSession:
    person = a_person()
    factories.client_of(person)
    return person.sessions.get()


def a_group() -> Group:
    return Group.objects.create(name="Night shift")


# What each action is tried on; the names of the events that it has to leave.
ACTIONS: dict[tuple[str, str], tuple[Target, list[str]]] = {
    **{
        (label, act): (make, [f"user.{act}", *then])
        for act in ("warn", "mute", "suspend", "ban")
        for label, make, then in (
            ("accounts.User", a_person, []),
            ("messaging.Report", a_report, ["report.resolve"]),
        )
    },
    ("accounts.Sanction", "lift"): (a_mute, ["sanction.lift"]),
    ("accounts.Sanction", "approve"): (a_ban_that_waits, ["sanction.approve"]),
    ("accounts.User", "activate"): (an_inactive_person, ["user.activate"]),
    ("accounts.User", "deactivate"): (a_person, ["user.deactivate"]),
    ("accounts.User", "sign_out"): (a_person, ["user.sign_out"]),
    ("accounts.User", "reset_second_factor"): (an_enrolled_person, ["second_factor.reset"]),
    ("accounts.Invite", "revoke"): (an_invite, ["invite.revoke"]),
    ("accounts.User", "delete_account"): (a_person, ["user.delete"]),
    ("accounts.BrowserSession", "revoke"): (a_session, ["session.revoke"]),
    ("auth.Group", "delete_selected"): (a_group, ["group.delete"]),
    ("messaging.Report", "claim"): (a_report, ["report.claim"]),
    ("messaging.Report", "release"): (a_claimed_report, ["report.release"]),
    ("messaging.Report", "dismiss"): (a_claimed_report, ["report.dismiss"]),
    ("messaging.Report", "resolve"): (a_claimed_report, ["report.resolve"]),
    ("friends.Friendship", "end_friendships"): (a_friendship, ["friendship.end"]),
    ("friends.Friendship", "reject_requests"): (a_request, ["friendship.reject"]),
}


def actions_of_the_admin(client: Client) -> set[tuple[str, str]]:
    found = set()
    for model in admin.site._registry:
        page = client.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"))
        form = page.context["action_form"]
        if form is not None:
            found |= {(model._meta.label, name) for name, _ in form.fields["action"].choices if name}
    return found


def test_every_action_of_the_admin_is_tried_here(operator: Client) -> None:
    a_request()
    impose(User.objects.get_by_natural_key("Alice1"), Sanction.Kind.MUTE)
    a_group()  # An empty list shows no actions.

    assert actions_of_the_admin(operator) == set(ACTIONS)


@pytest.mark.parametrize("action", ACTIONS, ids=" ".join)
def test_an_action_leaves_an_event(operator: Client, action: tuple[str, str]) -> None:
    label, name = action
    make, events = ACTIONS[action]
    row = make()
    options = row._meta
    before = newest()

    operator.post(
        reverse(f"admin:{options.app_label}_{options.model_name}_changelist"),
        {"action": name, "_selected_action": [row.pk], "post": "yes", **REASON},
    )

    left = [each for each in audit.verified() if each.n > before]
    assert label == options.label
    assert [each.action for each in left] == events
    assert {(each.by_name, each.source) for each in left} == {("Root01", "admin from 127.0.0.1")}
    assert all(each.on for each in left)


def test_every_form_of_the_admin_is_audited_or_read_only() -> None:
    others = [
        model._meta.label
        for model, model_admin in admin.site._registry.items()
        if not isinstance(model_admin, AuditedModelAdmin | ReadOnlyAdmin)
    ]

    assert others == []


def test_a_change_by_a_form_says_what_was_before_and_after(operator: Client, alice: User) -> None:
    moderators = Group.objects.get(name="Moderator")
    before = newest()
    change = reverse("admin:accounts_user_change", args=[alice.pk])
    no_rows = ("TOTAL_FORMS", "INITIAL_FORMS")
    no_inlines = {f"{inline}-{name}": "0" for inline in ("sanctions", "sessions") for name in no_rows}
    form = {"is_staff": "on", "is_active": "on", "groups": [moderators.pk], **no_inlines}

    operator.post(change, form)
    operator.post(change, form)
    operator.post(reverse("admin:accounts_user_delete", args=[alice.pk]), REASON)
    operator.post(reverse("admin:auth_group_add"), {"name": "Night shift"})

    first, second, third = (event for event in audit.verified() if event.n > before)
    assert (first.action, first.on) == ("user.change", f"user:{alice.pk}")
    assert first.before == '{"groups":[],"is_staff":false}'
    assert first.after == '{"groups":["Moderator"],"is_staff":true}'
    assert (second.action, second.before) == ("user.delete", '{"is_staff":true,"username":"Alice1"}')
    assert second.why == REASON["reason"]
    assert (third.action, third.after) == ("group.add", '{"name":"Night shift"}')


def test_an_operator_who_acted_can_be_deleted_and_the_trail_keeps_the_name(
    operator: Client, alice: User
) -> None:
    other = User.objects.create_superuser("Root02", PASSWORD)
    theirs = factories.client_of(other)
    theirs.post(
        reverse("admin:accounts_user_changelist"),
        {"action": "sign_out", "_selected_action": [alice.pk], **REASON},
    )
    assert LogEntry.objects.filter(user=other).exists()

    User.objects.filter(pk=other.pk).update(is_superuser=False)
    operator.post(reverse("admin:accounts_user_delete", args=[other.pk]), REASON)

    assert not User.objects.filter(pk=other.pk).exists()
    assert not LogEntry.objects.filter(user=other.pk).exists()
    assert [event.by_name for event in audit.verified() if event.action == "user.sign_out"] == ["Root02"]


# Log-ins of operators


def test_log_ins_of_operators_are_recorded_right_and_refused_ones_by_script_and_by_form(
    root: User, alice: User, client: Client
) -> None:
    before = newest()
    for name in ("Root01", "Alice1"):
        Browser().log_in(name)
        Browser().log_in(name, "Wr0ng#One")
    wrong = factories.auth_key_for("Root01", "Wr0ng#One")
    client.post("/admin/login/", {"username": "root01", "password": wrong})
    client.post("/admin/login/", {"username": "Nobody", "password": wrong})
    client.post("/admin/login/", {"username": "Root01", "password": factories.auth_key_for("Root01")})

    on = f"user:{root.pk}"
    assert recorded_since(before) == [
        ("operator.log_in", on),
        ("operator.refuse_log_in", on),
        ("operator.refuse_log_in", on),
        ("operator.log_in", on),
    ]


# Commands

CHANGE_NOTHING = {
    "audit_verify",
    "demo",  # Its people do what they do over the network, as anybody could.
    "doctor",
    "presence",
    "serve",
    "stats",
    "verify_assets",
    "verify_proof",
    "verify_report",
}


def _createsuperuser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    run("createsuperuser", username="Root02", interactive=False)


def _changepassword(monkeypatch: pytest.MonkeyPatch) -> None:
    factories.make_user("Alice1")
    monkeypatch.setattr("accounts.management.commands.changepassword.getpass", lambda *_: "An0ther#One")
    run("changepassword", "Alice1")


def _init_keys(settings: Settings) -> None:
    Path(settings.KEYS_FILE).unlink()
    run("init_keys")


def _demo_attack() -> None:
    make_talk(("Alice", "Bobby"), (DEMO_PASSWORDS["Alice"], DEMO_PASSWORDS["Bobby"]))
    run("demo_attack", "flip-byte")


def _import_first_version(tmp_path: Path) -> None:
    old = FirstVersion(tmp_path)
    old.add_person("Alice1")
    run("import_first_version", "--database", str(old.database), "--key", str(old.key))


def run(*arguments: str, **options: Any) -> None:
    call_command(*arguments, stdout=io.StringIO(), stderr=io.StringIO(), **options)


def _backup(tmp_path: Path) -> None:
    run("backup", str(tmp_path / "one.scb"), "--new-key", str(tmp_path / "backup.key"))


def _restore(tmp_path: Path) -> None:
    """The backup has a connection of its own, so what this test has not committed is not in it: the trail begins anew."""
    key = str(tmp_path / "backup.key")
    _backup(tmp_path)
    run("restore", str(tmp_path / "one.scb"), "--key-file", key, "--replace", "--no-input")


# What a command is run with; the arguments of the function are fixtures.
COMMANDS: dict[str, tuple[Callable[..., None], list[str]]] = {
    "backup": (_backup, ["backup.make"]),
    "certs": (lambda: run("certs", "init"), ["certificate.init"]),
    "changepassword": (_changepassword, ["user.change_password"]),
    "createsuperuser": (_createsuperuser, ["user.make_superuser"]),
    "delete_user": (
        lambda alice: run("delete_user", "Alice1", "--reason", "Asked for it.", "--yes"),
        ["user.delete"],
    ),
    "demo_attack": (_demo_attack, ["demo.attack"]),
    "expire_sessions": (lambda alice: run("expire_sessions", "--user", "Alice1"), ["user.sign_out"]),
    "export_user": (lambda alice: run("export_user", "Alice1", "-"), ["user.export"]),
    "import_first_version": (_import_first_version, ["first_version.import"]),
    "init_keys": (_init_keys, ["key.init"]),
    "invite": (lambda: run("invite", "make"), ["invite.make"]),
    "prune": (lambda: run("prune"), ["prune.run"]),
    "restore": (_restore, ["backup.restore"]),
    "rotate_keys": (lambda: run("rotate_keys", "fernet"), ["key.make", "key.rotate"]),
    "sanction": (lambda alice: run("sanction", "warn", "Alice1", "--reason", "Stop."), ["user.warn"]),
    "second_factor": (lambda root: run("second_factor", "enrol", "Root01"), ["second_factor.enrol"]),
}


def commands_of_the_project() -> set[str]:
    """And those of Django that make accounts."""
    ours = {apps.get_app_config(label).name for label in OURS}
    found = {name for name, app in get_commands().items() if app in ours}
    return found | {"createsuperuser", "changepassword"}


def test_every_command_is_run_here_or_changes_nothing() -> None:
    assert commands_of_the_project() == set(COMMANDS) | CHANGE_NOTHING


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_leaves_an_event(name: str, request: pytest.FixtureRequest) -> None:
    command, expected = COMMANDS[name]
    wanted = command.__code__.co_varnames[: command.__code__.co_argcount]
    arguments = [request.getfixturevalue(fixture) for fixture in wanted]
    before = newest()

    command(*arguments)

    left = [event for event in audit.verified() if event.n > before]
    assert [event.action for event in left] == expected
    assert {(event.by_id, event.source) for event in left} == {(None, f"command:{name}")}
