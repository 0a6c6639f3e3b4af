"""Asking, answering, taking back: what each person is told, and what is stored."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.models import User
from friends import errors, services
from friends.models import Friendship
from securechat import events, sealed
from securechat.errors import TooFast
from tests.friends.conftest import Heard

pytestmark = pytest.mark.django_db

Status = Friendship.Status


def ask(sender: User, friend: User, **more: object) -> services.Requested:
    return services.request_friendship(sender=sender, username=friend.username, **more)  # type: ignore[arg-type]


def the_row(first: User, second: User) -> Friendship:
    return Friendship.objects.between(first, second).get()


def test_a_request_waits_until_the_other_person_accepts_it(alice: User, bob: User) -> None:
    assert ask(alice, bob) is services.Requested.SENT

    row = the_row(alice, bob)
    assert row.status == Status.DEFAULT
    assert list(Friendship.objects.sent_by(alice)) == [row] == list(Friendship.objects.received_by(bob))
    assert not Friendship.objects.received_by(alice).exists()
    assert services.accept_requests(accepted_by=bob, public_ids=[row.public_id]) == services.Answered(1, 0)
    assert the_row(bob, alice).is_open
    assert (row.side_of(alice), row.side_of(bob)) == (0, 1)
    assert (row.peer_of(alice), row.peer_of(bob)) == (bob, alice)


def test_the_name_is_found_without_case_and_outer_spaces(alice: User, bob: User) -> None:
    services.request_friendship(sender=alice, username=f"  {bob.username.upper()} ")

    assert the_row(alice, bob).friend_name == bob.username


def test_an_unknown_name_is_refused(alice: User) -> None:
    with pytest.raises(errors.UnknownUsername, match=r"^Unknown username!$"):
        services.request_friendship(sender=alice, username="nobody99")


def test_the_own_name_is_refused_in_any_case(alice: User) -> None:
    with pytest.raises(errors.OwnUsername, match=r"^You can't add yourself as a friend!$"):
        services.request_friendship(sender=alice, username=alice.username.swapcase())


def test_asking_twice_is_refused(alice: User, bob: User) -> None:
    ask(alice, bob)

    with pytest.raises(errors.AlreadySent):
        ask(alice, bob)


def test_friends_cannot_ask_again(alice: User, bob: User, friendship: Friendship) -> None:
    for sender, friend in ((alice, bob), (bob, alice)):
        with pytest.raises(errors.AlreadyFriends):
            ask(sender, friend)


def test_crossing_requests_become_a_friendship(alice: User, bob: User) -> None:
    ask(alice, bob)

    assert ask(bob, alice) is services.Requested.FRIENDS
    assert the_row(alice, bob).is_open


def test_a_rejected_person_may_ask_again_only_after_the_pause(alice: User, bob: User) -> None:
    asked_at = timezone.now()
    ask(alice, bob)
    services.reject_requests(rejected_by=bob, public_ids=[the_row(alice, bob).public_id], now=asked_at)

    with pytest.raises(errors.AskAgainLater) as refusal:
        ask(alice, bob, now=asked_at + settings.FRIEND_REQUEST_PAUSE - timedelta(seconds=1))
    assert refusal.value.retry_after_seconds == 1
    assert ask(alice, bob, now=asked_at + settings.FRIEND_REQUEST_PAUSE) is services.Requested.SENT
    assert the_row(alice, bob).status == Status.DEFAULT


def test_the_person_who_rejected_may_ask_at_once(alice: User, bob: User) -> None:
    ask(alice, bob)
    services.reject_requests(rejected_by=bob, public_ids=[the_row(alice, bob).public_id])

    ask(bob, alice)

    row = the_row(alice, bob)
    assert (row.status, row.asked_by_side) == (Status.DEFAULT, 1)
    assert list(Friendship.objects.received_by(alice)) == [row]


def test_a_withdrawn_request_leaves_no_row(alice: User, bob: User) -> None:
    ask(alice, bob)

    services.withdraw_request(withdrawn_by=alice, public_id=the_row(alice, bob).public_id)

    assert not Friendship.objects.exists()


def test_withdrawing_after_a_friendship_keeps_its_history(
    alice: User, bob: User, friendship: Friendship
) -> None:
    services.end_friendship(ended_by=bob, public_id=friendship.public_id)
    ask(alice, bob)

    services.withdraw_request(withdrawn_by=alice, public_id=friendship.public_id)

    row = the_row(alice, bob)
    assert (row.status, row.public_id) == (Status.ENDED, friendship.public_id)
    assert list(Friendship.objects.conversations_of(bob)) == [row]


def test_only_the_person_who_was_asked_can_answer(alice: User, bob: User, mallory: User) -> None:
    ask(alice, bob)
    public_id = the_row(alice, bob).public_id

    for stranger in (alice, mallory):
        answered = services.accept_requests(accepted_by=stranger, public_ids=[public_id])
        assert answered == services.Answered(done=0, gone=1)
    assert the_row(alice, bob).status == Status.DEFAULT


def test_only_the_person_who_asked_can_withdraw(alice: User, bob: User, mallory: User) -> None:
    ask(alice, bob)

    for stranger in (bob, mallory):
        with pytest.raises(errors.FriendshipNotFound):
            services.withdraw_request(withdrawn_by=stranger, public_id=the_row(alice, bob).public_id)


def test_what_was_withdrawn_meanwhile_is_counted_apart(alice: User, bob: User, mallory: User) -> None:
    ask(alice, bob)
    ask(mallory, bob)
    ids = list(Friendship.objects.values_list("public_id", flat=True))
    services.withdraw_request(withdrawn_by=mallory, public_id=the_row(mallory, bob).public_id)

    assert services.accept_requests(accepted_by=bob, public_ids=ids) == services.Answered(done=1, gone=1)


def test_requests_are_limited_for_known_and_unknown_names_alike(alice: User, bob: User) -> None:
    for _ in range(settings.FRIEND_REQUESTS_PER_HOUR):
        with pytest.raises(errors.UnknownUsername):
            services.request_friendship(sender=alice, username="nobody99")

    for name in ("nobody99", bob.username):
        with pytest.raises(TooFast):
            services.request_friendship(sender=alice, username=name)


def test_a_suspended_person_is_unknown(alice: User, bob: User) -> None:
    bob.is_active = False
    bob.save()

    with pytest.raises(errors.UnknownUsername):
        ask(alice, bob)


def test_no_column_contains_the_friends_name(alice: User, bob: User) -> None:
    ask(alice, bob)

    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM friends_friendship")
        stored = repr(cursor.fetchall()).lower()
    assert bob.username.lower() not in stored
    assert bytes(the_row(alice, bob).friend_index) != bytes(the_row(alice, bob).pair_index)


def test_names_of_every_length_are_sealed_to_one_length() -> None:
    assert len({len(sealed.encrypt_name("x" * length)) for length in (5, 17, 30)}) == 1


def test_two_people_have_one_row_whoever_asks(alice: User, bob: User) -> None:
    ask(alice, bob)

    with pytest.raises(IntegrityError, match="pair"), transaction.atomic():
        Friendship.asked(sender=bob, friend=alice, now=timezone.now()).save()


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"status": "friends"}, "friendship_status_is_known"),
        ({"status": "blocked", "status_below": "default"}, "friendship_is_blocked_by_somebody"),
        ({"blocked_by_0": True}, "friendship_is_blocked_by_somebody"),
        ({"status": "blocked", "blocked_by_1": True}, "friendship_has_a_status_below_a_block_only"),
        ({"status_below": "ended"}, "friendship_has_a_status_below_a_block_only"),
        ({"status": "ended"}, "friendship_was_approved_before_it_ended"),
        ({"was_approved": True}, "friendship_approval_has_a_date"),
        ({"status": "reject"}, "friendship_rejection_has_a_date"),
        ({"asked_by_side": 2}, "friendship_was_asked_by_one_of_the_two"),
    ],
)
def test_the_database_refuses_what_no_friendship_can_be(
    alice: User, bob: User, change: dict[str, object], constraint: str
) -> None:
    ask(alice, bob)

    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Friendship.objects.update(**change)


def test_a_name_that_was_taken_again_is_not_the_old_friend(
    alice: User, bob: User, friendship: Friendship
) -> None:
    Friendship.objects.filter(pk=friendship.pk).update(friend_index=b"\0" * 32)  # as of another account's id

    with pytest.raises(User.DoesNotExist):
        the_row(alice, bob).peer_of(alice)
    assert services.peers_of(alice, [the_row(alice, bob)]) == {}


def test_others_are_told_after_the_commit(alice: User, bob: User, heard: Heard) -> None:
    with heard.committing():
        ask(alice, bob)
    assert heard.taken() == [events.RequestsChanged(bob.pk)]

    row = the_row(alice, bob)
    with heard.committing():
        services.accept_requests(accepted_by=bob, public_ids=[row.public_id, uuid4()])
    assert heard.taken() == [
        events.FriendshipChanged(tuple(sorted((alice.pk, bob.pk))), row.public_id),
        events.RequestsChanged(bob.pk),
    ]

    with heard.committing():
        services.end_friendship(ended_by=alice, public_id=row.public_id)
    assert heard.taken() == [events.FriendshipChanged(tuple(sorted((alice.pk, bob.pk))), row.public_id)]
