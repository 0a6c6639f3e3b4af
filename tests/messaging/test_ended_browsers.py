"""A browser that is revoked or logged out from elsewhere: its sockets close, and nothing it signs is stored any more."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import BrowserSession, User
from accounts.services import key_chain
from messaging import protocol
from messaging.errors import UnknownDevice
from messaging.models import Envelope
from messaging.services import delivery
from messaging.wire import envelope_hash, first_log_hash, next_log_hash
from tests import factories
from tests.accounts.browser import renewal_body
from tests.accounts.chains import Draft
from tests.messaging.browser import Socket
from tests.messaging.conftest import Person, befriend
from tests.messaging.test_processes import append_epoch, submission_of

pytestmark = pytest.mark.django_db(transaction=True)
Alice = tuple[Person, Person, factories.Identity]


@pytest.fixture
def alice(transactional_db: None) -> Alice:
    """In two browsers, here and in the one that she lost, with the identity that says so."""
    identity = factories.Identity("Alice1")
    here, lost = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    user = factories.make_user("Alice1", identity=identity, device=factories.raw_public(here))
    key_chain.append_entries(user=user, entries=Draft.of(user, identity).add(lost).new)
    return _browser(user, here), _browser(user, lost), identity


@pytest.fixture
def with_bob(alice: Alice, b: Person) -> UUID:
    return befriend(alice[0], b)


def _browser(user: User, key: Ed25519PrivateKey) -> Person:
    return Person(user, key, factories.client_of(user, device=factories.device_id_of(key)))


def add_a_third_browser(user: User, identity: factories.Identity) -> None:
    chain = Draft.of(user, identity).add(Ed25519PrivateKey.generate())
    key_chain.append_entries(user=user, entries=chain.new)


def revoke(here: Person, lost: Person, identity: factories.Identity) -> None:
    chain = Draft.of(here.user, identity).revoke(factories.device_id_of(lost.key)).renew()
    assert _post(here, "/api/keys/renew/", renewal_body(here.user, chain)) == 200


def _post(person: Person, path: str, body: object) -> int:
    return person.client.post(path, body, content_type="application/json").status_code


def end_lost_session(here: Person, lost: Person) -> None:
    session = BrowserSession.objects.get(session_id=lost.client.session.session_key)
    assert _post(here, "/api/browsers/end/", {"session": str(session.pk)}) == 200


async def test_a_revoked_browsers_sockets_close_and_the_others_stay(alice: Alice) -> None:
    here, lost, identity = alice
    async with here.socket() as mine, lost.socket() as theirs, lost.socket() as their_other_tab:
        await sync_to_async(revoke)(here, lost, identity)
        begun = time.monotonic()

        assert [await theirs.closed_with(5), await their_other_tab.closed_with(5)] == [4401, 4401]

        assert time.monotonic() - begun < 2
        assert (await mine.next(protocol.KeysChanged)).conversation is None
        assert await mine.ask(protocol.Ping(ref=1), protocol.Pong)
    again = Socket(lost.client)
    await again.connect()
    assert await again.closed_with() == 4401
    await again.leave()


async def test_a_session_that_is_ended_elsewhere_closes_its_sockets(alice: Alice, settings: Settings) -> None:
    settings.SESSION_CHECK = timedelta(hours=1)  # It must be told, not found.
    here, lost, _ = alice
    async with here.socket() as mine, lost.socket() as theirs:
        await sync_to_async(end_lost_session)(here, lost)

        assert await theirs.closed_with(5) == 4401
        assert await mine.ask(protocol.Ping(ref=1), protocol.Pong)


async def test_a_browser_whose_session_goes_on_can_say_nothing_any_more(
    alice: Alice, b: Person, with_bob: UUID
) -> None:
    """One bound to no device stays while a third browser stands. The device ends all the same, also on an open socket."""
    here, lost, identity = alice
    await sync_to_async(add_a_third_browser)(here.user, identity)
    lost = Person(lost.user, lost.key, await sync_to_async(factories.client_of)(lost.user))
    mine, theirs = here.tab(with_bob), lost.tab(with_bob)
    async with lost.socket() as socket:
        first = theirs.append(1)
        await socket.ask(first, protocol.EpochAppended)
        sent = theirs.send(2)
        await socket.ask(sent, protocol.EnvelopeStored)
        log_hash = next_log_hash(first_log_hash(with_bob), 1, envelope_hash(sent.envelope))
        await socket.ask(theirs.set_head(1, log_hash, ref=3), protocol.HeadStored)

        await sync_to_async(revoke)(here, lost, identity)

        assert await socket.refusal_of(theirs.send(4)) == "unknown_device"
        assert await socket.refusal_of(theirs.append(2, after=first.record, ref=5)) == "unknown_device"
        assert await socket.refusal_of(theirs.set_head(1, log_hash, ref=6)) == "unknown_device"
    assert await Envelope.objects.acount() == 1
    async with here.socket() as socket:
        await socket.ask(mine.append(2, after=first.record), protocol.EpochAppended)


async def test_a_message_that_was_stored_before_the_end_is_acknowledged_again(
    alice: Alice, b: Person, with_bob: UUID
) -> None:
    here, lost, identity = alice
    lost = Person(lost.user, lost.key, await sync_to_async(factories.client_of)(lost.user))
    tab = lost.tab(with_bob)
    await sync_to_async(append_epoch)(lost, tab)
    frame = tab.send()

    def before_and_after() -> tuple[delivery.Outcome, delivery.Outcome]:
        submission = submission_of(lost, frame, checked_at_seq=3)
        (first,) = delivery.store([submission], now=timezone.now())
        revoke(here, lost, identity)
        (second,) = delivery.store([submission], now=timezone.now())
        return first, second

    first, second = await sync_to_async(before_and_after)()

    assert isinstance(first, delivery.Stored)
    assert isinstance(second, delivery.Stored)
    assert (first.n, second.n, second.new) == (1, 1, False)


def test_a_message_that_waited_while_its_browser_was_revoked_is_refused(
    alice: Alice, b: Person, with_bob: UUID
) -> None:
    """The socket had looked at the chain before; nobody told its process yet."""
    here, lost, identity = alice
    mine, theirs = here.tab(with_bob), lost.tab(with_bob)
    append_epoch(here, mine)
    waiting = [
        submission_of(person, tab.send(), checked_at_seq=3) for person, tab in ((lost, theirs), (here, mine))
    ]

    revoke(here, lost, identity)
    refused, stored = delivery.store(waiting, now=timezone.now())

    assert isinstance(refused, UnknownDevice)
    assert isinstance(stored, delivery.Stored)
    assert stored.n == 1


async def test_use_of_a_socket_is_noted(alice: Alice, settings: Settings) -> None:
    settings.SESSION_CHECK = timedelta(milliseconds=50)
    here, _, _ = alice
    long_ago = timezone.now() - settings.SESSION_SEEN_EVERY - timedelta(minutes=1)
    async with here.socket():
        await BrowserSession.objects.aupdate(seen_at=long_ago)
        async with asyncio.timeout(5):
            while not await BrowserSession.objects.filter(seen_at__gt=long_ago).aexists():  # noqa: ASYNC110 - the database does not tell
                await asyncio.sleep(0.02)


async def test_a_socket_writes_down_a_session_that_nobody_did(a: Person) -> None:
    client = Client()
    await sync_to_async(client.force_login)(a.user)

    async with Socket(client):
        key = await sync_to_async(lambda: client.session.session_key)()
        assert await BrowserSession.objects.filter(session_id=key).aexists()
