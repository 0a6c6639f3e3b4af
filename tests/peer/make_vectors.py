"""Writes ``tests/vectors/``: known answers that the browser's tests and Python's both read.

    python -m tests.peer.make_vectors

Everything comes from fixed seeds. What HPKE seals is different every time, so it is recorded once in ``seals.json``
and used again; deleting that file makes new ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.peer import crypto, wire
from tests.peer.account import Account, create_account
from tests.peer.crypto import Chains, Device, Epoch, LogPosition, Random
from tests.peer.frame_vectors import client_frames, server_frames
from tests.peer.wire import ChainBody, ChainPosition, Content, DeviceAdd, Pin, ReadPosition

FOLDER = Path(__file__).parent.parent / "vectors"
SEALS = "seals"
ORIGIN = "https://chat.example:8443"
NOW = 1_763_913_600_000
CONVERSATION = bytes.fromhex("0d4e2a5c9b7f4c118a3e6f1d2c3b4a59")
Json = dict[str, Any]


def chosen_bytes(seed: str) -> Random:
    """Looks random, and is the same in every run."""
    count = 0

    def take(length: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"{seed}/{count}".encode()).digest(length)

    return take


def one_after_another(*parts: bytes) -> Random:
    left = list(parts)

    def take(length: int) -> bytes:
        part = left.pop(0)
        assert len(part) == length
        return part

    return take


class RecordedSeals:
    """Seals once for each key, purpose, context and plaintext, and remembers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        self.used: dict[str, str] = {}

    def __call__(self, public: bytes, what: str, context: bytes, plaintext: bytes) -> bytes:
        name = hashlib.sha256(wire.encode_cbor([public, what, context, plaintext])).hexdigest()
        sealed = self.known.get(name) or crypto.seal(public, what, context, plaintext).hex()
        self.used[name] = sealed
        return bytes.fromhex(sealed)


@dataclass(frozen=True)
class Person:
    account: Account
    stretched: bytes
    code: bytes

    def doors(self, sealing: crypto.Sealing) -> list[Json]:
        account = self.account
        keys = (crypto.password_door(self.stretched), crypto.recovery_door(self.code))
        return [
            {
                **door_json(account.door(key, sealing=sealing)),
                "tag": key.of(account.name, account.chain.identity_public).tag.hex(),
            }
            for key in keys
        ]


def person(name: str) -> Person:
    random = chosen_bytes(name)
    stretched, code = random(32), random(20)
    keys = (crypto.password_door(stretched), crypto.recovery_door(code))
    account = create_account(origin=ORIGIN, name=name, door_keys=keys, now=NOW, random=random)
    return Person(account, stretched, code)


def door_json(door: crypto.Door) -> Json:
    return {
        "kind": door.kind,
        "public": door.public.hex(),
        "sealed_vault_key": door.sealed_vault_key.hex(),
        "sealed_identity": door.sealed_identity.hex(),
    }


def person_json(person: Person, sealing: crypto.Sealing) -> Json:
    account = person.account
    return {
        "name": account.name,
        "stretched": person.stretched.hex(),
        "recovery_code": person.code.hex(),
        "identity_seed": account.identity_seed.hex(),
        "identity_public": account.chain.identity_public.hex(),
        "account_seed": account.vault.account_seeds[0].hex(),
        "account_public": account.chain.account_public.hex(),
        "device_seed": account.device.seed.hex(),
        "device": account.device.id.hex(),
        "vault_key": account.vault_key.hex(),
        "fingerprint": account.chain.fingerprint.hex(),
        "entries": [entry.hex() for entry in account.entries],
        "hashes": [hash_.hex() for hash_ in account.chain.hashes],
        "doors": person.doors(sealing),
    }


# One function for each file


def derivation() -> Json:
    random = chosen_bytes("derivation")
    client_salt, password = random(32), "Grüße, ﬁne \u212b 9!"
    salt = crypto.password_salt(ORIGIN, "alice", client_salt)
    normalised = crypto.normalise_password(password)
    stretched = crypto.stretch(normalised, salt)
    legacy = crypto.legacy_password("Passw0rd!", "0a1b2c3d")
    secret, context = random(32), random(7)
    return {
        "origin": ORIGIN,
        "name": "alice",
        "client_salt": client_salt.hex(),
        "password": password,
        "normalised": normalised.hex(),
        "salt": salt.hex(),
        "stretched": stretched.hex(),
        "auth_key": crypto.auth_key(stretched),
        "door_public": crypto.password_door(stretched).public.hex(),
        "legacy": {"password": "Passw0rd!", "legacy_salt": "0a1b2c3d", "stretched_from": legacy.hex()},
        "primitives": {
            "secret": secret.hex(),
            "context": context.hex(),
            "hash": crypto.hash_("log", secret, context).hex(),
            "mac": crypto.mac(secret, "franking", context).hex(),
            "kdf": crypto.kdf(secret, "message", context).hex(),
            "signature": crypto.sign(secret, "head", context).hex(),
            "public": crypto.public_of_seed(secret).hex(),
            "xwing_public": crypto.xwing_public(secret).hex(),
        },
    }


def recovery_code() -> Json:
    code = chosen_bytes("recovery")(20)
    text = crypto.format_recovery_code(code)
    loose = text.replace("0", "o").replace("1", "l")
    return {
        "code": code.hex(),
        "text": text,
        "spellings": [
            text,
            text.lower(),
            text.replace("-", ""),
            f" {loose} ",
            loose.upper().replace("L", "i"),
        ],
        "refused": ["", text[:-1], text + "0", text.replace(text[0], "U", 1), text.replace(text[0], "é", 1)],
        "proof": crypto.recovery_proof(code).hex(),
        "hash": crypto.recovery_hash(code).hex(),
        "door_public": crypto.recovery_door(code).public.hex(),
    }


def padme() -> Json:
    lengths = [*range(70), 127, 128, 129, 200, 255, 256, 257, 1000, 4095, 4097, 10_007, 40_123, 65_535]
    return {"padded": [[length, crypto.padme(length)] for length in lengths]}


def fingerprints(alice: Person, bob: Person) -> Json:
    one, other = alice.account.chain.fingerprint, bob.account.chain.fingerprint
    return {"one": one.hex(), "other": other.hex(), "safety_number": crypto.safety_number(one, other)}


def key_chain(alice: Person, bob: Person) -> Json:
    """Chains that must be refused, with the code they are refused for when alice's is expected."""
    account, mallory = alice.account, chosen_bytes("mallory")
    genesis, added = account.entries
    identity, chain = account.identity_seed, account.chain
    third = crypto.device_entry(identity, chain.position, crypto.public_of_seed(mallory(32)), at=NOW + 1)
    forged = crypto.device_entry(mallory(32), chain.position, crypto.public_of_seed(mallory(32)), at=NOW)
    gap = crypto.device_entry(
        identity, replace(chain.position, seq=3), crypto.public_of_seed(mallory(32)), at=NOW
    )
    unlinked = crypto.device_entry(
        identity, ChainPosition(2, bytes(32)), crypto.public_of_seed(mallory(32)), at=NOW
    )
    again = crypto.device_entry(identity, chain.position, account.device.public, at=NOW)
    elsewhere = crypto.genesis_entry(
        identity, origin="https://evil.example", name="alice", account_public=chain.account_public, at=NOW
    )
    late = crypto.sign_chain_entry(
        identity, replace(wire.decode_chain_entry(genesis).body, seq=3, prev=chain.position.head)
    )
    early = crypto.sign_chain_entry(
        identity, ChainBody(1, wire.NO_HASH, DeviceAdd(account.device.public), NOW)
    )
    unknown_kind = _signed_raw(identity, [1, 3, chain.position.head, "device_rename", [bytes(16)], NOW])
    version = _signed_raw(
        identity, [2, 3, chain.position.head, "device_add", [crypto.public_of_seed(mallory(32))], NOW]
    )
    refused = [
        ("nothing", "chain_invalid", []),
        ("no genesis", "chain_invalid", [added]),
        ("a device as the first entry", "chain_invalid", [early]),
        ("another name", "chain_foreign", list(bob.account.entries)),
        ("another origin", "chain_foreign", [elsewhere]),
        ("an entry twice", "chain_invalid", [genesis, added, added]),
        ("signed by another identity", "chain_invalid", [genesis, added, forged]),
        ("a gap", "chain_invalid", [genesis, added, gap]),
        ("a broken link", "chain_invalid", [genesis, added, unlinked]),
        ("a device twice", "chain_invalid", [genesis, added, again]),
        ("genesis again", "chain_invalid", [genesis, added, late]),
        ("an unknown kind", "chain_invalid", [genesis, added, unknown_kind]),
        ("another version", "chain_invalid", [genesis, added, version]),
        *_refused_later(alice, chosen_bytes("refused later")),
    ]
    return {
        "origin": ORIGIN,
        "name": "alice",
        "entries": [genesis.hex(), added.hex(), third.hex()],
        "hashes": [crypto.entry_hash(entry).hex() for entry in (genesis, added, third)],
        "refused": [
            {"why": why, "code": code, "entries": [entry.hex() for entry in entries]}
            for why, code, entries in refused
        ],
        "long": _long_chain(alice, chosen_bytes("long chain")),
    }


class _Builder:
    """A chain that grows entry by entry, each signed by who signs it; also those that nobody should take."""

    def __init__(self, alice: Person) -> None:
        self.identity = alice.account.identity_seed
        self.entries = list(alice.account.entries)
        self.chain = alice.account.chain

    def sign(self, payload: wire.Payload, seed: bytes | None = None) -> bytes:
        position = self.chain.position
        return crypto.next_entry(seed or self.identity, position, payload, at=NOW + position.seq)

    def add(self, payload: wire.Payload, seed: bytes | None = None) -> _Builder:
        entry = self.sign(payload, seed)
        self.chain = crypto.extend_chain(self.chain, [entry])
        self.entries.append(entry)
        return self

    def with_bad(self, payload: wire.Payload, seed: bytes | None = None) -> list[bytes]:
        return [*self.entries, self.sign(payload, seed)]


def _long_chain(alice: Person, random: Random) -> Json:
    """Every kind of entry at least once."""
    lost, lent, fresh = (Device(random(32)) for _ in range(3))
    new_identity, *account_seeds = (random(32) for _ in range(4))
    publics = [crypto.xwing_public(seed) for seed in account_seeds]
    reset = wire.Reset(ORIGIN, "alice", crypto.public_of_seed(new_identity), publics[2], 4)
    built = (
        _Builder(alice)
        .add(DeviceAdd(lost.public))
        .add(wire.DeviceRevoke(lost.id))
        .add(wire.AccountKeyRotation(2, publics[0], 2))
        .add(DeviceAdd(lent.public))
        .add(wire.DeviceRetire(lent.id), lent.seed)
        .add(wire.AccountKeyRotation(3, publics[1], 2))
        .add(reset, new_identity)
        .add(DeviceAdd(fresh.public), new_identity)
    )
    chain = built.chain
    return {
        "entries": [entry.hex() for entry in built.entries],
        "hashes": [entry_hash.hex() for entry_hash in chain.hashes],
        "devices": [
            {
                "device": device.hex(),
                "added_seq": known.added_seq,
                "ended": {"seq": known.ended_seq, "by": known.ended_by} if known.ended_seq else None,
            }
            for device, known in chain.devices.items()
        ],
        "vault_generation": chain.vault_generation,
        "generation": chain.generation,
        "identities": [
            {"seq": seq, "fingerprint": crypto.identity_fingerprint(ORIGIN, "alice", public).hex()}
            for seq, public in chain.identities
        ],
    }


def _refused_later(alice: Person, random: Random) -> list[tuple[str, str, list[bytes]]]:
    """Bad entries of the kinds that come after the first two."""
    first, other, stranger = alice.account.device, Device(random(32)), Device(random(32))
    mallory, new_identity = random(32), random(32)
    public = crypto.xwing_public(random(32))

    def begun() -> _Builder:
        return _Builder(alice).add(DeviceAdd(other.public))

    revoked = begun().add(wire.DeviceRevoke(other.id))
    reset = wire.Reset(ORIGIN, "alice", crypto.public_of_seed(new_identity), public, 2)
    began_anew = begun().add(reset, new_identity)
    old = wire.Reset(ORIGIN, "alice", crypto.public_of_seed(alice.account.identity_seed), public, 3)
    rotate, add = wire.AccountKeyRotation, DeviceAdd(stranger.public)
    return [
        ("a stranger revoked", "chain_invalid", begun().with_bad(wire.DeviceRevoke(stranger.id))),
        ("revoked twice", "chain_invalid", revoked.with_bad(wire.DeviceRevoke(other.id))),
        ("revoked by a stranger", "chain_invalid", begun().with_bad(wire.DeviceRevoke(other.id), mallory)),
        ("revoked by a device", "chain_invalid", begun().with_bad(wire.DeviceRevoke(other.id), first.seed)),
        (
            "retired by another device",
            "chain_invalid",
            begun().with_bad(wire.DeviceRetire(other.id), first.seed),
        ),
        ("retired by the identity", "chain_invalid", begun().with_bad(wire.DeviceRetire(other.id))),
        ("retired after revoked", "chain_invalid", revoked.with_bad(wire.DeviceRetire(other.id), other.seed)),
        ("added again after revoked", "chain_invalid", revoked.with_bad(DeviceAdd(other.public))),
        ("a generation left out", "chain_invalid", begun().with_bad(rotate(3, public, 2))),
        ("a vault generation left out", "chain_invalid", begun().with_bad(rotate(2, public, 3))),
        ("an account key of a stranger", "chain_invalid", begun().with_bad(rotate(2, public, 2), mallory)),
        ("a reset by the old identity", "chain_invalid", begun().with_bad(reset)),
        ("a reset to a known identity", "chain_invalid", began_anew.with_bad(old)),
        (
            "a reset that leaves a generation out",
            "chain_invalid",
            begun().with_bad(replace(reset, generation=3), new_identity),
        ),
        (
            "a reset of another name",
            "chain_foreign",
            begun().with_bad(replace(reset, name="bob"), new_identity),
        ),
        ("the old identity after a reset", "chain_invalid", began_anew.with_bad(add)),
        (
            "a device from before a reset",
            "chain_invalid",
            began_anew.with_bad(DeviceAdd(first.public), new_identity),
        ),
    ]


def _signed_raw(identity: bytes, items: list[Any]) -> bytes:
    body = wire.encode_cbor(items)
    return wire.encode_cbor([body, crypto.sign(identity, "chain", body)])


def vault(alice: Person, bob: Person) -> Json:
    random = chosen_bytes("vault")
    account, bobs = alice.account, bob.account.chain
    content = account.vault.with_pin(
        Pin(CONVERSATION, bobs.identity_public, bobs.fingerprint, NOW, bobs.position)
    ).with_position(ReadPosition(CONVERSATION, 41, random(32), 40))
    content = replace(content, expected=(("carol", random(32)), ("bob", random(32))), shares_read=False)
    pin, position = content.pins[0], content.positions[0]
    box = crypto.seal_vault(account.vault_key, "alice", 7, content, random=random)
    return {
        "vault_key": account.vault_key.hex(),
        "name": "alice",
        "version": 7,
        "nonce": box[:12].hex(),
        "pin": {
            "conversation": pin.conversation.hex(),
            "identity_public": pin.identity_public.hex(),
            "fingerprint": pin.fingerprint.hex(),
            "verified_at": pin.verified_at,
            "seq": pin.position.seq,
            "head": pin.position.head.hex(),
        },
        "position": {
            "conversation": position.conversation.hex(),
            "checked_n": position.checked_n,
            "log_hash": position.log_hash.hex(),
            "read_n": position.read_n,
        },
        "expected": [
            {"name": name, "fingerprint": fingerprint.hex()} for name, fingerprint in sorted(content.expected)
        ],
        "preferences": {"shares_read": int(content.shares_read)},
        "content": content.encode().hex(),
        "box": box.hex(),
    }


def epochs(chains: Chains, alice: Person, bob: Person, sealing: crypto.Sealing) -> tuple[Json, Epoch]:
    random = chosen_bytes("epoch")
    start = crypto.log_start(CONVERSATION)

    def make(
        previous: Epoch | None,
        log: LogPosition,
        device: Device,
        *,
        conversation: bytes = CONVERSATION,
        chains: Chains = chains,
    ) -> tuple[bytes, Epoch]:
        return crypto.create_epoch(
            conversation=conversation,
            previous=previous,
            chains=chains,
            log=log,
            device=device,
            random=random,
            sealing=sealing,
        )

    record, first = make(None, start, alice.account.device)
    second_log = crypto.log_next(start, bytes(32))
    second_record, second = make(first, second_log, bob.account.device)
    stranger, _ = make(None, start, Device(random(32)))
    swapped, _ = make(None, start, alice.account.device, chains=(chains[1], chains[0]))
    foreign, _ = make(None, start, alice.account.device, conversation=bytes(16))
    unlinked, _ = make(replace(first, hash=bytes(32)), second_log, alice.account.device)
    refused = [
        ("a device of nobody", "unknown_device", None, stranger),
        ("members on the wrong sides", "epoch_invalid", None, swapped),
        ("another conversation", "wrong_conversation", None, foreign),
        ("the first after the first", "epoch_invalid", "first", record),
        ("the second without the first", "epoch_invalid", None, second_record),
        ("a broken link", "epoch_invalid", "first", unlinked),
        (
            "another secret than committed to",
            "epoch_invalid",
            None,
            _wrong_secret(record, alice, chains, sealing),
        ),
    ]
    return {
        "conversation": CONVERSATION.hex(),
        "records": [
            {"record": record.hex(), "secret": _secret_of(first), "hash": first.hash.hex()},
            {"record": second_record.hex(), "secret": _secret_of(second), "hash": second.hash.hex()},
        ],
        "refused": [
            {"why": why, "code": code, "after_first": after is not None, "record": refused_record.hex()}
            for why, code, after, refused_record in refused
        ],
    }, first


def _wrong_secret(record: bytes, alice: Person, chains: Chains, sealing: crypto.Sealing) -> bytes:
    body = wire.decode_epoch_record(record).body_bytes
    sealed = [
        sealing(
            chain.account_public, "epoch/seal", crypto.hash_("epoch/body", body) + bytes([side]), bytes(32)
        )
        for side, chain in enumerate(chains)
    ]
    signature = crypto.sign(alice.account.device.seed, "epoch", wire.encode_cbor([body, *sealed]))
    return wire.encode_cbor([body, *sealed, signature])


TEXTS = ["Hello Bob.", "Grüße 👋 aus Köln", "x" * 1000, ""]


def envelopes(chains: Chains, alice: Person, epoch: Epoch) -> Json:
    random = chosen_bytes("envelope")
    device = alice.account.device
    writer, log = crypto.new_writer(random), crypto.log_start(CONVERSATION)
    messages: list[Json] = []
    for number, text in enumerate(TEXTS):
        client_id, franking_key, nonce = random(16), random(32), random(12)
        content, before = Content(NOW + number, text), writer
        envelope, writer = crypto.seal_envelope(
            epoch=epoch,
            side=0,
            chains=chains,
            device=device,
            client_id=client_id,
            writer=before,
            log=log,
            vault_version=3,
            content=content,
            random=one_after_another(franking_key, nonce),
        )
        header = wire.decode_envelope(envelope).header
        messages.append(
            {
                "client_id": client_id.hex(),
                "franking_key": franking_key.hex(),
                "nonce": nonce.hex(),
                "writer": {"writer": before.id.hex(), "seq": before.seq, "prev": before.prev.hex()},
                "log": {"n": log.n, "hash": log.hash.hex()},
                "vault_version": 3,
                "sent_at": content.sent_at,
                "text": text,
                "content": content.encode().hex(),
                "commitment": header.commitment.hex(),
                "envelope": envelope.hex(),
                "hash": crypto.envelope_hash(envelope).hex(),
            }
        )
        log = crypto.log_next(log, crypto.envelope_hash(envelope))
        messages[-1]["log_after"] = log.hash.hex()
    first = bytes.fromhex(messages[0]["envelope"])
    return {
        "conversation": CONVERSATION.hex(),
        "side": 0,
        "messages": messages,
        "refused": _refused_envelopes(wire.decode_envelope(first).header, epoch, device),
    }


def _refused_envelopes(header: wire.EnvelopeHeader, epoch: Epoch, device: Device) -> list[Json]:
    """What no honest client sends: properly signed, and wrong inside. All under the first message's header."""
    random = chosen_bytes("refused")
    franking_key, content = random(32), Content(NOW, "Hello Bob.").encode()

    def envelope(inner: bytes, padding: bytes, **changed: Any) -> bytes:
        commitment = crypto.commitment_to(
            franking_key,
            conversation=header.conversation,
            device=header.device,
            client_id=header.client_id,
            content=inner,
        )
        described = replace(header, **{"commitment": commitment, **changed})
        plaintext = franking_key + len(inner).to_bytes(4, "big") + inner + padding
        return crypto.assemble_envelope(described, random(12), plaintext, epoch=epoch, device=device)

    zeros = bytes(crypto.padme(len(content)) - len(content))
    odd = Content(NOW, "x" * 33).encode()
    odd_zeros = crypto.padme(len(odd)) - len(odd)
    another_kind = wire.encode_cbor([1, 99, NOW, b""])
    made = [
        (
            "a commitment to something else",
            "commitment_mismatch",
            envelope(content, zeros, commitment=bytes(32)),
        ),
        ("padding that is not zero", "padding_invalid", envelope(odd, bytes(odd_zeros - 1) + b"\1")),
        ("padding too long", "padding_invalid", envelope(content, zeros + bytes(40))),
        ("padding missing", "padding_invalid", envelope(odd, b"")),
        ("another epoch record", "wrong_epoch", envelope(content, zeros, epoch_hash=bytes(32))),
        ("an epoch that is not known", "unknown_epoch", envelope(content, zeros, epoch=9)),
        ("another conversation", "wrong_conversation", envelope(content, zeros, conversation=bytes(16))),
        ("another client id", "wrong_client_id", envelope(content, zeros, client_id=bytes(16))),
        ("another device", "unknown_device", envelope(content, zeros, device=bytes(16))),
        (
            "another chain of the reader",
            "chain_forked",
            envelope(content, zeros, peer=ChainPosition(2, bytes(32))),
        ),
        (
            "a later chain of the reader",
            "chain_behind",
            envelope(content, zeros, peer=ChainPosition(9, bytes(32))),
        ),
        ("content of another kind", "unknown_content", envelope(another_kind, b"")),
    ]
    assert crypto.padme(len(another_kind)) == len(another_kind)
    assert odd_zeros > 0
    return [{"why": why, "code": code, "envelope": bytes_.hex()} for why, code, bytes_ in made]


def _secret_of(epoch: Epoch) -> str:
    assert epoch.secret is not None
    return epoch.secret.hex()


def heads(alice: Person, epoch: Epoch) -> Json:
    """Under the first epoch of ``epoch.json``."""
    random = chosen_bytes("head")
    log = LogPosition(12, random(32))
    device = alice.account.device
    head = crypto.create_head(
        conversation=CONVERSATION,
        log=log,
        vault_version=3,
        device=device,
        epoch=epoch,
        read_n=10,
        random=random,
    )
    read = wire.decode_head(head)[0].read
    return {
        "conversation": CONVERSATION.hex(),
        "device_seed": device.seed.hex(),
        "n": log.n,
        "hash": log.hash.hex(),
        "vault_version": 3,
        "epoch": epoch.epoch,
        "read_n": 10,
        "nonce": read[:12].hex(),
        "head": head.hex(),
    }


def encodings() -> Json:
    """What the two decoders of bytes take, and other spellings of the same that they refuse."""
    return {
        "cbor": [
            wire.encode_cbor(items).hex()
            for items in (
                [],
                [0, 23, 24, 255, 256, 65_536, 2**32, 2**53 - 1],
                [b"", b"\0", ["ä", [b"x" * 24]]],
            )
        ],
        "cbor_refused": [
            *(
                "",
                "00",
                "4100",
                "a0",
                "81",
                "8100ff",
                "9fff",
                "811800",
                "8118ff00",
                "81190017",
                "811a00000001",
            ),
            *(
                "811b0000000000000001",
                "9800",
                "815800",
                "815f4100ff",
                "817f6161ff",
                "8120",
                "81f4",
                "81f6",
                "81f7",
            ),
            *(
                "81f90000",
                "81f98000",
                "81f93c00",
                "81fb3ff0000000000000",
                "81c000",
                "81c24101",
                "81a0",
                "81e0",
            ),
            *(
                "811b0020000000000000",
                "811bffffffffffffffff",
                "8161ff",
                "81fa7f800000",
                "80 80".replace(" ", ""),
            ),
        ],
        "base64url": [["", ""], ["00", "AA"], ["ffef", "_-8"], ["fbefff", "--__"], ["00010203", "AAECAw"]],
        "base64url_refused": [
            "A",
            "AA==",
            "AB",
            "AAB",
            "+/8",
            "A A",
            "AA\n",
            "AAAAA",
            "é",
            "=",
            "AA=",
            "\u0000AA",
        ],
    }


def make_all() -> dict[str, Json]:
    sealing = RecordedSeals(FOLDER / f"{SEALS}.json")
    alice, bob = person("alice"), person("bob")
    chains = (alice.account.chain, bob.account.chain)
    epoch_vectors, epoch = epochs(chains, alice, bob, sealing)
    files: dict[str, Json] = {
        "encodings": encodings(),
        "derivation": derivation(),
        "recovery_code": recovery_code(),
        "padme": padme(),
        "people": {
            "origin": ORIGIN,
            "alice": person_json(alice, sealing),
            "bob": person_json(bob, sealing),
            "safety": fingerprints(alice, bob),
        },
        "key_chain": key_chain(alice, bob),
        "vault": vault(alice, bob),
        "epoch": epoch_vectors,
        "envelope": envelopes(chains, alice, epoch),
        "head": heads(alice, epoch),
        "frames": {"client": client_frames(), "server": server_frames()},
    }
    return {**files, SEALS: sealing.used}


def write_all(write: Callable[[Path, str], object]) -> None:
    for name, content in make_all().items():
        write(FOLDER / f"{name}.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    write_all(lambda path, text: path.write_text(text, encoding="utf-8"))
