"""What the two people can read back: lists, history, epochs, key chains, heads."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Literal
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts.models import KeyChainEntry
from accounts.services import key_chain
from friends.models import Friendship
from friends.services import end_friendship, request_friendship
from messaging import protocol
from messaging.models import Conversation, EpochRecord
from messaging.services import conversations, delivery, history
from messaging.services.conversations import membership_of
from messaging.wire import envelope_hash, first_log_hash, next_log_hash
from securechat import sealed
from tests import factories
from tests.messaging.browser import Socket
from tests.messaging.conftest import Person, befriend, make_person
from tests.messaging.make_objects import Tab
from tests.messaging.test_processes import append_epoch, submission_of

pytestmark = pytest.mark.django_db(transaction=True)


async def fill(socket: Socket, tab: Tab, count: int, *, length: int = 100) -> list[bytes]:
    """The log hashes: position 0 is before the first message."""
    await socket.ask(tab.append(ref=900_001), protocol.EpochAppended)
    log = [first_log_hash(tab.conversation)]
    for ref in range(1, count + 1):
        frame = tab.send(ref, length=length)
        await socket.ask(frame, protocol.EnvelopeStored)
        log.append(next_log_hash(log[-1], ref, envelope_hash(frame.envelope)))
    return log


def page(conversation: UUID, direction: str, n: int, limit: int = 50, ref: int = 1) -> protocol.GetHistory:
    return protocol.GetHistory.model_validate(
        {"ref": ref, "conversation": conversation, "direction": direction, "n": n, "limit": limit}
    )


@pytest.mark.parametrize(
    ("direction", "n", "limit", "expected", "before", "more"),
    [
        ("before", 0, 50, [1, 2, 3, 4, 5], 0, False),
        ("before", 0, 2, [4, 5], 3, True),
        ("before", 4, 2, [2, 3], 1, True),
        ("before", 3, 2, [1, 2], 0, False),
        ("before", 1, 2, [], 0, False),
        ("before", 99, 1, [5], 4, True),
        ("after", 0, 2, [1, 2], 0, True),
        ("after", 0, 5, [1, 2, 3, 4, 5], 0, False),
        ("after", 3, 50, [4, 5], 3, False),
        ("after", 3, 1, [4], 3, True),
        ("after", 5, 50, [], 5, False),
        ("after", 99, 50, [], 5, False),
    ],
)
async def test_history_comes_in_pages_with_the_hash_before_them(
    a: Person, b: Person, conversation: UUID,
    direction: str, n: int, limit: int, expected: list[int], before: int, more: bool,
) -> None:  # fmt: skip
    async with a.socket() as alice, b.socket() as bob:
        log = await fill(alice, a.tab(conversation), 5)

        answer = await bob.ask(page(conversation, direction, n, limit), protocol.History)

    assert [row.n for row in answer.rows] == expected
    assert (answer.before_hash, answer.last_n, answer.more) == (log[before], 5, more)


@pytest.mark.parametrize("direction", ["before", "after"])
def test_a_page_does_not_count_a_first_message_that_it_does_not_have(
    a: Person,
    b: Person,
    conversation: UUID,
    monkeypatch: pytest.MonkeyPatch,
    direction: Literal["before", "after"],
) -> None:
    """It is stored between the two questions of an empty page."""
    tab, state = a.tab(conversation), history._state
    append_epoch(a, tab)
    membership = membership_of(b.user, conversation)

    def state_after_the_first(id_: UUID) -> Conversation:
        if not tab.seq:
            delivery.store([submission_of(a, tab.send())], now=timezone.now())
        return state(id_)

    monkeypatch.setattr(history, "_state", state_after_the_first)
    page = history.page(membership, direction, 0, 50)

    assert page.last_n == len(page.rows) == 1


async def test_history_of_an_empty_conversation_is_empty(a: Person, b: Person, conversation: UUID) -> None:
    async with a.socket() as alice:
        for direction in ("before", "after"):
            answer = await alice.ask(page(conversation, direction, 0), protocol.History)

            assert (answer.rows, answer.last_n, answer.more) == ((), 0, False)
            assert answer.before_hash == first_log_hash(conversation)


@pytest.mark.parametrize("direction", ["before", "after"])
async def test_a_page_never_passes_the_frame_limit_and_the_next_one_goes_on(
    a: Person, b: Person, conversation: UUID, direction: str
) -> None:
    async with a.socket() as alice:
        log = await fill(alice, a.tab(conversation), 4, length=40_000)
        seen: list[int] = []
        n, more = 0, True
        while more:
            answer = await alice.ask(page(conversation, direction, n, ref=50 + len(seen)), protocol.History)
            assert len(protocol.encode(answer).encode()) <= 131_072
            assert answer.before_hash == log[answer.rows[0].n - 1]
            numbers = [row.n for row in answer.rows]
            seen = numbers + seen if direction == "before" else seen + numbers
            n, more = (numbers[0] if direction == "before" else numbers[-1]), answer.more

    assert seen == [1, 2, 3, 4]


async def test_the_largest_envelope_there_and_back(a: Person, b: Person, conversation: UUID) -> None:
    tab = a.tab(conversation)
    overhead = len(tab.envelope(uuid4(), length=65_000)) - 65_000
    async with a.socket() as alice, b.socket() as bob:
        await alice.ask(tab.append(), protocol.EpochAppended)
        frame = tab.send(length=65_536 - overhead)
        assert len(frame.envelope) == 65_536

        await alice.ask(frame, protocol.EnvelopeStored)

        assert (await bob.next(protocol.EnvelopeNew)).row.envelope == frame.envelope
        assert len((await bob.ask(page(conversation, "before", 0), protocol.History)).rows) == 1
        listed = await bob.ask(protocol.ListConversations(ref=9, before=None), protocol.Conversations)
        assert listed.items[0].last is not None


async def test_a_look_up_finds_ones_own_stored_messages_only(
    a: Person, b: Person, conversation: UUID
) -> None:
    alices, bobs = a.tab(conversation), b.tab(conversation)
    async with a.socket() as alice, b.socket() as bob:
        await alice.ask(alices.append(), protocol.EpochAppended)
        own, theirs = alices.send(1), bobs.send(2)
        stored = await alice.ask(own, protocol.EnvelopeStored)
        await bob.ask(theirs, protocol.EnvelopeStored)

        found = await alice.ask(
            protocol.LookUpEnvelopes(
                ref=3, conversation=conversation, client_ids=(uuid4(), own.client_id, theirs.client_id)
            ),
            protocol.EnvelopesFound,
        )

    assert [(item.client_id, item.n, item.stored_at) for item in found.items] == [
        (own.client_id, 1, stored.stored_at)
    ]


# The list of chats


async def test_the_list_shows_each_conversation_newest_activity_first(
    a: Person, b: Person, m: Person
) -> None:
    with_bob, with_mallory = await sync_to_async(befriend)(a, b), await sync_to_async(befriend)(a, m)
    async with a.socket() as alice:
        tab = a.tab(with_bob)
        log = await fill(alice, tab, 2)
        await alice.ask(tab.set_head(2, log[2], ref=800), protocol.HeadStored)

        listed = await alice.ask(protocol.ListConversations(ref=9, before=None), protocol.Conversations)

    bob, mallory = listed.items
    assert (bob.conversation, bob.peer, bob.side, bob.open, bob.online) == (with_bob, "Bobby", 0, True, False)
    assert (bob.last_n, bob.epoch, bob.peer_has_keys) == (2, 1, True)
    assert bob.last is not None
    assert bob.last.n == 2
    assert bob.heads[0] is not None
    assert bob.heads[1] is None
    assert (mallory.conversation, mallory.last, mallory.epoch) == (with_mallory, None, 0)
    assert not listed.more


async def test_the_list_goes_on_after_the_conversation_that_is_named(a: Person, settings: Settings) -> None:
    await sync_to_async(lambda: [befriend(a, make_person(f"Friend{n}")) for n in range(5)])()
    settings.CONVERSATIONS_PAGE_ROWS = 2
    seen: list[str] = []
    before, more = None, True
    async with a.socket() as alice:
        while more:
            listed = await alice.ask(protocol.ListConversations(ref=9, before=before), protocol.Conversations)
            seen += [item.peer for item in listed.items]
            before, more = listed.items[-1].conversation, listed.more

    assert sorted(seen) == [f"Friend{n}" for n in range(5)]


def test_the_list_takes_the_same_number_of_queries_for_one_friend_and_for_many(a: Person) -> None:
    def queries() -> int:
        conversations.page_of_summaries(a.user, None)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            conversations.page_of_summaries(a.user, None)
        return len(captured)

    befriend(a, make_person("Friend0"))
    befriend(make_person("Asker0"), a)
    few = queries()
    for number in range(1, 6):
        befriend(a, make_person(f"Friend{number}"))
        befriend(make_person(f"Asker{number}"), a)

    assert queries() == few


def test_a_conversation_is_visible_to_its_two_people_only(
    a: Person, b: Person, m: Person, conversation: UUID
) -> None:
    conversations.membership_of(a.user, conversation)

    for person, count in ((a, 1), (b, 1), (m, 0)):
        assert Conversation.objects.visible_to(person.user).count() == count


async def test_a_request_that_was_never_approved_has_no_conversation(a: Person, b: Person) -> None:
    await sync_to_async(request_friendship)(sender=a.user, username="Bobby")
    friendship = await Friendship.objects.aget()
    async with a.socket() as alice, b.socket() as bob:
        for socket in (alice, bob):
            assert (
                await socket.ask(protocol.ListConversations(ref=1, before=None), protocol.Conversations)
            ).items == ()
            assert (
                await socket.refusal_of(page(friendship.public_id, "before", 0, ref=2))
                == "conversation_not_found"
            )


# Epochs


async def test_an_epoch_reaches_everybody_but_its_authors_socket(
    a: Person, b: Person, conversation: UUID
) -> None:
    async with a.socket() as alice, a.socket() as other_tab, b.socket() as bob:
        frame = a.tab(conversation).append()

        await alice.ask(frame, protocol.EpochAppended)

        for socket in (other_tab, bob):
            assert (await socket.next(protocol.EpochNew)).record == frame.record
        assert await alice.hears_nothing(protocol.EpochNew)
        epochs = await bob.ask(protocol.GetEpochs(ref=5, conversation=conversation, after=0), protocol.Epochs)
        assert (epochs.records, epochs.more) == ((frame.record,), False)


async def test_of_two_who_open_an_epoch_at_once_one_wins(a: Person, b: Person, conversation: UUID) -> None:
    async with a.socket() as alice, b.socket() as bob:
        await alice.send(a.tab(conversation).append(ref=1))
        await bob.send(b.tab(conversation).append(ref=1))

        answers = [await answer_to(socket, 1) for socket in (alice, bob)]

    assert sorted(getattr(answer, "code", "won") for answer in answers) == ["epoch_conflict", "won"]
    assert await EpochRecord.objects.acount() == 1


async def answer_to(socket: Socket, ref: int) -> protocol.ServerFrame:
    while True:
        frame = await socket.receive()
        if getattr(frame, "ref", None) == ref:
            return frame


async def test_an_epoch_follows_the_one_before(a: Person, b: Person, conversation: UUID) -> None:
    tab = a.tab(conversation)
    async with a.socket() as alice:
        assert await alice.refusal_of(tab.append(2)) == "epoch_conflict"
        first = tab.append()
        await alice.ask(first, protocol.EpochAppended)
        assert await alice.refusal_of(tab.append(1, ref=2)) == "epoch_conflict"
        assert await alice.refusal_of(tab.append(2, ref=3)) == "epoch_conflict"
        assert await alice.refusal_of(tab.append(3, after=first.record, ref=4)) == "epoch_conflict"
        assert await alice.ask(tab.append(2, after=first.record, ref=5), protocol.EpochAppended)


async def test_an_epoch_is_signed_by_ones_own_device_for_that_conversation(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    async with a.socket() as alice:
        assert await alice.refusal_of(b.tab(conversation).append()) == "unknown_device"
        for record in (tab.record(1, conversation=uuid4().bytes), tab.record(2), b"no record"):
            frame = tab.append().model_copy(update={"record": record})
            assert await alice.refusal_of(frame) == "malformed_frame"


async def test_no_epoch_is_opened_with_a_friend_who_has_no_keys(a: Person) -> None:
    def friend_without_keys() -> UUID:
        friend = factories.make_user_without_keys("Keyless")
        request_friendship(sender=a.user, username="Keyless")
        request_friendship(sender=friend, username="Alice1")
        return Friendship.objects.between(a.user, friend).get().public_id

    conversation = await sync_to_async(friend_without_keys)()
    async with a.socket() as alice:
        assert await alice.refusal_of(a.tab(conversation).append()) == "peer_has_no_keys"
        listed = await alice.ask(protocol.ListConversations(ref=2, before=None), protocol.Conversations)
        assert not listed.items[0].peer_has_keys


async def test_epoch_records_are_sealed_at_rest_and_come_in_pages(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    sent: list[bytes] = []
    async with a.socket() as alice:
        for number in range(1, 41):
            frame = tab.append(number, after=sent[-1] if sent else None, ref=number)
            await alice.ask(frame, protocol.EpochAppended)
            sent.append(frame.record)
        got: list[bytes] = []
        more = True
        while more:
            answer = await alice.ask(
                protocol.GetEpochs(ref=100, conversation=conversation, after=len(got)), protocol.Epochs
            )
            assert len(protocol.encode(answer)) <= 131_072
            got, more = got + list(answer.records), answer.more

    assert got == sent
    row = await EpochRecord.objects.filter(number=1).aget()
    assert sent[0][:200] not in bytes(row.sealed_record)
    row.number = 2
    with pytest.raises(sealed.SealBroken):
        row.record()


# Key chains


async def test_both_people_read_each_others_chain(a: Person, b: Person, conversation: UUID) -> None:
    own = await sync_to_async(key_chain.entries_of)(a.user)
    async with b.socket() as bob:
        chain = await bob.ask(chain_of("peer", conversation), protocol.Chain)
        rest = await bob.ask(chain_of("peer", conversation, after=1), protocol.Chain)
        bobs = await bob.ask(chain_of("own", conversation), protocol.Chain)

    assert (list(chain.entries), chain.more) == (own, False)
    assert list(rest.entries) == own[1:]
    assert bobs.entries != chain.entries
    assert len(bobs.entries) == 2


async def test_after_the_end_a_chain_is_readable_up_to_the_end(
    a: Person, b: Person, conversation: UUID
) -> None:
    """By when the server stored an entry: what a browser says about the time counts for nothing."""
    ended_at = timezone.now() - timedelta(days=30)
    await sync_to_async(end_friendship)(ended_by=a.user, public_id=conversation, now=ended_at)
    await KeyChainEntry.objects.filter(user=a.user, seq=1).aupdate(stored_at=ended_at)
    async with b.socket() as bob:
        peer = await bob.ask(chain_of("peer", conversation), protocol.Chain)
        own = await bob.ask(chain_of("own", conversation), protocol.Chain)

    assert (len(peer.entries), len(own.entries)) == (1, 2)


async def test_a_chain_does_not_seem_to_shrink_at_the_end(a: Person, b: Person, conversation: UUID) -> None:
    await sync_to_async(end_friendship)(ended_by=a.user, public_id=conversation)
    async with b.socket() as bob:
        assert len((await bob.ask(chain_of("peer", conversation), protocol.Chain)).entries) == 2


# An account that is gone


async def test_what_was_written_with_a_friend_whose_account_is_gone_stays_closed(
    a: Person, b: Person, conversation: UUID
) -> None:
    async with a.socket() as alice:
        await fill(alice, a.tab(conversation), 2)
        await sync_to_async(b.user.delete)()

        listed = await alice.ask(protocol.ListConversations(ref=2, before=None), protocol.Conversations)
        history = await alice.ask(page(conversation, "before", 0), protocol.History)

        assert await alice.refusal_of(chain_of("peer", conversation)) == "peer_has_no_keys"
        own = await alice.ask(chain_of("own", conversation), protocol.Chain)
    (shown,) = listed.items
    assert (shown.peer, shown.open, shown.peer_has_keys, shown.epoch) == ("Bobby", False, False, 1)
    assert (len(history.rows), len(own.entries)) == (2, 2)


async def test_a_new_account_under_the_name_is_somebody_else(
    a: Person, b: Person, conversation: UUID
) -> None:
    await sync_to_async(b.user.delete)()
    await sync_to_async(make_person)("Bobby")
    async with a.socket() as alice:
        assert await alice.refusal_of(chain_of("peer", conversation)) == "peer_has_no_keys"


def chain_of(whose: protocol.Whose, conversation: UUID, after: int = 0) -> protocol.GetChain:
    return protocol.GetChain(ref=1, conversation=conversation, whose=whose, after=after)


# Heads


async def test_a_newer_head_replaces_the_one_before_and_is_told(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = b.tab(conversation)
    async with a.socket() as alice, b.socket() as bob, b.socket() as other_tab:
        log = await fill(alice, a.tab(conversation), 3)
        newer = tab.set_head(2, log[2])

        await bob.ask(newer, protocol.HeadStored)

        for socket in (alice, other_tab):
            told = await socket.next(protocol.HeadNew)
            assert (told.side, told.head) == (1, newer.head)
        for older in (tab.set_head(1, log[1], ref=2), newer.model_copy(update={"ref": 3})):
            await bob.ask(older, protocol.HeadStored)
        assert await alice.hears_nothing(protocol.HeadNew)
        listed = await alice.ask(protocol.ListConversations(ref=9, before=None), protocol.Conversations)
        assert listed.items[0].heads == (None, newer.head)


async def test_a_head_of_the_same_place_says_that_more_was_read(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = b.tab(conversation)
    async with a.socket() as alice, b.socket() as bob:
        log = await fill(alice, a.tab(conversation), 1)
        await bob.ask(tab.set_head(1, log[1]), protocol.HeadStored)
        await alice.next(protocol.HeadNew)
        read = tab.set_head(1, log[1], ref=2)

        await bob.ask(read, protocol.HeadStored)

        assert (await alice.next(protocol.HeadNew)).head == read.head


async def test_a_head_is_of_ones_own_device_and_of_what_is_stored(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    async with a.socket() as alice:
        log = await fill(alice, tab, 1)
        assert await alice.refusal_of(b.tab(conversation).set_head(1, log[1], ref=11)) == "unknown_device"
        other = tab.set_head(1, log[1], ref=12).model_copy(
            update={"head": tab.head(1, log[1], conversation=uuid4().bytes)}
        )
        later_epoch = other.model_copy(update={"ref": 14, "head": tab.head(1, log[1], epoch=2)})
        for frame in (tab.set_head(2, os.urandom(32), ref=13), other, later_epoch):
            assert await alice.refusal_of(frame) == "malformed_frame"
