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
from tests.peer.account import Account, create_account, unlock_account
from tests.peer.conversation import Conversation, Message, Row
from tests.peer.crypto import Chain, Device, Door, DoorKey, LogPosition, Refused
from tests.peer.http import Http, HttpRefused
from tests.peer.socket import Frame, Socket, SocketRefused
from tests.peer.wire import Content, Pin, ReadPosition, from_base64url, to_base64url

T = TypeVar("T")

SEND_ATTEMPTS = 5
VAULT_ATTEMPTS = 5
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
            "doors": [_door_json(account.door(key)) for key in keys],
            "recovery_hash": to_base64url(crypto.recovery_hash(new_code)),
            "vault": _vault_json(account),
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
            "door": _door_json(changed.door(key)),
            "vault": _vault_json(changed),
        }
        await self._json("POST", "/api/password/", body)
        self._account = changed

    async def confirm_recovery_code(self) -> None:
        await self._json("POST", "/api/recovery-code/confirm/", {})

    async def log_out(self) -> None:
        await self.disconnect()
        await self._page("/log-out/")
        await self._form("/log-out/", [])

    @property
    def account(self) -> Account:
        assert self._account is not None, "Sign up, log in or recover first."
        return self._account

    @property
    def name(self) -> str:
        return self.account.name

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
        self._socket = await Socket.open(self.origin, cookie=self._http.cookie_header(), tls=self._http.tls)
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
            own_chain=await self._chain(conversation_id, "own", self.name),
            peer_chain=await self._chain(conversation_id, "peer", fold(name)),
            account_keys=self.account.vault.account_keys,
            trusted=self._trusted(conversation_id, fold(name)),
        )
        await self._pin(conversation)
        self.conversations[fold(name)] = conversation
        return conversation

    async def read(self, name: str, *, acknowledge: bool = True) -> list[Message]:
        """Every message so far, checked. ``acknowledge`` signs a head for what was checked: the second tick."""
        conversation = await self.open_conversation(name)
        before = conversation.log.n
        await self._catch_up(conversation)
        if acknowledge and conversation.log.n > before:
            await self.sign_head(name)
        return list(conversation.messages)

    async def sign_head(self, name: str) -> None:
        conversation = await self.open_conversation(name)
        epoch = conversation.newest_epoch
        if epoch is None or epoch.secret is None:
            return
        head = crypto.create_head(
            conversation=conversation.id.bytes,
            log=conversation.log,
            vault_version=self.account.version,
            device=self.account.device,
            epoch=epoch,
            read_n=conversation.log.n if self.account.vault.shares_read else 0,
        )
        await self.socket.request("head.set", conversation=str(conversation.id), head=to_base64url(head))

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

    async def send(self, name: str, text: str) -> Message:
        """Returns once the server has stored it and it was read back and checked."""
        conversation = await self.open_conversation(name)
        client_id, content = UUID(bytes=secrets.token_bytes(16), version=4), Content(now_ms(), text)
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
                row = _row(frame)
                await self._with_fresh_chains(conversation, partial(conversation.take_row, row))
            more = page["more"]
        if page["last_n"] != conversation.log.n and not page["rows"]:
            raise Refused("log_mismatch")
        if conversation.trusted is not None and conversation.trusted.n > conversation.log.n:
            raise Refused("log_mismatch")
        if conversation.own_vault_version > self.account.version:
            self._account = await self._with_stored_vault(self.account)
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
        """A check that may fail only because the chains known here are old is made again with newer ones, once."""
        try:
            return check()
        except Refused as refusal:
            if refusal.code == "unknown_epoch":
                await self._fetch_epochs(conversation)
            elif refusal.code in ("unknown_device", "chain_behind"):
                await self._refresh_chains(conversation)
            else:
                raise
        return check()

    async def _refresh_chains(self, conversation: Conversation) -> None:
        own, peer = conversation.own_chain, conversation.peer_chain
        conversation.own_chain = await self._extended(conversation.id, "own", own)
        conversation.peer_chain = await self._extended(conversation.id, "peer", peer)

    async def _chain(self, conversation: UUID, whose: str, name: str) -> Chain:
        entries = await self._entries(conversation, whose, after=0)
        if whose == "own":
            identity, position = self.account.vault.identity_public, self.account.chain.position
            return crypto.verify_own_chain(
                entries, origin=self.origin, name=name, pinned_identity=identity, pinned=position
            )
        pin = self._pin_of(conversation)
        return crypto.verify_chain(
            entries,
            origin=self.origin,
            name=name,
            pinned_identity=pin.identity_public if pin else None,
            pinned=pin.position if pin else None,
        )

    async def _extended(self, conversation: UUID, whose: str, chain: Chain) -> Chain:
        entries = await self._entries(conversation, whose, after=chain.position.seq)
        return crypto.extend_chain(chain, entries)

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
        pin = Pin(
            conversation=conversation.id.bytes,
            identity_public=chain.identity_public,
            fingerprint=chain.fingerprint,
            verified_at=known.verified_at if known else 0,
            position=chain.position,
        )
        await self._change_vault(lambda vault: vault.with_pin(pin))

    async def store_positions(self) -> None:
        """Writes how far each conversation was checked into the vault, for the person's other browsers."""

        def with_positions(vault: wire.VaultContent) -> wire.VaultContent:
            for one in self.conversations.values():
                position = ReadPosition(one.id.bytes, one.log.n, one.log.hash, one.log.n)
                vault = vault.with_position(position)
            return vault

        await self._change_vault(with_positions)

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
        for attempt in range(1, VAULT_ATTEMPTS + 1):
            changed = self.account.with_vault(change(self.account.vault))
            try:
                await self._json("PUT", "/api/vault/", _vault_json(changed))
            except HttpRefused as refusal:
                if refusal.code != "vault_conflict" or attempt == VAULT_ATTEMPTS:
                    raise
                self._account = await self._with_stored_vault(self.account)
            else:
                self._account = changed
                return

    async def _with_stored_vault(self, account: Account) -> Account:
        stored = await self._json("GET", "/api/vault/")
        version, box = stored["version"], from_base64url(stored["box"])
        if version < account.version:
            raise Refused("vault_rolled_back")
        content = crypto.open_vault(account.vault_key, account.name, version, box)
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
        )
        peer.trusted = {
            name: LogPosition(n, bytes.fromhex(hash_)) for name, (n, hash_) in state["checked"].items()
        }
        for name, value in state["cookies"]:
            peer._http.jar.set_cookie(_cookie(name, value, peer.origin))
        peer._http.csrf_token = state["csrf_token"]
        return peer

    # Inside

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
        door = next((one for one in stored["doors"] if one["kind"] == key.kind), None)
        if door is None:
            raise Refused("door_closed")
        return unlock_account(
            origin=self.origin,
            name=fold(name),
            entries=tuple(from_base64url(entry) for entry in stored["chain"]),
            door=_door(door),
            door_key=key,
            version=stored["vault"]["version"],
            box=from_base64url(stored["vault"]["box"]),
            now=now_ms(),
        )

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


def _row(frame: Frame) -> Row:
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


def _door_json(door: Door) -> dict[str, str]:
    return {
        "kind": door.kind,
        "public": to_base64url(door.public),
        "sealed_vault_key": to_base64url(door.sealed_vault_key),
        "sealed_identity": to_base64url(door.sealed_identity),
    }


def _vault_json(account: Account) -> dict[str, Any]:
    return {"version": account.version, "box": to_base64url(account.vault_box())}


def _keys_json(account: Account, stretched: bytes, code: bytes) -> dict[str, Any]:
    keys = (crypto.password_door(stretched), crypto.recovery_door(code))
    return {
        "chain": [to_base64url(entry) for entry in account.entries],
        "doors": [_door_json(account.door(key)) for key in keys],
        "recovery_hash": to_base64url(crypto.recovery_hash(code)),
        "vault": _vault_json(account),
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
