"""Sending: through the socket into the database, and out to the other sockets."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from messaging import protocol
from messaging.models import Envelope
from messaging.wire import envelope_hash, first_log_hash, next_log_hash
from tests.messaging.conftest import Person

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_message_reaches_the_friend_and_ones_own_other_tab(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    async with a.socket() as sender, a.socket() as other_tab, b.socket() as friend:
        await sender.ask(tab.append(), protocol.EpochAppended)
        frame = tab.send(ref=7)

        stored = await sender.ask(frame, protocol.EnvelopeStored)

        assert (stored.n, stored.client_id) == (1, frame.client_id)
        for socket in (other_tab, friend):
            new = await socket.next(protocol.EnvelopeNew)
            assert new.row.envelope == frame.envelope
            assert (new.row.n, new.row.side, new.row.stored_at) == (1, 0, stored.stored_at)
        assert await sender.hears_nothing(protocol.EnvelopeNew)
