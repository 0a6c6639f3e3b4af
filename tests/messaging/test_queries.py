"""Reading takes a fixed number of queries, and each finds its rows by an index, however many there are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import User
from friends.models import Friendship
from messaging.models import Conversation, Envelope
from messaging.services import batch_rows, conversations, history
from messaging.services.batch_rows import NewEnvelope
from messaging.services.conversations import Membership
from tests import factories
from tests.query_plans import statements

pytestmark = pytest.mark.django_db
_ROWS = 120


@pytest.fixture
def membership(alice: User, friendship: Friendship) -> Membership:
    """With a conversation of some pages, and another one beside it."""
    other = factories.befriend(factories.make_user("Carol1"), factories.make_user("Dave12"))
    for one in (friendship, other):
        fill(one.public_id, _ROWS)
    return conversations.membership_of(alice, friendship.public_id)


def fill(conversation: UUID, count: int) -> None:
    writer = os.urandom(16)
    rows = [
        NewEnvelope(
            conversation_id=conversation.bytes,
            n=n,
            side=n % 2,
            client_id=os.urandom(16),
            epoch=1,
            writer=writer,
            writer_seq=n,
            envelope=os.urandom(200),
            envelope_hash=os.urandom(32),
            log_hash=os.urandom(32),
            stored_at=timezone.now(),
        )
        for n in range(1, count + 1)
    ]
    stored = Conversation.of(conversation)
    stored.last_n = count
    stored.save()
    batch_rows.insert(rows)


@contextmanager
def only_indexes() -> Iterator[None]:
    """PostgreSQL reads and sorts small tables whole, as it should: here it is to show what it could do else."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for way in ("seqscan", "bitmapscan", "sort"):
                cursor.execute(f"SET LOCAL enable_{way} = off")
    yield


@pytest.mark.parametrize(
    ("direction", "n"), [("before", 0), ("before", 100), ("before", 3), ("after", 0), ("after", 40)]
)
def test_a_page_of_history_is_one_query_that_searches_an_index(
    membership: Membership, direction: Literal["before", "after"], n: int
) -> None:
    with statements() as asked:
        page = history.page(membership, direction, n, 50)

    assert page.rows
    assert page.last_n == _ROWS
    assert len(asked) == 1
    with only_indexes():
        plan = asked[0].plan()
    assert searches_by_number(plan)


def test_what_other_processes_stored_is_one_query_that_searches_an_index(
    alice: User, membership: Membership
) -> None:
    other = Envelope.objects.exclude(conversation=membership.conversation).values_list(
        "conversation", flat=True
    )[0]
    spans = [(membership.conversation, 3, 5), (other, _ROWS, _ROWS)]
    with statements() as asked:
        rows = batch_rows.in_spans(spans)

    assert [(row.conversation, row.n) for row in rows] == [
        (membership.conversation, 3),
        (membership.conversation, 4),
        (membership.conversation, 5),
        (other, _ROWS),
    ]
    stored = Envelope.objects.get(conversation=other, n=_ROWS)
    assert rows[-1][2:] == (stored.side, stored.client_id, bytes(stored.envelope), stored.stored_at)
    assert len(asked) == 1
    with only_indexes():
        plan = asked[0].plan()
    assert searches_by_number(plan)


def test_what_two_rings_name_is_told_once(membership: Membership) -> None:
    rows = batch_rows.in_spans([(membership.conversation, 3, 5), (membership.conversation, 5, 6)])

    assert [row.n for row in rows] == [3, 4, 5, 6]


def test_the_list_takes_as_many_queries_for_thirty_conversations_as_for_three(alice: User) -> None:
    befriend_many(alice, 3)
    few = queries_of_the_list(alice, expected=3)
    befriend_many(alice, 27, first=3)
    many = queries_of_the_list(alice, expected=30)

    assert many == few


def test_the_list_counts_no_rows(alice: User) -> None:
    befriend_many(alice, 3)

    with statements() as asked:
        conversations.page_of_summaries(alice, None)

    assert not [one.sql for one in asked if "COUNT(" in one.sql.upper()]


def test_the_list_finds_last_messages_by_an_index(alice: User, membership: Membership) -> None:
    with statements() as asked:
        [summary], _ = conversations.page_of_summaries(alice, None)

    assert summary.last is not None
    with only_indexes():
        [plan] = [one.plan() for one in asked if "FROM wanted" in one.sql]
    assert searches_by_number(plan)


def befriend_many(alice: User, count: int, *, first: int = 0) -> None:
    """She asked one half of them, the other half asked her; each conversation has a message."""
    for number in range(first, first + count):
        friend = User.objects.create(username=f"friend{number}", client_salt=b"x")
        pair = (alice, friend) if number % 2 else (friend, alice)
        fill(factories.befriend(*pair).public_id, 1)


def queries_of_the_list(alice: User, *, expected: int) -> int:
    with statements() as asked:
        summaries, more = conversations.page_of_summaries(alice, None)
    assert len(summaries) == expected
    assert not more
    assert all(summary.last for summary in summaries)
    return len(asked)


def searches_by_number(plan: str) -> bool:
    """SQLite calls indexes of constraints by numbers of its own, and names the columns instead."""
    if connection.vendor == "sqlite":
        search = r"SEARCH (messaging_envelope|stored) USING (COVERING )?INDEX \w+ \(conversation_id=\?( AND n.\?)*\)"
        slow = r"SCAN (messaging_|stored)|TEMP B-TREE"
    else:
        search = "envelope_one_per_number on messaging_envelope"
        slow = "Seq Scan|Sort"
    return re.search(search, plan) is not None and re.search(slow, plan) is None
