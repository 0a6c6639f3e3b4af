"""A block is felt, not seen: the blocked person gets every answer that they would get without it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from accounts.models import User
from friends import errors, services
from friends.models import Friendship
from securechat import events
from tests.friends.conftest import Heard

pytestmark = pytest.mark.django_db

Status = Friendship.Status


def ask(sender: User, friend: User, **more: object) -> services.Requested:
    return services.request_friendship(sender=sender, username=friend.username, **more)  # type: ignore[arg-type]


def the_row(first: User, second: User) -> Friendship:
    return Friendship.objects.between(first, second).get()


def test_a_block_ends_an_open_friendship(alice: User, bob: User, friendship: Friendship) -> None:
    services.block_person(blocked_by=bob, public_id=friendship.public_id)

    row = the_row(alice, bob)
    assert row.status == Status.BLOCKED
    assert not row.is_open
    assert row.ended_at is not None
    assert (row.status_for(row.side_of(alice)), row.status_for(row.side_of(bob))) == (
        Status.ENDED,
        Status.BLOCKED,
    )
    assert list(Friendship.objects.blocked_for(bob)) == [row]
    assert not Friendship.objects.blocked_for(alice).exists()


def test_asking_who_blocked_one_looks_like_any_request(
    alice: User, bob: User, friendship: Friendship, heard: Heard
) -> None:
    services.block_person(blocked_by=bob, public_id=friendship.public_id)

    with heard.committing():
        assert ask(alice, bob) is services.Requested.SENT
    assert list(Friendship.objects.sent_by(alice)) == [the_row(alice, bob)]
    with pytest.raises(errors.AlreadySent):
        ask(alice, bob)
    assert not Friendship.objects.received_by(bob).exists()
    assert heard.taken() == []


def test_a_request_that_is_blocked_still_looks_sent(alice: User, bob: User, heard: Heard) -> None:
    ask(alice, bob)
    with heard.committing():
        services.block_person(blocked_by=bob, public_id=the_row(alice, bob).public_id)

    assert list(Friendship.objects.sent_by(alice)) == [the_row(alice, bob)]
    assert not Friendship.objects.received_by(bob).exists()
    assert heard.taken() == [events.RequestsChanged(bob.pk)]


def test_a_request_under_a_block_can_be_withdrawn_and_sent_again(alice: User, bob: User) -> None:
    ask(alice, bob)
    services.block_person(blocked_by=bob, public_id=the_row(alice, bob).public_id)

    services.withdraw_request(withdrawn_by=alice, public_id=the_row(alice, bob).public_id)

    assert not Friendship.objects.visible_to(alice).exists()
    assert Friendship.objects.visible_to(bob).exists()
    assert ask(alice, bob) is services.Requested.SENT


def test_the_pause_after_a_rejection_holds_under_a_block_too(alice: User, bob: User) -> None:
    now = timezone.now()
    ask(alice, bob)
    services.reject_requests(rejected_by=bob, public_ids=[the_row(alice, bob).public_id], now=now)
    services.block_person(blocked_by=bob, public_id=the_row(alice, bob).public_id)

    with pytest.raises(errors.AskAgainLater):
        ask(alice, bob, now=now + timedelta(hours=1))
    assert ask(alice, bob, now=now + settings.FRIEND_REQUEST_PAUSE) is services.Requested.SENT
    assert the_row(alice, bob).status == Status.BLOCKED


def test_who_blocked_has_to_unblock_before_asking(alice: User, bob: User, friendship: Friendship) -> None:
    services.block_person(blocked_by=alice, public_id=friendship.public_id)

    with pytest.raises(errors.BlockedByYou):
        ask(alice, bob)


def test_unblocking_after_a_friendship_leaves_it_ended(
    alice: User, bob: User, friendship: Friendship
) -> None:
    services.block_person(blocked_by=alice, public_id=friendship.public_id)

    services.unblock_person(unblocked_by=alice, public_id=friendship.public_id)

    assert the_row(alice, bob).status == Status.ENDED


def test_unblocking_shows_the_request_that_still_waits(alice: User, bob: User, heard: Heard) -> None:
    ask(alice, bob)
    public_id = the_row(alice, bob).public_id
    services.block_person(blocked_by=bob, public_id=public_id)

    with heard.committing():
        services.unblock_person(unblocked_by=bob, public_id=public_id)

    assert list(Friendship.objects.received_by(bob)) == [the_row(alice, bob)]
    assert heard.taken() == [events.RequestsChanged(bob.pk)]


def test_blocking_whom_one_asked_takes_the_request_back(alice: User, bob: User, heard: Heard) -> None:
    ask(alice, bob)
    public_id = the_row(alice, bob).public_id

    with heard.committing():
        services.block_person(blocked_by=alice, public_id=public_id)

    assert not Friendship.objects.visible_to(bob).exists()
    assert heard.taken() == [events.RequestsChanged(bob.pk)]
    services.unblock_person(unblocked_by=alice, public_id=public_id)
    assert not Friendship.objects.exists()


def test_both_may_block_and_each_lifts_only_its_own(alice: User, bob: User, friendship: Friendship) -> None:
    services.block_person(blocked_by=alice, public_id=friendship.public_id)
    services.block_person(blocked_by=bob, public_id=friendship.public_id)

    services.unblock_person(unblocked_by=alice, public_id=friendship.public_id)

    row = the_row(alice, bob)
    assert (row.blocked_by(row.side_of(alice)), row.blocked_by(row.side_of(bob))) == (False, True)
    with pytest.raises(errors.FriendshipNotFound):
        services.unblock_person(unblocked_by=alice, public_id=friendship.public_id)
    services.unblock_person(unblocked_by=bob, public_id=friendship.public_id)
    assert the_row(alice, bob).status == Status.ENDED


def test_a_stranger_can_neither_block_nor_unblock(alice: User, mallory: User, friendship: Friendship) -> None:
    with pytest.raises(errors.FriendshipNotFound):
        services.block_person(blocked_by=mallory, public_id=friendship.public_id)
    services.block_person(blocked_by=alice, public_id=friendship.public_id)
    with pytest.raises(errors.FriendshipNotFound):
        services.unblock_person(unblocked_by=mallory, public_id=friendship.public_id)


def test_the_blocked_persons_browser_hears_the_same_as_of_an_unfriending(
    alice: User, bob: User, friendship: Friendship, heard: Heard
) -> None:
    changed = events.FriendshipChanged(tuple(sorted((alice.pk, bob.pk))), friendship.public_id)

    with heard.committing():
        services.block_person(blocked_by=bob, public_id=friendship.public_id)
    assert heard.taken() == [changed]

    with heard.committing():
        services.unblock_person(unblocked_by=bob, public_id=friendship.public_id)
        services.block_person(blocked_by=bob, public_id=friendship.public_id)
    assert heard.taken() == []
