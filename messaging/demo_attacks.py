"""What somebody who has the database can do to it, shown on a demo: three attacks, one at a time, that can be undone.

The rows are changed as an attacker would, below every service. What is needed to undo it is in ``demo-attack.json`` in
``VAR_DIR`` before anything changes, and until it was undone: killed at any moment, the command can be run again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias
from uuid import UUID

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.conf import settings
from django.contrib.auth.hashers import identify_hasher
from django.db import transaction
from django.utils import timezone

from accounts.demo_people import DEMO_PASSWORDS
from accounts.hashers import SecureChatPasswordHasher
from accounts.models import KeyChainEntry, User
from accounts.names import fold
from accounts.services import key_chain
from accounts.wire import NO_HASH, Genesis, entry_hash, label, parse_entry
from friends.models import Friendship
from friends.services import peers_of
from messaging.models import Conversation, Envelope, Head
from messaging.row_changes import RowChange, State, columns_of, state_of
from messaging.services.conversations import milliseconds
from messaging.wire import first_log_hash
from securechat import events, sealed

Kind: TypeAlias = Literal["flip-byte", "drop-row", "swap-key"]

# From an envelope's end: within the ciphertext, of which at least 66 bytes stand before the 66 of the signature.
_FLIPPED_BYTE = -100


class DemoAttackRefused(Exception):
    """Says why in one sentence; nothing was changed."""


@dataclass(frozen=True)
class Scene:
    """Two people of the demo who talk. Side 0 is ``asker``."""

    conversation: Conversation
    asker: User
    friend: User


@dataclass(frozen=True)
class Attack:
    """``did``, ``look_at`` and ``alarm`` are for whoever watches; ``healed`` says what to press after the undo."""

    kind: Kind
    conversation: UUID
    changes: tuple[RowChange, ...]
    event: events.Event
    did: str
    look_at: str
    alarm: str
    healed: str


@dataclass(frozen=True)
class Undone:
    """``changes`` is false where the attack had never come to change anything, or was undone before."""

    kind: Kind
    conversation: UUID
    healed: str
    changed: bool


def attack(kind: Kind, conversation: UUID | None, *, dry_run: bool = False) -> Attack:
    """Raises ``DemoAttackRefused``."""
    people = _people_of_the_demo()
    if dry_run:
        with transaction.atomic():
            return _prepared(kind, conversation, people)
    with _alone():
        with transaction.atomic():
            prepared = _prepared(kind, conversation, people)
            try:
                _keep(prepared)
            except OSError as error:
                raise DemoAttackRefused(
                    f"What the undo needs could not be kept in {_kept_file()} ({error.strerror})."
                ) from None
            for change in prepared.changes:
                change.make()
        events.publish(prepared.event)
    return prepared


def undo(kind: Kind | None, *, dry_run: bool = False) -> Undone:
    """Raises ``DemoAttackRefused``, also when there is nothing to undo."""
    if dry_run:
        return _undo(kind, dry_run=True)
    with _alone():
        return _undo(kind, dry_run=False)


def _undo(kind: Kind | None, *, dry_run: bool) -> Undone:
    kept = _kept()
    if kept is None:
        raise DemoAttackRefused("There is nothing to undo.")
    if kind not in (None, kept["kind"]):
        raise DemoAttackRefused(f"There is no {kind} to undo; {kept['kind']} is in place.")
    conversation = UUID(kept["conversation"])
    changes = tuple(RowChange.from_json(change) for change in kept["changes"])
    with transaction.atomic():
        people = _lock(conversation)
        state = (
            state_of(changes) if people else State.BEFORE
        )  # With the conversation all of its rows are gone.
        if state is State.OTHER:
            raise DemoAttackRefused(
                f"What {kept['kind']} changed has been changed again since, so it cannot be repaired: "
                f"begin a new demo with an empty VAR_DIR. What was there is in {_kept_file()}."
            )
        undone = Undone(kept["kind"], conversation, kept["healed"], state is State.AFTER)
        if dry_run:
            return undone
        if undone.changed:
            for change in reversed(changes):
                change.take_back()
    _kept_file().unlink()
    if undone.changed:
        events.publish(_event(undone.kind, conversation, people, changes))
    return undone


def _prepared(kind: Kind, conversation: UUID | None, people: list[User]) -> Attack:
    kept = _kept()
    if kept is not None:
        raise DemoAttackRefused(
            f"{kept['kind']} is in place already: undo it first, with manage.py demo_attack --undo."
        )
    scene = _scene(conversation, people)
    if not scene.conversation.last_n:
        raise DemoAttackRefused("Nobody has written in this conversation yet.")
    match kind:
        case "flip-byte":
            return _flip_byte(scene)
        case "drop-row":
            return _drop_row(scene)
        case "swap-key":
            return _swap_key(scene, people)


# Whose conversation


def _scene(wanted: UUID | None, people: list[User]) -> Scene:
    """The newest conversation of two of ``people``, or ``wanted`` if that is one."""
    open_ones = Friendship.objects.filter(sender__in=people).accepted().select_related("sender")
    friendships = {
        friendship.public_id: (friendship.sender, friend)
        for friendship in open_ones
        if (friend := peers_of(friendship.sender, [friendship]).get(friendship.pk)) in people
    }
    if wanted is not None and wanted not in friendships:
        raise DemoAttackRefused("That is not a conversation between two people of the demo.")
    rows = Conversation.objects.filter(friendship__public_id__in=[wanted] if wanted else friendships)
    newest = rows.order_by("-active_at").first()
    if newest is None:
        raise DemoAttackRefused("The people of the demo have no conversation yet.")
    _lock(newest.pk)
    newest.refresh_from_db()
    asker, friend = friendships[newest.pk]
    return Scene(newest, asker, friend)


def _people_of_the_demo() -> list[User]:
    """Raises ``DemoAttackRefused`` where there are none."""
    named = User.objects.filter(folded_name__in=[fold(name) for name in DEMO_PASSWORDS])
    people = [person for person in named if _has_published_password(person)]
    if not people:
        raise DemoAttackRefused(
            "This is not a demo: nobody here has a name and the published password of `make demo`."
        )
    return people


def _has_published_password(person: User) -> bool:
    """Not ``User.check_password``, which may store the hash anew."""
    published = {fold(name): password for name, password in DEMO_PASSWORDS.items()}[person.folded_name]
    if not person.has_usable_password() or not person.client_salt:
        return False
    hasher = identify_hasher(person.password)
    assert isinstance(hasher, SecureChatPasswordHasher)
    salt = bytes(person.client_salt)
    auth_key = hasher.derive(name=person.username, password=published, client_salt=salt)
    return hasher.verify(auth_key, person.password)


def _lock(conversation: UUID) -> list[User]:
    """Until the transaction ends nobody writes in it or appends to its people's chains. Empty when it is gone."""
    friendship = Friendship.objects.filter(public_id=conversation).select_related("sender").first()
    if friendship is None:
        return []
    people = [friendship.sender, *peers_of(friendship.sender, [friendship]).values()]
    list(User.objects.select_for_update().filter(pk__in=[one.pk for one in people]).order_by("pk"))
    list(Conversation.objects.select_for_update().filter(friendship__public_id=conversation))
    return people


# The three attacks


def _flip_byte(scene: Scene) -> Attack:
    n, (asker, friend) = scene.conversation.last_n, _names(scene)
    key = {"conversation_id": scene.conversation.pk, "n": n}
    before = columns_of(Envelope.objects.filter(**key), "envelope")
    assert before is not None
    envelope = bytearray(before["envelope"])
    was = envelope[_FLIPPED_BYTE]
    envelope[_FLIPPED_BYTE] = now = was ^ 1
    return _attack(
        "flip-byte",
        scene,
        (RowChange(Envelope, key, before, {"envelope": bytes(envelope)}),),
        did=f"Byte {len(envelope) + _FLIPPED_BYTE} of message {n} between {asker} and {friend}: "
        f"0x{was:02x} to 0x{now:02x}.",
        look_at=f"the chat of {asker} and {friend}, in either browser",
        alarm="“Two different conversations”; a browser that has not seen the message before says “Altered message”",
        healed="Press “Ask again” in the alarm, or reload the page.",
    )


def _drop_row(scene: Scene) -> Attack:
    conversation, (asker, friend) = scene.conversation, _names(scene)
    n = conversation.last_n
    if not Head.objects.filter(conversation=conversation, n=n).exists():
        # Nobody could know that it was there: docs/threat-model.md. The next message would take its number, too.
        raise DemoAttackRefused(
            f"No browser has confirmed the newest message of {asker} and {friend} yet, so nobody would miss it: "
            "open the chat in a browser first."
        )
    key = {"conversation_id": conversation.pk, "n": n}
    row = columns_of(Envelope.objects.filter(**key))
    assert row is not None
    previous = columns_of(Envelope.objects.filter(conversation_id=conversation.pk, n=n - 1), "log_hash")
    log_hash = previous["log_hash"] if previous else first_log_hash(conversation.pk)
    end = RowChange(
        Conversation,
        {"friendship_id": conversation.pk},
        {"last_n": n, "log_hash": bytes(conversation.log_hash)},
        {"last_n": n - 1, "log_hash": log_hash},
    )
    return _attack(
        "drop-row",
        scene,
        (end, RowChange(Envelope, key, row, None)),
        did=f"Message {n}, the newest between {asker} and {friend}: deleted, as if it had never been sent.",
        look_at=f"the chat of {asker} and {friend}, in either browser",
        alarm="“Messages disappeared”; a browser that has not seen the message before says “Messages are held back”",
        healed="Press “Ask again” in the alarm, or reload the page.",
    )


def _swap_key(scene: Scene, people: list[User]) -> Attack:
    asker, friend = _names(scene)
    if not Envelope.objects.filter(conversation_id=scene.conversation.pk, side=0).exists():
        raise DemoAttackRefused(f"{asker} has not written to {friend} yet, so knows no key to compare with.")
    friendships = Friendship.objects.conversations_of(scene.friend)
    if not set(peers_of(scene.friend, friendships).values()) <= set(people):
        raise DemoAttackRefused(f"{friend} has friends who are not of the demo, and they would see it too.")
    changes = _other_chain(scene.friend)
    return _attack(
        "swap-key",
        scene,
        changes,
        did=f"The key chain of {friend}: {len(changes) - 1} entries replaced by {len(changes)} of somebody else.",
        look_at=f"the chat with {friend} in {asker}'s browser",
        alarm="“Keys are not genuine”, after a reload “Different identity”; "
        f"{friend}'s own browser says “Your keys are not genuine”",
        healed=f"Press “Ask again” in {asker}'s alarm; reload {friend}'s page.",
    )


def _names(scene: Scene) -> tuple[str, str]:
    return scene.asker.username, scene.friend.username


def _attack(kind: Kind, scene: Scene, changes: tuple[RowChange, ...], **words: str) -> Attack:
    conversation = scene.conversation.pk
    event = _event(kind, conversation, [scene.asker, scene.friend], changes)
    return Attack(kind, conversation, changes, event, **words)


def _event(
    kind: Kind, conversation: UUID, people: list[User], changes: tuple[RowChange, ...]
) -> events.Event:
    """What makes an open page look again without a reload."""
    key = changes[0].key
    match kind:
        case "flip-byte":
            return events.EnvelopesStored(((conversation, key["n"], key["n"]),))
        case "drop-row":
            return events.FriendshipChanged(tuple(person.pk for person in people), conversation)
        case "swap-key":
            return events.KeysChanged(key["user_id"])


def _other_chain(person: User) -> tuple[RowChange, ...]:
    """One entry longer than the person's own: what an open page asks for next is the first that it sees of it."""
    entries = key_chain.entries_of(person)
    genesis = parse_entry(entries[0]).payload
    assert isinstance(genesis, Genesis)
    forged = forged_chain(origin=genesis.origin, name=genesis.name, length=len(entries) + 1)
    changes = []
    for seq, entry in enumerate(forged, start=1):
        key = {"user_id": person.pk, "seq": seq}
        after = {"sealed_entry": sealed.seal(entry, purpose=KeyChainEntry.purpose(person.pk, seq))}
        before = columns_of(KeyChainEntry.objects.filter(**key), "sealed_entry")
        changes.append(RowChange(KeyChainEntry, key, before, after))
    return tuple(changes)


def forged_chain(*, origin: str, name: str, length: int) -> list[bytes]:
    """A whole chain under that name, each signature right, of an identity that somebody else has just made."""
    identity = Ed25519PrivateKey.generate()
    account_public = (
        MLKEM768PrivateKey.generate().public_key().public_bytes_raw()
        + X25519PrivateKey.generate().public_key().public_bytes_raw()
    )
    identity_public = identity.public_key().public_bytes_raw()
    payloads: list[tuple[str, list[Any]]] = [("genesis", [origin, name, identity_public, 1, account_public])]
    for _ in range(length - 1):
        device = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
        payloads.append(("device_add", [device]))
    entries: list[bytes] = []
    for seq, (kind, payload) in enumerate(payloads, start=1):
        prev = entry_hash(entries[-1]) if entries else NO_HASH
        body = cbor2.dumps([1, seq, prev, kind, payload, milliseconds(timezone.now())], canonical=True)
        entries.append(cbor2.dumps([body, identity.sign(label("chain") + body)], canonical=True))
    return entries


# What is kept for the undo


def _kept_file() -> Path:
    return Path(settings.VAR_DIR) / "demo-attack.json"


@contextmanager
def _alone() -> Iterator[None]:
    """One command at a time: waits for the other to finish, or to be killed."""
    path = _kept_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _kept() -> dict[str, Any] | None:
    try:
        kept: dict[str, Any] = json.loads(_kept_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return kept


def _keep(prepared: Attack) -> None:
    """All of it or nothing, and on the disk before this returns."""
    path = _kept_file()
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(
            {
                "kind": prepared.kind,
                "conversation": str(prepared.conversation),
                "healed": prepared.healed,
                "changes": [change.to_json() for change in prepared.changes],
            },
            file,
            indent=1,
        )
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
