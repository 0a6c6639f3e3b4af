"""Operators: they find a person by exact name, see both names, and move rows only as people could."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from friends import services
from friends.models import Friendship
from securechat import events
from securechat.audit import AuditEvent
from tests import factories
from tests.friends.conftest import Heard

pytestmark = pytest.mark.django_db

LIST = "admin:friends_friendship_changelist"
Status = Friendship.Status


@pytest.fixture
def operator() -> Client:
    user = factories.make_user("Operator")
    user.is_staff = user.is_superuser = True
    user.save()
    return factories.client_of(user)


def act(operator: Client, action: str, rows: list[Friendship], **more: str) -> Any:
    chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows], **more}
    return operator.post(reverse(LIST), chosen, follow=True)


def said(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def request_of(sender: User, friend: User) -> Friendship:
    services.request_friendship(sender=sender, username=friend.username)
    return Friendship.objects.between(sender, friend).get()


def test_the_list_shows_both_names(operator: Client, friendship: Friendship) -> None:
    page = operator.get(reverse(LIST)).content.decode()

    assert "Alice1" in page
    assert "Bobby" in page


@pytest.mark.parametrize(
    ("name", "found"), [("bobby", 1), ("ALICE1", 1), ("Mallory", 0), ("Bob", 0), ("", 1)]
)
def test_a_person_is_found_by_exact_name_on_either_side(
    operator: Client, mallory: User, friendship: Friendship, name: str, found: int
) -> None:
    response = operator.get(reverse(LIST), {"q": name})

    assert response.context["cl"].result_count == found


def test_queries_do_not_grow_with_the_rows(operator: Client, alice: User) -> None:
    def queries_with(first: int, count: int) -> int:
        for number in range(first, first + count):
            factories.befriend(factories.make_user_without_keys(f"Person{number}"), alice)
        with CaptureQueriesContext(connection) as captured:
            operator.get(reverse(LIST))
        return len(captured)

    queries_with(0, 1)  # Content types are looked up once for each process.
    assert queries_with(1, 1) == queries_with(2, 48)


@pytest.mark.parametrize(
    ("blocked", "count"), [("sender", 1), ("friend", 0), ("both", 0), ("nobody", 0), ("other", 1)]
)
def test_rows_are_filtered_by_who_blocked(
    operator: Client, alice: User, friendship: Friendship, blocked: str, count: int
) -> None:
    services.block_person(blocked_by=alice, public_id=friendship.public_id)

    assert operator.get(reverse(LIST), {"blocked": blocked}).context["cl"].result_count == count


def test_ending_is_asked_for_first_then_counted_logged_and_told(
    operator: Client, alice: User, bob: User, mallory: User, friendship: Friendship, heard: Heard
) -> None:
    rows = [friendship, request_of(mallory, alice)]

    first = act(operator, "end_friendships", rows)
    assert str(friendship.public_id) in first.content.decode()
    assert Friendship.objects.accepted().count() == 1

    with heard.committing():
        answer = act(operator, "end_friendships", rows, confirmed="yes", reason="Asked for by both.")

    assert said(answer) == ["1 ended.", "1 skipped: that is not possible from their status."]
    assert Friendship.objects.get(pk=friendship.pk).status == Status.ENDED
    assert heard.taken() == [
        events.FriendshipChanged(tuple(sorted((alice.pk, bob.pk))), friendship.public_id)
    ]
    assert [entry.object_id for entry in LogEntry.objects.all()] == [str(friendship.pk)]
    event = AuditEvent.objects.get(action="friendship.end")
    assert (event.by_name, event.on) == ("Operator", f"friendship:{friendship.public_id}")
    assert (event.why, event.source) == ("Asked for by both.", "admin from 127.0.0.1")
    assert (event.before, event.after) == ('{"status":"approve"}', '{"status":"ended"}')


def test_nothing_is_ended_without_a_reason(operator: Client, friendship: Friendship) -> None:
    answer = act(operator, "end_friendships", [friendship], confirmed="yes", reason=" ")

    assert "This field is required." in answer.content.decode()
    assert Friendship.objects.accepted().count() == 1


def test_requests_are_rejected_like_by_the_person_who_was_asked(
    operator: Client, alice: User, bob: User, heard: Heard
) -> None:
    row = request_of(alice, bob)

    with heard.committing():
        assert said(
            act(operator, "reject_requests", [row], confirmed="yes", reason="Asked for by both.")
        ) == ["1 rejected."]

    assert Friendship.objects.get().status == Status.REJECT
    assert heard.taken() == [events.RequestsChanged(bob.pk)]


def test_nothing_can_be_added_deleted_or_typed_over(operator: Client, friendship: Friendship) -> None:
    change = reverse("admin:friends_friendship_change", args=[friendship.pk])

    assert operator.get(reverse("admin:friends_friendship_add")).status_code == 403
    assert operator.post(reverse("admin:friends_friendship_delete", args=[friendship.pk])).status_code == 403
    operator.post(change, {"status": Status.BLOCKED, "_save": "Save"})
    assert Friendship.objects.get().status == Status.APPROVE
    page = operator.get(change).content.decode()
    assert "Bobby" in page
    assert friendship.friend_sealed not in page


def test_staff_without_the_permission_sees_nothing(alice: User, friendship: Friendship) -> None:
    alice.is_staff = True
    alice.save()

    assert factories.client_of(alice).get(reverse(LIST)).status_code == 403
