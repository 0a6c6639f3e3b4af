"""What a hostile server can try, and what Alice sees of it in Chromium.

The table in docs/threat-model.md is made from this file: ``python -m tests.attacks.table``. Each test keeps a picture in
var/screenshots/attacks.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.attacks.conftest import PASSWORD, Friend, Scene
from tests.attacks.hostile_server import Frame, Lies
from tests.e2e.conftest import RESULTS
from tests.peer import crypto, wire
from tests.peer.account import reset_account
from tests.peer.client import Peer, door_json, fold, now_ms, vault_json
from tests.peer.crypto import Device, DoorPublic
from tests.peer.wire import from_base64url, to_base64url

pytestmark = pytest.mark.e2e

AT_ONCE, NEXT_MESSAGE, NEXT_HEAD = (
    "at once",
    "at the friend's next message",
    "at the friend's next signed head",
)
ON_OPENING, COMPARING = "when the chat is next opened", "when the two people compare"
TALKING, MET, STRANGERS = "talking", "met", "strangers"
Row = dict[str, Any]


@dataclass(frozen=True)
class Attack:
    """``seen`` is what the screen says, at the latest at ``when``; ``begins`` is how far the two people are by then."""

    does: str
    seen: str
    when: str
    begins: str
    run: Callable[[Stage], None]


@dataclass
class Stage:
    """Alice and a friend of this attack's own; both have said good morning, unless the attack begins earlier."""

    scene: Scene
    seen: str
    _friend: Friend | None = None

    @property
    def friend(self) -> Friend:
        assert self._friend is not None, "They have not met."
        return self._friend

    @property
    def page(self) -> Any:
        return self.scene.alice.page

    def meet(self, friend: Friend) -> None:
        self._friend = friend

    def lie(self, lies: Lies, *, to: str = "") -> None:
        """To Alice, unless it is to somebody else."""
        self.scene.hostile.lies[to or self.scene.alice.name] = lies
        if not to:
            self.scene.hostile.answers = lies

    def push(self, **frame: Any) -> None:
        self.scene.hostile.push(self.scene.alice.name, {"conversation": self.friend.conversation, **frame})

    def alice_sends(self, text: str) -> None:
        self.scene.alice.send(self.scene.person(self.friend.name), text)
        expect(self.message(text)).to_contain_text("Sent")

    def message(self, text: str) -> Any:
        return self.scene.alice.message(self.scene.person(self.friend.name), text)

    def expect_seen(self) -> None:
        expect(self.page.get_by_role("main").get_by_text(self.seen).first).to_be_visible(timeout=40_000)


ATTACKS: dict[str, Attack] = {}


def attack(
    *, does: str, seen: str, when: str, begins: str = TALKING
) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    def register(run: Callable[[Stage], None]) -> Callable[[Stage], None]:
        ATTACKS[run.__name__] = Attack(does, seen, when, begins, run)
        return run

    return register


# Lies about messages


class Rows(Lies):
    """Tells of the rows of one conversation what ``change`` makes of them; None hides a row."""

    def __init__(self, conversation: str, change: Callable[[Row], Row | None]) -> None:
        self._conversation, self._change = conversation, change

    def to_browser(self, name: str, frame: Frame) -> list[Frame]:
        match frame["type"]:
            case "envelope.new" if frame["conversation"] == self._conversation:
                row = self._change(frame["row"])
                return [] if row is None else [{**frame, "row": row}]
            case "history" if frame["conversation"] == self._conversation:
                rows = [row for each in frame["rows"] if (row := self._change(each)) is not None]
                hidden = len(frame["rows"]) - len(rows)
                return [{**frame, "rows": rows, "last_n": frame["last_n"] - hidden}]
            case _:
                return [frame]


def _with_bit_flipped(row: Row) -> Row:
    raw = bytearray(from_base64url(row["envelope"]))
    raw[len(raw) // 2 + 100] ^= 1
    return {**row, "envelope": to_base64url(bytes(raw))}


@attack(does="changes one bit of a message", seen="This message was altered", when=AT_ONCE)
def flips_a_bit(stage: Stage) -> None:
    stage.lie(Rows(stage.friend.conversation, lambda row: _with_bit_flipped(row) if row["n"] == 3 else row))
    stage.friend.send("Meet me at noon")


@attack(does="takes the signature off a message", seen="This message was altered", when=AT_ONCE)
def strips_a_signature(stage: Stage) -> None:
    def unsigned(row: Row) -> Row:
        items = wire.decode_exact(from_base64url(row["envelope"]))
        return {**row, "envelope": to_base64url(wire.encode_cbor([*items[:3], bytes(64)]))}

    stage.lie(Rows(stage.friend.conversation, lambda row: unsigned(row) if row["n"] == 3 else row))
    stage.friend.send("Meet me at noon")


class Pushes(Lies):
    """Decides about every row that is pushed in one conversation."""

    def __init__(self, conversation: str, pushed: Callable[[Frame], list[Frame]]) -> None:
        self._conversation, self._pushed = conversation, pushed

    def to_browser(self, name: str, frame: Frame) -> list[Frame]:
        if frame["type"] == "envelope.new" and frame["conversation"] == self._conversation:
            return self._pushed(frame)
        return [frame]


def _numbered(frame: Frame, n: int) -> Frame:
    return {**frame, "row": {**frame["row"], "n": n}}


@attack(does="delivers a message twice", seen="Messages are missing, repeated or out of order", when=AT_ONCE)
def replays(stage: Stage) -> None:
    stage.lie(
        Pushes(stage.friend.conversation, lambda frame: [frame, _numbered(frame, frame["row"]["n"] + 1)])
    )
    stage.friend.send("Pay the bill")


@attack(does="swaps two messages", seen="Two different conversations", when=AT_ONCE)
def reorders(stage: Stage) -> None:
    held: list[Frame] = []

    def swapped(frame: Frame) -> list[Frame]:
        if not held:
            held.append(frame)
            return []
        return [_numbered(frame, 3), _numbered(held[0], 4)]

    stage.lie(Pushes(stage.friend.conversation, swapped))
    stage.friend.send("Buy")
    stage.friend.send("Sell")


@attack(
    does="leaves a message out and renumbers the rest",
    seen="Two different conversations",
    when=NEXT_MESSAGE,
)
def drops_in_the_middle(stage: Stage) -> None:
    def without_third(frame: Frame) -> list[Frame]:
        n = frame["row"]["n"]
        return [] if n == 3 else [_numbered(frame, n - 1)]

    stage.lie(Pushes(stage.friend.conversation, without_third))
    stage.friend.send("Do not")
    stage.friend.send("go there")


@attack(does="answers a page of the history with a hole", seen="Two different conversations", when=ON_OPENING)
def answers_with_holes(stage: Stage) -> None:
    stage.friend.send("one more")
    expect(stage.message("one more")).to_be_visible()
    conversation = stage.friend.conversation

    class Holes(Lies):
        def to_browser(self, name: str, frame: Frame) -> list[Frame]:
            if frame["type"] == "history" and frame["conversation"] == conversation:
                return [{**frame, "rows": [row for row in frame["rows"] if row["n"] != 2]}]
            return [frame]

    stage.lie(Holes())
    stage.page.reload()


@attack(does="holds the newest message back from Alice", seen="Messages are held back", when=NEXT_HEAD)
def hides_the_newest(stage: Stage) -> None:
    stage.lie(Rows(stage.friend.conversation, lambda row: row if row["n"] < 3 else None))
    stage.friend.send("The deal is off")
    stage.friend.read()
    stage.friend.run(stage.friend.peer.sign_head(stage.scene.alice.name))


@attack(
    does="never delivers Alice's newest message",
    seen="Not confirmed by",
    when="after 30 seconds in which the friend is online",
)
def withholds_from_the_friend(stage: Stage) -> None:
    withheld = Rows(stage.friend.conversation, lambda row: row if row["n"] < 3 else None)
    stage.lie(withheld, to=stage.friend.name)
    stage.alice_sends("Are you there?")
    assert stage.friend.read() == ["Good morning", "Good morning to you"]


@attack(does="puts a message into another conversation", seen="Misplaced message", when=AT_ONCE)
def redirects(stage: Stage) -> None:
    other = stage.scene.new_friend()
    here = stage.friend.conversation

    class Redirected(Lies):
        def to_browser(self, name: str, frame: Frame) -> list[Frame]:
            if frame["type"] == "envelope.new" and frame["conversation"] == other.conversation:
                return [_numbered({**frame, "conversation": here}, 3)]
            return [frame]

    stage.lie(Redirected())
    other.send("Yes, I agree")


@attack(does="shows Alice her own message as the friend's", seen="Unknown browser", when=AT_ONCE)
def reflects(stage: Stage) -> None:
    class Reflected(Lies):
        def to_server(self, name: str, frame: Frame, tell: Callable[[Frame], None]) -> list[Frame]:
            if frame["type"] == "envelope.send":
                sent.append(frame)
            return [frame]

    sent: list[Frame] = []
    stage.lie(Reflected())
    stage.alice_sends("Reflect this")
    row = {
        "n": 4,
        "side": 0,
        "client_id": sent[0]["client_id"],
        "envelope": sent[0]["envelope"],
        "stored_at": now_ms(),
    }
    stage.push(type="envelope.new", row=row)


@attack(does="shows the two people different messages", seen="Two different conversations", when=NEXT_MESSAGE)
def forks_the_view(stage: Stage) -> None:
    conversation, swallowed = stage.friend.conversation, []

    class Forked(Lies):
        def to_server(self, name: str, frame: Frame, tell: Callable[[Frame], None]) -> list[Frame]:
            if frame["type"] != "envelope.send":
                return [frame]
            swallowed.append(frame)
            stored = {"type": "envelope.stored", "n": 3, "stored_at": now_ms()}
            tell(stored | {key: frame[key] for key in ("ref", "conversation", "client_id")})
            return []

        def to_browser(self, name: str, frame: Frame) -> list[Frame]:
            if frame["type"] == "envelope.new" and frame["conversation"] == conversation:
                return [_numbered(frame, frame["row"]["n"] + 1)]
            if frame["type"] == "refused" and frame["code"] == "malformed_frame":
                return [{"type": "head.stored", "ref": frame["ref"], "conversation": conversation}]
            return [frame]

    stage.lie(Forked())
    stage.alice_sends("Only Alice sees this")
    stage.friend.send("Only said once")
    stage.friend.send("And now the next")


@attack(does="takes messages away that Alice had checked", seen="Messages disappeared", when=ON_OPENING)
def rolls_the_log_back(stage: Stage) -> None:
    stage.friend.send("This was here")
    expect(stage.message("This was here")).to_be_visible()
    stage.lie(Rows(stage.friend.conversation, lambda row: row if row["n"] < 2 else None))
    stage.page.reload()


@attack(
    does="says that Alice's message had been stored before, and drops it",
    seen="Messages are missing",
    when=AT_ONCE,
)
def drops_what_it_claims_to_have(stage: Stage) -> None:
    class Claims(Lies):
        def to_server(self, name: str, frame: Frame, tell: Callable[[Frame], None]) -> list[Frame]:
            if frame["type"] == "envelope.send":
                refused = {"type": "refused", "code": "client_id_reused", "message": "", "retry_after": None}
                tell({**refused, "ref": frame["ref"]})
                return []
            if frame["type"] == "envelopes.lookup":
                items = [{"client_id": one, "n": 1, "stored_at": now_ms()} for one in frame["client_ids"]]
                found = {"type": "envelopes.found", "ref": frame["ref"], "items": items}
                tell({**found, "conversation": frame["conversation"]})
                return []
            return [frame]

    stage.lie(Claims())
    stage.scene.alice.send(stage.scene.person(stage.friend.name), "Did this arrive?")


@attack(does="calls a conversation by another friend's name", seen="Another name", when=AT_ONCE)
def renames_a_conversation(stage: Stage) -> None:
    other = stage.scene.new_friend()
    summary = dict(stage.scene.run(stage.friend.peer.summary(stage.scene.alice.name)))
    summary |= {"peer": other.name, "side": 1 - summary["side"]}
    stage.scene.hostile.push(stage.scene.alice.name, {"type": "conversation.changed", "summary": summary})
    expect(stage.page.get_by_role("heading", name=stage.friend.name, exact=True)).to_be_visible()


# Lies about keys


class Chains(Lies):
    """Shows the friend's key chain, or Alice's own, as ``change`` makes it."""

    def __init__(
        self, conversation: str, change: Callable[[list[str]], list[str]], *, whose: str = "peer"
    ) -> None:
        self._conversation, self._change, self._whose = conversation, change, whose
        self._after: dict[int, int] = {}

    def to_server(self, name: str, frame: Frame, tell: Callable[[Frame], None]) -> list[Frame]:
        if frame["type"] == "chain.get" and frame["whose"] == self._whose:
            self._after[frame["ref"]] = frame["after"]
            return [{**frame, "after": 0}]
        return [frame]

    def to_browser(self, name: str, frame: Frame) -> list[Frame]:
        if frame["type"] != "chain" or frame["whose"] != self._whose:
            return [frame]
        after = self._after.pop(frame["ref"], 0)
        entries = frame["entries"]
        if frame["conversation"] == self._conversation or self._whose == "own":
            entries = self._change(entries)
        return [{**frame, "entries": entries[after:]}]


def _position(entries: list[str]) -> wire.ChainPosition:
    return wire.ChainPosition(len(entries), crypto.entry_hash(from_base64url(entries[-1])))


def _with_entry(seed: bytes, payload: wire.Payload) -> Callable[[list[str]], list[str]]:
    def change(entries: list[str]) -> list[str]:
        entry = crypto.next_entry(seed, _position(entries), payload, at=now_ms())
        return [*entries, to_base64url(entry)]

    return change


def _mallorys_chain(stage: Stage) -> list[str]:
    """A whole chain of somebody else under the friend's name."""
    identity, name = secrets.token_bytes(32), fold(stage.friend.name)
    account_public = crypto.xwing_public(secrets.token_bytes(32))
    genesis = crypto.genesis_entry(
        identity, origin=stage.scene.server.origin, name=name, account_public=account_public, at=now_ms()
    )
    device = Device(secrets.token_bytes(32))
    begun = crypto.verify_chain([genesis], origin=stage.scene.server.origin, name=name)
    added = crypto.device_entry(identity, begun.position, device.public, at=now_ms())
    return [to_base64url(genesis), to_base64url(added)]


def _mallorys_reset(stage: Stage) -> Callable[[list[str]], list[str]]:
    identity = secrets.token_bytes(32)
    payload = wire.Reset(
        stage.scene.server.origin,
        fold(stage.friend.name),
        crypto.public_of_seed(identity),
        crypto.xwing_public(secrets.token_bytes(32)),
        2,
    )
    made: list[list[str]] = []

    def change(entries: list[str]) -> list[str]:
        if not made:
            made.append(_with_entry(identity, payload)(entries))
        return made[0]

    return change


@attack(does="adds a ghost browser to the friend's keys", seen="Keys are not genuine", when=AT_ONCE)
def adds_a_ghost_browser(stage: Stage) -> None:
    ghost = Device(secrets.token_bytes(32))
    mallory = secrets.token_bytes(32)
    stage.lie(Chains(stage.friend.conversation, _with_entry(mallory, wire.DeviceAdd(ghost.public))))
    stage.push(type="keys.changed")


@attack(does="signs the friend's browser out in their name", seen="Keys are not genuine", when=AT_ONCE)
def forges_a_revocation(stage: Stage) -> None:
    device = stage.friend.peer.account.device.id
    stage.lie(
        Chains(stage.friend.conversation, _with_entry(secrets.token_bytes(32), wire.DeviceRevoke(device)))
    )
    stage.push(type="keys.changed")


@attack(does="shows an older list of the friend's keys", seen="Older keys", when=ON_OPENING)
def rolls_a_chain_back(stage: Stage) -> None:
    stage.lie(Chains(stage.friend.conversation, lambda entries: entries[:1]))
    stage.page.reload()


@attack(does="puts another key in the place of the friend's", seen="Different identity", when=ON_OPENING)
def swaps_a_key_later(stage: Stage) -> None:
    chain = _mallorys_chain(stage)
    stage.lie(Chains(stage.friend.conversation, lambda _: chain))
    stage.page.reload()


@attack(
    does="puts another key in the place of the friend's from the first meeting on",
    seen="The safety numbers do not match, so nothing is sent here.",
    when=COMPARING,
    begins=MET,
)
def swaps_a_key_at_first_contact(stage: Stage) -> None:
    friend = stage.friend
    chain = _mallorys_chain(stage)
    stage.lie(Chains(friend.conversation, lambda _: chain))
    stage.scene.open_chat(friend)
    drawer = _open_drawer(stage)
    shown = drawer.get_by_role("list", name="Safety number").get_by_role("listitem").all_inner_texts()
    read_out = friend.run(friend.peer.safety_number(stage.scene.alice.name))
    assert not set(shown) >= set(read_out.split()), "Whoever compares must notice."
    drawer.get_by_role("button", name="They do not match").click()
    expect(stage.scene.alice.composer(stage.scene.person(friend.name))).to_have_count(0)


@attack(
    does="puts another key in the place of a friend who was added by their link",
    seen="Not who the link named",
    when=ON_OPENING,
    begins=STRANGERS,
)
def swaps_the_key_of_a_linked_friend(stage: Stage) -> None:
    stranger, page = stage.scene.new_stranger(), stage.page
    fingerprint = to_base64url(stranger.peer.account.chain.fingerprint)
    page.goto(f"/add/{stranger.name}#{fingerprint}")
    page.get_by_role("button", name="Send friend request").click()
    expect(page.get_by_text("Friend request sent!")).to_be_visible()
    stage.scene.run(stranger.peer.approve([stage.scene.alice.name]))
    stage.meet(stage.scene.met(stranger))
    chain = _mallorys_chain(stage)
    stage.lie(Chains(stage.friend.conversation, lambda _: chain))
    stage.scene.open_chat(stage.friend)
    expect(stage.scene.alice.composer(stage.scene.person(stranger.name))).to_have_count(0)


@attack(
    does="shows a friend who was compared in a new conversation, with another key",
    seen="Compare before you send.",
    when=ON_OPENING,
)
def moves_a_friend_to_a_new_conversation(stage: Stage) -> None:
    _compare(stage)
    real, other = stage.friend.conversation, str(uuid4())
    chain = _mallorys_chain(stage)

    class Moved(Chains):
        def to_server(self, name: str, frame: Frame, tell: Callable[[Frame], None]) -> list[Frame]:
            return super().to_server(name, _with_text(frame, other, real), tell)

        def to_browser(self, name: str, frame: Frame) -> list[Frame]:
            return [_with_text(one, real, other) for one in super().to_browser(name, _emptied(frame, real))]

    stage.lie(Moved(real, lambda _: chain))
    stage.page.goto(f"/chat/{real}/")
    stage.page.get_by_role("link", name=stage.friend.name).click()
    expect(stage.scene.alice.composer(stage.scene.person(stage.friend.name))).to_have_count(0)


def _with_text(frame: Frame, old: str, new: str) -> Frame:
    changed: Frame = json.loads(json.dumps(frame).replace(old, new))
    return changed


def _emptied(frame: Frame, conversation: str) -> Frame:
    """As if nothing had been said yet."""
    match frame["type"]:
        case "conversations":
            empty = {"last": None, "last_n": 0, "epoch": 0, "heads": [None, None]}
            items = [one | empty if one["conversation"] == conversation else one for one in frame["items"]]
            return {**frame, "items": items}
        case "epochs" if frame["conversation"] == conversation:
            return {**frame, "records": []}
        case "history" if frame["conversation"] == conversation:
            return {**frame, "rows": [], "last_n": 0}
        case _:
            return frame


@attack(
    does="puts other keys behind Alice's password",
    seen="The keys that the server sent do not fit together",
    when="at her next log-in",
)
def forges_the_keys_behind_the_password(stage: Stage) -> None:
    class Forged(Lies):
        def answer(self, path: str, body: Any) -> Any:
            return {**body, "keys": _forged_keys(stage, body["keys"])} if path == "/api/log-in/" else body

    stage.page.goto("/settings/")
    stage.page.get_by_role("button", name="Lock now").click()
    expect(stage.page).to_have_url(re.compile("/log-in/"))
    stage.lie(Forged())
    stage.scene.alice.fill_log_in()


def _forged_keys(stage: Stage, keys: Any) -> Any:
    """What anybody can make who knows the public halves of the doors."""
    doors = [
        DoorPublic(door["kind"], from_base64url(door["public"]), secrets.token_bytes(32))
        for door in keys["doors"]
    ]
    forged = reset_account(
        origin=stage.scene.server.origin,
        name=fold(stage.scene.alice.name),
        entries=tuple(from_base64url(entry) for entry in keys["chain"]),
        version=keys["vault"]["version"],
        door_keys=doors,
        now=now_ms(),
    )
    return {
        **keys,
        "chain": [to_base64url(entry) for entry in forged.entries],
        "doors": [door_json(forged.door(door)) for door in doors],
        "vault": vault_json(forged),
    }


@attack(does="adds a ghost browser to Alice's own keys", seen="Your keys are not genuine", when=AT_ONCE)
def adds_a_ghost_to_ones_own_keys(stage: Stage) -> None:
    ghost = Device(secrets.token_bytes(32))
    add = _with_entry(secrets.token_bytes(32), wire.DeviceAdd(ghost.public))
    stage.lie(Chains(stage.friend.conversation, add, whose="own"))
    stage.push(type="keys.changed", conversation=None)


@attack(does="shows Alice an older list of her own keys", seen="Your keys are not genuine", when=ON_OPENING)
def rolls_ones_own_chain_back(stage: Stage) -> None:
    stage.lie(Chains(stage.friend.conversation, lambda entries: entries[:-1], whose="own"))
    stage.page.reload()


@attack(does="shows Alice an older vault", seen="Older vault", when=ON_OPENING)
def rolls_the_vault_back(stage: Stage) -> None:
    old: list[Any] = []

    class OldVault(Lies):
        def answer(self, path: str, body: Any) -> Any:
            if path != "/api/vault/" or "box" not in body:
                return body
            old.append(body)
            return old[0]

    stage.lie(OldVault())
    stage.page.reload()
    expect(stage.message("Good morning to you")).to_be_visible()
    with stage.page.expect_response(lambda it: it.url.endswith("/api/vault/") and it.request.method == "PUT"):
        _compare(stage)  # Before the newer vault is stored there is nothing to roll back.
    stage.page.reload()


@attack(
    does="pretends that a friend who was compared began anew",
    seen="Compare before you send.",
    when=AT_ONCE,
)
def forges_a_reset_of_a_verified_friend(stage: Stage) -> None:
    _compare(stage)
    stage.lie(Chains(stage.friend.conversation, _mallorys_reset(stage)))
    stage.push(type="keys.changed")
    expect(stage.scene.alice.composer(stage.scene.person(stage.friend.name))).to_have_count(0)


@attack(
    does="pretends that a friend who was never compared began anew",
    seen="started over with new keys",
    when=AT_ONCE,
)
def forges_a_reset(stage: Stage) -> None:
    stage.lie(Chains(stage.friend.conversation, _mallorys_reset(stage)))
    stage.push(type="keys.changed")


@attack(
    does="seals different secrets of an epoch to the two people (with a friend's help)",
    seen="Keys are not genuine",
    when=AT_ONCE,
)
def equivocates_on_an_epoch_secret(stage: Stage) -> None:
    async def append() -> None:
        peer, name = stage.friend.peer, stage.scene.alice.name
        conversation = await peer.open_conversation(name)
        await peer.read(name, acknowledge=False)

        def lying(public: bytes, what: str, context: bytes, secret: bytes) -> bytes:
            own = conversation.own_chain.account_public
            return crypto.seal(public, what, context, secret if public == own else bytes(32))

        record, epoch = crypto.create_epoch(
            conversation=conversation.id.bytes,
            previous=conversation.newest_epoch,
            chains=conversation.chains,
            log=conversation.log,
            device=peer.account.device,
            sealing=lying,
        )
        await peer.socket.request(
            "epoch.append",
            conversation=str(conversation.id),
            epoch=epoch.epoch,
            record=to_base64url(record),
        )

    stage.friend.run(append())


@attack(does="forges the second tick", seen="Forged receipt", when=AT_ONCE)
def forges_a_second_tick(stage: Stage) -> None:
    conversation = stage.friend.run(stage.friend.peer.open_conversation(stage.scene.alice.name))
    stage.friend.read()
    epoch = conversation.newest_epoch
    assert epoch is not None
    real = stage.friend.peer.account.device
    genuine = crypto.create_head(
        conversation=conversation.id.bytes,
        log=conversation.log,
        vault_version=1,
        device=real,
        epoch=epoch,
        read_n=0,
    )
    body, _ = wire.decode_exact(genuine)
    forged = wire.encode_cbor([body, crypto.sign(secrets.token_bytes(32), "head", body)])
    stage.push(type="head.new", side=conversation.side, head=to_base64url(forged))


@attack(
    does="delivers what a signed-out browser of the friend goes on sending",
    seen="Signed-out browser",
    when=AT_ONCE,
)
def delivers_for_a_revoked_browser(stage: Stage) -> None:
    lost = Peer(stage.scene.server.origin, stage.scene.server.ca_file)
    run, name = stage.friend.run, stage.scene.alice.name
    run(lost.log_in(stage.friend.name, PASSWORD))
    run(lost.connect())
    run(lost.read(name, acknowledge=False))
    run(stage.friend.peer.renew(PASSWORD, revoke=[lost.account.device.id]))
    stage.friend.send("I lost my telephone")
    expect(stage.message("I lost my telephone")).to_be_visible()
    conversation = run(lost.open_conversation(name))
    epoch = conversation.newest_epoch
    assert epoch is not None
    client_id = uuid4()
    envelope, _ = crypto.seal_envelope(
        epoch=epoch,
        side=conversation.side,
        chains=conversation.chains,
        device=lost.account.device,
        client_id=client_id.bytes,
        writer=conversation.writer,
        log=conversation.log,
        vault_version=1,
        content=wire.Content(now_ms(), "It is me, really"),
    )
    row = {
        "n": 4,
        "side": conversation.side,
        "client_id": str(client_id),
        "envelope": to_base64url(envelope),
        "stored_at": now_ms(),
    }
    stage.push(type="envelope.new", row=row)


@attack(
    does="delivers what a friend's own client made so that no report could prove it",
    seen="could not be proved in a report",
    when=AT_ONCE,
)
def mismatches_the_franking_commitment(stage: Stage) -> None:
    async def send() -> None:
        peer, name = stage.friend.peer, stage.scene.alice.name
        await peer.read(name)
        conversation = await peer.open_conversation(name)
        epoch = conversation.newest_epoch
        assert epoch is not None
        client_id, content = uuid4(), wire.Content(now_ms(), "You cannot prove this")
        honest, _ = crypto.seal_envelope(
            epoch=epoch,
            side=conversation.side,
            chains=conversation.chains,
            device=peer.account.device,
            client_id=client_id.bytes,
            writer=conversation.writer,
            log=conversation.log,
            vault_version=peer.account.version,
            content=content,
        )
        header = replace(wire.decode_envelope(honest).header, commitment=secrets.token_bytes(32))
        encoded = content.encode()
        plaintext = secrets.token_bytes(32) + len(encoded).to_bytes(4, "big")
        plaintext += encoded.ljust(crypto.padme(len(encoded)), b"\0")
        envelope = crypto.assemble_envelope(
            header, secrets.token_bytes(12), plaintext, epoch=epoch, device=peer.account.device
        )
        await peer.socket.request(
            "envelope.send",
            conversation=str(conversation.id),
            client_id=str(client_id),
            epoch=epoch.epoch,
            envelope=to_base64url(envelope),
        )

    stage.friend.run(send())


# Words that try to be more


SCRIPT = "<img src=x onerror=\"window.broken='message'\"><script>window.broken='script'</script>"
BIDI = "\u202eevil\u2066\u202d" + "\u200f" * 20 + "W" * 3_000


@attack(
    does="fills its answers, and a friend fills messages, with script and direction marks",
    seen="<script>",
    when="never runs: it is shown as text",
)
def fills_fields_with_script(stage: Stage) -> None:
    class Scripted(Lies):
        def to_browser(self, name: str, frame: Frame) -> list[Frame]:
            if frame["type"] == "envelope.stored":
                refused = {"type": "refused", "ref": frame["ref"], "code": "nonsense", "retry_after": None}
                return [{**refused, "message": SCRIPT + BIDI}]
            return [frame]

    stage.friend.send(SCRIPT + BIDI)
    stage.lie(Scripted())
    stage.scene.alice.send(stage.scene.person(stage.friend.name), SCRIPT + BIDI)
    expect(stage.page.get_by_role("button", name="Retry")).to_be_visible()
    assert stage.page.evaluate("() => window.broken") is None
    for failed in stage.page.locator(".message-row, .message-row > *").all():
        box = failed.bounding_box()
        assert box is None or box["x"] + box["width"] <= stage.page.viewport_size["width"]


# The stage


def _open_drawer(stage: Stage) -> Any:
    stage.page.get_by_role("button", name="Conversation details").click()
    drawer = stage.page.get_by_role("complementary", name="Conversation details")
    expect(drawer.get_by_role("list", name="Safety number").get_by_role("listitem")).to_have_count(12)
    return drawer


def _compare(stage: Stage) -> None:
    drawer = _open_drawer(stage)
    drawer.get_by_role("button", name="They match", exact=True).click()
    expect(drawer.get_by_text("Verified", exact=True)).to_be_visible()


@pytest.fixture
def begin(scene: Scene) -> Callable[..., Stage]:
    def set_the_stage(begins: str, seen: str = "") -> Stage:
        stage = Stage(scene, seen)
        if begins == STRANGERS:
            return stage
        stage.meet(scene.new_friend())
        if begins == MET:
            return stage
        stage.friend.send("Good morning")
        scene.open_chat(stage.friend)
        expect(stage.message("Good morning")).to_be_visible()
        stage.alice_sends("Good morning to you")
        expect(stage.page.locator(".banner-alarm")).to_have_count(0)
        return stage

    return set_the_stage


def _keep_picture(stage: Stage, name: str) -> None:
    number = list(ATTACKS).index(name) + 1 if name in ATTACKS else 0
    stage.scene.alice.screenshot(RESULTS / "attacks" / f"{number:02d}-{name}.png")


@pytest.mark.parametrize("name", ATTACKS)
def test_the_attack_is_seen(name: str, begin: Callable[..., Stage]) -> None:
    one = ATTACKS[name]
    stage = begin(one.begins, one.seen)

    one.run(stage)

    try:
        stage.expect_seen()
        assert stage.page.evaluate("() => scrollY") == 0, "The page itself never scrolls away."
    finally:
        _keep_picture(stage, name)
    _expect_others_undisturbed(stage)


def _expect_others_undisturbed(stage: Stage) -> None:
    """An honest conversation goes on in the same browser, once the server is honest about it."""
    stage.scene.hostile.be_honest()
    if "/log-in/" in stage.page.url:
        stage.page.goto("/log-in/")
        stage.scene.alice.log_in()
    other = stage.scene.new_friend()
    other.send("Is all well with you?")
    stage.scene.open_chat(other)
    person = stage.scene.person(other.name)
    expect(stage.scene.alice.message(person, "Is all well with you?")).to_be_visible()
    stage.scene.alice.send(person, "With us two, yes")
    expect(stage.scene.alice.message(person, "With us two, yes")).to_contain_text("Sent")
    expect(stage.page.locator(".banner-alarm")).to_have_count(0)


def test_the_same_server_raises_no_alarm_when_it_is_honest(begin: Callable[..., Stage]) -> None:
    stage = begin(TALKING)
    stage.lie(Rows(stage.friend.conversation, lambda row: row))

    stage.friend.send("one")
    stage.alice_sends("two")
    stage.friend.read()
    expect(stage.message("two")).to_contain_text(re.compile("Delivered|Read"))
    stage.page.reload()

    expect(stage.message("one")).to_be_visible()
    expect(stage.page.locator(".banner-alarm")).to_have_count(0)
    expect(stage.page.get_by_text(re.compile("It is not shown"))).to_have_count(0)
    _keep_picture(stage, "honest")
