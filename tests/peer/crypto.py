"""The browser's half of docs/protocol.md a second time, by other libraries: ``cryptography`` and ``cbor2``.

A check that fails raises ``Refused`` with the same code as the browser's error.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.peer import wire
from tests.peer.wire import (
    NO_HASH,
    ChainBody,
    ChainPosition,
    Content,
    DeviceAdd,
    DoorKind,
    EnvelopeHeader,
    EpochBody,
    EpochMember,
    Genesis,
    HeadBody,
    Malformed,
    Side,
    VaultContent,
)

MLKEM_PUBLIC_BYTES = 1184
SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
Random = Callable[[int], bytes]


class Refused(Exception):
    """A check said no; ``code`` is the one of client/src/crypto/errors.ts."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


# Section 1: hashes, signatures, sealing


def label(what: str) -> bytes:
    return b"securechat/v1/" + what.encode("ascii") + b"\0"


def hash_(what: str, *parts: bytes) -> bytes:
    return hashlib.sha256(label(what) + b"".join(parts)).digest()


def mac(key: bytes, what: str, *parts: bytes) -> bytes:
    return hmac.digest(key, label(what) + b"".join(parts), "sha256")


def kdf(secret: bytes, what: str, context: bytes = b"") -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=label(what) + context).derive(secret)


def sign(seed: bytes, what: str, message: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).sign(label(what) + message)


def public_of_seed(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def require_signature(public: bytes, what: str, message: bytes, signature: bytes, *, code: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, label(what) + message)
    except (InvalidSignature, ValueError):
        raise Refused(code) from None


def _xwing_halves(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    expanded = hashlib.shake_256(seed).digest(96)
    return (
        MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
        X25519PrivateKey.from_private_bytes(expanded[64:]),
    )


def xwing_public(seed: bytes) -> bytes:
    mlkem, x25519 = _xwing_halves(seed)
    return mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()


def seal(public: bytes, what: str, context: bytes, plaintext: bytes) -> bytes:
    key = MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(public[:MLKEM_PUBLIC_BYTES]),
        X25519PublicKey.from_public_bytes(public[MLKEM_PUBLIC_BYTES:]),
    )
    return SUITE.encrypt(plaintext, key, info=label(what) + context)


Sealing = Callable[[bytes, str, bytes, bytes], bytes]
"""``seal``, or what stands in for it where the same bytes must come out again."""


def open_sealed(seed: bytes, what: str, context: bytes, sealed: bytes, *, code: str) -> bytes:
    try:
        return SUITE.decrypt(
            sealed, MLKEM768X25519PrivateKey(*_xwing_halves(seed)), info=label(what) + context
        )
    except (InvalidTag, ValueError):
        raise Refused(code) from None


def seal_box(key: bytes, aad: bytes, plaintext: bytes, *, random: Random = secrets.token_bytes) -> bytes:
    nonce = random(wire.NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, aad)


def open_box(key: bytes, aad: bytes, box: bytes, *, code: str) -> bytes:
    try:
        return AESGCM(key).decrypt(box[: wire.NONCE_BYTES], box[wire.NONCE_BYTES :], aad)
    except (InvalidTag, ValueError):
        raise Refused(code) from None


# Section 2: password and recovery code


def password_salt(origin: str, name: str, client_salt: bytes) -> bytes:
    return hash_("salt", wire.encode_cbor([origin, name, client_salt]))


def normalise_password(password: str) -> bytes:
    return unicodedata.normalize("NFKC", password).encode()


def legacy_password(password: str, legacy_salt: str) -> bytes:
    return hashlib.sha256((password + legacy_salt).encode()).hexdigest().encode()


def stretch(password: bytes, salt: bytes) -> bytes:
    """RFC 9106 section 4 as the protocol fixes it: 64 MiB, 3 passes, 1 lane."""
    return Argon2id(salt=salt, length=32, iterations=3, lanes=1, memory_cost=65_536).derive(password)


def auth_key(stretched: bytes) -> str:
    return "ak1:" + wire.to_base64url(kdf(stretched, "auth"))


CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_BYTES = 20
CODE_CHARACTERS = 32


def format_recovery_code(code: bytes) -> str:
    number = int.from_bytes(code, "big")
    characters = "".join(CROCKFORD[number >> 5 * place & 31] for place in reversed(range(CODE_CHARACTERS)))
    return "-".join(characters[start : start + 4] for start in range(0, CODE_CHARACTERS, 4))


def parse_recovery_code(typed: str) -> bytes:
    characters = "".join(typed.split()).replace("-", "").upper()
    characters = characters.replace("O", "0").replace("I", "1").replace("L", "1")
    values = [CROCKFORD.find(character) for character in characters]
    if len(values) != CODE_CHARACTERS or -1 in values:
        raise Refused("recovery_code_malformed")
    number = 0
    for value in values:
        number = number << 5 | value
    return number.to_bytes(CODE_BYTES, "big")


def recovery_proof(code: bytes) -> bytes:
    return kdf(code, "recovery/auth")


def recovery_hash(code: bytes) -> bytes:
    return hashlib.sha256(recovery_proof(code)).digest()


# Section 3: doors and vault


@dataclass(frozen=True)
class DoorKey:
    kind: DoorKind
    seed: bytes
    tag_key: bytes

    @property
    def public(self) -> bytes:
        return xwing_public(self.seed)

    def of(self, name: str, identity_public: bytes) -> DoorPublic:
        """As the vault of this identity keeps it."""
        tag = mac(self.tag_key, "door/tag", wire.encode_cbor([name, self.kind, identity_public]))
        return DoorPublic(self.kind, self.public, tag)


@dataclass(frozen=True)
class DoorPublic:
    """What the vault keeps of a door: enough to seal to it."""

    kind: DoorKind
    public: bytes
    tag: bytes


def password_door(stretched: bytes) -> DoorKey:
    return DoorKey("password", kdf(stretched, "door/password"), kdf(stretched, "door/tag"))


def recovery_door(code: bytes) -> DoorKey:
    return DoorKey("recovery", kdf(code, "door/recovery"), kdf(code, "door/tag"))


@dataclass(frozen=True)
class Door:
    kind: DoorKind
    public: bytes
    sealed_vault_key: bytes
    sealed_identity: bytes


def seal_door(
    key: DoorKey | DoorPublic, name: str, *, vault_key: bytes, identity_seed: bytes, sealing: Sealing = seal
) -> Door:
    context = wire.encode_cbor([name, key.kind])
    return Door(
        kind=key.kind,
        public=key.public,
        sealed_vault_key=sealing(key.public, "door/vault-key", context, vault_key),
        sealed_identity=sealing(key.public, "door/identity", context, identity_seed),
    )


def open_door(door: Door, name: str, key: DoorKey) -> tuple[bytes, bytes]:
    """Vault key and identity seed."""
    if door.kind != key.kind or door.public != key.public:
        raise Refused("door_closed")
    context = wire.encode_cbor([name, key.kind])
    vault_key = open_sealed(key.seed, "door/vault-key", context, door.sealed_vault_key, code="door_closed")
    identity = open_sealed(key.seed, "door/identity", context, door.sealed_identity, code="door_closed")
    if len(vault_key) != 32 or len(identity) != 32:
        raise Refused("door_closed")
    return vault_key, identity


def _vault_aad(name: str, version: int) -> bytes:
    return label("vault") + wire.encode_cbor([name, version])


def seal_vault(
    vault_key: bytes, name: str, version: int, content: VaultContent, *, random: Random = secrets.token_bytes
) -> bytes:
    return seal_box(vault_key, _vault_aad(name, version), content.encode(), random=random)


def open_vault(vault_key: bytes, name: str, version: int, box: bytes) -> VaultContent:
    plaintext = open_box(vault_key, _vault_aad(name, version), box, code="vault_altered")
    try:
        return wire.decode_vault_content(plaintext)
    except Malformed:
        raise Refused("vault_altered") from None


# Section 4: key chain


def device_id(public: bytes) -> bytes:
    return hash_("device", public)[: wire.ID_BYTES]


def identity_fingerprint(origin: str, name: str, identity_public: bytes) -> bytes:
    return hash_("identity", wire.encode_cbor([origin, name, identity_public]))


def safety_number(own: bytes, peer: bytes) -> str:
    return " ".join(sorted([_safety_half(own), _safety_half(peer)]))


def _safety_half(fingerprint: bytes) -> str:
    digest = label("safety-number")
    for _ in range(5200):
        digest = hashlib.sha512(digest + fingerprint).digest()
    groups = (int.from_bytes(digest[start : start + 5], "big") for start in range(0, 30, 5))
    return " ".join(f"{group % 100_000:05}" for group in groups)


@dataclass(frozen=True)
class Device:
    seed: bytes

    @property
    def public(self) -> bytes:
        return public_of_seed(self.seed)

    @property
    def id(self) -> bytes:
        return device_id(self.public)


@dataclass(frozen=True)
class ChainDevice:
    public: bytes
    added_seq: int
    ended_seq: int | None = None
    ended_by: Literal["revoke", "retire", "reset"] | None = None

    def stood_at(self, seq: int) -> bool:
        return self.added_seq <= seq and (self.ended_seq is None or seq < self.ended_seq)


@dataclass(frozen=True)
class Chain:
    """A key chain that was accepted."""

    origin: str
    name: str
    identities: tuple[tuple[int, bytes], ...]
    """Who signs from which entry on: number of the entry and public key."""
    account_keys: tuple[tuple[int, int, bytes], ...]
    """Number of the entry, generation, public key."""
    vault_generation: int
    devices: Mapping[bytes, ChainDevice]
    hashes: tuple[bytes, ...]

    @property
    def identity_public(self) -> bytes:
        return self.identities[-1][1]

    @property
    def account_public(self) -> bytes:
        return self.account_keys[-1][2]

    @property
    def generation(self) -> int:
        return self.account_keys[-1][1]

    @property
    def fingerprint(self) -> bytes:
        return identity_fingerprint(self.origin, self.name, self.identity_public)

    def identity_at(self, seq: int) -> bytes:
        if seq > len(self.hashes):
            raise Refused("chain_behind")
        return next(public for since, public in reversed(self.identities) if since <= seq)

    def generation_at(self, seq: int) -> int:
        return next(generation for since, generation, _ in reversed(self.account_keys) if since <= seq)

    def standing(self) -> tuple[bytes, ...]:
        return tuple(device for device, known in self.devices.items() if known.ended_seq is None)

    @property
    def position(self) -> ChainPosition:
        return ChainPosition(len(self.hashes), self.hashes[-1])

    def require(self, position: ChainPosition) -> None:
        """That somebody else saw the same entry at that place."""
        if position.seq > len(self.hashes):
            raise Refused("chain_behind")
        if self.hashes[position.seq - 1] != position.head:
            raise Refused("chain_forked")

    def device(self, device: bytes) -> ChainDevice:
        if device not in self.devices:
            raise Refused("unknown_device")
        return self.devices[device]


Chains = tuple[Chain, Chain]


def sign_chain_entry(identity_seed: bytes, body: ChainBody) -> bytes:
    encoded = body.encode()
    return wire.encode_cbor([encoded, sign(identity_seed, "chain", encoded)])


def genesis_entry(identity_seed: bytes, *, origin: str, name: str, account_public: bytes, at: int) -> bytes:
    payload = Genesis(origin, name, public_of_seed(identity_seed), account_public)
    return sign_chain_entry(identity_seed, ChainBody(1, NO_HASH, payload, at))


def device_entry(identity_seed: bytes, after: ChainPosition, device_public: bytes, *, at: int) -> bytes:
    return sign_chain_entry(identity_seed, ChainBody(after.seq + 1, after.head, DeviceAdd(device_public), at))


def next_entry(seed: bytes, after: ChainPosition, payload: wire.Payload, *, at: int) -> bytes:
    """``seed`` is the identity's, for a retirement the device's, for a reset the new identity's."""
    return sign_chain_entry(seed, ChainBody(after.seq + 1, after.head, payload, at))


def entry_hash(entry: bytes) -> bytes:
    return hash_("chain/entry", entry)


def verify_chain(
    entries: Sequence[bytes],
    *,
    origin: str,
    name: str,
    pinned_identity: bytes | None = None,
    pinned: ChainPosition | None = None,
) -> Chain:
    if not entries:
        raise Refused("chain_invalid" if pinned is None else "chain_rolled_back")
    chain = extend_chain(_begin_chain(entries[0], origin=origin, name=name), entries[1:])
    if pinned_identity is not None and pinned_identity not in (public for _, public in chain.identities):
        raise Refused("identity_changed")
    if pinned is not None and chain.hashes[pinned.seq - 1 : pinned.seq] != (pinned.head,):
        raise Refused("chain_rolled_back")
    if (
        pinned_identity is not None
        and pinned is not None
        and chain.identity_at(pinned.seq) != pinned_identity
    ):
        raise Refused("identity_changed")
    return chain


def verify_own_chain(
    entries: Sequence[bytes], *, origin: str, name: str, pinned_identity: bytes, pinned: ChainPosition
) -> Chain:
    """Nobody but its person begins a chain anew: a reset after what was pinned is somebody else's."""
    chain = verify_chain(entries, origin=origin, name=name, pinned_identity=pinned_identity, pinned=pinned)
    if chain.identity_public != pinned_identity:
        raise Refused("identity_changed")
    return chain


def _decode_entry(entry: bytes) -> wire.ChainEntry:
    try:
        return wire.decode_chain_entry(entry)
    except Malformed:
        raise Refused("chain_invalid") from None


def _begin_chain(genesis: bytes, *, origin: str, name: str) -> Chain:
    entry = _decode_entry(genesis)
    payload = entry.body.payload
    if type(payload) is not Genesis or entry.body.seq != 1 or entry.body.prev != NO_HASH:
        raise Refused("chain_invalid")
    require_signature(
        payload.identity_public, "chain", entry.body_bytes, entry.signature, code="chain_invalid"
    )
    if (payload.origin, payload.name) != (origin, name):
        raise Refused("chain_foreign")
    return Chain(
        origin=origin,
        name=name,
        identities=((1, payload.identity_public),),
        account_keys=((1, 1, payload.account_public),),
        vault_generation=1,
        devices={},
        hashes=(entry_hash(genesis),),
    )


def extend_chain(chain: Chain, entries: Sequence[bytes]) -> Chain:
    for encoded in entries:
        entry, position = _decode_entry(encoded), chain.position
        if (entry.body.seq, entry.body.prev) != (position.seq + 1, position.head):
            raise Refused("chain_invalid")
        chain = replace(_after(chain, entry), hashes=(*chain.hashes, entry_hash(encoded)))
    return chain


def _after(chain: Chain, entry: wire.ChainEntry) -> Chain:
    seq, payload = entry.body.seq, entry.body.payload
    require_signature(
        _signer(chain, payload), "chain", entry.body_bytes, entry.signature, code="chain_invalid"
    )
    match payload:
        case DeviceAdd(device_public):
            device = device_id(device_public)
            if device in chain.devices:
                raise Refused("chain_invalid")
            return replace(chain, devices={**chain.devices, device: ChainDevice(device_public, seq)})
        case wire.DeviceRevoke(device):
            return _with_ended(chain, device, seq, "revoke")
        case wire.DeviceRetire(device):
            return _with_ended(chain, device, seq, "retire")
        case wire.AccountKeyRotation(generation, account_public, vault_generation):
            if vault_generation - chain.vault_generation not in (0, 1):
                raise Refused("chain_invalid")
            rotated = _with_account_key(chain, seq, generation, account_public)
            return replace(rotated, vault_generation=vault_generation)
        case wire.Reset() as reset:
            return _after_reset(chain, seq, reset)
        case _:
            raise Refused("chain_invalid")


def _signer(chain: Chain, payload: wire.Payload) -> bytes:
    match payload:
        case wire.Reset():
            return payload.identity_public
        case wire.DeviceRetire(device):
            if device not in chain.standing():
                raise Refused("chain_invalid")
            return chain.devices[device].public
        case _:
            return chain.identity_public


def _with_ended(chain: Chain, device: bytes, seq: int, by: Literal["revoke", "retire", "reset"]) -> Chain:
    if device not in chain.standing():
        raise Refused("chain_invalid")
    ended = replace(chain.devices[device], ended_seq=seq, ended_by=by)
    return replace(chain, devices={**chain.devices, device: ended})


def _with_account_key(chain: Chain, seq: int, generation: int, public: bytes) -> Chain:
    if generation != chain.generation + 1:
        raise Refused("chain_invalid")
    return replace(chain, account_keys=(*chain.account_keys, (seq, generation, public)))


def _after_reset(chain: Chain, seq: int, reset: wire.Reset) -> Chain:
    if (reset.origin, reset.name) != (chain.origin, chain.name):
        raise Refused("chain_foreign")
    if reset.identity_public in (public for _, public in chain.identities):
        raise Refused("chain_invalid")
    for device in chain.standing():
        chain = _with_ended(chain, device, seq, "reset")
    chain = _with_account_key(chain, seq, reset.generation, reset.account_public)
    return replace(
        chain,
        identities=(*chain.identities, (seq, reset.identity_public)),
        vault_generation=chain.vault_generation + 1,
    )


# Section 5: epochs


@dataclass(frozen=True)
class LogPosition:
    n: int
    hash: bytes


@dataclass(frozen=True)
class Epoch:
    """An epoch that was accepted, with its secret."""

    conversation: bytes
    epoch: int
    hash: bytes
    members: tuple[EpochMember, EpochMember]
    log: LogPosition
    device: bytes
    secret: bytes | None
    """None where it was sealed before one's own reset."""


KnownHash = Callable[[int], "bytes | None"]


def _nothing_known(n: int) -> bytes | None:
    return None


def _member_now(chain: Chain) -> EpochMember:
    return EpochMember(chain.fingerprint, chain.generation, chain.position.seq, chain.position.head)


def _seal_context(body: bytes, side: int) -> bytes:
    return hash_("epoch/body", body) + bytes([side])


def create_epoch(
    *,
    conversation: bytes,
    previous: Epoch | None,
    chains: Chains,
    log: LogPosition,
    device: Device,
    random: Random = secrets.token_bytes,
    sealing: Sealing = seal,
) -> tuple[bytes, Epoch]:
    secret = random(32)
    body = EpochBody(
        conversation=conversation,
        epoch=previous.epoch + 1 if previous else 1,
        prev=previous.hash if previous else NO_HASH,
        members=(_member_now(chains[0]), _member_now(chains[1])),
        secret_commitment=hash_("epoch/secret", secret),
        log_n=log.n,
        log_hash=log.hash,
        device=device.id,
    )
    encoded = body.encode()
    sealed = [
        sealing(chain.account_public, "epoch/seal", _seal_context(encoded, side), secret)
        for side, chain in enumerate(chains)
    ]
    signature = sign(device.seed, "epoch", wire.encode_cbor([encoded, *sealed]))
    record = wire.encode_cbor([encoded, *sealed, signature])
    return record, _accepted(record, body, secret)


def _accepted(record: bytes, body: EpochBody, secret: bytes | None) -> Epoch:
    return Epoch(
        conversation=body.conversation,
        epoch=body.epoch,
        hash=hash_("epoch/record", record),
        members=body.members,
        log=LogPosition(body.log_n, body.log_hash),
        device=body.device,
        secret=secret,
    )


def open_epoch(
    encoded: bytes,
    *,
    conversation: bytes,
    previous: Epoch | None,
    side: Side,
    chains: Chains,
    account_keys: Mapping[int, bytes],
    known_hash: KnownHash = _nothing_known,
) -> Epoch:
    try:
        record = wire.decode_epoch_record(encoded)
    except Malformed:
        raise Refused("epoch_invalid") from None
    body = record.body
    if body.conversation != conversation:
        raise Refused("wrong_conversation")
    expected = (previous.epoch + 1, previous.hash) if previous else (1, NO_HASH)
    if (body.epoch, body.prev) != expected:
        raise Refused("epoch_invalid")
    author = next((each for each, chain in enumerate(chains) if body.device in chain.devices), None)
    if author is None:
        raise Refused("unknown_device")
    device = chains[author].devices[body.device]
    if not device.stood_at(body.members[author].seq):
        raise Refused("epoch_invalid")
    require_signature(device.public, "epoch", record.signed, record.signature, code="epoch_invalid")
    for each, chain in enumerate(chains):
        _require_member(body.members[each], chain, previous.members[each] if previous else None)
    check_log_hash(LogPosition(body.log_n, body.log_hash), known_hash(body.log_n))
    return _accepted(encoded, body, _open_secret(record, side, chains[side], account_keys))


def epoch_is_stale(epoch: Epoch, chains: Chains) -> bool:
    """Whether a chain shows a newer account key, a revocation or a reset since the record."""
    for member, chain in zip(epoch.members, chains, strict=True):
        ended = [one.ended_seq for one in chain.devices.values() if one.ended_by in ("revoke", "reset")]
        if chain.generation > member.generation or any(seq and seq > member.seq for seq in ended):
            return True
    return False


def _require_member(member: EpochMember, chain: Chain, before: EpochMember | None) -> None:
    identity = identity_fingerprint(chain.origin, chain.name, chain.identity_at(member.seq))
    if member.fingerprint != identity or member.generation != chain.generation_at(member.seq):
        raise Refused("epoch_invalid")
    chain.require(ChainPosition(member.seq, member.head))
    if before is not None and (member.generation < before.generation or member.seq < before.seq):
        raise Refused("epoch_invalid")


def _open_secret(
    record: wire.EpochRecord, side: Side, chain: Chain, account_keys: Mapping[int, bytes]
) -> bytes | None:
    member = record.body.members[side]
    if member.generation not in account_keys:
        if chain.identity_at(member.seq) != chain.identity_public:
            return None
        raise Refused("no_account_key")
    secret = open_sealed(
        account_keys[member.generation],
        "epoch/seal",
        _seal_context(record.body_bytes, side),
        record.sealed[side],
        code="epoch_invalid",
    )
    if hash_("epoch/secret", secret) != record.body.secret_commitment:
        raise Refused("epoch_invalid")
    return secret


# Section 6: envelopes, log, writers, heads


def envelope_hash(envelope: bytes) -> bytes:
    return hash_("envelope", envelope)


def log_start(conversation: bytes) -> LogPosition:
    return LogPosition(0, hash_("log", conversation))


def new_client_id(n: int) -> UUID:
    """A UUID of version 8 (RFC 9562 section 5.8): 48 bits of ``n``, the last of the log that is known, and else random."""
    random = secrets.token_bytes(10)
    return UUID(
        bytes=(n % 2**48).to_bytes(6, "big")
        + bytes([random[0] & 0x0F | 0x80, random[1], random[2] & 0x3F | 0x80])
        + random[3:]
    )


def log_next(before: LogPosition, hash_of_envelope: bytes) -> LogPosition:
    n = before.n + 1
    return LogPosition(n, hash_("log", before.hash, n.to_bytes(8, "big"), hash_of_envelope))


def check_log_hash(claimed: LogPosition, known: bytes | None) -> None:
    if known is not None and claimed.hash != known:
        raise Refused("log_mismatch")


def padme(length: int) -> int:
    if length <= 1:
        return length
    exponent = length.bit_length() - 1
    low_bits = exponent - exponent.bit_length()
    step = 1 << max(low_bits, 0)
    return -(-length // step) * step


def message_key(epoch: Epoch, device: bytes) -> bytes:
    if epoch.secret is None:
        raise Refused("history_lost")
    return kdf(epoch.secret, "message", epoch.hash + device)


def commitment_to(
    franking_key: bytes, *, conversation: bytes, device: bytes, client_id: bytes, content: bytes
) -> bytes:
    return mac(franking_key, "franking", conversation, device, client_id, content)


@dataclass(frozen=True)
class Writer:
    """The sender's side of a writer's thread: number and hash of its last envelope."""

    id: bytes
    seq: int = 0
    prev: bytes = NO_HASH


def new_writer(random: Random = secrets.token_bytes) -> Writer:
    return Writer(random(wire.ID_BYTES))


def seal_envelope(
    *,
    epoch: Epoch,
    side: Side,
    chains: Chains,
    device: Device,
    client_id: bytes,
    writer: Writer,
    log: LogPosition,
    vault_version: int,
    content: Content,
    random: Random = secrets.token_bytes,
) -> tuple[bytes, Writer]:
    """The envelope, and the writer for the next one."""
    franking_key, nonce = random(32), random(wire.NONCE_BYTES)
    encoded = content.encode()
    header = EnvelopeHeader(
        conversation=epoch.conversation,
        epoch=epoch.epoch,
        epoch_hash=epoch.hash,
        device=device.id,
        client_id=client_id,
        writer=writer.id,
        seq=writer.seq + 1,
        prev=writer.prev,
        head_n=log.n,
        head_hash=log.hash,
        own=chains[side].position,
        peer=chains[1 - side].position,
        vault_version=vault_version,
        commitment=commitment_to(
            franking_key,
            conversation=epoch.conversation,
            device=device.id,
            client_id=client_id,
            content=encoded,
        ),
    )
    plaintext = franking_key + len(encoded).to_bytes(4, "big") + encoded.ljust(padme(len(encoded)), b"\0")
    envelope = assemble_envelope(header, nonce, plaintext, epoch=epoch, device=device)
    return envelope, Writer(writer.id, header.seq, envelope_hash(envelope))


def assemble_envelope(
    header: EnvelopeHeader, nonce: bytes, plaintext: bytes, *, epoch: Epoch, device: Device
) -> bytes:
    """Encrypts and signs whatever it is given, so that a test can make what an honest client never sends."""
    encoded = header.encode()
    ciphertext = AESGCM(message_key(epoch, device.id)).encrypt(nonce, plaintext, encoded)
    signature = sign(device.seed, "envelope", wire.encode_cbor([encoded, nonce, ciphertext]))
    return wire.encode_cbor([encoded, nonce, ciphertext, signature])


@dataclass(frozen=True)
class OpenedEnvelope:
    header: EnvelopeHeader
    content: Content
    hash: bytes
    franking_key: bytes


def open_envelope(
    encoded: bytes,
    *,
    conversation: bytes,
    side: Side,
    client_id: bytes,
    epochs: Mapping[int, Epoch],
    chains: Chains,
    n: int | None = None,
    known_hash: KnownHash = _nothing_known,
) -> OpenedEnvelope:
    """Everything but the place in the log and in the writer's thread. ``side`` is the sender's."""
    try:
        envelope = wire.decode_envelope(encoded)
    except Malformed:
        raise Refused("altered_message") from None
    header = envelope.header
    if header.conversation != conversation:
        raise Refused("wrong_conversation")
    if header.client_id != client_id:
        raise Refused("wrong_client_id")
    device = chains[side].device(header.device)
    require_signature(device.public, "envelope", envelope.signed, envelope.signature, code="altered_message")
    require_may_say(device, epochs, side=side, n=n or 0, epoch=header.epoch)
    epoch = _epoch_of(header, epochs)
    chains[side].require(header.own)
    chains[1 - side].require(header.peer)
    if n is not None and header.head_n >= n:
        raise Refused("log_mismatch")
    check_log_hash(LogPosition(header.head_n, header.head_hash), known_hash(header.head_n))
    return _open_plaintext(encoded, header, _decrypt(envelope, epoch))


def require_may_say(
    device: ChainDevice, epochs: Mapping[int, Epoch], *, side: Side, n: int, epoch: int = 0
) -> None:
    """What a device can have said before it ended. ``side`` is its person's."""
    ended = device.ended_seq
    if ended is None:
        return
    after = next((epochs[each] for each in sorted(epochs) if epochs[each].members[side].seq >= ended), None)
    if after is not None and (n > after.log.n or epoch >= after.epoch):
        raise Refused("device_ended")


def _epoch_of(header: EnvelopeHeader, epochs: Mapping[int, Epoch]) -> Epoch:
    epoch = epochs.get(header.epoch)
    if epoch is None:
        raise Refused("unknown_epoch")
    if (epoch.hash, epoch.conversation) != (header.epoch_hash, header.conversation):
        raise Refused("wrong_epoch")
    return epoch


def _decrypt(envelope: wire.Envelope, epoch: Epoch) -> bytes:
    key = AESGCM(message_key(epoch, envelope.header.device))
    try:
        return key.decrypt(envelope.nonce, envelope.ciphertext, envelope.header_bytes)
    except (InvalidTag, ValueError):
        raise Refused("altered_message") from None


def _open_plaintext(encoded: bytes, header: EnvelopeHeader, plaintext: bytes) -> OpenedEnvelope:
    franking_key, length = plaintext[:32], int.from_bytes(plaintext[32:36], "big")
    content, zeros = plaintext[36 : 36 + length], plaintext[36 + length :]
    if len(plaintext) != 36 + padme(length) or any(zeros):
        raise Refused("padding_invalid")
    commitment = commitment_to(
        franking_key,
        conversation=header.conversation,
        device=header.device,
        client_id=header.client_id,
        content=content,
    )
    if not hmac.compare_digest(commitment, header.commitment):
        raise Refused("commitment_mismatch")
    try:
        return OpenedEnvelope(header, wire.decode_content(content), envelope_hash(encoded), franking_key)
    except Malformed:
        raise Refused("unknown_content") from None


@dataclass(frozen=True)
class WriterEnd:
    """Where a writer's thread stands for a reader."""

    device: bytes
    seq: int
    hash: bytes


def advance_writers(
    writers: Mapping[bytes, WriterEnd], header: EnvelopeHeader, hash_of_envelope: bytes
) -> dict[bytes, WriterEnd]:
    """The threads with one more envelope, read from the first one on."""
    before = writers.get(header.writer, WriterEnd(header.device, 0, NO_HASH))
    if (header.device, header.seq, header.prev) != (before.device, before.seq + 1, before.hash):
        raise Refused("writer_broken")
    return {**writers, header.writer: WriterEnd(header.device, header.seq, hash_of_envelope)}


def _read_box(epoch: Epoch, place: tuple[bytes, int, bytes, bytes]) -> tuple[bytes, bytes]:
    """Key and associated data for the read position in a head at ``place``: conversation, n, hash, device."""
    if epoch.secret is None:
        raise Refused("history_lost")
    key = kdf(epoch.secret, "head/read", epoch.hash + place[3])
    return key, label("head/read") + wire.encode_cbor(list(place))


def create_head(
    *,
    conversation: bytes,
    log: LogPosition,
    vault_version: int,
    device: Device,
    epoch: Epoch,
    read_n: int,
    random: Random = secrets.token_bytes,
) -> bytes:
    """``read_n`` is 0 for who does not share it."""
    key, aad = _read_box(epoch, (conversation, log.n, log.hash, device.id))
    read = seal_box(key, aad, wire.encode_read_position(read_n), random=random)
    body = HeadBody(conversation, log.n, log.hash, vault_version, device.id, epoch.epoch, read).encode()
    return wire.encode_cbor([body, sign(device.seed, "head", body)])


@dataclass(frozen=True)
class OpenedHead:
    body: HeadBody
    read_n: int | None
    """None where the epoch is not known, or not open, here."""


def open_head(
    encoded: bytes, *, conversation: bytes, chain: Chain, side: Side, epochs: Mapping[int, Epoch]
) -> OpenedHead:
    """``chain`` and ``side`` are of the person whose head it is."""
    try:
        head, body, signature = wire.decode_head(encoded)
    except Malformed:
        raise Refused("head_invalid") from None
    if head.conversation != conversation:
        raise Refused("wrong_conversation")
    device = chain.device(head.device)
    require_signature(device.public, "head", body, signature, code="head_invalid")
    require_may_say(device, epochs, side=side, n=head.n)
    return OpenedHead(head, _read_position(head, epochs.get(head.epoch)))


def _read_position(head: HeadBody, epoch: Epoch | None) -> int | None:
    if epoch is None or epoch.secret is None:
        return None
    key, aad = _read_box(epoch, (head.conversation, head.n, head.hash, head.device))
    try:
        return wire.decode_read_position(open_box(key, aad, head.read, code="head_invalid"))
    except Malformed:
        raise Refused("head_invalid") from None
