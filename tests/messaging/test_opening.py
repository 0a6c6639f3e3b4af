"""What a socket asks when it opens: the plain statement says what the models say, and the number of queries is fixed."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import Sanction, User
from accounts.models.browser_session import Details
from accounts.services import sanctions
from friends import services as friends_services
from friends.models import Friendship
from messaging import news, sessions
from messaging.services.opening_rows import opening_of
from tests import factories
from tests.query_plans import statements

pytestmark = pytest.mark.django_db


@pytest.fixture
def people(alice: User, bob: User) -> list[User]:
    """Friends and requests in both directions, one of a friendship that ended."""
    asked, asks, asks_again, stranger = map(factories.make_user, ("Carol1", "Dave12", "Erin12", "Frank1"))
    factories.befriend(alice, bob)
    ended = factories.befriend(alice, asks_again)
    friends_services.end_friendship(ended_by=alice, public_id=ended.public_id)
    for sender, friend in ((alice, asked), (asks, alice), (asks_again, alice), (stranger, bob)):
        friends_services.request_friendship(sender=sender, username=friend.username)
    return [alice, bob, asked, asks, asks_again, stranger]


def mute(user: User) -> Sanction:
    return sanctions.impose(
        user=user,
        kind=Sanction.Kind.MUTE,
        reason="Insults.",
        by=None,
        source="",
        ends_at=timezone.now() + timedelta(hours=1),
    )


def test_it_finds_what_the_models_find(people: list[User]) -> None:
    for person in people:
        opening = opening_of(person)

        assert opening.requests == Friendship.objects.received_by(person).count()
        assert {row.public_id for row in opening.friendships} == set(
            Friendship.objects.conversations_of(person).values_list("public_id", flat=True)
        )
    assert [opening_of(person).requests for person in people] == [2, 1, 1, 0, 0, 0]
    assert [len(opening_of(person).friendships) for person in people] == [2, 1, 0, 0, 1, 0]


def test_a_mute_is_looked_for_only_where_there_may_be_one(alice: User, bob: User) -> None:
    muted = mute(alice)

    assert news.introduction(alice).mute == muted
    assert news.introduction(bob).mute is None
    assert not opening_of(bob).may_be_muted

    sanctions.lift(sanction=muted, by=None, why="", source="")
    assert news.introduction(alice).mute is None


def test_it_takes_as_many_queries_for_many_friends_as_for_few(alice: User) -> None:
    for number in range(6):
        friend = factories.make_user(f"Friend{number}")
        factories.befriend(*((alice, friend) if number % 2 else (friend, alice)))
    news.introduction(alice)  # Makes the conversations.

    with statements() as asked:
        introduction = news.introduction(alice)

    assert len(introduction.memberships) == 6
    assert len(asked) == 2
    if connection.vendor == "sqlite":  # PostgreSQL reads small tables whole.
        assert not re.search("^SCAN (?!CONSTANT)", asked[0].plan(), re.MULTILINE)


def test_a_log_in_that_was_seen_lately_is_one_query(alice: User) -> None:
    session_key = factories.client_of(alice).session.session_key
    assert session_key is not None

    with statements() as asked:
        person = sessions.enter(session_key, Details("Firefox on Linux", "127.0.0.1"))

    assert person == alice
    assert len(asked) == 1
