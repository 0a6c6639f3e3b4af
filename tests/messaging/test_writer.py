"""The writer: batches, their cost, and a database that fails."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections
from django.utils import timezone
from pytest_django import Settings

from messaging import protocol
from messaging.models import Envelope
from messaging.services import delivery
from messaging.services.delivery import Stored
from messaging.threads import DatabaseThreads
from messaging.writer import Waiting, Writer
from tests.messaging.conftest import Person, befriend
from tests.messaging.test_processes import append_epoch, submission_of

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_batch_costs_the_same_number_of_queries_for_one_and_for_many(
    a: Person, b: Person, m: Person, django_assert_num_queries: Callable[..., Any]
) -> None:
    tabs = [a.tab(befriend(a, b)), a.tab(befriend(a, m)), m.tab(befriend(m, b))]
    people = [a, a, m]
    for person, tab in zip(people, tabs, strict=True):
        append_epoch(person, tab)
    one = [submission_of(a, tabs[0].send())]
    many = [
        submission_of(person, tab.send()) for _ in range(10) for person, tab in zip(people, tabs, strict=True)
    ]

    for batch in (one, many):
        with django_assert_num_queries(8):
            outcomes = delivery.store(batch, now=timezone.now())
        assert all(isinstance(outcome, Stored) for outcome in outcomes)


def test_a_batch_finds_what_is_stored_by_an_index(
    a: Person, b: Person, conversation: UUID, django_assert_num_queries: Callable[..., Any]
) -> None:
    tab = a.tab(conversation)
    append_epoch(a, tab)
    batch = [submission_of(a, tab.send()) for _ in range(100)]
    with django_assert_num_queries(8) as captured:
        delivery.store(batch, now=timezone.now())
    lookups = [query["sql"] for query in captured.captured_queries if "wanted" in query["sql"]]

    assert len(lookups) == 2
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET enable_seqscan = off")  # A table this small is read as a whole otherwise.
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        for lookup in lookups:
            cursor.execute(f"{explain} {lookup}")
            plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
            assert re.search(r"SEARCH stored USING (COVERING )?INDEX|Index (Only )?Scan", plan), plan
            assert not re.search(r"SCAN stored|Seq Scan", plan), plan


async def test_a_message_asks_the_database_only_in_its_batch(
    a: Person, b: Person, conversation: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    run = DatabaseThreads.run

    async def counting(self: DatabaseThreads, function: Callable[..., Any], *arguments: object) -> Any:
        calls.append(function.__name__)
        return await run(self, function, *arguments)

    tab = a.tab(conversation)
    async with a.socket() as alice, b.socket() as bob:
        await alice.ask(tab.append(), protocol.EpochAppended)
        await alice.ask(tab.send(2), protocol.EnvelopeStored)
        monkeypatch.setattr(DatabaseThreads, "run", counting)
        for ref in range(3, 8):
            await alice.ask(tab.send(ref), protocol.EnvelopeStored)
            await bob.next(protocol.EnvelopeNew)

    assert [name for name in calls if name != "standing_among"] == ["_store"] * 5


async def test_what_arrives_during_a_commit_is_one_batch(a: Person, b: Person, conversation: UUID) -> None:
    tab = a.tab(conversation)
    await sync_to_async(append_epoch)(a, tab)
    made = [await sync_to_async(submission_of)(a, tab.send()) for _ in range(30)]
    batches: list[int] = []
    writer = Writer(lambda done: batches.append(len(done)))
    running = asyncio.create_task(writer.run())

    await writer.submit(Waiting(made[0], 1, sender=None))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    for each in made[1:]:
        await writer.submit(Waiting(each, 1, sender=None))  # type: ignore[arg-type]
    await writer.drain()

    running.cancel()
    await writer.close()
    assert batches == [1, 29]


async def test_a_full_queue_makes_senders_wait(
    a: Person, b: Person, conversation: UUID, settings: Settings
) -> None:
    settings.WRITER_QUEUE_ENVELOPES = 3
    tab = a.tab(conversation)
    made = [await sync_to_async(submission_of)(a, tab.send()) for _ in range(4)]
    writer = Writer(lambda done: None)
    for each in made[:3]:
        await writer.submit(Waiting(each, 1, sender=None))  # type: ignore[arg-type]

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await writer.submit(Waiting(made[3], 1, sender=None))  # type: ignore[arg-type]
    await writer.close()


async def test_a_database_that_fails_makes_messages_unavailable_and_a_later_one_is_stored(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    table = Envelope._meta.db_table

    def rename(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f'ALTER TABLE "{old}" RENAME TO "{new}"')

    async with a.socket() as alice:
        await alice.ask(tab.append(), protocol.EpochAppended)
        frame = tab.send(2)
        await sync_to_async(rename)(table, "elsewhere")
        try:
            assert await alice.refusal_of(frame) == "unavailable"
            history = protocol.GetHistory(ref=3, conversation=conversation, direction="before", n=0, limit=5)
            assert await alice.refusal_of(history) == "unavailable"
        finally:
            await sync_to_async(rename)("elsewhere", table)

        assert (await alice.ask(frame.model_copy(update={"ref": 4}), protocol.EnvelopeStored)).n == 1


async def test_a_row_that_cannot_be_stored_does_not_keep_back_the_others(
    a: Person, b: Person, conversation: UUID
) -> None:
    """A rule of the table stands for whatever may be wrong with one row only."""
    good, bad = a.tab(conversation), b.tab(conversation)

    def constrain(sql: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)
        connections.close_all()

    if connection.vendor == "sqlite":
        make = (
            "CREATE TRIGGER refuse_side_1 BEFORE INSERT ON messaging_envelope WHEN NEW.side = 1 "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        drop = "DROP TRIGGER refuse_side_1"
    else:
        make = "ALTER TABLE messaging_envelope ADD CONSTRAINT refuse_side_1 CHECK (side = 0)"
        drop = "ALTER TABLE messaging_envelope DROP CONSTRAINT refuse_side_1"
    async with a.socket() as alice, b.socket() as bob:
        await alice.ask(good.append(), protocol.EpochAppended)
        await sync_to_async(constrain)(make)
        try:
            await bob.send(bad.send(1))
            await alice.send(good.send(2))
            assert (await alice.next(protocol.EnvelopeStored)).n == 1
            assert (await bob.next(protocol.Refused)).code == "unavailable"
        finally:
            await sync_to_async(constrain)(drop)
