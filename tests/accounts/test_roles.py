"""What each role may do in the admin, and that being staff alone is nothing."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.urls import reverse

from accounts.models import User
from tests import factories

pytestmark = pytest.mark.django_db
ROLES = ["Moderator", "Senior moderator", "Auditor", "Operator"]
PEOPLE = "/admin/accounts/user/"


def somebody_who_is(role: str | None) -> User:
    user = factories.make_user_without_keys("Oscar1")
    user.is_staff = True
    user.save()
    if role:
        user.groups.add(Group.objects.get(name=role))
    return user


def test_staff_without_a_role_sees_nothing(alice: User) -> None:
    client = factories.client_of(somebody_who_is(None))

    assert client.get("/admin/").context["app_list"] == []
    for model in admin.site._registry:
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        assert client.get(reverse(f"admin:{name}_changelist")).status_code == 403, name


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_permissions_that_exist_and_gives_no_rights(role: str) -> None:
    given = Group.objects.get(name=role).permissions.all()
    known = {permission for model in admin.site._registry for permission in _permissions_of(model)}

    assert given
    assert {(each.content_type.app_label, each.codename) for each in given} <= known
    forbidden = {"change_user", "add_user", "change_group", "add_group", "delete_group", "change_permission"}
    assert not forbidden & {each.codename for each in given}


def _permissions_of(model: type) -> set[tuple[str, str]]:
    options = model._meta  # type: ignore[attr-defined]
    own = {codename for codename, _ in options.permissions}
    standard = {f"{verb}_{options.model_name}" for verb in options.default_permissions}
    return {(options.app_label, codename) for codename in own | standard}


@pytest.mark.parametrize(
    ("role", "pages"),
    [
        ("Moderator", {"accounts_user", "accounts_sanction", "friends_friendship", "messaging_conversation"}),
        (
            "Senior moderator",
            {"accounts_user", "accounts_sanction", "friends_friendship", "messaging_conversation"},
        ),
        ("Auditor", {"securechat_auditevent", "admin_logentry"}),
        ("Operator", {"accounts_user", "messaging_conversation"}),
    ],
)
def test_a_role_opens_its_pages_and_no_others(role: str, pages: set[str]) -> None:
    client = factories.client_of(somebody_who_is(role))

    opened = set()
    for model in admin.site._registry:
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        if client.get(reverse(f"admin:{name}_changelist")).status_code == 200:
            opened.add(name)
    assert pages <= opened
    known = {"accounts_user", "friends_friendship", "messaging_conversation", "securechat_auditevent"}
    assert not (opened - pages) & {*known, "admin_logentry", "auth_group"}


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("Moderator", {"sign_out", "warn", "mute"}),
        ("Senior moderator", {"sign_out", "activate", "deactivate", "warn", "mute", "suspend", "ban"}),
        ("Operator", {"sign_out", "activate", "deactivate", "reset_second_factor", "delete_account"}),
    ],
)
def test_a_role_is_offered_its_actions_on_people_and_refused_the_others(
    role: str, may: set[str], alice: User
) -> None:
    client = factories.client_of(somebody_who_is(role))

    form = client.get(PEOPLE).context["action_form"]
    offered = {name for name, _ in form.fields["action"].choices if name}
    assert may <= offered
    assert not (offered - may) & {"activate", "deactivate", "sign_out", "reset_second_factor"}

    chosen = {"action": "deactivate", "_selected_action": [alice.pk], "confirmed": "yes", "reason": "Tried."}
    client.post(PEOPLE, chosen)
    alice.refresh_from_db()
    assert alice.is_active == ("deactivate" not in may)


def test_the_roles_permissions_are_made_once(alice: User) -> None:
    """The migration made rows that Django makes itself, too."""
    rows = Permission.objects.values_list("content_type__app_label", "codename")

    assert len(rows) == len(set(rows))
