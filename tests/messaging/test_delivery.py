"""Sending: through the socket into the database, and out to the other sockets."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from pytest_django import Settings

from friends.services import end_friendship
from messaging import protocol
from messaging.connection import CloseCode
from messaging.models import Conversation, Envelope
from messaging.services import history
from messaging.wire import envelope_hash, first_log_hash, next_log_hash
from securechat.logs import PlainFormatter
from tests.messaging.browser import Socket
from tests.messaging.conftest import Person
from tests.messaging.make_objects import Tab

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=[True, False], ids=["at once", "in turn"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the launcher hands over at once and what waits in the socket's queue must come to the same."""
    monkeypatch.setattr(Socket, "takes_at_once", request.param)


async def open_epoch(socket: Socket, tab: Tab) -> None:
    await socket.ask(tab.append(ref=900_001), protocol.EpochAppended)


async def test_a_message_reaches_the_friend_and_ones_own_other_tab(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    async with a.socket() as sender, a.socket() as other_tab, b.socket() as friend:
        await open_epoch(sender, tab)
        frame = tab.send(ref=7)

        stored = await sender.ask(frame, protocol.EnvelopeStored)

        assert (stored.n, stored.client_id) == (1, frame.client_id)
        for socket in (other_tab, friend):
            new = await socket.next(protocol.EnvelopeNew)
            assert new.row.envelope == frame.envelope
            assert (new.row.n, new.row.side, new.row.stored_at) == (1, 0, stored.stored_at)
        assert await sender.hears_nothing(protocol.EnvelopeNew)


async def test_messages_are_numbered_and_chained_into_the_log(
    a: Person, b: Person, conversation: UUID
) -> None:
    alices, bobs = a.tab(conversation), b.tab(conversation)
    async with a.socket() as alice, b.socket() as bob:
        await open_epoch(alice, alices)
        frames = [alices.send(1), alices.send(2), bobs.send(3), alices.send(4)]

        numbers = []
        for socket, frame in zip([alice, alice, bob, alice], frames, strict=True):
            numbers.append((await socket.ask(frame, protocol.EnvelopeStored)).n)

    assert numbers == [1, 2, 3, 4]
    expected = first_log_hash(conversation)
    async for row in Envelope.objects.order_by("n"):
        expected = next_log_hash(expected, row.n, envelope_hash(frames[row.n - 1].envelope))
        assert bytes(row.log_hash) == expected
    stored = await Conversation.objects.aget()
    assert (stored.last_n, bytes(stored.log_hash)) == (4, expected)


async def test_a_message_to_somebody_offline_is_there_when_they_come(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    async with a.socket() as alice:
        await open_epoch(alice, tab)
        frame = tab.send()
        await alice.ask(frame, protocol.EnvelopeStored)

    async with b.socket() as bob:
        page = await bob.ask(newest(conversation), protocol.History)

    assert [row.envelope for row in page.rows] == [frame.envelope]


async def test_a_resent_message_gets_the_first_answer_again_and_is_stored_once(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    async with a.socket() as alice, b.socket() as bob:
        await open_epoch(alice, tab)
        frame = tab.send(ref=1)
        first = await alice.ask(frame, protocol.EnvelopeStored)

        again = await alice.ask(frame.model_copy(update={"ref": 2}), protocol.EnvelopeStored)

        assert (again.n, again.stored_at) == (first.n, first.stored_at)
        await bob.next(protocol.EnvelopeNew)
        assert await bob.hears_nothing(protocol.EnvelopeNew)
    assert await Envelope.objects.acount() == 1


async def test_a_message_resent_after_the_epoch_and_the_friendship_ended_gets_its_first_answer(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    async with a.socket() as alice:
        append = tab.append()
        await alice.ask(append, protocol.EpochAppended)
        frame = tab.send(ref=2)
        first = await alice.ask(frame, protocol.EnvelopeStored)
        await alice.ask(tab.append(2, after=append.record, ref=3), protocol.EpochAppended)
        await sync_to_async(end_friendship)(ended_by=a.user, public_id=conversation)

        again = await alice.ask(frame.model_copy(update={"ref": 4}), protocol.EnvelopeStored)

    assert (again.n, again.stored_at) == (first.n, first.stored_at)


async def test_the_same_client_id_with_other_bytes_is_refused(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    async with a.socket() as alice:
        await open_epoch(alice, tab)
        frame = tab.send(ref=1)
        await alice.ask(frame, protocol.EnvelopeStored)

        assert await alice.refusal_of(tab.send(2, client_id=frame.client_id)) == "client_id_reused"


async def test_both_people_may_choose_the_same_client_id(a: Person, b: Person, conversation: UUID) -> None:
    client_id = uuid4()
    alices, bobs = a.tab(conversation), b.tab(conversation)
    async with a.socket() as alice, b.socket() as bob:
        await open_epoch(alice, alices)
        await alice.ask(alices.send(2, client_id=client_id), protocol.EnvelopeStored)

        assert (await bob.ask(bobs.send(3, client_id=client_id), protocol.EnvelopeStored)).n == 2


@pytest.mark.parametrize("epoch", [1, 2])
async def test_a_message_for_another_epoch_than_now_is_refused(
    a: Person, b: Person, conversation: UUID, epoch: int
) -> None:
    tab = a.tab(conversation)
    tab.epoch = epoch
    async with a.socket() as alice:
        if epoch == 2:
            await open_epoch(alice, tab)

        assert await alice.refusal_of(tab.send()) == "stale_epoch"


async def test_a_device_of_somebody_else_is_unknown(a: Person, b: Person, conversation: UUID) -> None:
    tab = a.tab(conversation)
    async with a.socket() as alice:
        await open_epoch(alice, tab)

        assert await alice.refusal_of(b.tab(conversation).send()) == "unknown_device"


async def test_a_writer_continues_where_it_was(a: Person, b: Person, conversation: UUID) -> None:
    tab = a.tab(conversation)
    async with a.socket() as alice:
        await open_epoch(alice, tab)
        await alice.ask(tab.send(1), protocol.EnvelopeStored)
        before = tab.prev
        spoilt: list[dict[str, Any]] = [
            {"seq": 3},
            {"seq": 2, "prev": bytes(32)},
            {"seq": 1, "prev": bytes(32)},
            {"seq": 1, "prev": before},
            {"writer": bytes(16)},
        ]
        for ref, changes in enumerate(spoilt, start=2):
            client_id = uuid4()
            frame = tab.frame(tab.envelope(client_id, **changes), client_id, ref)

            assert await alice.refusal_of(frame) == "writer_gap", changes
        assert (await alice.ask(tab.send(9), protocol.EnvelopeStored)).n == 2


async def test_what_follows_a_refused_message_of_a_writer_is_refused_too(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    async with a.socket() as alice:
        await open_epoch(alice, tab)
        tab.send()  # Never arrives.

        assert await alice.refusal_of(tab.send(2)) == "writer_gap"
        assert await alice.refusal_of(tab.send(3)) == "writer_gap"
        assert (await alice.ask(a.tab(conversation).send(4), protocol.EnvelopeStored)).n == 1


async def test_one_refused_message_does_not_keep_back_its_batch(
    a: Person, b: Person, conversation: UUID
) -> None:
    good, bad = a.tab(conversation), a.tab(conversation)
    bad.send()
    async with a.socket() as alice:
        await open_epoch(alice, good)
        frames = [good.send(1), bad.send(2), good.send(3), bad.send(4), good.send(5)]
        for frame in frames:
            await alice.send(frame)

        answers = [await alice.receive() for _ in frames]

    assert [getattr(answer, "n", None) for answer in answers] == [1, None, 2, None, 3]
    assert [answer.ref for answer in answers if isinstance(answer, protocol.Refused)] == [2, 4]


async def test_a_frame_and_its_envelope_must_say_the_same(a: Person, b: Person, conversation: UUID) -> None:
    tab = a.tab(conversation)
    async with a.socket() as alice:
        await open_epoch(alice, tab)
        spoilt: list[dict[str, Any]] = [{"client_id": uuid4()}, {"epoch": 2}, {"envelope": b"no envelope"}]
        for ref, change in enumerate(spoilt, start=1):
            frame = tab.frame(tab.envelope(client_id := uuid4()), client_id, ref).model_copy(update=change)

            assert await alice.refusal_of(frame) == "malformed_frame", change


async def test_after_the_first_message_of_a_socket_nothing_has_to_be_asked(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    async with a.socket() as socket:
        await open_epoch(socket, tab)
        for ref in range(1, 4):
            await socket.ask(tab.send(ref), protocol.EnvelopeStored)

        assert socket.taken_at_once == (2 if Socket.takes_at_once else 0)


async def test_a_line_about_a_socket_names_it_once(
    a: Person, b: Person, conversation: UUID, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.FRAME_BURST, settings.FRAMES_PER_SECOND = 4, 1
    tab = a.tab(conversation)
    with caplog.at_level("INFO"):
        async with a.socket() as socket:
            await open_epoch(socket, tab)
            await socket.ask(tab.send(1), protocol.EnvelopeStored)
            for ref in range(2, 5):
                await socket.send(tab.send(ref))
            assert await socket.closed_with() == CloseCode.TOO_MANY

    (line,) = (record for record in caplog.records if "code=too_many" in record.getMessage())
    names = re.findall(r"(?:connection=|\[)([0-9a-f]{16})", PlainFormatter().format(line))
    assert "connection=" in line.getMessage() or not Socket.takes_at_once
    assert len(names) <= 1


async def test_a_message_does_not_overtake_a_question_that_is_being_answered(
    a: Person, b: Person, conversation: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    page = history.page

    def slow_page(*arguments: Any) -> history.Page:
        go_on.wait(10)
        return page(*arguments)

    monkeypatch.setattr(history, "page", slow_page)
    ask = protocol.GetHistory(ref=7, conversation=conversation, direction="before", n=0, limit=1)
    tab = a.tab(conversation)
    async with a.socket() as socket:
        await open_epoch(socket, tab)
        await socket.ask(tab.send(1), protocol.EnvelopeStored)
        await socket.send(ask)
        await asyncio.sleep(0.1)  # It is taken, and waits for the database.
        await socket.send(tab.send(2))

        assert await socket.hears_nothing(protocol.EnvelopeStored)
        go_on.set()
        assert isinstance(await socket.receive(), protocol.History)
        assert isinstance(await socket.receive(), protocol.EnvelopeStored)


async def test_a_foreign_conversation_and_none_are_the_same_answer(
    a: Person, b: Person, m: Person, conversation: UUID
) -> None:
    answers = []
    async with m.socket() as mallory:
        for conversation_id in (conversation, uuid4()):
            tab = m.tab(conversation_id)
            frames: list[protocol.ClientFrame] = [
                tab.send(1),
                tab.append(ref=2),
                newest(conversation_id, ref=3),
                protocol.GetChain(ref=4, conversation=conversation_id, whose="peer", after=0),
                protocol.GetChain(ref=5, conversation=conversation_id, whose="own", after=0),
                protocol.GetEpochs(ref=6, conversation=conversation_id, after=0),
                protocol.LookUpEnvelopes(ref=7, conversation=conversation_id, client_ids=(uuid4(),)),
                tab.set_head(1, bytes(32), ref=8),
                protocol.ListConversations(ref=9, before=conversation_id),
            ]
            answers.append([await mallory.ask(frame, protocol.Refused) for frame in frames])

    assert answers[0] == answers[1]
    assert {answer.code for answer in answers[0]} == {"conversation_not_found"}


async def test_nothing_can_be_sent_after_the_friendship_ended_and_history_stays(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    async with a.socket() as alice:
        await open_epoch(alice, tab)
        await alice.ask(tab.send(1), protocol.EnvelopeStored)
        await sync_to_async(end_friendship)(ended_by=b.user, public_id=conversation)

        assert await alice.refusal_of(tab.send(2)) == "conversation_closed"
        assert await alice.refusal_of(tab.append(2, ref=3)) == "conversation_closed"
        assert await alice.refusal_of(tab.set_head(1, bytes(32), ref=4)) == "conversation_closed"
        assert len((await alice.ask(newest(conversation, ref=5), protocol.History)).rows) == 1


async def test_a_person_who_sends_too_fast_is_told_when_to_come_back(
    a: Person, b: Person, conversation: UUID, settings: Settings
) -> None:
    settings.ENVELOPE_BURST, settings.ENVELOPES_PER_SECOND = 3, 1
    tab = a.tab(conversation)
    async with a.socket() as alice, a.socket() as other_tab:
        await open_epoch(alice, tab)
        for ref in (1, 2, 3):
            await alice.ask(tab.send(ref), protocol.EnvelopeStored)

        refused = await other_tab.ask(a.tab(conversation).send(4), protocol.Refused)

        assert (refused.code, refused.retry_after) == ("too_fast", 1)


async def test_malformed_frames_are_refused_and_the_socket_stays(
    a: Person, b: Person, conversation: UUID
) -> None:
    async with a.socket() as alice:
        for text in (
            "",
            "no json",
            "[]",
            '{"type":"ping"}',
            '{"type":"ping","ref":1,"x":2}',
            '{"type":"hm","ref":1}',
        ):
            await alice.send_text(text)
            assert (await alice.next(protocol.Refused)).code == "malformed_frame"
        await alice.send_bytes(b'{"type":"ping","ref":1}')
        assert (await alice.next(protocol.Refused)).code == "malformed_frame"

        await alice.send_text(json.dumps({"type": "ping", "ref": 5, "unknown": 1}))
        assert (await alice.next(protocol.Refused)).ref == 5
        assert await alice.ask(protocol.Ping(ref=6), protocol.Pong)


async def test_a_frame_that_is_too_large_closes_the_socket(a: Person, settings: Settings) -> None:
    async with a.socket() as alice:
        await alice.send_text(" " * (settings.MAX_FRAME_BYTES + 1))

        assert await alice.closed_with() == 1009


async def test_a_flood_of_frames_closes_the_socket(a: Person, settings: Settings) -> None:
    settings.FRAME_BURST, settings.FRAMES_PER_SECOND = 10, 1
    async with a.socket() as alice:
        for ref in range(1, 13):
            await alice.send(protocol.Ping(ref=ref))

        assert await alice.closed_with() == 4429


def newest(conversation: UUID, ref: int = 1) -> protocol.GetHistory:
    return protocol.GetHistory(ref=ref, conversation=conversation, direction="before", n=0, limit=50)
