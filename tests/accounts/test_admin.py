from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import User
from securechat import events
from tests.accounts.browser import Browser
from tests.accounts.conftest import Committing
from tests.accounts.test_pages import CANARY, data_of
from tests.factories import PASSWORD, auth_key_for, client_of, make_user_without_keys

pytestmark = pytest.mark.django_db
PEOPLE = "/admin/accounts/user/"


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("Root01", PASSWORD)


@pytest.fixture
def moderator() -> User:
    user = make_user_without_keys("Moder1")
    user.is_staff = True
    user.save()
    codenames = ["view_user", "change_user", "delete_user", "deactivate_user"]
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


def act(client: Client, action: str, *people: User) -> Any:
    chosen = {"action": action, "_selected_action": [user.pk for user in people]}
    return client.post(PEOPLE, {**chosen, "confirmed": "yes", "reason": "Asked for."}, follow=True)


def test_the_admins_log_in_takes_a_derived_key(root: User, client: Client) -> None:
    response = client.post("/admin/login/", {"username": "root01", "password": auth_key_for("Root01")})

    assert response.status_code == 302
    assert client.session["_auth_user_id"] == str(root.pk)


def test_the_admins_log_in_refuses_a_plain_password_and_does_not_echo_it(
    root: User, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    User.objects.create_superuser("Root02", CANARY)

    response = client.post("/admin/login/", {"username": "Root02", "password": CANARY})

    assert response.status_code == 200
    assert "this page needs JavaScript" in str(response.context["form"].errors)
    assert CANARY not in response.content.decode()
    assert CANARY not in caplog.text
    assert "_auth_user_id" not in client.session


def test_the_admins_log_in_is_limited_like_the_other(root: User, client: Client, settings: Any) -> None:
    settings.LOG_IN_ATTEMPTS_PER_NAME = 2
    wrong = {"username": "Root01", "password": auth_key_for("Root01", "Wr0ng#One")}

    for _ in range(2):
        client.post("/admin/login/", wrong)
    response = client.post("/admin/login/", {"username": "Root01", "password": auth_key_for("Root01")})

    assert "too fast" in str(response.context["form"].errors)
    assert Browser().log_in("Root01").status_code == 429
    assert "_auth_user_id" not in client.session


def test_the_admins_log_in_is_the_same_script_and_goes_where_it_was_asked(client: Client) -> None:
    data = data_of(client.get("/admin/login/", {"next": PEOPLE}))

    assert data["next"] == PEOPLE
    assert data_of(client.get("/admin/login/", {"next": "/chat/"}))["next"] == "/admin/"
    assert (
        data_of(client.get("/admin/login/", {"next": "https://elsewhere.example/admin/"}))["next"]
        == "/admin/"
    )


def test_who_is_no_staff_is_told_so(alice: User) -> None:
    response = client_of(alice).get("/admin/", follow=True)

    assert response.context["not_staff"] == "Alice1"


def test_the_admin_never_asks_for_a_password_itself(root: User, alice: User) -> None:
    client = client_of(root)

    assert client.get("/admin/password_change/").headers["Location"] == "/settings/"
    assert client.get(f"{PEOPLE}{alice.pk}/password/").status_code in (302, 404)
    assert client.get(f"{PEOPLE}add/").status_code == 403


def test_the_admins_log_out_is_the_sites(
    root: User, heard: list[events.Event], committing: Committing
) -> None:
    client = client_of(root)

    with committing():
        client.post("/admin/logout/")

    assert "_auth_user_id" not in client.session
    assert events.SessionsChanged(root.pk) in heard


def test_a_person_is_shown_without_password_and_keys(root: User, alice: User) -> None:
    client = client_of(root)
    page = client.get(f"{PEOPLE}{alice.pk}/change/")

    fields = set(page.context["adminform"].form.fields)
    assert fields == {"is_active", "is_staff", "is_superuser", "groups", "user_permissions"}
    text = page.content.decode()
    assert alice.password not in text
    assert alice.session_stamp not in text


def test_people_are_found_by_the_beginning_of_their_name_in_any_case(
    root: User, alice: User, bob: User
) -> None:
    page = client_of(root).get(PEOPLE, {"q": "aLIc"})

    assert [user.username for user in page.context["cl"].result_list] == ["Alice1"]


def test_deactivating_ends_sessions_and_activating_lets_in_again(
    root: User, alice: User, heard: list[events.Event], committing: Committing
) -> None:
    theirs, client = client_of(alice), client_of(root)

    with committing():
        response = act(client, "deactivate", alice)

    assert "1 deactivated, 0 left as they were." in response.content.decode()
    assert theirs.get("/settings/").status_code == 302
    assert events.SessionsChanged(alice.pk) in heard
    act(client, "activate", alice)
    assert Browser().log_in("Alice1").status_code == 200


def test_nobody_deactivates_themselves(root: User) -> None:
    response = act(client_of(root), "deactivate", root)

    assert "0 deactivated, 1 left as they were." in response.content.decode()
    assert User.objects.by_name("Root01") is not None


def test_a_moderator_cannot_touch_a_superuser_nor_give_rights(
    moderator: User, root: User, alice: User
) -> None:
    client = client_of(moderator)

    act(client, "deactivate", root)
    client.post(f"{PEOPLE}{moderator.pk}/change/", {"is_superuser": "on", "is_active": "on"})
    client.post(f"{PEOPLE}{alice.pk}/change/", {"is_staff": "on", "is_active": "on"})
    client.post(f"{PEOPLE}{root.pk}/change/", {})
    client.post(f"{PEOPLE}{root.pk}/delete/", {"post": "yes"})

    for user in (root, moderator, alice):
        user.refresh_from_db()
    assert (root.is_active, root.is_superuser) == (True, True)
    assert not moderator.is_superuser
    assert not alice.is_staff


def test_a_moderator_can_suspend_a_person(moderator: User, alice: User) -> None:
    client_of(moderator).post(f"{PEOPLE}{alice.pk}/change/", {})

    alice.refresh_from_db()
    assert not alice.is_active


def test_a_person_that_is_no_staff_sees_nothing(alice: User) -> None:
    assert client_of(alice).get(PEOPLE).status_code == 302
