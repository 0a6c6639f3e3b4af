"""Sanctions and open sockets: with Redis at once, without it within the time of ``SESSION_CHECK``."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from accounts.models import Sanction
from accounts.services import sanctions
from messaging import protocol
from messaging.models import Envelope
from securechat import events
from tests.messaging.browser import Socket
from tests.messaging.conftest import Person
from tests.messaging.make_objects import Tab
from tests.messaging.test_processes import append_epoch

pytestmark = pytest.mark.django_db(transaction=True)
Kind = Sanction.Kind
FEELS_SECONDS = 5.0
_PAUSE = 0.15


@sync_to_async
def impose(person: Person, kind: Kind, **changes: Any) -> Sanction:
    ends_at = timezone.now() + timedelta(hours=1) if kind in Sanction.TIMED else None
    given = {"reason": "Insults.", "by": None, "source": "", "ends_at": ends_at, **changes}
    return sanctions.impose(user=person.user, kind=kind, **given)


@sync_to_async
def lift(sanction: Sanction) -> None:
    sanctions.lift(sanction=sanction, by=None, why="", source="")


async def answer_to(socket: Socket, frame: protocol.SendEnvelope) -> protocol.ServerFrame:
    await socket.send(frame)
    while True:
        answer = await socket.receive()
        if getattr(answer, "ref", None) == frame.ref:
            return answer


async def until_muted(socket: Socket, tab: Tab) -> int:
    """How many messages of its own were stored meanwhile. The refused one is not counted as sent."""
    async with asyncio.timeout(FEELS_SECONDS):
        for sent in itertools.count():
            before = (tab.seq, tab.prev)
            answer = await answer_to(socket, tab.send(sent + 1))
            if isinstance(answer, protocol.Refused):
                assert answer.code == "muted"
                tab.seq, tab.prev = before
                return sent
            await asyncio.sleep(_PAUSE)  # Below the limits for one person.
    raise AssertionError


async def until_stored(socket: Socket, frame: protocol.SendEnvelope) -> protocol.EnvelopeStored:
    """Sent again and again, as a person presses "try again"."""
    async with asyncio.timeout(FEELS_SECONDS):
        for ref in itertools.count(100):
            answer = await answer_to(socket, frame.model_copy(update={"ref": ref}))
            if isinstance(answer, protocol.EnvelopeStored):
                return answer
            await asyncio.sleep(_PAUSE)
    raise AssertionError


async def test_who_is_muted_reads_and_cannot_send_until_it_is_lifted(
    a: Person, b: Person, conversation: UUID
) -> None:
    hers, his = a.tab(conversation), b.tab(conversation)
    await sync_to_async(append_epoch)(a, hers)
    async with a.socket() as alice, b.socket() as bob:
        mute = await impose(a, Kind.MUTE)
        before = await until_muted(alice, hers)
        assert (await bob.ask(his.send(1), protocol.EnvelopeStored)).n == before + 1
        assert (await alice.next(protocol.EnvelopeNew)).row.n == before + 1
        frame = hers.send(50)
        async with a.socket() as again:
            refused = await again.ask(frame, protocol.Refused)
            assert refused.code == "muted"
            assert "You cannot send messages until" in refused.message
            assert "The reason: Insults." in refused.message

        await lift(mute)
        assert (await until_stored(alice, frame)).n == before + 2
    assert await Envelope.objects.acount() == before + 2


@pytest.mark.parametrize("event", [True, False])
async def test_it_is_felt_in_time_with_and_without_the_doorbell(
    a: Person, b: Person, conversation: UUID, event: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab = a.tab(conversation)
    await sync_to_async(append_epoch)(a, tab)
    if not event:
        monkeypatch.setattr(events, "publish", lambda event: None)
    async with a.socket() as alice:
        await impose(a, Kind.MUTE)
        await until_muted(alice, tab)
        await impose(a, Kind.SUSPENSION)
        assert await alice.closed_with(FEELS_SECONDS) == 4401


async def test_a_mute_ends_by_itself_on_an_open_socket(a: Person, b: Person, conversation: UUID) -> None:
    tab = a.tab(conversation)
    await sync_to_async(append_epoch)(a, tab)
    await impose(a, Kind.MUTE, ends_at=timezone.now() + timedelta(seconds=1.5))
    async with a.socket() as alice:
        frame = tab.send(1)
        assert await alice.refusal_of(frame) == "muted"

        assert (await until_stored(alice, frame)).n == 1


@pytest.mark.parametrize("kind", [Kind.SUSPENSION, Kind.BAN])
async def test_the_sockets_of_who_is_shut_out_are_closed(
    a: Person, b: Person, conversation: UUID, kind: Kind
) -> None:
    async with a.socket() as alice, b.socket() as bob:
        await impose(a, kind)

        assert await alice.closed_with() == 4401
        await bob.ask(protocol.Ping(ref=1), protocol.Pong)
