"""What the server reads and computes of docs/protocol.md sections 1 to 4: labels, base64url, key-chain entries."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

import cbor2
import pybase64
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

HASH_BYTES = 32
KEY_BYTES = 32
SIGNATURE_BYTES = 64
DEVICE_ID_BYTES = 16
ACCOUNT_KEY_BYTES = 1216
LARGEST_INTEGER = 2**53
VERSION = 1
NO_HASH = bytes(HASH_BYTES)
AUTH_KEY_PREFIX = "ak1:"
AUTH_KEY_BYTES = 32
_URL = b"-_"
_FROM_URL = bytes.maketrans(b"-_+/=\n", b"+/****")  # A star is in no alphabet.
_PADDING = (b"", b"", b"==", b"=")
# Those whose last bits, which mean nothing, are zero: after two characters of four, four bits; after three, two.
_LAST_CHARACTERS = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")

Item: TypeAlias = "int | str | bytes | list[Item]"


class MalformedBytes(ValueError):
    """Not base64url in its one form, or not a key-chain entry. Says nothing of what was read."""


@cache
def label(what: str) -> bytes:
    return b"securechat/v1/" + what.encode("ascii") + b"\0"


def H(what: str, *parts: bytes) -> bytes:
    """SHA-256 under the protocol's label for ``what``."""
    return hashlib.sha256(label(what) + b"".join(parts)).digest()


def encode_base64url(raw: bytes) -> str:
    return pybase64.b64encode_as_string(raw, _URL).rstrip("=")


def decode_base64url(text: str | bytes) -> bytes:
    """Without padding and in its one canonical form; raises ``MalformedBytes`` for anything else. Bytes are ASCII."""
    left = len(text) % 4
    try:
        encoded = text.encode("ascii") if isinstance(text, str) else text
        if left and encoded[-1] not in _LAST_CHARACTERS[left]:
            raise MalformedBytes
        standard = encoded.translate(_FROM_URL)
        return pybase64.b64decode(standard + _PADDING[left], validate=True)
    except ValueError:
        raise MalformedBytes from None


def is_auth_key(text: str) -> bool:
    """``ak1:`` and 32 bytes: the only form of a password that is accepted over HTTP."""
    if not text.startswith(AUTH_KEY_PREFIX):
        return False
    try:
        return len(decode_base64url(text.removeprefix(AUTH_KEY_PREFIX))) == AUTH_KEY_BYTES
    except MalformedBytes:
        return False


@dataclass(frozen=True)
class Genesis:
    origin: str
    name: str
    identity_public: bytes
    account_public: bytes
    kind: Literal["genesis"] = "genesis"


@dataclass(frozen=True)
class DeviceAdd:
    device_public: bytes
    kind: Literal["device_add"] = "device_add"

    @property
    def device_id(self) -> bytes:
        return H("device", self.device_public)[:DEVICE_ID_BYTES]


@dataclass(frozen=True)
class DeviceRevoke:
    """By the identity: another browser of the person says that this one ends."""

    device_id: bytes
    kind: Literal["device_revoke"] = "device_revoke"


@dataclass(frozen=True)
class DeviceRetire:
    """By the device itself, when it logs out for good."""

    device_id: bytes
    kind: Literal["device_retire"] = "device_retire"


@dataclass(frozen=True)
class AccountKeyRotation:
    generation: int
    account_public: bytes
    vault_generation: int
    kind: Literal["ak_rotate"] = "ak_rotate"


@dataclass(frozen=True)
class Reset:
    """By a new identity, which nothing ties to the one before."""

    origin: str
    name: str
    identity_public: bytes
    generation: int
    account_public: bytes
    kind: Literal["reset"] = "reset"


Payload: TypeAlias = Genesis | DeviceAdd | DeviceRevoke | DeviceRetire | AccountKeyRotation | Reset


@dataclass(frozen=True)
class ChainEntry:
    """``body`` holds the exact bytes that were signed."""

    seq: int
    prev: bytes
    payload: Payload
    at_milliseconds: int
    body: bytes
    signature: bytes


def entry_hash(entry: bytes) -> bytes:
    return H("chain/entry", entry)


def parse_entry(entry: bytes) -> ChainEntry:
    """Checks the form alone; raises ``MalformedBytes``."""
    body, signature = _array(entry, 2)
    body = _bytes(body)
    version, seq, prev, kind, payload, at = _array(body, 6)
    if _integer(version) != VERSION:
        raise MalformedBytes
    return ChainEntry(
        seq=_integer(seq, least=1),
        prev=_bytes(prev, HASH_BYTES),
        payload=_payload(kind, payload),
        at_milliseconds=_integer(at),
        body=body,
        signature=_bytes(signature, SIGNATURE_BYTES),
    )


def require_signature(entry: ChainEntry, signer_public: bytes) -> None:
    """Raises ``MalformedBytes`` unless that identity or device signed it."""
    try:
        key = Ed25519PublicKey.from_public_bytes(signer_public)
        key.verify(entry.signature, label("chain") + entry.body)
    except (InvalidSignature, ValueError):
        raise MalformedBytes from None


def _payload(kind: Item, payload: Item) -> Payload:
    match kind:
        case "genesis":
            origin, name, identity_public, generation, account_public = _items(payload, 5)
            if _integer(generation) != 1:
                raise MalformedBytes
            return Genesis(
                origin=_text(origin),
                name=_text(name),
                identity_public=_bytes(identity_public, KEY_BYTES),
                account_public=_bytes(account_public, ACCOUNT_KEY_BYTES),
            )
        case "device_add":
            (device_public,) = _items(payload, 1)
            return DeviceAdd(_bytes(device_public, KEY_BYTES))
        case "device_revoke":
            (device_id,) = _items(payload, 1)
            return DeviceRevoke(_bytes(device_id, DEVICE_ID_BYTES))
        case "device_retire":
            (device_id,) = _items(payload, 1)
            return DeviceRetire(_bytes(device_id, DEVICE_ID_BYTES))
        case "ak_rotate":
            generation, account_public, vault_generation = _items(payload, 3)
            return AccountKeyRotation(
                generation=_integer(generation, least=1),
                account_public=_bytes(account_public, ACCOUNT_KEY_BYTES),
                vault_generation=_integer(vault_generation, least=1),
            )
        case "reset":
            origin, name, identity_public, generation, account_public = _items(payload, 5)
            return Reset(
                origin=_text(origin),
                name=_text(name),
                identity_public=_bytes(identity_public, KEY_BYTES),
                generation=_integer(generation, least=1),
                account_public=_bytes(account_public, ACCOUNT_KEY_BYTES),
            )
        case _:
            raise MalformedBytes


def _array(encoded: bytes, length: int) -> list[Item]:
    """Deterministic CBOR only: what does not come out the same when encoded again is refused."""
    try:
        decoded = cbor2.loads(encoded)
        again = cbor2.dumps(decoded, canonical=True)
    except (cbor2.CBORError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError):
        raise MalformedBytes from None
    if again != encoded:
        raise MalformedBytes
    return _items(decoded, length)


def _items(item: object, length: int) -> list[Item]:
    if type(item) is not list or len(item) != length:
        raise MalformedBytes
    return item


def _bytes(item: Item, length: int | None = None) -> bytes:
    if type(item) is not bytes or (length is not None and len(item) != length):
        raise MalformedBytes
    return item


def _text(item: Item) -> str:
    if type(item) is not str:
        raise MalformedBytes
    return item


def _integer(item: Item, least: int = 0) -> int:
    if type(item) is not int or not least <= item < LARGEST_INTEGER:
        raise MalformedBytes
    return item
