"""Two people press at the same moment: whoever wins, the friendship is in a state that somebody wanted."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from accounts.models import User
from friends import errors, services
from friends.models import Friendship
from securechat.errors import DomainError
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

Status = Friendship.Status
ROUNDS = 6


def at_once(*acts: Callable[[], object]) -> list[object]:
    """What each act gave, or how it was refused; any other error fails the test."""
    barrier = Barrier(len(acts))

    def run(act: Callable[[], object]) -> object:
        try:
            barrier.wait(timeout=10)
            return act()
        except DomainError as refusal:
            return type(refusal)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as threads:
        return list(threads.map(run, acts))


def two_people(number: int) -> tuple[User, User]:
    return factories.make_user_without_keys(f"Left{number}"), factories.make_user_without_keys(
        f"Right{number}"
    )


def ask(sender: User, friend: User) -> services.Requested:
    return services.request_friendship(sender=sender, username=friend.username)


def the_row(first: User, second: User) -> Friendship:
    return Friendship.objects.between(first, second).get()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_two_who_ask_each_other_at_once_become_friends(number: int) -> None:
    left, right = two_people(number)

    outcomes = at_once(lambda: ask(left, right), lambda: ask(right, left))

    assert set(outcomes) == {services.Requested.SENT, services.Requested.FRIENDS}
    assert the_row(left, right).is_open


@pytest.mark.parametrize("number", range(ROUNDS))
def test_one_who_asks_in_two_tabs_at_once_asks_once(number: int) -> None:
    left, right = two_people(number)

    outcomes = at_once(lambda: ask(left, right), lambda: ask(left, right))

    assert sorted(map(str, outcomes)) == sorted(map(str, [services.Requested.SENT, errors.AlreadySent]))
    assert the_row(left, right).status == Status.DEFAULT


@pytest.mark.parametrize("number", range(ROUNDS))
def test_accepting_what_is_withdrawn_at_once_has_one_winner(number: int) -> None:
    left, right = two_people(number)
    ask(left, right)
    public_id = the_row(left, right).public_id

    accepted, withdrawn = at_once(
        lambda: services.accept_requests(accepted_by=right, public_ids=[public_id]),
        lambda: services.withdraw_request(withdrawn_by=left, public_id=public_id),
    )

    if accepted == services.Answered(done=1, gone=0):
        assert withdrawn is errors.FriendshipNotFound
        assert the_row(left, right).is_open
    else:
        assert (accepted, withdrawn) == (services.Answered(done=0, gone=1), None)
        assert not Friendship.objects.exists()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_accepting_in_two_tabs_at_once_counts_once(number: int) -> None:
    left, right = two_people(number)
    ask(left, right)
    ids = [the_row(left, right).public_id]

    outcomes = at_once(
        lambda: services.accept_requests(accepted_by=right, public_ids=ids),
        lambda: services.accept_requests(accepted_by=right, public_ids=ids),
    )

    assert sorted(outcome.done for outcome in outcomes if isinstance(outcome, services.Answered)) == [0, 1]
    assert the_row(left, right).is_open


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_block_holds_whatever_the_other_does_at_once(number: int) -> None:
    left, right = two_people(number)
    ask(left, right)
    public_id = the_row(left, right).public_id

    at_once(
        lambda: services.block_person(blocked_by=right, public_id=public_id),
        lambda: services.accept_requests(accepted_by=right, public_ids=[public_id]),
    )

    row = the_row(left, right)
    assert (row.status, row.blocked_by(1)) == (Status.BLOCKED, True)
    assert not Friendship.objects.accepted().exists()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_two_who_block_each_other_at_once_both_have(number: int) -> None:
    left, right = two_people(number)
    public_id = factories.befriend(left, right).public_id

    outcomes = at_once(
        lambda: services.block_person(blocked_by=left, public_id=public_id),
        lambda: services.block_person(blocked_by=right, public_id=public_id),
    )

    assert all(isinstance(outcome, Friendship) for outcome in outcomes)
    row = the_row(left, right)
    assert (row.blocked_by(0), row.blocked_by(1), row.status_below) == (True, True, Status.ENDED)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_answering_many_in_two_orders_at_once_does_not_deadlock(number: int) -> None:
    asked = factories.make_user_without_keys("Asked")
    people = [factories.make_user_without_keys(f"Person{index}") for index in range(6)]
    for person in people:
        ask(person, asked)
    ids = list(Friendship.objects.values_list("public_id", flat=True))

    outcomes = at_once(
        lambda: services.accept_requests(accepted_by=asked, public_ids=ids),
        lambda: services.reject_requests(rejected_by=asked, public_ids=ids[::-1]),
    )

    assert sum(outcome.done for outcome in outcomes if isinstance(outcome, services.Answered)) == len(ids)
