"""Several processes, and a Redis between them that may be away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection
from django.utils import timezone
from pytest_django import Settings

from messaging import protocol
from messaging.hub import current_hub
from messaging.models import Conversation, Envelope
from messaging.presence import connection_key, renew
from messaging.services import batch_rows, conversations, delivery, epochs, heads
from messaging.services.batch_rows import StoredEnvelope
from messaging.services.delivery import Outcome, Stored, Submission
from messaging.wire import first_log_hash, next_log_hash, parse_envelope
from securechat import events
from securechat.redis import async_client
from securechat.serving.valkey import EmbeddedValkey
from tests.messaging.conftest import Person
from tests.messaging.make_objects import Tab

pytestmark = pytest.mark.django_db(transaction=True)


def store(
    person: Person, frames: Sequence[protocol.SendEnvelope], *, behind: timedelta = timedelta(0)
) -> list[Outcome]:
    """As another process's writer does, whose clock may be behind."""
    batch = [submission_of(person, frame) for frame in frames]
    return delivery.store(batch, now=timezone.now() - behind)


def submission_of(person: Person, frame: protocol.SendEnvelope, *, checked_at_seq: int = 2) -> Submission:
    """By default of somebody whose chain is as it was after signing up."""
    side = conversations.membership_of(person.user, frame.conversation).side
    header = parse_envelope(frame.envelope)
    return Submission(side, header, frame.envelope, person.user, checked_at_seq)


def append_epoch(person: Person, tab: Tab) -> None:
    membership = conversations.membership_of(person.user, tab.conversation)
    epochs.append(person.user, membership, 1, tab.append().record)


async def ring_as_another_process(event: events.Event) -> None:
    await async_client().publish(events.CHANNEL, events.encode(event, process="another"))


async def listening() -> None:
    """The hub's ear at Redis is there a moment after its first socket."""
    async with asyncio.timeout(5):
        while (await async_client().pubsub_numsub(events.CHANNEL))[0][1] == 0:  # noqa: ASYNC110 - Redis does not tell
            await asyncio.sleep(0.02)


# Through Redis


async def test_what_another_process_stored_is_told_once_to_every_socket(
    a: Person, b: Person, m: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    frames = [tab.send(1), tab.send(2)]
    async with a.socket() as alice, b.socket() as bob, m.socket() as mallory:
        await listening()
        await sync_to_async(append_epoch)(a, tab)
        await ring_as_another_process(events.EpochAppended(conversation, 1))
        await sync_to_async(store)(a, frames)

        await ring_as_another_process(events.EnvelopesStored(((conversation, 1, 2),)))

        for socket in (alice, bob):
            assert (await socket.next(protocol.EpochNew)).epoch == 1
            rows = [(await socket.next(protocol.EnvelopeNew)).row for _ in frames]
            assert [(row.n, row.envelope) for row in rows] == [
                (1, frames[0].envelope),
                (2, frames[1].envelope),
            ]
        assert await mallory.hears_nothing(protocol.EnvelopeNew)


async def test_a_head_that_another_process_stored_is_told(a: Person, b: Person, conversation: UUID) -> None:
    tab = a.tab(conversation)

    def set_head() -> protocol.SetHead:
        append_epoch(a, tab)
        store(a, [tab.send()])
        frame = tab.set_head(1, bytes(32))
        heads.store(a.user, conversations.membership_of(a.user, conversation), frame.head)
        return frame

    async with b.socket() as bob:
        await listening()
        frame = await sync_to_async(set_head)()

        await ring_as_another_process(events.HeadStored(conversation, 0))

        told = await bob.next(protocol.HeadNew)
        assert (told.side, told.head) == (0, frame.head)


async def test_this_process_rings_once_for_a_batch_and_hears_nothing_of_its_own(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    async with a.socket() as alice, b.socket() as bob, async_client().pubsub() as other_process:
        await other_process.subscribe(events.CHANNEL)
        await other_process.get_message(timeout=1)  # That it has subscribed.
        await alice.ask(tab.append(), protocol.EpochAppended)
        await alice.ask(tab.send(2), protocol.EnvelopeStored)
        rung = []
        while message := await other_process.get_message(ignore_subscribe_messages=True, timeout=0.5):
            rung.append(message["data"])

        assert await bob.next(protocol.EnvelopeNew)
        assert await bob.hears_nothing(protocol.EnvelopeNew)
    assert sum(b'"envelopes"' in data for data in rung) == 1
    assert all(events.decode(data) is None for data in rung)


async def test_what_a_process_stored_and_died_before_it_told_anybody_is_told_when_it_is_sent_again(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    frame = tab.send()
    async with a.socket() as alice, b.socket() as bob, async_client().pubsub() as other_process:
        await listening()
        await other_process.subscribe(events.CHANNEL)
        await sync_to_async(append_epoch)(a, tab)
        await sync_to_async(store)(a, [frame])

        assert (await alice.ask(frame, protocol.EnvelopeStored)).n == 1

        assert (await bob.next(protocol.EnvelopeNew)).row.envelope == frame.envelope
        async with asyncio.timeout(5):
            while True:
                message = await other_process.get_message(ignore_subscribe_messages=True, timeout=5)
                if message and b'"envelopes"' in message["data"]:
                    break
    assert str(conversation).encode() in message["data"]


async def test_a_process_that_begins_makes_the_others_look_for_what_one_that_died_did_not_ring(
    a: Person, b: Person, conversation: UUID
) -> None:
    async with async_client().pubsub() as other_process:
        await other_process.subscribe(events.CHANNEL)
        async with a.socket(), asyncio.timeout(5):
            while True:
                message = await other_process.get_message(ignore_subscribe_messages=True, timeout=5)
                if message and b'"missed"' in message["data"]:
                    break


async def test_what_was_not_rung_is_found_when_another_process_begins(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    frame = tab.send()
    async with b.socket() as bob:
        await listening()
        await sync_to_async(append_epoch)(a, tab)
        await sync_to_async(store)(a, [frame])

        await ring_as_another_process(events.RingsMissed(seconds=0))

        assert (await bob.next(protocol.EnvelopeNew)).row.envelope == frame.envelope


async def test_what_is_rung_while_the_ear_at_redis_is_cut_off_is_found(
    a: Person, b: Person, conversation: UUID
) -> None:
    """Redis itself is well, so nothing else tells: the client would subscribe again without a word."""
    tab = a.tab(conversation)
    async with a.socket(), b.socket() as bob:
        await listening()
        await sync_to_async(append_epoch)(a, tab)
        await sync_to_async(store)(a, [tab.send()])
        ring = events.encode(events.EnvelopesStored(((conversation, 1, 1),)), process="another")

        async with async_client().pipeline(transaction=True) as at_once:
            at_once.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            at_once.publish(events.CHANNEL, ring)
            await at_once.execute()

        assert (await bob.next(protocol.EnvelopeNew)).row.n == 1


async def test_a_ring_whose_meaning_the_database_did_not_say_is_looked_after(
    a: Person, b: Person, conversation: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab = a.tab(conversation)
    asked = []
    in_spans = batch_rows.in_spans

    def fails_at_first(spans: Sequence[tuple[UUID, int, int]]) -> list[StoredEnvelope]:
        asked.append(spans)
        if len(asked) == 1:
            raise OperationalError("The connection was lost.")
        return in_spans(spans)

    monkeypatch.setattr(batch_rows, "in_spans", fails_at_first)
    async with a.socket(), b.socket() as bob:
        await listening()
        await sync_to_async(append_epoch)(a, tab)
        await sync_to_async(store)(a, [tab.send()])

        await ring_as_another_process(events.EnvelopesStored(((conversation, 1, 1),)))

        assert (await bob.next(protocol.EnvelopeNew)).row.n == 1
    assert len(asked) == 2


async def test_what_a_process_that_never_came_back_did_not_ring_is_found_all_the_same(
    a: Person, b: Person, conversation: UUID, settings: Settings
) -> None:
    settings.CATCH_UP_ANYWAY = timedelta(seconds=1)
    tab = a.tab(conversation)
    async with a.socket(), b.socket() as bob:
        await listening()
        await sync_to_async(append_epoch)(a, tab)
        await sync_to_async(store)(a, [tab.send()])

        assert (await bob.next(protocol.EnvelopeNew)).row.n == 1


async def test_where_too_much_waits_to_be_rung_the_others_are_told_to_look(
    a: Person, conversation: UUID, settings: Settings
) -> None:
    settings.HUB_QUEUE_EVENTS = 3
    async with a.socket(), async_client().pubsub() as other_process:
        await listening()
        await other_process.subscribe(events.CHANNEL)
        await other_process.get_message(timeout=1)  # That it has subscribed.
        hub = current_hub()
        assert hub is not None
        for n in range(1, 5):
            hub.tell(
                conversation,
                protocol.Requests(count=0),
                but=None,
                ring=events.EnvelopesStored(((conversation, n, n),)),
            )

        rung = await other_process.get_message(ignore_subscribe_messages=True, timeout=5)
        while rung is not None and b'"presence"' in rung["data"]:
            rung = await other_process.get_message(ignore_subscribe_messages=True, timeout=5)

    assert rung is not None
    assert b'"missed"' in rung["data"]


async def test_nonsense_in_redis_is_not_heard(a: Person, b: Person, conversation: UUID) -> None:
    async with a.socket() as alice:
        await listening()
        for data in (b"", b"\xff", b"{}", b'{"process":"x","event":{"kind":"unknown"}}'):
            await async_client().publish(events.CHANNEL, data)
        await ring_as_another_process(events.KeysChanged(b.user.pk))

        assert (await alice.next(protocol.KeysChanged)).conversation == conversation


# Without Redis


@pytest.fixture
def no_redis(settings: Settings, tmp_path: Path) -> Path:
    """The socket where it is not (yet)."""
    socket = tmp_path / "valkey.sock"
    settings.EFFECTIVE_REDIS_URL = f"unix://{socket}"
    settings.PRESENCE_RENEW = timedelta(milliseconds=300)
    settings.PRESENCE_SWEEP = timedelta(milliseconds=100)
    return socket


async def test_people_on_one_process_go_on_talking_without_redis(
    a: Person, b: Person, conversation: UUID, no_redis: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tab = a.tab(conversation)
    with caplog.at_level(logging.WARNING):
        async with a.socket() as alice, b.socket() as bob:
            assert alice.welcome is not None
            assert [item.online for item in alice.welcome.presence] == [None]
            await alice.ask(tab.append(), protocol.EpochAppended)
            for ref in range(2, 7):
                await alice.ask(tab.send(ref), protocol.EnvelopeStored)
                assert (await bob.next(protocol.EnvelopeNew)).row.n == ref - 1
            listed = await alice.ask(protocol.ListConversations(ref=9, before=None), protocol.Conversations)
            assert listed.items[0].online is None
            await asyncio.sleep(1.5)

    assert [record.message for record in caplog.records if "Redis is away" in record.message] == [
        "Redis is away (ConnectionError): who is online is unknown, limits count for each process, the database is asked for news."
    ]
    assert not any(record.exc_info for record in caplog.records)


async def test_when_redis_comes_everything_is_caught_up(
    a: Person, b: Person, conversation: UUID, no_redis: Path
) -> None:
    tab = a.tab(conversation)
    frame = tab.send()
    async with a.socket() as alice, b.socket() as bob:
        await sync_to_async(append_epoch)(a, tab)
        await sync_to_async(store)(a, [frame])  # By another process, whose ring nobody hears.

        with EmbeddedValkey(no_redis):
            assert (await bob.next(protocol.EnvelopeNew)).row.envelope == frame.envelope
            assert (await alice.next(protocol.Presence)).online is True
            await listening()
            await ring_as_another_process(events.KeysChanged(b.user.pk))
            assert await alice.next(protocol.KeysChanged)
            assert (await alice.ask(tab.send(2), protocol.EnvelopeStored)).n == 2


async def test_what_was_stored_by_a_wrong_clock_is_caught_up_too(
    a: Person, b: Person, conversation: UUID, no_redis: Path
) -> None:
    tab = a.tab(conversation)
    frames = [tab.send(), tab.send()]
    async with b.socket() as bob:
        await sync_to_async(append_epoch)(a, tab)
        await sync_to_async(store)(a, frames, behind=timedelta(days=1))

        with EmbeddedValkey(no_redis):
            told = [(await bob.next(protocol.EnvelopeNew)).row.n for _ in frames]

    assert told == [1, 2]


async def test_when_redis_goes_nobody_is_shown_as_online(
    a: Person, b: Person, conversation: UUID, no_redis: Path
) -> None:
    valkey = EmbeddedValkey(no_redis)
    await asyncio.to_thread(valkey.start)
    try:
        async with a.socket() as alice, b.socket():
            assert (await alice.next(protocol.Presence)).online is True

            await asyncio.to_thread(valkey.stop)

            assert (await alice.next(protocol.Presence)).online is None
    finally:
        await asyncio.to_thread(valkey.stop)


# Together on one database


def test_writers_of_several_processes_number_without_gaps(a: Person, b: Person, conversation: UUID) -> None:
    first = a.tab(conversation)
    append_epoch(a, first)
    tabs = [(person, person.tab(conversation)) for person in (a, b) for _ in range(4)]
    batches = [(person, [tab.send() for _ in range(5)]) for _ in range(4) for person, tab in tabs]

    def run(offset: int) -> list[Outcome]:
        try:
            return [outcome for person, batch in batches[offset::8] for outcome in store(person, batch)]
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as processes:
        outcomes = [outcome for done in processes.map(run, range(8)) for outcome in done]

    assert sorted(outcome.n for outcome in outcomes if isinstance(outcome, Stored)) == list(range(1, 161))
    log_hash = first_log_hash(conversation)
    for row in Envelope.objects.order_by("n"):
        log_hash = next_log_hash(log_hash, row.n, bytes(row.envelope_hash))
        assert bytes(row.log_hash) == log_hash
    assert bytes(Conversation.objects.get().log_hash) == log_hash


def test_the_same_message_sent_through_two_processes_is_stored_once(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    append_epoch(a, tab)
    frame = tab.send()

    def run(_: int) -> Outcome:
        try:
            return store(a, [frame])[0]
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as processes:
        outcomes = list(processes.map(run, range(4)))

    assert sorted(outcome.new for outcome in outcomes if isinstance(outcome, Stored)) == [
        False,
        False,
        False,
        True,
    ]
    assert {outcome.n for outcome in outcomes if isinstance(outcome, Stored)} == {1}


async def test_a_socket_of_another_process_keeps_somebody_online(
    a: Person, b: Person, m: Person, conversation: UUID
) -> None:
    async with a.socket() as alice:
        await listening()
        await renew([connection_key(b.user.pk, "elsewhere")])
        await ring_as_another_process(events.PresenceChanged((m.user.pk, b.user.pk)))
        assert (await alice.next(protocol.Presence)).online is True

        async with b.socket():
            pass

        assert await alice.hears_nothing(protocol.Presence, seconds=3.5)
