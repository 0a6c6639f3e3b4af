"""The second client: against a running server, against a hostile one, and its decoders against anything."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.live_server import LiveServer, live_server
from tests.peer import crypto, wire
from tests.peer.account import Account, create_account, reset_account, unlock_account
from tests.peer.client import Peer
from tests.peer.conversation import Conversation, Message, Row
from tests.peer.crypto import Refused
from tests.peer.http import HttpRefused
from tests.peer.proof import check_proof
from tests.peer.socket import SocketClosed
from tests.peer.wire import Content, Malformed, Side

PASSWORD = "Passw0rd!"
ORIGIN = "https://chat.example"
CONVERSATION = UUID("0d4e2a5c-9b7f-4c11-8a3e-6f1d2c3b4a59")
_SET_PASSWORD = """
from accounts.models import User
from accounts.services.passwords import set_plain_password
set_plain_password(user=User.objects.get_by_natural_key({name!r}), password={password!r})
"""
names = (f"Person{number}" for number in itertools.count(1))


# Against a running server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("live")) as running:
        yield running


@asynccontextmanager
async def connected(peer: Peer) -> AsyncIterator[Peer]:
    await peer.connect()
    try:
        yield peer
    finally:
        await peer.disconnect()


class Friends:
    """Two people who are friends, connected, with their names and recovery codes."""

    def __init__(self, server: LiveServer) -> None:
        self.server = server
        self.alice, self.bob = self.new_client(), self.new_client()
        self.alice_name, self.bob_name = next(names), next(names)
        self.alice_code = ""
        self._clients = AsyncExitStack()

    def new_client(self) -> Peer:
        return Peer(self.server.origin, self.server.ca_file)

    async def connect(self, peer: Peer) -> Peer:
        return await self._clients.enter_async_context(connected(peer))

    async def __aenter__(self) -> Friends:
        self.alice_code = await self.alice.sign_up(self.alice_name, PASSWORD)
        await self.bob.sign_up(self.bob_name, PASSWORD)
        await self.alice.add_friend(self.bob_name)
        await self.bob.approve([self.alice_name])
        await self.connect(self.alice)
        await self.connect(self.bob)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._clients.aclose()


@pytest.fixture
async def friends(server: LiveServer) -> AsyncIterator[Friends]:
    async with Friends(server) as two:
        yield two


def texts(messages: list[Message]) -> list[str]:
    return [message.text for message in messages]


async def test_two_people_write_and_each_sees_what_the_other_checked(friends: Friends) -> None:
    alice, bob = friends.alice, friends.bob

    await alice.send(friends.bob_name, "Hello Bob.")
    before = await alice.friend_has_checked(friends.bob_name)
    seen = await bob.read(friends.alice_name)
    await bob.send(friends.alice_name, "Grüße 👋")

    assert [(one.n, one.mine, one.text) for one in seen] == [(1, False, "Hello Bob.")]
    assert texts(await alice.read(friends.bob_name)) == ["Hello Bob.", "Grüße 👋"]
    assert (before, await alice.friend_has_checked(friends.bob_name)) == (0, 1)


async def test_a_new_epoch_is_used_by_both(friends: Friends) -> None:
    await friends.alice.send(friends.bob_name, "in the first epoch")
    await friends.bob.new_epoch(friends.alice_name)
    await friends.bob.send(friends.alice_name, "in the second")
    await friends.alice.send(friends.bob_name, "in the second too")

    seen = await friends.bob.read(friends.alice_name)

    assert texts(seen) == ["in the first epoch", "in the second", "in the second too"]


async def test_another_client_of_the_same_person_reads_everything_and_writes(friends: Friends) -> None:
    await friends.alice.send(friends.bob_name, "one")
    second = friends.new_client()
    assert await second.log_in(friends.bob_name, PASSWORD) is None
    await friends.connect(second)

    await second.send(friends.alice_name, "two")

    assert texts(await friends.alice.read(friends.bob_name)) == ["one", "two"]
    assert texts(await second.read(friends.alice_name)) == ["one", "two"]


async def test_a_lost_password_costs_no_message(friends: Friends) -> None:
    await friends.alice.send(friends.bob_name, "kept")
    recovered = friends.new_client()
    code = await recovered.recover(friends.alice_name, friends.alice_code, "An0ther-one")
    await friends.connect(recovered)

    assert code != friends.alice_code
    assert texts(await recovered.read(friends.bob_name)) == ["kept"]
    await recovered.send(friends.bob_name, "and on")
    assert texts(await friends.bob.read(friends.alice_name)) == ["kept", "and on"]


async def test_a_recovery_code_works_once_and_the_old_password_no_more(friends: Friends) -> None:
    await friends.new_client().recover(friends.alice_name, friends.alice_code, "An0ther-one")

    with pytest.raises(HttpRefused, match="wrong_recovery"):
        await friends.new_client().recover(friends.alice_name, friends.alice_code, "Th1rd-one")
    with pytest.raises(HttpRefused, match="wrong_credentials"):
        await friends.new_client().log_in(friends.alice_name, PASSWORD)


async def test_a_changed_password_opens_the_same_messages(friends: Friends) -> None:
    await friends.alice.send(friends.bob_name, "kept")
    await friends.alice.change_password(PASSWORD, "Chang3d-one")
    again = friends.new_client()
    await again.log_in(friends.alice_name, "Chang3d-one")
    await friends.connect(again)

    assert texts(await again.read(friends.bob_name)) == ["kept"]


async def test_what_was_saved_goes_on(friends: Friends, tmp_path: Path) -> None:
    await friends.alice.send(friends.bob_name, "before")
    await friends.alice.store_positions()
    friends.alice.save(tmp_path / "alice.json")
    restored = await friends.connect(Peer.load(tmp_path / "alice.json"))

    await restored.send(friends.bob_name, "after")

    assert texts(await restored.read(friends.bob_name)) == ["before", "after"]
    assert (tmp_path / "alice.json").stat().st_mode & 0o777 == 0o600


async def test_a_log_shorter_than_what_was_checked_is_noticed(friends: Friends, tmp_path: Path) -> None:
    await friends.alice.send(friends.bob_name, "only one")
    friends.alice.save(tmp_path / "alice.json")
    restored = await friends.connect(Peer.load(tmp_path / "alice.json"))
    name = friends.bob_name.lower()
    restored.trusted[name] = replace(restored.trusted[name], n=2)

    with pytest.raises(Refused, match="log_mismatch"):
        await restored.read(friends.bob_name)


# Keys that change


async def second_client(friends: Friends) -> Peer:
    """Bob's other browser, connected."""
    second = friends.new_client()
    await second.log_in(friends.bob_name, PASSWORD)
    return await friends.connect(second)


async def test_who_renews_goes_on_in_a_new_epoch_and_the_friend_follows(friends: Friends) -> None:
    alice, bob = friends.alice, friends.bob
    await alice.send(friends.bob_name, "before")
    await bob.read(friends.alice_name)

    await bob.renew(PASSWORD)
    await bob.send(friends.alice_name, "after")
    await alice.send(friends.bob_name, "followed")

    seen = await alice.read(friends.bob_name)
    chats = (await alice.open_conversation(friends.bob_name), await bob.open_conversation(friends.alice_name))
    assert texts(seen) == texts(await bob.read(friends.alice_name)) == ["before", "after", "followed"]
    assert [max(chat.epochs) for chat in chats] == [2, 2]
    assert (chats[0].peer_chain.generation, chats[0].peer_chain.vault_generation) == (2, 2)


async def test_the_friend_makes_the_next_epoch_when_it_writes_first(friends: Friends) -> None:
    alice, bob = friends.alice, friends.bob
    await alice.send(friends.bob_name, "before")

    await bob.renew(PASSWORD)
    await alice.send(friends.bob_name, "after")

    chat = await bob.open_conversation(friends.alice_name)
    assert texts(await bob.read(friends.alice_name)) == ["before", "after"]
    assert [(epoch.epoch, epoch.members[1].generation) for epoch in chat.epochs.values()] == [(1, 1), (2, 2)]


async def test_a_revoked_client_can_neither_send_nor_read(friends: Friends) -> None:
    lost = await second_client(friends)
    await lost.send(friends.alice_name, "while it stood")

    await friends.bob.renew(PASSWORD, revoke=[lost.account.device.id])
    await friends.alice.send(friends.bob_name, "not for the lost one")

    with pytest.raises(SocketClosed):
        await lost.send(friends.alice_name, "too late")
    with pytest.raises(HttpRefused):
        await lost.store_positions()
    assert texts(await friends.bob.read(friends.alice_name)) == ["while it stood", "not for the lost one"]


async def test_a_revoked_client_cannot_open_what_comes_after_even_with_the_servers_help(
    friends: Friends,
) -> None:
    lost = await second_client(friends)
    await lost.send(friends.alice_name, "while it stood")
    view = await lost.open_conversation(friends.alice_name)
    await friends.bob.renew(PASSWORD, revoke=[lost.account.device.id])
    await friends.bob.send(friends.alice_name, "not for the lost one")

    stored = await friends.bob.socket.request("epochs.get", conversation=str(view.id), after=1)
    (record,) = stored["records"]
    own = await friends.bob.open_conversation(friends.alice_name)
    view.own_chain, view.peer_chain = own.own_chain, own.peer_chain

    with pytest.raises(Refused, match="no_account_key"):
        view.take_epochs([wire.from_base64url(record)])


async def test_what_a_revoked_client_signs_later_is_refused_by_the_friend(friends: Friends) -> None:
    lost = await second_client(friends)
    await lost.send(friends.alice_name, "while it stood")
    view = await lost.open_conversation(friends.alice_name)
    assert view.newest_epoch is not None
    envelope, _ = crypto.seal_envelope(
        epoch=view.newest_epoch,
        side=view.side,
        chains=view.chains,
        device=lost.account.device,
        client_id=UUID(int=7).bytes,
        writer=crypto.new_writer(),
        log=view.log,
        vault_version=1,
        content=Content(1, "forged"),
    )
    await friends.bob.renew(PASSWORD, revoke=[lost.account.device.id])
    await friends.alice.send(friends.bob_name, "in the new epoch")

    chat = await friends.alice.open_conversation(friends.bob_name)
    with pytest.raises(Refused, match="device_ended"):
        chat.take_row(Row(chat.log.n + 1, view.side, UUID(int=7), envelope, 1))


async def test_another_client_asks_for_the_password_after_a_renewal(friends: Friends) -> None:
    second = await second_client(friends)
    await second.send(friends.alice_name, "before")

    await friends.bob.renew(PASSWORD)
    with pytest.raises(Refused, match="keys_renewed"):
        await second.send(friends.alice_name, "with the old keys")
    with pytest.raises(Refused, match="keys_renewed"):
        await second.store_positions()
    await second.unlock(PASSWORD)
    await second.send(friends.alice_name, "with the new keys")

    assert texts(await friends.bob.read(friends.alice_name)) == ["before", "with the new keys"]


async def test_somebody_knows_my_password(friends: Friends) -> None:
    intruder = await second_client(friends)
    await intruder.read(friends.alice_name)

    await friends.bob.renew(PASSWORD, revoke=[intruder.account.device.id], new_password="Chang3d-one")
    await friends.bob.send(friends.alice_name, "safe again")

    with pytest.raises(SocketClosed):
        await intruder.read(friends.alice_name)
    with pytest.raises(HttpRefused, match="wrong_credentials"):
        await friends.new_client().log_in(friends.bob_name, PASSWORD)
    again = friends.new_client()
    await again.log_in(friends.bob_name, "Chang3d-one")
    assert texts(await (await friends.connect(again)).read(friends.alice_name)) == ["safe again"]


async def test_the_recovery_code_opens_the_renewed_keys(friends: Friends) -> None:
    await friends.bob.send(friends.alice_name, "kept")
    await friends.alice.renew(PASSWORD)
    recovered = friends.new_client()

    await recovered.recover(friends.alice_name, friends.alice_code, "An0ther-one")

    assert texts(await (await friends.connect(recovered)).read(friends.bob_name)) == ["kept"]


async def test_a_new_account_key_reaches_the_other_client_without_a_password(friends: Friends) -> None:
    second = await second_client(friends)
    await second.send(friends.alice_name, "before")

    await friends.bob.renew_account_key()
    await friends.alice.send(friends.bob_name, "after")

    assert texts(await second.read(friends.alice_name)) == ["before", "after"]
    assert [*second.account.vault.account_keys] == [1, 2]
    chat = await friends.alice.open_conversation(friends.bob_name)
    assert (max(chat.epochs), chat.peer_chain.vault_generation) == (2, 1)


async def test_who_renews_twice_at_once_loses_nothing(friends: Friends) -> None:
    second = await second_client(friends)

    await asyncio.gather(friends.bob.renew(PASSWORD), second.renew(PASSWORD))

    chain = (await friends.alice.open_conversation(friends.bob_name)).peer_chain
    assert (chain.generation, chain.vault_generation) == (3, 3)


async def test_a_client_that_logs_out_leaves_the_list(friends: Friends) -> None:
    second = await second_client(friends)
    await second.send(friends.alice_name, "from the second")
    await second.log_out()

    seen = await friends.alice.read(friends.bob_name)
    await friends.alice.send(friends.bob_name, "and on")

    chat = await friends.alice.open_conversation(friends.bob_name)
    device = chat.peer_chain.devices[second.account.device.id]
    assert texts(seen) == ["from the second"]
    assert device.ended_by == "retire"
    assert texts(await friends.bob.read(friends.alice_name)) == ["from the second", "and on"]


async def started_fresh(friends: Friends) -> Peer:
    """Bob again, who has lost password and code: the operator has set another password."""
    friends.server.manage("shell", "-c", _SET_PASSWORD.format(name=friends.bob_name, password="G1ven-one"))
    fresh = friends.new_client()
    with pytest.raises(Refused, match="door_closed"):
        await fresh.log_in(friends.bob_name, "G1ven-one")
    await fresh.reset(friends.bob_name, "G1ven-one")
    return await friends.connect(fresh)


async def test_a_fresh_start_shows_what_was_lost_and_goes_on(friends: Friends) -> None:
    await friends.alice.send(friends.bob_name, "before")
    fresh = await started_fresh(friends)

    await fresh.send(friends.alice_name, "I lost everything")
    await friends.alice.send(friends.bob_name, "never mind")

    seen = await fresh.read(friends.alice_name)
    chat = await friends.alice.open_conversation(friends.bob_name)
    assert [(one.text, one.is_lost) for one in seen] == [
        ("", True),
        ("I lost everything", False),
        ("never mind", False),
    ]
    assert texts(await friends.alice.read(friends.bob_name)) == ["before", "I lost everything", "never mind"]
    assert chat.identity_changes == [3]


async def test_a_compared_friend_who_starts_fresh_gets_nothing_until_compared_again(
    friends: Friends,
) -> None:
    alice = friends.alice
    assert await alice.safety_number(friends.bob_name) == await friends.bob.safety_number(friends.alice_name)
    await alice.verify(friends.bob_name)
    await alice.send(friends.bob_name, "before")
    fresh = await started_fresh(friends)
    await fresh.send(friends.alice_name, "It is me")

    with pytest.raises(Refused, match="identity_changed"):
        await alice.send(friends.bob_name, "to whom?")
    assert texts(await alice.read(friends.bob_name)) == ["before", "It is me"]
    assert await alice.safety_number(friends.bob_name) == await fresh.safety_number(friends.alice_name)
    await alice.verify(friends.bob_name)
    await alice.send(friends.bob_name, "to you")

    assert [one.text for one in await fresh.read(friends.alice_name)] == ["", "It is me", "to you"]


async def test_a_changed_identity_is_noticed_in_another_client_too(friends: Friends) -> None:
    await friends.alice.verify(friends.bob_name)
    await started_fresh(friends)
    second = friends.new_client()
    await second.log_in(friends.alice_name, PASSWORD)
    await friends.connect(second)

    with pytest.raises(Refused, match="identity_changed"):
        await second.send(friends.bob_name, "to whom?")

    await friends.alice.open_conversation(friends.bob_name)
    with pytest.raises(Refused, match="identity_changed"):
        await friends.alice.send(friends.bob_name, "to whom?")
    await friends.alice.accept(friends.bob_name)
    await second.send(friends.bob_name, "let pass in the other client")


async def test_a_reset_that_the_own_person_did_not_make_stops_every_client(friends: Friends) -> None:
    bob = friends.bob
    entries = bob.account.entries
    theirs = reset_account(
        origin=bob.origin,
        name=bob.name,
        entries=entries,
        version=1,
        door_keys=(crypto.password_door(bytes(32)), crypto.recovery_door(bytes(20))),
        now=1,
    )

    with pytest.raises(Refused, match="identity_changed"):
        await bob._accept_own(theirs.entries)
    with pytest.raises(Refused, match="identity_changed"):
        await bob._follow_own(theirs.chain, theirs.entries)


async def test_a_friend_sees_what_was_read_where_it_is_shared(friends: Friends) -> None:
    await friends.alice.send(friends.bob_name, "one")
    await friends.alice.send(friends.bob_name, "two")
    await friends.bob.read(friends.alice_name)
    both = await friends.alice.friend_confirmed(friends.bob_name)
    await friends.bob.share_read(False)
    await friends.alice.send(friends.bob_name, "three")
    await friends.bob.read(friends.alice_name)

    assert both == (2, 2)
    assert await friends.alice.friend_confirmed(friends.bob_name) == (3, 0)


async def test_a_proof_of_a_real_conversation_holds_for_both_checkers(
    friends: Friends, tmp_path: Path
) -> None:
    alice, bob = friends.alice, friends.bob
    await alice.send(friends.bob_name, "one")
    await bob.renew(PASSWORD)
    await bob.send(friends.alice_name, "two")
    await alice.read(friends.bob_name)
    await bob.read(friends.alice_name)
    await alice.send(friends.bob_name, "not yet confirmed")

    proof = await bob.export_proof(friends.alice_name)
    (tmp_path / "proof.json").write_text(proof, encoding="utf-8")

    confirmed = check_proof(proof)
    said = json.loads(friends.server.manage("verify_proof", "--json", str(tmp_path / "proof.json")))
    assert sorted(confirmed.names) == sorted([alice.name, bob.name])
    assert [person["confirmed"] for person in said["people"]] == [*confirmed.counts] == [2, 2]
    assert said["messages"] == 3
    assert said["safety_number"] == confirmed.safety_number == await alice.safety_number(friends.bob_name)


# Against an operator who changes what the server has stored

_CUT_CHAIN = """
from accounts.models import KeyChainEntry, User
user = User.objects.get_by_natural_key({name!r})
assert KeyChainEntry.objects.filter(user=user, seq__gt={last}).delete()[0]
"""
_OLD_VAULT = """
from accounts.models import User, Vault
vault = Vault.objects.get(user=User.objects.get_by_natural_key({name!r}))
{act}
"""


async def test_a_friends_chain_that_was_cut_is_noticed(friends: Friends) -> None:
    await friends.bob.renew(PASSWORD)
    await friends.alice.send(friends.bob_name, "to the new keys")
    friends.server.manage("shell", "-c", _CUT_CHAIN.format(name=friends.bob_name, last=2))
    second = friends.new_client()
    await second.log_in(friends.alice_name, PASSWORD)
    await friends.connect(second)

    with pytest.raises(Refused, match="chain_rolled_back"):
        await second.send(friends.bob_name, "to the old keys?")


async def test_an_own_chain_that_was_cut_is_noticed(friends: Friends) -> None:
    second = await second_client(friends)
    await friends.bob.renew(PASSWORD, revoke=[second.account.device.id])
    friends.server.manage("shell", "-c", _CUT_CHAIN.format(name=friends.bob_name, last=3))

    with pytest.raises(Refused, match="chain_rolled_back"):
        await friends.new_client().log_in(friends.bob_name, PASSWORD)
    with pytest.raises(Refused, match="chain_rolled_back"):
        await friends.bob.open_conversation(friends.alice_name)
    with pytest.raises(Refused, match="chain_rolled_back"):
        await friends.bob.renew(PASSWORD)


async def test_a_cut_of_what_this_client_alone_has_seen_is_noticed(friends: Friends) -> None:
    await friends.bob.open_conversation(friends.alice_name)
    await second_client(friends)
    await friends.bob.send(friends.alice_name, "with the second on the chain")
    friends.server.manage("shell", "-c", _CUT_CHAIN.format(name=friends.bob_name, last=2))

    assert (friends.bob.account.vault.chain.seq, friends.bob.account.chain.position.seq) == (2, 3)
    with pytest.raises(Refused, match="chain_rolled_back"):
        await friends.bob.renew(PASSWORD)


async def test_an_older_vault_than_was_seen_is_noticed(friends: Friends) -> None:
    act = "print(vault.version, bytes(vault.sealed_box).hex())"
    kept = friends.server.manage("shell", "-c", _OLD_VAULT.format(name=friends.bob_name, act=act))
    version, box = kept.split()[-2:]
    await friends.bob.verify(friends.alice_name)
    act = f"vault.version, vault.sealed_box = {version}, bytes.fromhex({box!r}); vault.save()"
    friends.server.manage("shell", "-c", _OLD_VAULT.format(name=friends.bob_name, act=act))

    with pytest.raises(Refused, match="vault_rolled_back"):
        await friends.bob.store_positions()


# Against a hostile server


class Cast:
    """Alice's messages as the server holds them, and Bob, who is about to be lied to."""

    def __init__(self) -> None:
        self.alice, self.bob = self._account("alice"), self._account("bob")
        self.chains = (self.alice.chain, self.bob.chain)
        start = crypto.log_start(CONVERSATION.bytes)
        self.record, epoch = crypto.create_epoch(
            conversation=CONVERSATION.bytes,
            previous=None,
            chains=self.chains,
            log=start,
            device=self.alice.device,
        )
        self.rows = list(self._messages(epoch, start))

    @staticmethod
    def _account(name: str) -> Account:
        keys = (crypto.password_door(name.ljust(32).encode()), crypto.recovery_door(bytes(20)))
        return create_account(origin=ORIGIN, name=name, door_keys=keys, now=1)

    def _messages(self, epoch: crypto.Epoch, log: crypto.LogPosition) -> Iterator[Row]:
        writer = crypto.new_writer()
        for n in range(1, 5):
            client_id = UUID(int=n)
            envelope, writer = crypto.seal_envelope(
                epoch=epoch,
                side=0,
                chains=self.chains,
                device=self.alice.device,
                client_id=client_id.bytes,
                writer=writer,
                log=log,
                vault_version=1,
                content=Content(n, f"message {n}"),
            )
            log = crypto.log_next(log, crypto.envelope_hash(envelope))
            yield Row(n, 0, client_id, envelope, n)

    def bobs_view(self) -> Conversation:
        view = Conversation(
            id=CONVERSATION,
            side=1,
            peer="alice",
            own_chain=self.chains[1],
            peer_chain=self.chains[0],
            account_keys=self.bob.vault.account_keys,
        )
        view.take_epochs([self.record])
        return view


@pytest.fixture(scope="module")
def cast() -> Cast:
    return Cast()


def read_all(view: Conversation, rows: list[Row]) -> None:
    for row in rows:
        view.take_row(row)


def test_an_honest_server_is_believed(cast: Cast) -> None:
    view = cast.bobs_view()

    read_all(view, cast.rows)

    assert texts(view.messages) == ["message 1", "message 2", "message 3", "message 4"]


def renumbered(rows: list[Row]) -> list[Row]:
    return [replace(row, n=n) for n, row in enumerate(rows, start=1)]


def test_a_dropped_message_is_noticed_even_when_the_rest_is_renumbered(cast: Cast) -> None:
    first, _, *others = cast.rows

    for rows in ([first, *others], renumbered([first, *others])):
        with pytest.raises(Refused, match=r"log_mismatch|writer_broken"):
            read_all(cast.bobs_view(), rows)


def test_swapped_messages_are_noticed(cast: Cast) -> None:
    first, second, *others = cast.rows

    with pytest.raises(Refused, match=r"log_mismatch|writer_broken"):
        read_all(cast.bobs_view(), renumbered([second, first, *others]))


def test_a_repeated_message_is_noticed(cast: Cast) -> None:
    first, *_ = cast.rows

    with pytest.raises(Refused, match=r"log_mismatch|writer_broken"):
        read_all(cast.bobs_view(), renumbered([first, first]))


def test_a_message_put_into_the_other_mouth_is_noticed(cast: Cast) -> None:
    first, *_ = cast.rows

    with pytest.raises(Refused, match="unknown_device"):
        read_all(cast.bobs_view(), [replace(first, side=1)])


def test_a_message_under_another_client_id_is_noticed(cast: Cast) -> None:
    first, *_ = cast.rows

    with pytest.raises(Refused, match="wrong_client_id"):
        read_all(cast.bobs_view(), [replace(first, client_id=UUID(int=9))])


def test_what_was_refused_changes_nothing(cast: Cast) -> None:
    view = cast.bobs_view()
    first, second, *_ = cast.rows
    with suppress(Refused):
        view.take_row(second)

    view.take_row(first)

    assert texts(view.messages) == ["message 1"]


def test_another_vault_than_the_identity_behind_the_door_is_noticed(cast: Cast) -> None:
    key = crypto.password_door(b"alice".ljust(32))
    mallory = replace(Cast._account("alice"), vault_key=cast.alice.vault_key)

    with pytest.raises(Refused, match="vault_altered"):
        unlock_account(
            origin=ORIGIN,
            name="alice",
            entries=cast.alice.entries,
            door=cast.alice.door(key),
            door_key=key,
            version=1,
            box=mallory.vault_box(),
            now=2,
        )


def test_a_door_stays_shut_for_another_password(cast: Cast) -> None:
    right, wrong = crypto.password_door(b"alice".ljust(32)), crypto.password_door(bytes(32))

    with pytest.raises(Refused, match="door_closed"):
        crypto.open_door(replace(cast.alice.door(right), public=wrong.public), "alice", wrong)


# The decoders, against anything

items = st.recursive(
    st.integers(0, wire.LARGEST_INTEGER) | st.binary(max_size=40) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)


@given(st.lists(items, max_size=8))
def test_cbor_comes_back_as_it_was(value: list[object]) -> None:
    assert wire.decode_exact(wire.encode_cbor(value)) == value


@given(st.binary(max_size=60))
def test_what_is_accepted_as_cbor_has_one_form(raw: bytes) -> None:
    with suppress(Malformed):
        assert wire.encode_cbor(wire.decode_exact(raw)) == raw


@given(st.text(max_size=40))
def test_what_is_accepted_as_base64url_has_one_form(text: str) -> None:
    with suppress(Malformed):
        assert wire.to_base64url(wire.from_base64url(text)) == text


@given(st.integers(0, 2**50), st.text(max_size=300))
def test_content_comes_back_as_it_was(sent_at: int, text: str) -> None:
    content = Content(sent_at, text)

    assert wire.decode_content(content.encode()) == content


@given(st.binary(min_size=20, max_size=20))
def test_a_recovery_code_comes_back_as_it_was(code: bytes) -> None:
    assert crypto.parse_recovery_code(crypto.format_recovery_code(code).lower()) == code


@given(st.integers(2, 70_000))
def test_padding_costs_at_most_twelve_percent(length: int) -> None:
    assert length <= crypto.padme(length) <= length * 1.12 + 1


@pytest.mark.parametrize("side", [0, 1])
def test_both_sides_open_an_epoch(cast: Cast, side: Side) -> None:
    account = (cast.alice, cast.bob)[side]

    epoch = crypto.open_epoch(
        cast.record,
        conversation=CONVERSATION.bytes,
        previous=None,
        side=side,
        chains=cast.chains,
        account_keys=account.vault.account_keys,
    )

    assert epoch.epoch == 1
