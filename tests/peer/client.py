"""A whole second client: accounts, friends and encrypted chat, with every check that the browser makes.

    alice = Peer("https://localhost:8443", "certs/root.crt")
    code = await alice.sign_up("Alice", "Passw0rd!")
    await alice.add_friend("Bob")                   # and bob: await bob.approve(["Alice"])
    await alice.connect()
    await alice.send("Bob", "Hello")
    print(await alice.read("Bob"))

``save`` and ``load`` keep a signed-in peer in a JSON file. The file holds secrets in clear: for tests and demos.
"""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from http.cookiejar import Cookie
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from tests.peer import crypto, wire
from tests.peer.account import (
    Account,
    create_account,
    open_account,
    renew_account,
    reset_account,
    unlock_account,
    with_next_account_key,
)
from tests.peer.conversation import Conversation, Message, Row
from tests.peer.crypto import Chain, Device, Door, DoorKey, LogPosition, Refused
from tests.peer.http import Http, HttpRefused
from tests.peer.proof import make_proof
from tests.peer.socket import Frame, Socket, SocketRefused
from tests.peer.wire import Content, Pin, ReadPosition, from_base64url, to_base64url

T = TypeVar("T")

SEND_ATTEMPTS = 5
CONFLICT_ATTEMPTS = 5
HISTORY_ROWS = 50
_REQUEST_ROW = re.compile(
    r'name="request" value="([0-9a-f-]{36})".*?<span class="person-name">([^<]*)</span>', re.DOTALL
)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def fold(name: str) -> str:
    return name.lower()


class NoSuchConversation(Exception):
    """Nobody of that name is, or was, a friend."""


class Peer:
    """One person in one client. Every method that talks to the server is a coroutine."""

    def __init__(self, origin: str, ca_file: Path | str) -> None:
        self.origin = origin
        self.ca_file = str(ca_file)
        self.conversations: dict[str, Conversation] = {}
        self.trusted: dict[str, LogPosition] = {}
        self._http = Http(origin, ca_file)
        self._account: Account | None = None
        self._socket: Socket | None = None

    # Account

    async def sign_up(self, name: str, password: str) -> str:
        """Makes the account and its keys; the recovery code."""
        stretched = await self._stretched(name, password)
        account, code = self._new_account(name, stretched)
        await self._json(
            "POST",
            "/api/sign-up/",
            {
                "username": name,
                "auth_key": crypto.auth_key(stretched),
                "keys": _keys_json(account, stretched, code),
            },
        )
        self._account = account
        return crypto.format_recovery_code(code)

    async def log_in(self, name: str, password: str) -> str | None:
        """Adds this client to the account's devices. The recovery code if the account had no keys, else None."""
        parameters = await self._parameters(name)
        salt = crypto.password_salt(self.origin, fold(name), from_base64url(parameters["client_salt"]))
        stretched = await self._argon2(crypto.normalise_password(password), salt)
        auth_key, new_auth_key = crypto.auth_key(stretched), None
        if parameters["legacy_salt"] is not None:
            legacy = crypto.legacy_password(password, parameters["legacy_salt"])
            auth_key, new_auth_key = crypto.auth_key(await self._argon2(legacy, salt)), auth_key
        body = {"username": name, "auth_key": auth_key, "new_auth_key": new_auth_key}
        answer = await self._json("POST", "/api/log-in/", body)
        if answer["keys"] is None:
            return await self._make_keys(name, stretched)
        door_key = crypto.password_door(stretched)
        self._account, entry = self._unlock(name, answer["keys"], door_key)
        await self._json("POST", "/api/key-chain/", {"entries": [to_base64url(entry)], "vault": None})
        return None

    async def log_in_again(self, password: str) -> None:
        """A new session for this client, which stays the device that it is, as a browser does whose session ended.

        Raises ``vault_rolled_back`` or ``chain_rolled_back`` where the server shows older keys than it did before.
        """
        stretched = await self._stretched(self.name, password)
        credentials = {"username": self.name, "auth_key": crypto.auth_key(stretched), "new_auth_key": None}
        await self._json("POST", "/api/log-in/", credentials)
        self._take(await self._reopened(crypto.password_door(stretched)))

    async def recover(self, name: str, code: str, new_password: str) -> str:
        """A new password by the recovery code; the code that replaces it."""
        raw = crypto.parse_recovery_code(code)
        proof = {"username": name, "recovery_proof": to_base64url(crypto.recovery_proof(raw))}
        await self._page("/recover/")
        begun = await self._json("POST", "/api/recovery/begin/", proof)
        stored = {"chain": begun["chain"], "doors": [begun["door"]], "vault": begun["vault"]}
        account, entry = self._unlock(name, stored, crypto.recovery_door(raw))
        salt = crypto.password_salt(self.origin, fold(name), from_base64url(begun["client_salt"]))
        stretched = await self._argon2(crypto.normalise_password(new_password), salt)
        new_code = secrets.token_bytes(crypto.CODE_BYTES)
        keys = (crypto.password_door(stretched), crypto.recovery_door(new_code))
        account = account.with_doors(*keys)
        body = {
            **proof,
            "new_auth_key": crypto.auth_key(stretched),
            "doors": [door_json(account.door(key)) for key in keys],
            "recovery_hash": to_base64url(crypto.recovery_hash(new_code)),
            "vault": vault_json(account),
            "entry": to_base64url(entry),
        }
        await self._json("POST", "/api/recovery/finish/", body)
        self._account = account
        return crypto.format_recovery_code(new_code)

    async def change_password(self, password: str, new_password: str) -> None:
        account = self.account
        stretched = await self._stretched(account.name, password)
        new_stretched = await self._stretched(account.name, new_password)
        account = await self._with_stored_vault(account)
        key = crypto.password_door(new_stretched)
        changed = account.with_doors(key)
        body = {
            "auth_key": crypto.auth_key(stretched),
            "new_auth_key": crypto.auth_key(new_stretched),
            "door": door_json(changed.door(key)),
            "vault": vault_json(changed),
        }
        await self._json("POST", "/api/password/", body)
        self._take(changed)
        await self._reconnect()

    async def unlock(self, password: str) -> None:
        """What ``keys_renewed`` asks for: the door to the vault key that another client made."""
        stretched = await self._stretched(self.name, password)
        self._take(await self._reopened(crypto.password_door(stretched)))

    async def renew(
        self, password: str, *, revoke: Sequence[bytes] = (), new_password: str | None = None
    ) -> None:
        """A new account key and a new vault key; these devices, and with a new password all sessions, end."""
        stretched = await self._stretched(self.name, password)
        new_stretched = None if new_password is None else await self._stretched(self.name, new_password)

        async def attempt() -> Account:
            before = await self._reopened(crypto.password_door(stretched))
            renewed, doors = renew_account(
                before,
                revoke=revoke,
                new_password=None if new_stretched is None else crypto.password_door(new_stretched),
                now=now_ms(),
            )
            body = {
                "auth_key": crypto.auth_key(stretched),
                "new_auth_key": None if new_stretched is None else crypto.auth_key(new_stretched),
                "entries": [to_base64url(entry) for entry in renewed.entries[len(before.entries) :]],
                "doors": [door_json(door) for door in doors],
                "vault": vault_json(renewed),
            }
            await self._json("POST", "/api/keys/renew/", body)
            return renewed

        self._take(await _until_no_conflict(attempt))
        if new_password is not None:
            await self._reconnect()

    async def renew_account_key(self) -> None:
        """What an old one asks for: other clients go on without a password."""

        async def attempt() -> Account:
            await self._follow_own_chain()
            stored = await self._with_stored_vault(self.account)
            rotated = with_next_account_key(stored, vault_generation=stored.vault_generation, now=now_ms())
            renewed = rotated.with_vault(replace(rotated.vault, chain=rotated.chain.position))
            body = {"entries": [to_base64url(renewed.entries[-1])], "vault": vault_json(renewed)}
            await self._json("POST", "/api/key-chain/", body)
            return renewed

        self._take(await _until_no_conflict(attempt))

    async def reset(self, name: str, password: str) -> str:
        """New keys for who lost password and code, by a password that the operator set; the new recovery code."""
        stretched = await self._stretched(name, password)
        auth_key, code = crypto.auth_key(stretched), secrets.token_bytes(crypto.CODE_BYTES)
        keys = (crypto.password_door(stretched), crypto.recovery_door(code))
        credentials = {"username": name, "auth_key": auth_key, "new_auth_key": None}
        await self._json("POST", "/api/log-in/", credentials)

        async def attempt() -> Account:
            stored = await self._json("GET", "/api/keys/")
            account = reset_account(
                origin=self.origin,
                name=fold(name),
                entries=_chain_of(stored),
                version=stored["vault"]["version"],
                door_keys=keys,
                now=now_ms(),
            )
            body = {
                "auth_key": auth_key,
                "entries": [to_base64url(entry) for entry in account.entries[-2:]],
                "doors": [door_json(account.door(key)) for key in keys],
                "recovery_hash": to_base64url(crypto.recovery_hash(code)),
                "vault": vault_json(account),
            }
            await self._json("POST", "/api/keys/reset/", body)
            return account

        self.conversations, self.trusted = {}, {}
        self._take(await _until_no_conflict(attempt))
        await self._reconnect()
        return crypto.format_recovery_code(code)

    async def old_session_code(self) -> int | None:
        """With which code the socket of this client's cookie is closed."""
        socket = await Socket.open(self.origin, cookie=self.cookie, tls=self._http.tls)
        return await socket.closed()

    async def retire(self) -> None:
        """Ends this client's device on the key chain."""

        async def attempt() -> Account:
            await self._follow_own_chain()
            device = self.account.device
            retired = self.account.with_entry(wire.DeviceRetire(device.id), now=now_ms(), seed=device.seed)
            entries = [to_base64url(retired.entries[-1])]
            await self._json("POST", "/api/key-chain/", {"entries": entries, "vault": None})
            return retired

        self._take(await _until_no_conflict(attempt))

    async def confirm_recovery_code(self) -> None:
        await self._json("POST", "/api/recovery-code/confirm/", {})

    async def log_out(self) -> None:
        """Also takes this client off the person's list of browsers."""
        await self.disconnect()
        await self.retire()
        await self._page("/log-out/")
        await self._form("/log-out/", [])

    @property
    def account(self) -> Account:
        assert self._account is not None, "Sign up, log in or recover first."
        return self._account

    @property
    def name(self) -> str:
        return self.account.name

    @property
    def cookie(self) -> str:
        """The header of its session."""
        return self._http.cookie_header()

    # Friends

    async def add_friend(self, name: str) -> None:
        """Raises ``HttpRefused`` with the sentence of the page."""
        await self._page("/friends/add/")
        await self._form("/friends/add/", [("username", name)])

    async def waiting_requests(self) -> dict[str, str]:
        """Who asks to be a friend: folded name to the request's id."""
        page = await self._page("/friends/requests/")
        return {fold(html.unescape(name)): public_id for public_id, name in _REQUEST_ROW.findall(page)}

    async def approve(self, names: Sequence[str]) -> None:
        waiting = await self.waiting_requests()
        chosen = [("request", waiting[fold(name)]) for name in names]
        await self._form("/friends/requests/answer/", [*chosen, ("answer", "approve")])

    async def unfriend(self, name: str) -> None:
        conversation = await self.open_conversation(name)
        path = f"/friends/{conversation.id}/unfriend/"
        await self._page(path)
        await self._form(path, [])

    # Chat

    async def connect(self) -> Frame:
        """Opens the socket; the ``welcome`` frame."""
        self._socket = await Socket.open(self.origin, cookie=self.cookie, tls=self._http.tls)
        return await self._socket.next_event("welcome")

    async def disconnect(self) -> None:
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    @property
    def socket(self) -> Socket:
        assert self._socket is not None, "Connect first."
        return self._socket

    async def summaries(self) -> list[Frame]:
        """The list of chats, newest activity first."""
        items: list[Frame] = []
        more, before = True, None
        while more:
            page = await self.socket.request("conversations.list", before=before)
            items += page["items"]
            more, before = page["more"], items[-1]["conversation"] if items else None
        return items

    async def summary(self, name: str) -> Frame:
        found = next((one for one in await self.summaries() if fold(one["peer"]) == fold(name)), None)
        if found is None:
            raise NoSuchConversation(name)
        return found

    async def open_conversation(self, name: str) -> Conversation:
        """Checks both key chains against the pins and pins what is new. Sends nothing."""
        known = self.conversations.get(fold(name))
        if known is not None:
            return known
        summary = await self.summary(name)
        conversation_id = UUID(summary["conversation"])
        conversation = Conversation(
            id=conversation_id,
            side=summary["side"],
            peer=fold(name),
            own_chain=await self._own_chain(conversation_id),
            peer_chain=await self._peer_chain(conversation_id, fold(name)),
            account_keys=self.account.vault.account_keys,
            trusted=self._trusted(conversation_id, fold(name)),
        )
        await self._pin(conversation)
        self.conversations[fold(name)] = conversation
        return conversation

    async def read(self, name: str, *, acknowledge: bool = True) -> list[Message]:
        """Every message so far, checked. ``acknowledge`` signs a head for what was checked: the second tick."""
        conversation = await self.open_conversation(name)
        await self._catch_up(conversation)
        if acknowledge and conversation.log.n > conversation.signed_n:
            await self.sign_head(name)
        return list(conversation.messages)

    async def sign_head(self, name: str) -> None:
        conversation = await self.open_conversation(name)
        epoch = conversation.newest_epoch
        if epoch is None or epoch.secret is None:
            return
        log = conversation.log
        head = crypto.create_head(
            conversation=conversation.id.bytes,
            log=log,
            vault_version=self.account.version,
            device=self.account.device,
            epoch=epoch,
            read_n=log.n if self.account.vault.shares_read else 0,
        )
        await self.socket.request("head.set", conversation=str(conversation.id), head=to_base64url(head))
        conversation.signed_n = log.n

    async def friend_has_checked(self, name: str) -> int:
        """The ``n`` up to which the friend's device signed that it checked, 0 for none."""
        return (await self.friend_confirmed(name))[0]

    async def friend_confirmed(self, name: str) -> tuple[int, int | None]:
        """How far the friend's device signed that it checked, and that its person read."""
        conversation = await self.open_conversation(name)
        await self._catch_up(conversation)
        head = (await self.summary(name))["heads"][1 - conversation.side]
        if head is None:
            return 0, None
        encoded = from_base64url(head)
        return await self._with_fresh_chains(conversation, lambda: conversation.checked_head(encoded))

    async def export_proof(self, name: str) -> str:
        """A proof file of everything so far; see ``tests.peer.proof``."""
        conversation = await self.open_conversation(name)
        await self._refresh_chains(conversation)
        await self._catch_up(conversation)
        heads = (await self.summary(name))["heads"]
        people = []
        for side, chain in enumerate(conversation.chains):
            entries = await self._entries(
                conversation.id, "own" if side == conversation.side else "peer", after=0
            )
            head = None if heads[side] is None else from_base64url(heads[side])
            people.append((chain.name, entries, head))
        return make_proof(
            origin=self.origin,
            conversation=conversation.id,
            now=now_ms(),
            people=people,
            hashes=[message.hash for message in conversation.messages],
        )

    async def send(self, name: str, text: str) -> Message:
        """Returns once the server has stored it and it was read back and checked.

        Raises ``identity_changed`` while somebody who was compared has another identity: see ``verify``, ``accept``.
        """
        conversation = await self.open_conversation(name)
        client_id, content = crypto.new_client_id(conversation.log.n), Content(now_ms(), text)
        await self._refresh_chains(conversation)
        await self._catch_up(conversation)
        for attempt in range(1, SEND_ATTEMPTS + 1):
            try:
                await self._send_once(conversation, client_id, content)
                break
            except SocketRefused as refusal:
                if attempt == SEND_ATTEMPTS:
                    raise
                await self._prepare_again(conversation, refusal)
        await self._catch_up(conversation)
        return next(one for one in conversation.messages if one.client_id == client_id)

    async def _send_once(self, conversation: Conversation, client_id: UUID, content: Content) -> None:
        self._require_pinned_identity(conversation)
        epoch = conversation.newest_epoch
        if epoch is None or epoch.secret is None or crypto.epoch_is_stale(epoch, conversation.chains):
            epoch = await self._next_epoch(conversation)
        envelope, writer = crypto.seal_envelope(
            epoch=epoch,
            side=conversation.side,
            chains=conversation.chains,
            device=self.account.device,
            client_id=client_id.bytes,
            writer=conversation.writer,
            log=conversation.log,
            vault_version=self.account.version,
            content=content,
        )
        await self.socket.request(
            "envelope.send",
            conversation=str(conversation.id),
            client_id=str(client_id),
            epoch=epoch.epoch,
            envelope=to_base64url(envelope),
        )
        conversation.writer = writer

    async def _prepare_again(self, conversation: Conversation, refusal: SocketRefused) -> None:
        """What a refusal asks for, before the same content is sealed again; raises it where nothing helps."""
        match refusal.code:
            case "too_fast" | "unavailable":
                await asyncio.sleep(refusal.retry_after or 1)
            case "stale_epoch" | "epoch_conflict":
                await self._fetch_epochs(conversation)
                conversation.writer = crypto.new_writer()
            case "writer_gap":
                conversation.writer = crypto.new_writer()
            case _:
                raise refusal

    async def new_epoch(self, name: str) -> None:
        """Moves the conversation to its next epoch."""
        conversation = await self.open_conversation(name)
        await self._catch_up(conversation)
        await self._append_epoch(conversation)

    async def _next_epoch(self, conversation: Conversation) -> crypto.Epoch:
        await self._refresh_chains(conversation)
        await self._catch_up(conversation)
        await self._append_epoch(conversation)
        assert conversation.newest_epoch is not None
        return conversation.newest_epoch

    async def _append_epoch(self, conversation: Conversation) -> None:
        record, epoch = crypto.create_epoch(
            conversation=conversation.id.bytes,
            previous=conversation.newest_epoch,
            chains=conversation.chains,
            log=conversation.log,
            device=self.account.device,
        )
        await self.socket.request(
            "epoch.append",
            conversation=str(conversation.id),
            epoch=epoch.epoch,
            record=to_base64url(record),
        )
        conversation.epochs[epoch.epoch] = epoch

    async def _catch_up(self, conversation: Conversation) -> None:
        await self._fetch_epochs(conversation)
        more = True
        while more:
            page = await self.socket.request(
                "history.get",
                conversation=str(conversation.id),
                direction="after",
                n=conversation.log.n,
                limit=HISTORY_ROWS,
            )
            crypto.check_log_hash(conversation.log, from_base64url(page["before_hash"]))
            for frame in page["rows"]:
                row = row_of(frame)
                await self._with_fresh_chains(conversation, partial(conversation.take_row, row))
            more = page["more"]
        if page["last_n"] != conversation.log.n and not page["rows"]:
            raise Refused("log_mismatch")
        if conversation.trusted is not None and conversation.trusted.n > conversation.log.n:
            raise Refused("log_mismatch")
        if conversation.own_vault_version > self.account.version:
            self._take(await self._with_stored_vault(self.account))
            if conversation.own_vault_version > self.account.version:
                raise Refused("vault_rolled_back")

    async def _fetch_epochs(self, conversation: Conversation) -> None:
        more = True
        while more:
            newest = conversation.newest_epoch
            page = await self.socket.request(
                "epochs.get", conversation=str(conversation.id), after=newest.epoch if newest else 0
            )
            for record in page["records"]:
                encoded = from_base64url(record)
                await self._with_fresh_chains(conversation, partial(conversation.take_epochs, [encoded]))
            more = page["more"]

    async def _with_fresh_chains(self, conversation: Conversation, check: Callable[[], T]) -> T:
        """A check that may fail only because chains or epochs known here are old is made again with newer ones: once for each."""
        remedies = {"unknown_epoch": self._fetch_epochs} | dict.fromkeys(
            ("unknown_device", "chain_behind", "no_account_key"), self._refresh_chains
        )
        tried: list[object] = []
        while True:
            try:
                return check()
            except Refused as refusal:
                remedy = remedies.get(refusal.code)
                if remedy is None or remedy in tried:
                    raise
                tried.append(remedy)
            await remedy(conversation)

    async def _refresh_chains(self, conversation: Conversation) -> None:
        position = self.account.chain.position
        grown = await self._entries(conversation.id, "own", after=position.seq)
        await self._follow_own(
            crypto.extend_chain(self.account.chain, grown), (*self.account.entries, *grown)
        )
        known = conversation.peer_chain
        entries = await self._entries(conversation.id, "peer", after=known.position.seq)
        conversation.peer_chain = crypto.extend_chain(known, entries)
        await self._pin(conversation)

    async def _own_chain(self, conversation: UUID) -> Chain:
        await self._accept_own(await self._entries(conversation, "own", after=0))
        return self.account.chain

    async def _follow_own_chain(self) -> None:
        """By HTTP, where no socket is needed."""
        await self._accept_own(_chain_of(await self._json("GET", "/api/keys/")))

    async def _accept_own(self, entries: Sequence[bytes]) -> None:
        account = self.account
        chain = crypto.verify_own_chain(
            entries,
            origin=self.origin,
            name=account.name,
            pinned_identity=account.vault.identity_public,
            pinned=account.chain.position,
        )
        await self._follow_own(chain, tuple(entries))

    async def _follow_own(self, chain: Chain, entries: tuple[bytes, ...]) -> None:
        """What other clients of this person did to the keys: nothing that matters, or a refusal."""
        if chain.identity_public != self.account.vault.identity_public:
            raise Refused("identity_changed")
        if self.account.device.id not in chain.standing():
            raise Refused("device_ended")
        if chain.vault_generation > self.account.vault_generation:
            raise Refused("keys_renewed")
        if chain.position == self.account.chain.position:
            return
        self._take(replace(self.account, entries=entries))
        if chain.generation not in self.account.vault.account_keys:
            self._take(await self._with_stored_vault(self.account))
            if chain.generation not in self.account.vault.account_keys:
                raise Refused("no_account_key")

    async def _peer_chain(self, conversation: UUID, name: str) -> Chain:
        pin = self._pin_of(conversation)
        return crypto.verify_chain(
            await self._entries(conversation, "peer", after=0),
            origin=self.origin,
            name=name,
            pinned_identity=pin.identity_public if pin else None,
            pinned=pin.position if pin else None,
        )

    async def _entries(self, conversation: UUID, whose: str, *, after: int) -> list[bytes]:
        entries: list[bytes] = []
        more = True
        while more:
            page = await self.socket.request(
                "chain.get", conversation=str(conversation), whose=whose, after=after + len(entries)
            )
            entries += [from_base64url(entry) for entry in page["entries"]]
            more = page["more"]
        return entries

    # Vault

    def _pin_of(self, conversation: UUID) -> Pin | None:
        pins = self.account.vault.pins
        return next((pin for pin in pins if pin.conversation == conversation.bytes), None)

    async def _pin(self, conversation: Conversation) -> None:
        chain, known = conversation.peer_chain, self._pin_of(conversation.id)
        if known is not None and known.position == chain.position:
            return
        if known is not None and known.identity_public != chain.identity_public:
            # Another client of this person may have compared, or let it pass, since.
            self._take(await self._with_stored_vault(self.account))
        await self._change_vault(conversation.with_pin_moved)

    def _require_pinned_identity(self, conversation: Conversation) -> None:
        pin = self._pin_of(conversation.id)
        if pin is None or pin.identity_public != conversation.peer_chain.identity_public:
            raise Refused("identity_changed")

    async def safety_number(self, name: str) -> str:
        conversation = await self.open_conversation(name)
        return crypto.safety_number(conversation.own_chain.fingerprint, conversation.peer_chain.fingerprint)

    async def verify(self, name: str) -> None:
        """The two people have compared the safety number, and it was the same."""
        conversation = await self.open_conversation(name)
        pin = conversation.pin_of_now(verified_at=now_ms())
        await self._change_vault(lambda vault: vault.with_pin(pin))

    async def accept(self, name: str) -> None:
        """Lets another identity pass without a comparison."""
        conversation = await self.open_conversation(name)
        pin = conversation.pin_of_now(verified_at=0)
        await self._change_vault(lambda vault: vault.with_pin(pin))

    async def store_positions(self) -> None:
        """Writes how far each conversation was checked into the vault, for the person's other browsers."""

        def with_positions(vault: wire.VaultContent) -> wire.VaultContent:
            for one in self.conversations.values():
                position = ReadPosition(one.id.bytes, one.log.n, one.log.hash, one.log.n)
                vault = vault.with_position(position)
            return vault

        await self._change_vault(with_positions)

    async def share_read(self, shares: bool) -> None:
        """Whether friends see what this person has read."""
        await self._change_vault(lambda vault: replace(vault, shares_read=shares))

    def _trusted(self, conversation: UUID, name: str) -> LogPosition | None:
        """The farthest position that was checked before, here or in another browser."""
        positions = [
            LogPosition(one.checked_n, one.log_hash)
            for one in self.account.vault.positions
            if one.conversation == conversation.bytes
        ]
        here = self.trusted.get(name)
        known = [*positions, here] if here else positions
        return max((one for one in known if one.n > 0), key=lambda one: one.n, default=None)

    async def _change_vault(self, change: Callable[[wire.VaultContent], wire.VaultContent]) -> None:
        async def attempt() -> Account:
            account = self.account
            content = change(account.vault)
            if content == account.vault:
                return account
            chain = max(content.chain, account.chain.position, key=lambda position: position.seq)
            changed = account.with_vault(replace(content, chain=chain))
            try:
                await self._json("PUT", "/api/vault/", vault_json(changed))
            except HttpRefused as refusal:
                if refusal.code == "vault_conflict":
                    self._take(await self._with_stored_vault(account))
                raise
            return changed

        self._take(await _until_no_conflict(attempt))

    async def _with_stored_vault(self, account: Account) -> Account:
        stored = await self._json("GET", "/api/vault/")
        version, box = stored["version"], from_base64url(stored["box"])
        if version < account.version:
            raise Refused("vault_rolled_back")
        try:
            content = crypto.open_vault(account.vault_key, account.name, version, box)
        except Refused:
            await self._follow_own_chain()  # Sealed with a newer key, unless it was altered.
            raise
        return replace(account, vault=content, version=version)

    # State

    def save(self, path: Path | str) -> None:
        """Secrets in clear, readable by their owner alone."""
        account = self.account
        state = {
            "origin": self.origin,
            "ca_file": self.ca_file,
            "name": account.name,
            "identity_seed": account.identity_seed.hex(),
            "vault_key": account.vault_key.hex(),
            "device_seed": account.device.seed.hex(),
            "entries": [entry.hex() for entry in account.entries],
            "vault": account.vault.encode().hex(),
            "version": account.version,
            "vault_generation": account.vault_generation,
            "checked": {
                name: [conversation.log.n, conversation.log.hash.hex()]
                for name, conversation in self.conversations.items()
            },
            "cookies": [[cookie.name, cookie.value] for cookie in self._http.jar],
            "csrf_token": self._http.csrf_token,
        }
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(state, file, indent=1)

    @classmethod
    def load(cls, path: Path | str) -> Peer:
        state = json.loads(Path(path).read_text(encoding="utf-8"))
        peer = cls(state["origin"], state["ca_file"])
        peer._account = Account(
            origin=state["origin"],
            name=state["name"],
            identity_seed=bytes.fromhex(state["identity_seed"]),
            vault_key=bytes.fromhex(state["vault_key"]),
            device=Device(bytes.fromhex(state["device_seed"])),
            entries=tuple(bytes.fromhex(entry) for entry in state["entries"]),
            vault=wire.decode_vault_content(bytes.fromhex(state["vault"])),
            version=state["version"],
            vault_generation=state["vault_generation"],
        )
        peer.trusted = {
            name: LogPosition(n, bytes.fromhex(hash_)) for name, (n, hash_) in state["checked"].items()
        }
        for name, value in state["cookies"]:
            peer._http.jar.set_cookie(_cookie(name, value, peer.origin))
        peer._http.csrf_token = state["csrf_token"]
        return peer

    # Inside

    def _take(self, account: Account) -> None:
        self._account = account
        for conversation in self.conversations.values():
            conversation.own_chain = account.chain
            conversation.account_keys = account.vault.account_keys

    async def _reconnect(self) -> None:
        """The session goes on under another cookie, in a socket of its own."""
        if self._socket is not None:
            await self.disconnect()
            await self.connect()

    async def _reopened(self, key: DoorKey) -> Account:
        """This client's account as the server has it now, opened by the door."""
        stored = await self._json("GET", "/api/keys/")
        account = open_account(**self._behind_door(self.name, stored, key), device=self.account.device)
        known = self.account.chain.position
        if account.version < self.account.version:
            raise Refused("vault_rolled_back")
        if account.chain.hashes[known.seq - 1 : known.seq] != (known.head,):
            raise Refused("chain_rolled_back")
        if account.device.id not in account.chain.standing():
            raise Refused("device_ended")
        return account

    def _new_account(self, name: str, stretched: bytes) -> tuple[Account, bytes]:
        code = secrets.token_bytes(crypto.CODE_BYTES)
        keys = (crypto.password_door(stretched), crypto.recovery_door(code))
        account = create_account(origin=self.origin, name=fold(name), door_keys=keys, now=now_ms())
        return account, code

    async def _make_keys(self, name: str, stretched: bytes) -> str:
        account, code = self._new_account(name, stretched)
        await self._json("POST", "/api/keys/", {"keys": _keys_json(account, stretched, code)})
        self._account = account
        return crypto.format_recovery_code(code)

    def _unlock(self, name: str, stored: Any, key: DoorKey) -> tuple[Account, bytes]:
        return unlock_account(**self._behind_door(name, stored, key), now=now_ms())

    def _behind_door(self, name: str, stored: Any, key: DoorKey) -> dict[str, Any]:
        door = next((one for one in stored["doors"] if one["kind"] == key.kind), None)
        if door is None:
            raise Refused("door_closed")
        return {
            "origin": self.origin,
            "name": fold(name),
            "entries": _chain_of(stored),
            "door": _door(door),
            "door_key": key,
            "version": stored["vault"]["version"],
            "box": from_base64url(stored["vault"]["box"]),
        }

    async def _parameters(self, name: str) -> Any:
        await self._page("/log-in/" if self._account is None else "/settings/")
        return await self._json("POST", "/api/log-in-parameters/", {"username": name})

    async def _stretched(self, name: str, password: str) -> bytes:
        parameters = await self._parameters(name)
        salt = crypto.password_salt(self.origin, fold(name), from_base64url(parameters["client_salt"]))
        return await self._argon2(crypto.normalise_password(password), salt)

    @staticmethod
    async def _argon2(password: bytes, salt: bytes) -> bytes:
        return await asyncio.to_thread(crypto.stretch, password, salt)

    def _page(self, path: str) -> Awaitable[str]:
        return asyncio.to_thread(self._http.page, path)

    def _form(self, path: str, fields: list[tuple[str, str]]) -> Awaitable[str]:
        return asyncio.to_thread(self._http.post_form, path, fields)

    def _json(self, method: str, path: str, body: object = None) -> Awaitable[Any]:
        return asyncio.to_thread(self._http.json, method, path, body)


async def _until_no_conflict(attempt: Callable[[], Awaitable[T]]) -> T:
    """Somebody else of the same person may have written to the chain or the vault meanwhile."""
    for _ in range(CONFLICT_ATTEMPTS - 1):
        try:
            return await attempt()
        except HttpRefused as refusal:
            if refusal.code not in ("chain_conflict", "vault_conflict"):
                raise
    return await attempt()


def _chain_of(stored: Any) -> tuple[bytes, ...]:
    return tuple(from_base64url(entry) for entry in stored["chain"])


def row_of(frame: Frame) -> Row:
    side = frame["side"]
    if side not in (0, 1):
        raise wire.Malformed("side")
    return Row(
        n=frame["n"],
        side=side,
        client_id=UUID(frame["client_id"]),
        envelope=from_base64url(frame["envelope"]),
        stored_at=frame["stored_at"],
    )


def _door(stored: Any) -> Door:
    return Door(
        kind=wire.door_kind(stored["kind"]),
        public=from_base64url(stored["public"]),
        sealed_vault_key=from_base64url(stored["sealed_vault_key"]),
        sealed_identity=from_base64url(stored["sealed_identity"]),
    )


def door_json(door: Door) -> dict[str, str]:
    return {
        "kind": door.kind,
        "public": to_base64url(door.public),
        "sealed_vault_key": to_base64url(door.sealed_vault_key),
        "sealed_identity": to_base64url(door.sealed_identity),
    }


def vault_json(account: Account) -> dict[str, Any]:
    return {"version": account.version, "box": to_base64url(account.vault_box())}


def _keys_json(account: Account, stretched: bytes, code: bytes) -> dict[str, Any]:
    keys = (crypto.password_door(stretched), crypto.recovery_door(code))
    return {
        "chain": [to_base64url(entry) for entry in account.entries],
        "doors": [door_json(account.door(key)) for key in keys],
        "recovery_hash": to_base64url(crypto.recovery_hash(code)),
        "vault": vault_json(account),
    }


def _cookie(name: str, value: str, origin: str) -> Cookie:
    host = origin.split("//", 1)[1].split(":", 1)[0]
    domain = host if "." in host else f"{host}.local"  # As http.cookiejar writes a name without dots.
    return Cookie(
        version=0,
        name=name,
        value=value,
        port=None,
        port_specified=False,
        domain=domain,
        domain_specified=False,
        domain_initial_dot=False,
        path="/",
        path_specified=True,
        secure=True,
        expires=None,
        discard=True,
        comment=None,
        comment_url=None,
        rest={},
    )
