"""CBOR and JSON forms of docs/protocol.md, read and written without the project's own code."""

from __future__ import annotations

import base64
import binascii
import itertools
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import cbor2

Side: TypeAlias = Literal[0, 1]
DoorKind: TypeAlias = Literal["password", "recovery"]

VERSION = 1
SUITE = 2
ID_BYTES = 16
HASH_BYTES = 32
KEY_BYTES = 32
NONCE_BYTES = 12
SIGNATURE_BYTES = 64
ACCOUNT_KEY_BYTES = 1216
SEALED_SECRET_BYTES = 1120 + 32 + 16
READ_BOX_BYTES = 12 + 11 + 16
LARGEST_INTEGER = 2**53 - 1
NO_HASH = bytes(HASH_BYTES)


class Malformed(Exception):
    """Bytes or JSON that are not of the form the protocol gives."""


def to_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def from_base64url(text: object) -> bytes:
    """Canonical form only."""
    if not isinstance(text, str):
        raise Malformed("base64url")
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise Malformed("base64url") from None
    if to_base64url(raw) != text:
        raise Malformed("base64url")
    return raw


def encode_cbor(items: list[Any]) -> bytes:
    return cbor2.dumps(items, canonical=True)


def decode_exact(encoded: bytes) -> list[Any]:
    """One array of unsigned integers, byte strings, text and arrays, in the only form it can have."""
    try:
        decoded = cbor2.loads(encoded)
        again = cbor2.dumps(decoded, canonical=True)
    except (cbor2.CBORError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError):
        raise Malformed("CBOR") from None
    if again != encoded or type(decoded) is not list or not _is_plain(decoded):
        raise Malformed("CBOR")
    return decoded


def _is_plain(item: object) -> bool:
    if type(item) is list:
        return all(_is_plain(inner) for inner in item)
    if type(item) is int:
        return 0 <= item <= LARGEST_INTEGER
    return type(item) in (bytes, str)


def _places(item: object, count: int) -> list[Any]:
    if type(item) is not list or len(item) != count:
        raise Malformed("length of an array")
    return item


def _list(item: object) -> list[Any]:
    if type(item) is not list:
        raise Malformed("an array")
    return item


def _bytes(item: object, length: int | None = None) -> bytes:
    if type(item) is not bytes or (length is not None and len(item) != length):
        raise Malformed("bytes")
    return item


def _uint(item: object, least: int = 0) -> int:
    if type(item) is not int or item < least:
        raise Malformed("a number")
    return item


def _text(item: object) -> str:
    if type(item) is not str:
        raise Malformed("text")
    return item


def _exactly(item: object, expected: int) -> None:
    if item != expected or type(item) is not int:
        raise Malformed("version")


@dataclass(frozen=True)
class ChainPosition:
    seq: int
    head: bytes

    def items(self) -> list[Any]:
        return [self.seq, self.head]


def _position(item: object) -> ChainPosition:
    seq, head = _places(item, 2)
    return ChainPosition(_uint(seq, 1), _bytes(head, HASH_BYTES))


# Key chain


@dataclass(frozen=True)
class Genesis:
    origin: str
    name: str
    identity_public: bytes
    account_public: bytes
    generation: int = 1


@dataclass(frozen=True)
class Reset(Genesis):
    """A new identity at the end of the chain."""


@dataclass(frozen=True)
class DeviceAdd:
    device_public: bytes


@dataclass(frozen=True)
class DeviceRevoke:
    device: bytes


@dataclass(frozen=True)
class DeviceRetire:
    device: bytes


@dataclass(frozen=True)
class AccountKeyRotation:
    generation: int
    account_public: bytes
    vault_generation: int


Payload: TypeAlias = Genesis | Reset | DeviceAdd | DeviceRevoke | DeviceRetire | AccountKeyRotation


@dataclass(frozen=True)
class ChainBody:
    seq: int
    prev: bytes
    payload: Payload
    at: int

    def encode(self) -> bytes:
        return encode_cbor([VERSION, self.seq, self.prev, *self._payload_items(), self.at])

    def _payload_items(self) -> list[Any]:
        match self.payload:
            case DeviceAdd(device_public):
                return ["device_add", [device_public]]
            case DeviceRevoke(device):
                return ["device_revoke", [device]]
            case DeviceRetire(device):
                return ["device_retire", [device]]
            case AccountKeyRotation(generation, account_public, vault_generation):
                return ["ak_rotate", [generation, account_public, vault_generation]]
            case Genesis() as made:
                kind = "reset" if isinstance(made, Reset) else "genesis"
                places = [made.origin, made.name, made.identity_public, made.generation, made.account_public]
                return [kind, places]


@dataclass(frozen=True)
class ChainEntry:
    body: ChainBody
    body_bytes: bytes
    signature: bytes


def decode_chain_entry(entry: bytes) -> ChainEntry:
    body_item, signature = _places(decode_exact(entry), 2)
    body_bytes = _bytes(body_item)
    version, seq, prev, kind, payload, at = _places(decode_exact(body_bytes), 6)
    _exactly(version, VERSION)
    body = ChainBody(_uint(seq, 1), _bytes(prev, HASH_BYTES), _chain_payload(_text(kind), payload), _uint(at))
    return ChainEntry(body, body_bytes, _bytes(signature, SIGNATURE_BYTES))


def _chain_payload(kind: str, payload: object) -> Payload:
    match kind:
        case "genesis" | "reset":
            origin, name, identity_public, generation, account_public = _places(payload, 5)
            if kind == "genesis":
                _exactly(generation, 1)
            return (Genesis if kind == "genesis" else Reset)(
                _text(origin),
                _text(name),
                _bytes(identity_public, KEY_BYTES),
                _bytes(account_public, ACCOUNT_KEY_BYTES),
                _uint(generation, 1 if kind == "genesis" else 2),
            )
        case "device_add":
            (device_public,) = _places(payload, 1)
            return DeviceAdd(_bytes(device_public, KEY_BYTES))
        case "device_revoke" | "device_retire":
            (device,) = _places(payload, 1)
            return (DeviceRevoke if kind == "device_revoke" else DeviceRetire)(_bytes(device, ID_BYTES))
        case "ak_rotate":
            generation, account_public, vault_generation = _places(payload, 3)
            return AccountKeyRotation(
                _uint(generation, 2), _bytes(account_public, ACCOUNT_KEY_BYTES), _uint(vault_generation, 1)
            )
        case _:
            raise Malformed("kind of a key-chain entry")


# Epochs


@dataclass(frozen=True)
class EpochMember:
    fingerprint: bytes
    generation: int
    seq: int
    head: bytes

    def items(self) -> list[Any]:
        return [self.fingerprint, self.generation, self.seq, self.head]


@dataclass(frozen=True)
class EpochBody:
    conversation: bytes
    epoch: int
    prev: bytes
    members: tuple[EpochMember, EpochMember]
    secret_commitment: bytes
    log_n: int
    log_hash: bytes
    device: bytes

    def encode(self) -> bytes:
        return encode_cbor(
            [
                VERSION,
                self.conversation,
                self.epoch,
                self.prev,
                self.members[0].items(),
                self.members[1].items(),
                self.secret_commitment,
                self.log_n,
                self.log_hash,
                self.device,
            ]
        )


@dataclass(frozen=True)
class EpochRecord:
    body: EpochBody
    body_bytes: bytes
    sealed: tuple[bytes, bytes]
    signature: bytes
    signed: bytes


def decode_epoch_record(record: bytes) -> EpochRecord:
    body_item, sealed_0, sealed_1, signature = _places(decode_exact(record), 4)
    body_bytes = _bytes(body_item)
    sealed = (_bytes(sealed_0, SEALED_SECRET_BYTES), _bytes(sealed_1, SEALED_SECRET_BYTES))
    return EpochRecord(
        body=_epoch_body(body_bytes),
        body_bytes=body_bytes,
        sealed=sealed,
        signature=_bytes(signature, SIGNATURE_BYTES),
        signed=encode_cbor([body_bytes, *sealed]),
    )


def _epoch_body(encoded: bytes) -> EpochBody:
    items = _places(decode_exact(encoded), 10)
    version, conversation, epoch, prev, member_0, member_1, commitment, log_n, log_hash, device = items
    _exactly(version, VERSION)
    return EpochBody(
        conversation=_bytes(conversation, ID_BYTES),
        epoch=_uint(epoch, 1),
        prev=_bytes(prev, HASH_BYTES),
        members=(_member(member_0), _member(member_1)),
        secret_commitment=_bytes(commitment, HASH_BYTES),
        log_n=_uint(log_n),
        log_hash=_bytes(log_hash, HASH_BYTES),
        device=_bytes(device, ID_BYTES),
    )


def _member(item: object) -> EpochMember:
    fingerprint, generation, seq, head = _places(item, 4)
    return EpochMember(
        _bytes(fingerprint, HASH_BYTES), _uint(generation, 1), _uint(seq, 1), _bytes(head, HASH_BYTES)
    )


# Envelopes


@dataclass(frozen=True)
class EnvelopeHeader:
    conversation: bytes
    epoch: int
    epoch_hash: bytes
    device: bytes
    client_id: bytes
    writer: bytes
    seq: int
    prev: bytes
    head_n: int
    head_hash: bytes
    own: ChainPosition
    peer: ChainPosition
    vault_version: int
    commitment: bytes

    def encode(self) -> bytes:
        return encode_cbor(
            [
                VERSION,
                SUITE,
                self.conversation,
                self.epoch,
                self.epoch_hash,
                self.device,
                self.client_id,
                self.writer,
                self.seq,
                self.prev,
                self.head_n,
                self.head_hash,
                self.own.items(),
                self.peer.items(),
                self.vault_version,
                self.commitment,
            ]
        )


@dataclass(frozen=True)
class Envelope:
    header: EnvelopeHeader
    header_bytes: bytes
    nonce: bytes
    ciphertext: bytes
    signature: bytes
    signed: bytes


def decode_envelope(envelope: bytes) -> Envelope:
    header_item, nonce, ciphertext, signature = _places(decode_exact(envelope), 4)
    header_bytes = _bytes(header_item)
    return Envelope(
        header=_header(header_bytes),
        header_bytes=header_bytes,
        nonce=_bytes(nonce, NONCE_BYTES),
        ciphertext=_bytes(ciphertext),
        signature=_bytes(signature, SIGNATURE_BYTES),
        signed=encode_cbor([header_bytes, nonce, ciphertext]),
    )


def _header(encoded: bytes) -> EnvelopeHeader:
    version, suite, *items = _places(decode_exact(encoded), 16)
    _exactly(version, VERSION)
    _exactly(suite, SUITE)
    return EnvelopeHeader(
        conversation=_bytes(items[0], ID_BYTES),
        epoch=_uint(items[1], 1),
        epoch_hash=_bytes(items[2], HASH_BYTES),
        device=_bytes(items[3], ID_BYTES),
        client_id=_bytes(items[4], ID_BYTES),
        writer=_bytes(items[5], ID_BYTES),
        seq=_uint(items[6], 1),
        prev=_bytes(items[7], HASH_BYTES),
        head_n=_uint(items[8]),
        head_hash=_bytes(items[9], HASH_BYTES),
        own=_position(items[10]),
        peer=_position(items[11]),
        vault_version=_uint(items[12], 1),
        commitment=_bytes(items[13], HASH_BYTES),
    )


@dataclass(frozen=True)
class Content:
    sent_at: int
    text: str

    def encode(self) -> bytes:
        return encode_cbor([VERSION, 1, self.sent_at, self.text.encode()])


def decode_content(encoded: bytes) -> Content:
    version, kind, sent_at, body = _places(decode_exact(encoded), 4)
    _exactly(version, VERSION)
    _exactly(kind, 1)
    try:
        return Content(_uint(sent_at), _bytes(body).decode())
    except UnicodeDecodeError:
        raise Malformed("UTF-8") from None


# Heads


@dataclass(frozen=True)
class HeadBody:
    conversation: bytes
    n: int
    hash: bytes
    vault_version: int
    device: bytes
    epoch: int
    read: bytes
    """The box with the read position."""

    def encode(self) -> bytes:
        return encode_cbor(
            [
                VERSION,
                self.conversation,
                self.n,
                self.hash,
                self.vault_version,
                self.device,
                self.epoch,
                self.read,
            ]
        )


def encode_read_position(n: int) -> bytes:
    return encode_cbor([VERSION, n.to_bytes(8, "big")])


def decode_read_position(encoded: bytes) -> int:
    version, n = _places(decode_exact(encoded), 2)
    _exactly(version, VERSION)
    return int.from_bytes(_bytes(n, 8), "big")


def decode_head(head: bytes) -> tuple[HeadBody, bytes, bytes]:
    """The head, its body's bytes and their signature."""
    body_item, signature = _places(decode_exact(head), 2)
    body_bytes = _bytes(body_item)
    version, conversation, n, log_hash, vault_version, device, epoch, read = _places(
        decode_exact(body_bytes), 8
    )
    _exactly(version, VERSION)
    body = HeadBody(
        _bytes(conversation, ID_BYTES),
        _uint(n),
        _bytes(log_hash, HASH_BYTES),
        _uint(vault_version, 1),
        _bytes(device, ID_BYTES),
        _uint(epoch, 1),
        _bytes(read, READ_BOX_BYTES),
    )
    return body, body_bytes, _bytes(signature, SIGNATURE_BYTES)


# Vault


@dataclass(frozen=True)
class Pin:
    conversation: bytes
    identity_public: bytes
    fingerprint: bytes
    verified_at: int
    """Milliseconds since 1970, 0 for never."""
    position: ChainPosition


@dataclass(frozen=True)
class ReadPosition:
    conversation: bytes
    checked_n: int
    log_hash: bytes
    read_n: int


@dataclass(frozen=True)
class VaultContent:
    identity_public: bytes
    account_seeds: tuple[bytes, ...]
    """By generation, from ``first_generation`` on."""
    doors: tuple[tuple[DoorKind, bytes, bytes], ...]
    """Kind, public key, and the tag that ties it to the identity."""
    chain: ChainPosition
    pins: tuple[Pin, ...] = field(default=())
    positions: tuple[ReadPosition, ...] = field(default=())
    expected: tuple[tuple[str, bytes], ...] = field(default=())
    """Names and fingerprints that links brought."""
    shares_read: bool = True
    first_generation: int = 1
    """More than 1 after a reset."""

    @property
    def account_keys(self) -> dict[int, bytes]:
        return dict(enumerate(self.account_seeds, start=self.first_generation))

    def encode(self) -> bytes:
        pins = sorted(self.pins, key=lambda pin: pin.conversation)
        positions = sorted(self.positions, key=lambda position: position.conversation)
        return encode_cbor(
            [
                VERSION,
                self.identity_public,
                [[generation, seed] for generation, seed in self.account_keys.items()],
                [list(door) for door in self.doors],
                self.chain.items(),
                [
                    [p.conversation, p.identity_public, p.fingerprint, p.verified_at, *p.position.items()]
                    for p in pins
                ],
                [[p.conversation, p.checked_n, p.log_hash, p.read_n] for p in positions],
                [[name, fingerprint] for name, fingerprint in sorted(self.expected)],
                [int(self.shares_read)],
            ]
        )

    def with_pin(self, pin: Pin) -> VaultContent:
        others = tuple(one for one in self.pins if one.conversation != pin.conversation)
        return replace(self, pins=(*others, pin))

    def with_position(self, position: ReadPosition) -> VaultContent:
        others = tuple(one for one in self.positions if one.conversation != position.conversation)
        return replace(self, positions=(*others, position))


def decode_vault_content(encoded: bytes) -> VaultContent:
    version, identity_public, account_keys, doors, chain, pins, positions, expected, preferences = _places(
        decode_exact(encoded), 9
    )
    _exactly(version, VERSION)
    numbered = [_account_key(item) for item in _list(account_keys)]
    first_generation = numbered[0][0] if numbered else 1
    if [generation for generation, _ in numbered] != [
        first_generation + index for index in range(len(numbered))
    ]:
        raise Malformed("generation of an account key")
    (shares_read,) = _places(preferences, 1)
    if _uint(shares_read) > 1:
        raise Malformed("preferences")
    content = VaultContent(
        identity_public=_bytes(identity_public, KEY_BYTES),
        account_seeds=tuple(seed for _, seed in numbered),
        doors=tuple(_door(item) for item in _list(doors)),
        chain=_position(chain),
        pins=tuple(_pin(item) for item in _list(pins)),
        positions=tuple(_read_position(item) for item in _list(positions)),
        expected=tuple(_expected(item) for item in _list(expected)),
        shares_read=shares_read == 1,
        first_generation=first_generation,
    )
    _require_order([pin.conversation for pin in content.pins])
    _require_order([position.conversation for position in content.positions])
    _require_order([name for name, _ in content.expected])
    return content


def _account_key(item: object) -> tuple[int, bytes]:
    generation, seed = _places(item, 2)
    return _uint(generation, 1), _bytes(seed, KEY_BYTES)


def _expected(item: object) -> tuple[str, bytes]:
    name, fingerprint = _places(item, 2)
    return _text(name), _bytes(fingerprint, HASH_BYTES)


def door_kind(value: object) -> DoorKind:
    if value == "password":
        return "password"
    if value == "recovery":
        return "recovery"
    raise Malformed("kind of a door")


def _door(item: object) -> tuple[DoorKind, bytes, bytes]:
    kind, public, tag = _places(item, 3)
    return door_kind(kind), _bytes(public, ACCOUNT_KEY_BYTES), _bytes(tag, HASH_BYTES)


def _pin(item: object) -> Pin:
    conversation, identity_public, fingerprint, verified_at, seq, head = _places(item, 6)
    return Pin(
        conversation=_bytes(conversation, ID_BYTES),
        identity_public=_bytes(identity_public, KEY_BYTES),
        fingerprint=_bytes(fingerprint, HASH_BYTES),
        verified_at=_uint(verified_at),
        position=_position([seq, head]),
    )


def _read_position(item: object) -> ReadPosition:
    conversation, checked_n, log_hash, read_n = _places(item, 4)
    return ReadPosition(
        _bytes(conversation, ID_BYTES), _uint(checked_n), _bytes(log_hash, HASH_BYTES), _uint(read_n)
    )


def _require_order(keys: list[bytes] | list[str]) -> None:
    if any(one >= other for one, other in itertools.pairwise(keys)):  # type: ignore[operator]
        raise Malformed("order in the vault")
