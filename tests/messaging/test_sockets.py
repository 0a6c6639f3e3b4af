"""Who may hold a socket, for how long, and what it is told about friendships, requests and keys."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings as site
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from accounts.services import key_chain
from friends import services
from messaging import protocol
from messaging.connection import CloseCode, Connection
from messaging.hub import current_hub, shut_down
from securechat import events
from securechat.asgi import application
from tests import factories
from tests.messaging.browser import Socket
from tests.messaging.conftest import Person, befriend

pytestmark = pytest.mark.django_db(transaction=True)


async def test_welcome_comes_first_and_says_who_one_is(
    a: Person, b: Person, conversation: UUID, m: Person
) -> None:
    await sync_to_async(services.request_friendship)(sender=m.user, username="Alice1")

    async with a.socket() as alice:
        assert alice.welcome is not None
        assert (alice.welcome.name, alice.welcome.requests) == ("Alice1", 1)
        assert alice.welcome.presence == (protocol.PresenceItem(conversation=conversation, online=False),)
        assert abs(alice.welcome.server_time - timezone.now().timestamp() * 1000) < 10_000


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://testserver", "https://testserver:444", "null"]
)
async def test_a_page_of_another_origin_gets_no_socket(a: Person, origin: str) -> None:
    cookie = f"{site.SESSION_COOKIE_NAME}={a.client.cookies[site.SESSION_COOKIE_NAME].value}"
    headers = [(b"origin", origin.encode()), (b"cookie", cookie.encode())]
    communicator = WebsocketCommunicator(application, "/ws/", headers=headers)

    connected, _ = await communicator.connect()

    assert not connected


async def test_somebody_who_is_not_signed_in_is_told_so(transactional_db: None) -> None:
    socket = Socket(Client())
    await socket.connect()

    assert await socket.closed_with() == 4401
    await socket.leave()


async def test_log_out_closes_that_browsers_sockets_and_no_other(a: Person) -> None:
    other_browser = Person(a.user, a.key, await sync_to_async(factories.client_of)(a.user))
    async with a.socket() as first, a.socket() as second, other_browser.socket() as third:
        await sync_to_async(a.client.logout)()
        events.publish(events.SessionsChanged(a.user.pk))

        assert [await first.closed_with(5), await second.closed_with(5)] == [4401, 4401]
        assert await third.ask(protocol.Ping(ref=1), protocol.Pong)


@pytest.mark.parametrize("how", ["logged out", "expired", "suspended", "new password"])
async def test_a_socket_ends_with_its_session_also_when_nobody_says_so(
    a: Person, settings: Settings, how: str
) -> None:
    settings.SESSION_CHECK = timedelta(milliseconds=200)

    def end() -> None:
        match how:
            case "logged out":
                a.client.logout()
            case "expired":
                Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
            case "suspended":
                User.objects.update(is_active=False)
            case "new password":
                a.user.set_password("N3w-passw0rd!")
                a.user.save()

    async with a.socket() as socket:
        await sync_to_async(end)()

        assert await socket.closed_with(5) == 4401


def test_sessions_are_looked_at_often_enough() -> None:
    assert timedelta(seconds=5) > site.SESSION_CHECK


async def test_nothing_that_a_closed_socket_sends_is_handled(
    a: Person, b: Person, conversation: UUID
) -> None:
    async with a.socket() as alice, b.socket() as bob:
        await sync_to_async(a.client.logout)()
        events.publish(events.SessionsChanged(a.user.pk))
        await alice.closed_with(5)

        await alice.send(a.tab(conversation).append())

        assert await bob.hears_nothing(protocol.EpochNew)


async def test_a_person_has_a_limited_number_of_sockets(a: Person, b: Person, settings: Settings) -> None:
    settings.MAX_SOCKETS_PER_USER = 2
    async with a.socket(), a.socket():
        third = a.socket()
        await third.connect()
        assert await third.closed_with() == 4429
        await third.leave()
        async with b.socket():
            pass
    async with a.socket():
        pass


async def test_a_browser_that_does_not_read_is_cut_off(a: Person, settings: Settings) -> None:
    settings.SOCKET_QUEUE_FRAMES = 10
    closed: list[object] = []

    async def never_sent(message: dict[str, object]) -> None:
        closed.append(message)

    connection = Connection(a.user, "session", never_sent)
    for ref in range(1, 12):
        connection.send(protocol.Pong(ref=ref))
    await connection.run()

    assert closed == [{"type": "websocket.close", "code": CloseCode.TOO_SLOW}]


async def test_what_is_sent_at_once_never_overtakes_what_waits(a: Person) -> None:
    sent: list[str] = []
    has_room = asyncio.Event()

    async def send(message: dict[str, object]) -> None:
        await has_room.wait()
        sent.append(str(message["text"]))

    def at_once(text: str) -> bool:
        if has_room.is_set():
            sent.append(text)
        return has_room.is_set()

    connection = Connection(a.user, "session", send, at_once)
    running = asyncio.create_task(connection.run())
    connection.send_text("1")
    await asyncio.sleep(0)  # The first is on its way.
    has_room.set()
    connection.send_text("2")
    connection.send_text("3")
    async with asyncio.timeout(5):
        while len(sent) < 3:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    connection.send_text("4")
    running.cancel()

    assert sent == ["1", "2", "3", "4"]


async def test_when_the_server_stops_sockets_are_told_to_come_back(a: Person) -> None:
    async with a.socket() as alice:
        await shut_down()

        assert await alice.closed_with() == 1012


# What others do


async def test_a_new_friendship_shows_up_and_can_be_used_at_once(a: Person, b: Person) -> None:
    async with a.socket() as alice, b.socket() as bob:
        conversation = await sync_to_async(befriend)(a, b)

        changed = await alice.next(protocol.ConversationChanged)
        assert (changed.summary.peer, changed.summary.open, changed.summary.online) == ("Bobby", True, True)
        tab = a.tab(conversation)
        await alice.ask(tab.append(), protocol.EpochAppended)
        await alice.ask(tab.send(2), protocol.EnvelopeStored)
        assert (await bob.next(protocol.EnvelopeNew)).row.n == 1


@pytest.mark.parametrize("how", ["ended", "blocked"])
async def test_the_end_of_a_friendship_narrows_open_sockets(
    a: Person, b: Person, conversation: UUID, how: str
) -> None:
    tab = a.tab(conversation)
    async with a.socket() as alice, b.socket() as bob:
        await alice.ask(tab.append(), protocol.EpochAppended)
        if how == "ended":
            await sync_to_async(services.end_friendship)(ended_by=b.user, public_id=conversation)
        else:
            await sync_to_async(services.block_person)(blocked_by=b.user, public_id=conversation)

        for socket in (alice, bob):
            summary = (await socket.next(protocol.ConversationChanged)).summary
            assert (summary.open, summary.online) == (False, False)
        assert await alice.refusal_of(tab.send(2)) == "conversation_closed"
        await bob.leave()
        assert await alice.hears_nothing(protocol.Presence, seconds=3.5)


async def test_a_friendship_that_opens_again_keeps_its_conversation(
    a: Person, b: Person, conversation: UUID
) -> None:
    tab = a.tab(conversation)
    async with a.socket() as alice:
        await alice.ask(tab.append(), protocol.EpochAppended)
        await sync_to_async(services.end_friendship)(ended_by=b.user, public_id=conversation)
        assert not (await alice.next(protocol.ConversationChanged)).summary.open

        assert await sync_to_async(befriend)(a, b) == conversation

        assert (await alice.next(protocol.ConversationChanged)).summary.open
        assert (await alice.ask(tab.send(2), protocol.EnvelopeStored)).n == 1


async def test_a_socket_that_begins_while_the_server_ends_is_sent_away(
    a: Person, caplog: pytest.LogCaptureFixture
) -> None:
    """It was accepted before; what it would need has ended, or would never be ended."""
    async with a.socket():
        hub = current_hub()
        assert hub is not None
    await shut_down()

    late = a.socket()
    await late.connect()

    assert await late.closed_with() == 1012
    with pytest.raises(DatabaseError, match="ending"):
        await hub.read(User.objects.count)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_a_server_that_ends_before_anybody_came_takes_nobody(a: Person) -> None:
    await shut_down()

    late = a.socket()
    await late.connect()

    assert await late.closed_with() == 1012


async def test_waiting_requests_are_counted_while_one_looks(a: Person, b: Person) -> None:
    async with a.socket() as alice:
        await sync_to_async(services.request_friendship)(sender=b.user, username="Alice1")

        while (await alice.next(protocol.Requests)).count != 1:
            pass  # Who begins to hear other processes looks at everybody once, which may come between.


async def test_a_new_browser_is_told_to_oneself_and_to_friends_and_may_write(
    a: Person, b: Person, m: Person
) -> None:
    identity = factories.Identity("Newcomer")
    newcomer = await sync_to_async(factories.make_user)("Newcomer", identity=identity)
    person = Person(newcomer, a.key, await sync_to_async(factories.client_of)(newcomer))
    conversation = await sync_to_async(befriend)(person, b)

    def add_browser() -> None:
        before = key_chain.entries_of(newcomer)[-1]
        device = a.key.public_key().public_bytes_raw()
        key_chain.append_entry(user=newcomer, entry=identity.device_add(before=before, seq=3, device=device))

    tab = person.tab(conversation)
    async with person.socket() as own, b.socket() as friend, m.socket() as stranger:
        assert await own.refusal_of(tab.append()) == "unknown_device"

        await sync_to_async(add_browser)()

        assert (await own.next(protocol.KeysChanged)).conversation is None
        assert (await friend.next(protocol.KeysChanged)).conversation == conversation
        assert await stranger.hears_nothing(protocol.KeysChanged)
        await own.ask(tab.append(ref=2), protocol.EpochAppended)
        await own.ask(tab.send(3), protocol.EnvelopeStored)
