"""The little that the server reads of signed and encrypted objects. docs/protocol.md sections 1, 5 and 6.

It learns where an object belongs, never what it says, and checks no signature: the other browser does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

import cbor2

from accounts.wire import HASH_BYTES, LARGEST_INTEGER, SIGNATURE_BYTES, VERSION, H
from messaging.errors import MalformedFrame

ID_BYTES = 16
NONCE_BYTES = 12
SEALED_BYTES = 1120 + 32 + 16  # An X-Wing encapsulation, an epoch secret and a tag.
READ_BOX_BYTES = NONCE_BYTES + 11 + 16  # CBOR of [1, 8 bytes], and a tag.
SUITE = 2

Item: TypeAlias = "int | bytes | list[Item]"
_ENVELOPE_TYPES = [bytes] * 4
_HEADER_TYPES = [int, int, bytes, int, *[bytes] * 4, int, bytes, int, bytes, list, list, int, bytes]


def envelope_hash(envelope: bytes) -> bytes:
    return H("envelope", envelope)


def epoch_record_hash(record: bytes) -> bytes:
    return H("epoch/record", record)


def first_log_hash(conversation: UUID) -> bytes:
    return H("log", conversation.bytes)


def next_log_hash(before: bytes, n: int, hash_of_envelope: bytes) -> bytes:
    return H("log", before, n.to_bytes(8, "big"), hash_of_envelope)


class EnvelopeHeader(NamedTuple):
    """Ids as 16 bytes, as they come: a ``UUID`` of each would cost as much as reading the rest."""

    conversation: bytes
    epoch: int
    device: bytes
    client_id: bytes
    writer: bytes
    seq: int
    prev: bytes


@dataclass(frozen=True)
class EpochBody:
    conversation: UUID
    epoch: int
    prev: bytes
    device: bytes


@dataclass(frozen=True)
class HeadBody:
    """``epoch`` is the one whose secret opens what was read, which the server cannot."""

    conversation: UUID
    n: int
    log_hash: bytes
    device: bytes
    epoch: int


def parse_envelope(envelope: bytes) -> EnvelopeHeader:
    """Raises ``MalformedFrame``, as all of these."""
    return _usual_envelope(envelope) or _any_envelope(envelope)


# Nearly every envelope is of this form: lengths in one or two bytes, integers below 2**32. One expression takes a fifth of
# what decoding and encoding again take, and leaves to them whatever it does not know.
_ID, _HASH = rb"\x50(.{16})", rb"\x58\x20(.{32})"
_UINT = rb"([\x00-\x17]|\x18[\x18-\xff]|\x19(?!\x00)..|\x1a(?!\x00\x00)....)"
_POSITION = rb"\x82" + _UINT + rb"\x58\x20.{32}"
_USUAL = re.compile(
    rb"\x84(?:\x58([\x18-\xff])|\x59(?!\x00)(..))"
    rb"\x90\x01\x02" + _ID + _UINT + rb"\x58\x20.{32}" + _ID + _ID + _ID + _UINT + _HASH + _UINT + rb"\x58\x20.{32}"
    + _POSITION + _POSITION + _UINT + rb"\x58\x20.{32}"
    rb"()\x4c.{12}(?:\x58([\x18-\xff])|\x59(?!\x00)(..))",
    re.DOTALL,
)  # fmt: skip
_SIGNATURE = b"\x58\x40"
_END_OF_HEADER = 14  # The empty group.


def _usual_envelope(envelope: bytes) -> EnvelopeHeader | None:
    found = _USUAL.match(envelope)
    if found is None:
        return None
    (
        short, long, conversation, epoch, device, client_id, writer, seq, prev,
        _head_n, own, peer, vault_version, _end, box_short, box_long,
    ) = found.groups()  # fmt: skip
    header_ends = found.end(1 if short else 2) + int.from_bytes(short or long, "big")
    box_ends = found.end() + int.from_bytes(box_short or box_long, "big")
    if (
        header_ends != found.end(_END_OF_HEADER)
        or not envelope.startswith(_SIGNATURE, box_ends)
        or len(envelope) != box_ends + len(_SIGNATURE) + SIGNATURE_BYTES
        or b"\0" in (epoch, seq, own, peer, vault_version)
    ):
        return None
    return EnvelopeHeader(conversation, _uint(epoch), device, client_id, writer, _uint(seq), prev)


def _uint(encoded: bytes) -> int:
    return encoded[0] if len(encoded) == 1 else int.from_bytes(encoded[1:], "big")


def _any_envelope(envelope: bytes) -> EnvelopeHeader:
    outer: list[Any] = _array(envelope, 4)
    if [type(item) for item in outer] != _ENVELOPE_TYPES:
        raise MalformedFrame
    items: list[Any] = _array(outer[0], 16)
    if [type(item) for item in items] != _HEADER_TYPES:
        raise MalformedFrame
    (
        version, suite, conversation, epoch, epoch_hash, device, client_id, writer, seq, prev,
        head_n, head_hash, own, peer, vault_version, commitment,
    ) = items  # fmt: skip
    if not (
        version == VERSION
        and suite == SUITE
        and len(outer[1]) == NONCE_BYTES
        and len(outer[3]) == SIGNATURE_BYTES
        and len(conversation) == len(device) == len(client_id) == len(writer) == ID_BYTES
        and len(epoch_hash) == len(prev) == len(head_hash) == len(commitment) == HASH_BYTES
        and 1 <= epoch < LARGEST_INTEGER
        and 1 <= seq < LARGEST_INTEGER
        and 0 <= head_n < LARGEST_INTEGER
        and 1 <= vault_version < LARGEST_INTEGER
    ):
        raise MalformedFrame
    _position(own)
    _position(peer)
    return EnvelopeHeader(conversation, epoch, device, client_id, writer, seq, prev)


def parse_epoch_record(record: bytes) -> EpochBody:
    body, sealed_0, sealed_1, signature = _array(record, 4)
    _bytes(sealed_0, SEALED_BYTES), _bytes(sealed_1, SEALED_BYTES), _bytes(signature, SIGNATURE_BYTES)
    version, conversation, epoch, prev, *members, commitment, log_n, log_hash, device = _array(
        _bytes(body), 10
    )
    _require(VERSION, version)
    for member in members:
        fingerprint, generation, seq, head = _items(member, 4)
        _bytes(fingerprint, HASH_BYTES), _integer(generation, least=1)
        _position([seq, head])
    _bytes(commitment, HASH_BYTES), _integer(log_n), _bytes(log_hash, HASH_BYTES)
    return EpochBody(
        conversation=_uuid(conversation),
        epoch=_integer(epoch, least=1),
        prev=_bytes(prev, HASH_BYTES),
        device=_bytes(device, ID_BYTES),
    )


def parse_head(head: bytes) -> HeadBody:
    body, signature = _array(head, 2)
    _bytes(signature, SIGNATURE_BYTES)
    version, conversation, n, log_hash, vault_version, device, epoch, read = _array(_bytes(body), 8)
    _require(VERSION, version)
    _integer(vault_version, least=1)
    _bytes(read, READ_BOX_BYTES)
    return HeadBody(
        conversation=_uuid(conversation),
        n=_integer(n),
        log_hash=_bytes(log_hash, HASH_BYTES),
        device=_bytes(device, ID_BYTES),
        epoch=_integer(epoch, least=1),
    )


def _array(encoded: bytes, length: int) -> list[Item]:
    """Deterministic CBOR only: what does not come out the same when encoded again is refused."""
    try:
        decoded = cbor2.loads(encoded)
        again = cbor2.dumps(decoded, canonical=True)
    except (cbor2.CBORError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError):
        raise MalformedFrame from None
    if again != encoded:
        raise MalformedFrame
    return _items(decoded, length)


def _items(item: object, length: int) -> list[Item]:
    if type(item) is not list or len(item) != length:
        raise MalformedFrame
    return item


def _bytes(item: Item, length: int | None = None) -> bytes:
    if type(item) is not bytes or (length is not None and len(item) != length):
        raise MalformedFrame
    return item


def _integer(item: Item, least: int = 0) -> int:
    if type(item) is not int or not least <= item < LARGEST_INTEGER:
        raise MalformedFrame
    return item


def _uuid(item: Item) -> UUID:
    return UUID(bytes=_bytes(item, ID_BYTES))


def _position(item: Item) -> None:
    seq, head = _items(item, 2)
    _integer(seq, least=1), _bytes(head, HASH_BYTES)


def _require(expected: int, item: Item) -> None:
    if _integer(item) != expected:
        raise MalformedFrame
