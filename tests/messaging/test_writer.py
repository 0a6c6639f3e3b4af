"""The writer: batches, their cost, and a database that fails."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction
from django.utils import timezone
from pytest_django import Settings

from messaging import protocol
from messaging.errors import ClientIdReused, WriterGap
from messaging.models import Conversation, Envelope
from messaging.services import delivery
from messaging.services.delivery import Outcome, Stored, Submission, WriterHeads
from messaging.threads import DatabaseThreads
from messaging.writer import Waiting, Writer
from tests.messaging.conftest import Person, befriend
from tests.messaging.make_objects import Tab
from tests.messaging.test_processes import append_epoch, submission_of
from tests.query_plans import of_the_driver, statements

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_batch_costs_the_same_number_of_queries_for_one_and_for_many(
    a: Person, b: Person, m: Person
) -> None:
    tabs = [a.tab(befriend(a, b)), a.tab(befriend(a, m)), m.tab(befriend(m, b))]
    people = [a, a, m]
    for person, tab in zip(people, tabs, strict=True):
        append_epoch(person, tab)
    heads = WriterHeads()
    first = [submission_of(person, tab.send()) for person, tab in zip(people, tabs, strict=True)]
    one = [submission_of(a, tabs[0].send())]
    many = [
        submission_of(person, tab.send()) for _ in range(10) for person, tab in zip(people, tabs, strict=True)
    ]

    assert _cost(first, heads) == (7 if connection.vendor == "sqlite" else 5)  # With BEGIN and COMMIT.
    assert _cost(one, heads) == _cost(many, heads) == (5 if connection.vendor == "sqlite" else 3)
    assert _cost([submission_of(a, tabs[0].send())], None) == _cost(_sent(a, tabs[0], 5), None)


def _sent(person: Person, tab: Tab, count: int) -> list[Submission]:
    return [submission_of(person, tab.send()) for _ in range(count)]


def _cost(batch: list[Submission], heads: WriterHeads | None) -> int:
    with of_the_driver() as asked:
        outcomes = delivery.store(batch, now=timezone.now(), heads=heads)
    assert all(isinstance(outcome, Stored) and outcome.new for outcome in outcomes)
    return len(asked)


def test_a_batch_finds_what_is_stored_by_an_index(a: Person, b: Person, conversation: UUID) -> None:
    tab = a.tab(conversation)
    append_epoch(a, tab)
    batch = _sent(a, tab, 100)
    with of_the_driver() as asked, statements() as through_django:
        delivery.store(batch, now=timezone.now())
    lookups = [statement for statement in through_django if "wanted" in statement.sql]

    assert len(lookups) == 2
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET enable_seqscan = off")  # A table this small is read as a whole otherwise.
        for lookup in lookups:
            plan = lookup.plan()
            assert re.search(r"SEARCH stored USING (COVERING )?INDEX|Index (Only )?Scan", plan), plan
            assert not re.search(r"SCAN stored|Seq Scan", plan), plan
        if connection.vendor == "sqlite":
            (locking,) = (sql for sql in asked if sql.startswith("SELECT (SELECT json_group_array"))
            cursor.execute(f"EXPLAIN QUERY PLAN {locking}")
            plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
            assert not re.search(r"SCAN (?!json_each|\(|CONSTANT)", plan), plan


def test_what_another_process_stored_meanwhile_is_found(a: Person, b: Person, conversation: UUID) -> None:
    """This process's memory of the writer is behind, and says that the message is new."""
    tab, here, now = a.tab(conversation), WriterHeads(), timezone.now()
    append_epoch(a, tab)
    first, second, third = _sent(a, tab, 3)
    delivery.store([first], now=now, heads=here)
    delivery.store([second], now=now)

    again, new = delivery.store([second, third], now=now, heads=here)

    assert (again, new) == (Stored(2, again_at(again), new=False), Stored(3, now, new=True))
    assert list(Envelope.objects.order_by("n").values_list("n", "writer_seq")) == [(1, 1), (2, 2), (3, 3)]


def again_at(outcome: Outcome) -> datetime:
    assert isinstance(outcome, Stored)
    return outcome.stored_at


def test_a_message_sent_again_is_answered_again_though_it_would_be_refused_now(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab, here, now = a.tab(conversation), WriterHeads(), timezone.now()
    append_epoch(a, tab)
    first, second = _sent(a, tab, 2)
    delivery.store([first], now=now, heads=here)
    delivery.store([second], now=now)
    Conversation.objects.update(epoch=2)

    (again,) = delivery.store([second], now=now, heads=here)

    assert again == Stored(2, again_at(again), new=False)


def test_a_client_id_of_another_message_is_refused_for_who_goes_on_too(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab, here, now = a.tab(conversation), WriterHeads(), timezone.now()
    append_epoch(a, tab)
    client_id = uuid4()
    delivery.store([submission_of(a, tab.send(client_id=client_id))], now=now, heads=here)
    other = submission_of(a, tab.send(client_id=client_id))

    (refused,) = delivery.store([other], now=now, heads=here)

    assert isinstance(refused, ClientIdReused)
    assert Envelope.objects.count() == 1


def test_what_was_not_committed_is_not_gone_on_from(a: Person, b: Person, conversation: UUID) -> None:
    tab, here, now = a.tab(conversation), WriterHeads(), timezone.now()
    append_epoch(a, tab)
    first, second = _sent(a, tab, 2)
    with transaction.atomic():
        delivery.store([first], now=now)
        transaction.set_rollback(True)

    (refused,) = delivery.store([second], now=now, heads=here)

    assert isinstance(refused, WriterGap)


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


async def test_nobody_overtakes_who_waits_for_room(
    a: Person, b: Person, conversation: UUID, settings: Settings
) -> None:
    settings.WRITER_QUEUE_ENVELOPES = 1
    tab = a.tab(conversation)
    await sync_to_async(append_epoch)(a, tab)
    first, second = [await sync_to_async(submission_of)(a, tab.send()) for _ in range(2)]
    writer = Writer(lambda done: None)
    assert writer.has_room
    await writer.submit(Waiting(first, 1, sender=None))  # type: ignore[arg-type]
    held = asyncio.create_task(writer.submit(Waiting(second, 1, sender=None)))  # type: ignore[arg-type]
    await asyncio.sleep(0)

    running = asyncio.create_task(writer.run())
    await asyncio.sleep(0)

    assert not held.done()  # The first has gone to the database, and the second has not heard of it.
    assert not writer.has_room
    await held
    await writer.drain()
    assert writer.has_room
    running.cancel()
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
