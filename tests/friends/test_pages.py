"""The pages as forms: what somebody without JavaScript sees and can do."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django.fixtures import Settings

from accounts.models import User
from friends import services
from friends.models import Friendship
from tests import factories

pytestmark = pytest.mark.django_db

ClientOf = Callable[[User], Client]
Status = Friendship.Status


def said(response: Any) -> list[str]:
    """The messages on the page that a form led to."""
    page = response.content.decode()
    sentences = [str(message) for message in response.context["messages"]]
    assert all(sentence in unescape(page) for sentence in sentences)
    return sentences


def ask(sender: User, friend: User) -> Friendship:
    services.request_friendship(sender=sender, username=friend.username)
    return Friendship.objects.between(sender, friend).get()


@pytest.mark.parametrize("name", ["friend-list", "friend-add", "friend-requests"])
def test_pages_are_for_people_who_are_logged_in(client: Client, name: str) -> None:
    response = client.get(reverse(name))

    assert response.status_code == 302
    assert response["Location"].startswith(reverse("log-in"))


def test_a_request_is_sent_by_a_form(alice: User, bob: User, client_of: ClientOf) -> None:
    response = client_of(alice).post(reverse("friend-add"), {"username": "boBBy"}, follow=True)

    assert "Friend request sent!" in said(response)
    assert Friendship.objects.received_by(bob).exists()


def test_refusals_stand_beside_the_field_and_keep_what_was_typed(alice: User, client_of: ClientOf) -> None:
    browser = client_of(alice)

    for name, sentence in (
        ("nobody99", "Unknown username!"),
        ("<nobody>", "Unknown username!"),
        ("alice1", "You can&#x27;t add yourself as a friend!"),
        ("", "Enter the username of the person you want to add."),
    ):
        page = browser.post(reverse("friend-add"), {"username": name}).content.decode()
        assert sentence in page
        assert 'aria-invalid="true"' in page
        assert "<nobody>" not in page
    assert 'value="alice1"' in browser.post(reverse("friend-add"), {"username": "alice1"}).content.decode()


def test_too_many_requests_say_when_to_come_back(
    alice: User, client_of: ClientOf, settings: Settings
) -> None:
    settings.FRIEND_REQUESTS_PER_HOUR = 1
    browser = client_of(alice)
    browser.post(reverse("friend-add"), {"username": "nobody99"})

    response = browser.post(reverse("friend-add"), {"username": "nobody99"})

    assert response.status_code == 429
    assert 0 < int(response["Retry-After"]) <= 3600


@pytest.mark.parametrize(
    ("answer", "nothing", "done", "status"),
    [
        (
            "approve",
            "Select at least one friend to approve.",
            "Friend requests approved successfully!",
            Status.APPROVE,
        ),
        (
            "reject",
            "Select at least one friend to reject.",
            "Friend requests rejected successfully!",
            Status.REJECT,
        ),
    ],
)
def test_many_requests_are_answered_in_one_post(
    alice: User,
    bob: User,
    mallory: User,
    client_of: ClientOf,
    answer: str,
    nothing: str,
    done: str,
    status: str,
) -> None:
    rows = [ask(alice, bob), ask(mallory, bob)]
    browser = client_of(bob)
    url = reverse("friend-requests-answer")

    assert said(browser.post(url, {"answer": answer}, follow=True)) == [nothing]
    chosen = [str(row.public_id) for row in rows]
    assert said(browser.post(url, {"answer": answer, "request": chosen}, follow=True)) == [done]

    assert set(Friendship.objects.values_list("status", flat=True)) == {status}


def test_answering_what_was_withdrawn_says_so(
    alice: User, bob: User, mallory: User, client_of: ClientOf
) -> None:
    chosen = [str(ask(alice, bob).public_id), str(ask(mallory, bob).public_id), "no id"]
    services.withdraw_request(withdrawn_by=alice, public_id=ask_of(alice, bob).public_id)

    response = client_of(bob).post(
        reverse("friend-requests-answer"), {"answer": "approve", "request": chosen}, follow=True
    )

    assert said(response) == [
        "Friend requests approved successfully!",
        "1 request was withdrawn or answered in the meantime.",
    ]


def ask_of(sender: User, friend: User) -> Friendship:
    return Friendship.objects.between(sender, friend).get()


def test_nobody_answers_for_somebody_else(alice: User, bob: User, mallory: User, client_of: ClientOf) -> None:
    row = ask(alice, bob)

    response = client_of(mallory).post(
        reverse("friend-requests-answer"),
        {"answer": "approve", "request": [str(row.public_id)]},
        follow=True,
    )

    assert said(response) == ["1 request was withdrawn or answered in the meantime."]
    assert not ask_of(alice, bob).is_open


def test_the_two_tabs_show_what_was_sent_and_what_was_received(
    alice: User, bob: User, mallory: User, client_of: ClientOf
) -> None:
    ask(alice, bob)
    ask(mallory, alice)
    browser = client_of(alice)

    received = browser.get(reverse("friend-requests")).content.decode()
    sent = browser.get(reverse("friend-requests"), {"tab": "sent"}).content.decode()

    assert "Mallory" in received
    assert "Bobby" not in received
    assert "Approve" in received
    assert "Bobby" in sent
    assert "Mallory" not in sent
    assert "Withdraw" in sent


def test_a_sent_request_can_be_withdrawn(alice: User, bob: User, client_of: ClientOf) -> None:
    url = reverse("friend-request-withdraw", args=[ask(alice, bob).public_id])

    assert said(client_of(alice).post(url, follow=True)) == ["Friend request withdrawn."]
    assert said(client_of(alice).post(url, follow=True)) == ["That is no longer in your list."]


def test_a_rejected_request_is_shown_for_as_long_as_the_pause(
    alice: User, bob: User, client_of: ClientOf, settings: Settings
) -> None:
    services.reject_requests(rejected_by=bob, public_ids=[ask(alice, bob).public_id])

    assert "Rejected" in client_of(alice).get(reverse("friend-requests") + "?tab=sent").content.decode()


def test_empty_lists_say_what_to_do(alice: User, client_of: ClientOf) -> None:
    browser = client_of(alice)

    assert "No friends yet." in browser.get(reverse("friend-list")).content.decode()
    assert "Nothing waiting." in browser.get(reverse("friend-requests")).content.decode()
    assert "Nothing waiting." in browser.get(reverse("friend-requests") + "?tab=sent").content.decode()


def test_the_friend_list_offers_a_chat_with_each_friend(
    bob: User, friendship: Friendship, client_of: ClientOf, settings: Settings
) -> None:
    page = client_of(bob).get(reverse("friend-list")).content.decode()

    assert f'data-conversation="{friendship.public_id}"' in page
    assert f'<input type="checkbox" name="friend" value="{friendship.public_id}">' in page
    assert f'action="{reverse("chat-start")}"' in page
    assert "Leave a message" in page
    settings.CHAT_OFFLINE_MESSAGES = False
    assert "Leave a message" not in client_of(bob).get(reverse("friend-list")).content.decode()


@pytest.mark.parametrize(
    ("name", "status", "sentence"),
    [
        ("friend-unfriend", Status.ENDED, "You are no longer friends."),
        ("friend-block", Status.BLOCKED, "Blocked. They are not told."),
    ],
)
def test_what_cannot_be_taken_back_is_asked_for_first(
    alice: User, friendship: Friendship, client_of: ClientOf, name: str, status: str, sentence: str
) -> None:
    browser, url = client_of(alice), reverse(name, args=[friendship.public_id])

    assert "Bobby?" in browser.get(url).content.decode()
    assert Friendship.objects.get().is_open
    assert said(browser.post(url, follow=True)) == [sentence]
    assert Friendship.objects.get().status == status


@pytest.mark.parametrize("name", ["friend-unfriend", "friend-block"])
def test_a_foreign_friendship_looks_like_none(
    mallory: User, friendship: Friendship, client_of: ClientOf, name: str
) -> None:
    browser = client_of(mallory)

    for public_id in (friendship.public_id, uuid4()):
        url = reverse(name, args=[public_id])
        for response in (browser.get(url, follow=True), browser.post(url, follow=True)):
            assert said(response) == ["That is no longer in your list."]
    assert Friendship.objects.get().is_open


def test_a_blocked_person_is_listed_and_can_be_unblocked(
    alice: User, bob: User, friendship: Friendship, client_of: ClientOf
) -> None:
    services.block_person(blocked_by=alice, public_id=friendship.public_id)

    assert "Unblock" in client_of(alice).get(reverse("friend-list")).content.decode()
    other = client_of(bob).get(reverse("friend-list")).content.decode()
    assert "Alice1" not in other
    assert "No friends yet." in other
    client_of(alice).post(reverse("friend-unblock", args=[friendship.public_id]))
    assert Friendship.objects.get().status == Status.ENDED


def test_a_blocked_person_sees_the_same_page_as_anybody_who_asked(
    alice: User, bob: User, mallory: User, client_of: ClientOf
) -> None:
    services.block_person(blocked_by=bob, public_id=ask(alice, bob).public_id)
    browser = client_of(alice)
    page = browser.get(reverse("friend-requests") + "?tab=sent").content.decode()

    assert "Waiting" in page
    assert "lock" not in page.lower().split("<main", 1)[1].split("</main", 1)[0]


def test_changes_need_a_post_with_a_token(alice: User, friendship: Friendship) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)

    assert strict.post(reverse("friend-block", args=[friendship.public_id])).status_code == 403
    for name in ("friend-unblock", "friend-request-withdraw"):
        assert strict.get(reverse(name, args=[friendship.public_id])).status_code == 405


@pytest.mark.parametrize("url", ["/friends/", "/friends/requests/", "/friends/requests/?tab=sent"])
def test_queries_do_not_grow_with_the_number_of_people(
    alice: User, client_of: ClientOf, url: str, settings: Settings
) -> None:
    settings.FRIEND_REQUESTS_PER_HOUR = 1000

    def queries_with(first: int, count: int) -> int:
        for number in range(first, first + count):
            both_ways(alice, number)
        browser = client_of(alice)
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(url).status_code == 200
        return len(captured)

    assert queries_with(0, 1) == queries_with(1, 49)


def both_ways(alice: User, number: int) -> None:
    """Somebody new of each kind: a friend on either side, a request each way, one blocked."""
    names = (f"{kind}x{number}" for kind in ("Fried", "Freund", "Sentt", "Received", "Blocked"))
    first, second, sent, received, blocked = (factories.make_user_without_keys(name) for name in names)
    factories.befriend(alice, first)
    factories.befriend(second, alice)
    ask(alice, sent)
    ask(received, alice)
    services.block_person(blocked_by=alice, public_id=factories.befriend(blocked, alice).public_id)


def test_the_badge_counts_waiting_requests_in_one_query(
    alice: User, bob: User, mallory: User, client_of: ClientOf
) -> None:
    ask(alice, bob)
    ask(mallory, bob)

    response = client_of(bob).get(reverse("friend-list"))

    with CaptureQueriesContext(connection) as captured:
        assert response.context["waiting_requests"] == 2
    assert len(captured) == 0
