"""The admin's lists where there is much: few questions to the database, bounded pages, and single sessions that can be ended."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from pytest_django import Settings

from accounts.models import BrowserSession, User
from bench import admin as bench
from securechat.audit import AuditEvent
from tests import factories
from tests.query_plans import statements

pytestmark = pytest.mark.django_db
LISTS_ASK_AT_MOST = bench.MOST_QUERIES


def operator(role: str) -> Client:
    user = factories.make_user_without_keys("Opera1")
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.refresh_from_db()
    user.groups.add(Group.objects.get(name=role))
    return factories.client_of(user)


def questions(root: User, client: Client) -> dict[str, int]:
    """How many each page asks: of every list, in every order, by every filter."""
    asked = {}
    for label, name, address in bench.pages(root, {"accounts.User": "crowd"}):
        with statements() as done:
            assert client.get(address).status_code == 200, address
        asked[f"{label} {name}"] = len(done)
    return asked


def test_no_list_asks_more_where_there_is_more() -> None:
    root = User.objects.create_superuser("Root01", factories.PASSWORD)
    client = factories.client_of(root)
    bench.fill(12, 40)
    few = questions(root, client)
    bench.fill(60, 400)
    many = questions(root, client)

    assert max(many.values()) <= LISTS_ASK_AT_MOST
    assert {name: (count, many[name]) for name, count in few.items() if many.get(name, 0) > count + 1} == {}
    assert len(few) > 100


def test_a_persons_page_asks_at_most_as_much() -> None:
    client = factories.client_of(User.objects.create_superuser("Root01", factories.PASSWORD))
    alice = factories.make_user("Alice1")
    for _ in range(5):
        factories.client_of(alice)

    with statements() as asked:
        client.get(f"/admin/accounts/user/{alice.pk}/change/")

    assert len(asked) <= LISTS_ASK_AT_MOST


def test_a_long_list_is_counted_and_paged_to_a_bound_and_says_so(settings: Settings) -> None:
    settings.ADMIN_LIST_ROWS = 5
    bench.fill(12, 0)
    client = factories.client_of(User.objects.create_superuser("Root01", factories.PASSWORD))

    text = client.get("/admin/accounts/user/").content.decode()

    assert "The first 5 people; search or filter to see others" in " ".join(text.split())
    assert "1 person" in " ".join(client.get("/admin/accounts/user/?q=root").content.decode().split())


def test_an_action_on_all_that_match_is_refused_where_there_are_too_many(settings: Settings) -> None:
    settings.ADMIN_ACTION_ROWS = 5
    users = bench.fill(12, 0)
    client = factories.client_of(User.objects.create_superuser("Root01", factories.PASSWORD))
    chosen = {"action": "deactivate", "select_across": "1", "_selected_action": [users[0].pk]}

    answer = client.post("/admin/accounts/user/", {**chosen, "confirmed": "yes", "reason": "x"}, follow=True)

    assert "Choose at most 5 at once. Nothing was done." in answer.content.decode()
    assert not User.objects.filter(is_active=False).exists()


def test_names_are_found_by_their_beginning_in_any_case() -> None:
    for name in ("Alice1", "alicia", "Bob01"):
        factories.make_user_without_keys(name)

    assert {user.username for user in User.objects.named_from("ALI")} == {"Alice1", "alicia"}
    assert not User.objects.named_from("lice").exists()
    assert not User.objects.named_from("%").exists()


# Sessions


def test_one_session_is_ended_from_its_persons_page_with_a_reason() -> None:
    alice = factories.make_user("Alice1")
    stolen, own = factories.client_of(alice), factories.client_of(alice)
    session = BrowserSession.objects.get(session=stolen.session.session_key)
    client = operator("Moderator")
    page = client.get(f"/admin/accounts/user/{alice.pk}/change/").content.decode()
    address = f"/admin/accounts/browsersession/{session.pk}/revoke/"
    assert "Firefox on Linux" in page
    assert "127.0.0.1" not in page
    assert address in page

    assert "Alice1, Firefox on Linux" in client.get(address).content.decode()
    client.post(address, {"confirmed": "yes", "reason": "Her telephone was stolen."})

    assert stolen.get("/settings/").status_code == 302
    assert own.get("/settings/").status_code == 200
    event = AuditEvent.objects.get(action="session.revoke")
    assert (event.on, event.why) == (f"user:{alice.pk}", "Her telephone was stolen.")


def test_who_may_not_sign_people_out_sees_no_sessions() -> None:
    alice = factories.make_user("Alice1")
    factories.client_of(alice)
    session = BrowserSession.objects.get(user=alice)
    client = operator("Auditor")

    assert client.get("/admin/accounts/browsersession/").status_code == 403
    client.post(f"/admin/accounts/browsersession/{session.pk}/revoke/", {"confirmed": "yes", "reason": "x"})

    assert BrowserSession.objects.filter(pk=session.pk).exists()


def test_a_superusers_session_is_left_to_superusers() -> None:
    root = User.objects.create_superuser("Root01", factories.PASSWORD)
    factories.client_of(root)
    session = BrowserSession.objects.get(user=root)

    operator("Moderator").post(
        f"/admin/accounts/browsersession/{session.pk}/revoke/", {"confirmed": "yes", "reason": "x"}
    )

    assert BrowserSession.objects.filter(pk=session.pk).exists()
