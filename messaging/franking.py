"""Whether a message that was disclosed in a report is what its sender's browser signed. docs/protocol.md section 12.

The envelope's header commits to the content: ``MAC(franking_key, "franking", …)``. Whoever received it has the key, so
content and key prove what was said, without the keys of the conversation and without anything else that was said in it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from accounts.chain import ChainState
from accounts.wire import VERSION, MalformedBytes, label
from messaging.errors import MalformedFrame
from messaging.wire import EnvelopeHeader, parse_envelope

FRANKING_KEY_BYTES = 32
TEXT = 1
_CONTENT_TYPES = [int, int, int, bytes]


class Problem(StrEnum):
    """Why a message cannot be verified; the value is stored."""

    NO_ROW = "no_row"
    NO_KEYS = "no_keys"
    UNKNOWN_DEVICE = "unknown_device"
    FALSE_SIGNATURE = "false_signature"
    OTHER_CONVERSATION = "other_conversation"
    OTHER_CONTENT = "other_content"
    UNREADABLE = "unreadable"

    @property
    def sentence(self) -> str:
        return _SENTENCES[self]


_SENTENCES = {
    Problem.NO_ROW: "The server has no such message.",
    Problem.NO_KEYS: "The reported person's key chain is missing or does not hold.",
    Problem.UNKNOWN_DEVICE: "It was signed by a browser that is not on the reported person's key chain.",
    Problem.FALSE_SIGNATURE: "The signature is not genuine.",
    Problem.OTHER_CONVERSATION: "It belongs to another conversation.",
    Problem.OTHER_CONTENT: "What was disclosed is not what was sent.",
    Problem.UNREADABLE: "The message does not have the form that messages have.",
}


class NotProved(Exception):
    """Says no more than which check failed."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


@dataclass(frozen=True)
class Content:
    """What the sender wrote. ``sent_at`` is the sender's clock, which nobody checks; ``text`` is none for another kind."""

    kind: int
    sent_at: datetime | None
    text: str | None


def commitment_to(header: EnvelopeHeader, franking_key: bytes, content: bytes) -> bytes:
    bound = header.conversation + header.device + header.client_id
    return hmac.new(franking_key, label("franking") + bound + content, hashlib.sha256).digest()


def require_sent(
    envelope: bytes, *, conversation: UUID, content: bytes, franking_key: bytes, keys: ChainState
) -> Content:
    """That a browser of the person with these ``keys`` signed ``envelope`` for that conversation, and meant ``content``.

    Whether the browser had been signed out by then is not asked: the server numbered the envelope, and takes none of
    those. Raises ``NotProved``.
    """
    try:
        header = parse_envelope(envelope)
    except MalformedFrame:
        raise NotProved(Problem.UNREADABLE) from None
    if header.conversation != conversation.bytes:
        raise NotProved(Problem.OTHER_CONVERSATION)
    _require_signature(envelope, header, keys)
    commitment = cbor2.loads(cbor2.loads(envelope)[0])[-1]
    if not hmac.compare_digest(commitment, commitment_to(header, franking_key, content)):
        raise NotProved(Problem.OTHER_CONTENT)
    return read_content(content)


def read_content(content: bytes) -> Content:
    """Raises ``NotProved`` for what is no content of a message."""
    try:
        decoded = cbor2.loads(content)
        if cbor2.dumps(decoded, canonical=True) != content:
            raise NotProved(Problem.UNREADABLE)
        if not isinstance(decoded, list) or [type(item) for item in decoded] != _CONTENT_TYPES:
            raise NotProved(Problem.UNREADABLE)
        version, kind, sent_at, body = decoded
        text = body.decode() if kind == TEXT else None
    except (cbor2.CBORError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError):
        raise NotProved(Problem.UNREADABLE) from None
    if version != VERSION:
        raise NotProved(Problem.UNREADABLE)
    return Content(kind, _moment(sent_at), text)


def chain_of(origin: str, name: str, entries: Iterable[bytes]) -> ChainState:
    """Every entry with its signature, from genesis. ``name`` is the folded one. Raises ``NotProved``."""
    state = ChainState(origin, name)
    try:
        for entry in entries:
            state.follow(entry)
    except MalformedBytes:
        raise NotProved(Problem.NO_KEYS) from None
    if not state.seq:
        raise NotProved(Problem.NO_KEYS)
    return state


def _require_signature(envelope: bytes, header: EnvelopeHeader, keys: ChainState) -> None:
    device = keys.devices.get(header.device)
    if device is None:
        raise NotProved(Problem.UNKNOWN_DEVICE)
    parts: list[Any] = cbor2.loads(envelope)
    signed = cbor2.dumps(parts[:3], canonical=True)
    try:
        Ed25519PublicKey.from_public_bytes(device.public).verify(parts[3], label("envelope") + signed)
    except (InvalidSignature, ValueError):
        raise NotProved(Problem.FALSE_SIGNATURE) from None


def _moment(milliseconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
