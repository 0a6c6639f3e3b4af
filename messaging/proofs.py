"""Proof files, checked without a server and without a database. docs/protocol.md section 11.

A proof says what the holders of some keys signed for. Who holds them is for the safety number to say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, FailFast, Field, StrictInt, StrictStr, ValidationError

from accounts.chain import ChainState, Device, NotNext
from accounts.wire import (
    HASH_BYTES,
    LARGEST_INTEGER,
    DeviceAdd,
    Genesis,
    H,
    MalformedBytes,
    Reset,
    decode_base64url,
    label,
    parse_entry,
)
from messaging.errors import MalformedFrame
from messaging.wire import HeadBody, first_log_hash, next_log_hash, parse_head

FORMAT = "securechat-proof/1"
MAX_PROOF_BYTES = 64 * 2**20  # About 1,300,000 messages.
MAX_CHAIN_ENTRIES = 40_000  # Ten times what a server takes, unless it is set to take more.
SAFETY_NUMBER_ROUNDS = 5200


class NotAProof(ValueError):
    """Nothing to check; the message is a sentence for a person and quotes nothing of the file."""


class DoesNotHold(ValueError):
    """A check said no; the message is a sentence for a person."""


@dataclass(frozen=True)
class Signatory:
    """One of the two people. ``confirmed`` messages from the first on; ``None`` where the file has no signature."""

    name: str
    fingerprint: bytes
    """Of the identity whose browser signed, or of the newest one."""
    confirmed: int | None
    has_ended: bool
    """The browser that signed was signed out later: the file cannot show that it signed before."""
    identity_changes: int
    chain_entries: int


@dataclass(frozen=True)
class ProofReport:
    """``people`` is empty and ``problems`` is not where the proof does not hold."""

    origin: str
    conversation: UUID
    exported_at: int
    messages: int
    people: tuple[Signatory, ...]
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.problems

    @property
    def safety_number(self) -> str | None:
        if len(self.people) != 2:
            return None
        return " ".join(sorted(_safety_half(person.fingerprint) for person in self.people))


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProofPerson(_Form):
    name: Annotated[StrictStr, Field(pattern=r"\A[a-z0-9]{1,64}\z")]
    chain: Annotated[list[StrictStr], FailFast(), Field(min_length=1, max_length=MAX_CHAIN_ENTRIES)]
    head: StrictStr | None


class ProofFile(_Form):
    format: Literal["securechat-proof/1"]
    origin: Annotated[StrictStr, Field(pattern=r"\Ahttps://[a-z0-9._:\[\]-]{1,255}\z")]
    conversation: Annotated[StrictStr, Field(pattern=r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\z")]
    exported_at: Annotated[StrictInt, Field(ge=0, lt=LARGEST_INTEGER)]
    people: Annotated[list[ProofPerson], Field(min_length=2, max_length=2)]
    hashes: Annotated[list[StrictStr], FailFast()]


def check_proof(raw: bytes) -> ProofReport:
    """Raises ``NotAProof`` for what is no proof file of this version."""
    file = read_proof(raw)
    proof = _Proof(
        origin=file.origin,
        conversation=UUID(file.conversation),
        hashes=[_bytes(text, "hashes", length=HASH_BYTES) for text in file.hashes],
    )
    people: list[Signatory] = []
    problems: list[str] = []
    for person in file.people:
        chain = [_bytes(entry, f"chain of {person.name}") for entry in person.chain]
        head = None if person.head is None else _bytes(person.head, f"head of {person.name}")
        try:
            people.append(proof.signatory(person.name, chain, head))
        except DoesNotHold as problem:
            problems.append(str(problem))
    if not problems and all(person.confirmed is None for person in people):
        problems.append("Nobody has signed anything in it, so that it proves nothing.")
    return ProofReport(
        origin=file.origin,
        conversation=proof.conversation,
        exported_at=file.exported_at,
        messages=len(proof.hashes),
        people=() if problems else tuple(people),
        problems=tuple(problems),
    )


def read_proof(raw: bytes) -> ProofFile:
    """Its form alone. Raises ``NotAProof``."""
    if len(raw) > MAX_PROOF_BYTES:
        raise NotAProof(f"The file is larger than {MAX_PROOF_BYTES // 2**20} MiB, which no proof is.")
    try:
        content = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        raise NotAProof("The file is not JSON in UTF-8, or was cut off.") from None
    if not isinstance(content, dict) or not isinstance(content.get("format"), str):
        raise NotAProof("The file is not a proof: it does not say its format.")
    if content["format"] != FORMAT:
        raise NotAProof(f"The file is of another format than {FORMAT}, the only one that is known here.")
    try:
        proof = ProofFile.model_validate(content)
    except ValidationError as error:
        raise NotAProof(_what_is_wrong(error)) from None
    if proof.people[0].name == proof.people[1].name:
        raise NotAProof("The file names the same person twice.")
    return proof


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("A field stands there twice.")
    return fields


def _what_is_wrong(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "extra_forbidden":
        return "The file has a field that no proof has."
    place = ".".join(str(part) for part in first["loc"])
    return f"The file is not a whole proof: “{place}” is missing or not of its form."


def _bytes(text: str, place: str, length: int | None = None) -> bytes:
    try:
        raw = decode_base64url(text)
    except MalformedBytes:
        raw = None
    if raw is None or length not in (None, len(raw)):
        raise NotAProof(f"The file is damaged: the {place} cannot be decoded.")
    return raw


@dataclass(frozen=True)
class _Proof:
    origin: str
    conversation: UUID
    hashes: list[bytes]

    def signatory(self, name: str, chain: list[bytes], head: bytes | None) -> Signatory:
        """Raises ``DoesNotHold``."""
        keys = _Keys(self.origin, name)
        for seq, entry in enumerate(chain, start=1):
            keys.follow(seq, entry)
        if head is None:
            confirmed, identity, has_ended = None, keys.state.identity_public, False
        else:
            body, device = keys.signed_head(head)
            self._require_on_log(name, body)
            confirmed, identity = body.n, keys.identity_of[body.device]
            has_ended = device.ended_seq is not None
        return Signatory(
            name=name,
            fingerprint=H("identity", cbor2.dumps([self.origin, name, identity], canonical=True)),
            confirmed=confirmed,
            has_ended=has_ended,
            identity_changes=len(keys.state.identities) - 1,
            chain_entries=len(chain),
        )

    def _require_on_log(self, name: str, head: HeadBody) -> None:
        if head.conversation != self.conversation:
            raise DoesNotHold(f"What {name} signed is about another conversation.")
        if head.n > len(self.hashes):
            raise DoesNotHold(f"{name} signed for {head.n} messages; the file lists {len(self.hashes)}.")
        if head.log_hash != self._log_hash(head.n):
            raise DoesNotHold(f"{name} signed for other messages, or in another order, than the file lists.")

    def _log_hash(self, n: int) -> bytes:
        hash_ = first_log_hash(self.conversation)
        for number, hash_of_envelope in enumerate(self.hashes[:n], start=1):
            hash_ = next_log_hash(hash_, number, hash_of_envelope)
        return hash_


class _Keys:
    """A key chain as it is read, and under which identity each of its browsers was added."""

    def __init__(self, origin: str, name: str) -> None:
        self.state = ChainState(origin, name)
        self.identity_of: dict[bytes, bytes] = {}

    def follow(self, seq: int, entry: bytes) -> None:
        place = f"Entry {seq} of the key chain of {self.state.name}"
        try:
            payload = parse_entry(entry).payload
        except MalformedBytes:
            raise DoesNotHold(f"{place} is damaged.") from None
        if isinstance(payload, Genesis | Reset) and (payload.origin, payload.name) != (
            self.state.origin,
            self.state.name,
        ):
            raise DoesNotHold(f"{place} was made for another person or another server.")
        try:
            self.state.follow(entry)
        except NotNext:
            raise DoesNotHold(f"{place} does not follow the one before.") from None
        except MalformedBytes:
            raise DoesNotHold(f"{place} is not signed by the key that may sign it, or not allowed.") from None
        if isinstance(payload, DeviceAdd):
            self.identity_of[payload.device_id] = self.state.identity_public

    def signed_head(self, head: bytes) -> tuple[HeadBody, Device]:
        name = self.state.name
        try:
            body = parse_head(head)
        except MalformedFrame:
            raise DoesNotHold(f"What {name} signed is damaged.") from None
        device = self.state.devices.get(body.device)
        if device is None:
            raise DoesNotHold(f"The browser that signed for {name} is not on the key chain.")
        signed, signature = cbor2.loads(head)
        try:
            Ed25519PublicKey.from_public_bytes(device.public).verify(signature, label("head") + signed)
        except (InvalidSignature, ValueError):
            raise DoesNotHold(f"The signature of {name} is not genuine.") from None
        return body, device


def _safety_half(fingerprint: bytes) -> str:
    digest = label("safety-number")
    for _ in range(SAFETY_NUMBER_ROUNDS):
        digest = hashlib.sha512(digest + fingerprint).digest()
    return " ".join(f"{group:05}" for group in _groups_of_five(digest))


def _groups_of_five(digest: bytes) -> Iterator[int]:
    for start in range(0, 30, 5):
        yield int.from_bytes(digest[start : start + 5], "big") % 100_000
