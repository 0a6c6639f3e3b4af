"""The golden vectors, read by the Python peer and by the server. client/test/vectors.test.ts reads the same files."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from messaging import protocol
from messaging import wire as server_wire
from messaging.errors import MalformedFrame
from tests.peer import crypto, make_vectors, wire
from tests.peer.crypto import Chain, Chains, Epoch, LogPosition, Refused

FOLDER = Path(__file__).parent / "vectors"


def load(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def flipped(raw: bytes) -> Iterator[bytes]:
    for bit in range(len(raw) * 8):
        yield raw[: bit >> 3] + bytes([raw[bit >> 3] ^ 1 << (bit & 7)]) + raw[(bit >> 3) + 1 :]


def chain_of(person: dict[str, Any], origin: str) -> Chain:
    entries = [bytes.fromhex(entry) for entry in person["entries"]]
    return crypto.verify_chain(entries, origin=origin, name=person["name"])


@pytest.fixture(scope="module")
def people() -> Any:
    return load("people")


@pytest.fixture(scope="module")
def chains(people: Any) -> Chains:
    return chain_of(people["alice"], people["origin"]), chain_of(people["bob"], people["origin"])


def open_record(record: bytes, people: Any, chains: Chains, *, previous: Epoch | None = None) -> Epoch:
    return crypto.open_epoch(
        record,
        conversation=make_vectors.CONVERSATION,
        previous=previous,
        side=1,
        chains=chains,
        account_keys={1: bytes.fromhex(people["bob"]["account_seed"])},
    )


@pytest.fixture(scope="module")
def epoch(people: Any, chains: Chains) -> Epoch:
    return open_record(bytes.fromhex(load("epoch")["records"][0]["record"]), people, chains)


def test_the_files_are_what_the_script_makes() -> None:
    for name, content in make_vectors.make_all().items():
        assert load(name) == json.loads(json.dumps(content)), (
            f"run python -m tests.peer.make_vectors ({name})"
        )


def test_a_door_opens_for_its_password_and_its_code(people: Any) -> None:
    for name in ("alice", "bob"):
        person = people[name]
        stretched, code = bytes.fromhex(person["stretched"]), bytes.fromhex(person["recovery_code"])
        for key, stored in zip(
            (crypto.password_door(stretched), crypto.recovery_door(code)), person["doors"], strict=True
        ):
            door = crypto.Door(
                stored["kind"],
                *(bytes.fromhex(stored[part]) for part in ("public", "sealed_vault_key", "sealed_identity")),
            )
            behind = crypto.open_door(door, name, key)

            assert [part.hex() for part in behind] == [person["vault_key"], person["identity_seed"]]


def test_what_a_browser_sealed_opens_for_its_purpose_only() -> None:
    """``hpke.json`` is made by the browser's library, from chosen randomness, which Python's does not take."""
    stored = {name: bytes.fromhex(value) for name, value in load("hpke").items()}
    seed, context, sealed = stored["seed"], stored["context"], stored["sealed"]

    assert crypto.xwing_public(seed) == stored["public"]
    opened = crypto.open_sealed(seed, "door/vault-key", context, sealed, code="door_closed")
    assert opened == stored["plaintext"]
    with pytest.raises(Refused, match="door_closed"):
        crypto.open_sealed(seed, "door/identity", context, sealed, code="door_closed")
    for altered in flipped(sealed):
        with pytest.raises(Refused, match="door_closed"):
            crypto.open_sealed(seed, "door/vault-key", context, altered, code="door_closed")


@pytest.mark.parametrize("case", load("key_chain")["refused"], ids=lambda case: case["why"])
def test_a_bad_key_chain_is_refused(case: Any) -> None:
    stored = load("key_chain")
    entries = [bytes.fromhex(entry) for entry in case["entries"]]

    with pytest.raises(Refused) as refusal:
        crypto.verify_chain(entries, origin=stored["origin"], name=stored["name"])
    assert refusal.value.code == case["code"]


def test_every_flipped_bit_of_a_key_chain_is_refused() -> None:
    stored = load("key_chain")
    genesis, added, third = (bytes.fromhex(entry) for entry in stored["entries"])
    expected = {"origin": stored["origin"], "name": stored["name"]}
    begun = crypto.verify_chain([genesis], **expected)

    for altered in flipped(genesis):
        with pytest.raises(Refused):
            crypto.verify_chain([altered, added, third], **expected)
    for altered in flipped(added):
        with pytest.raises(Refused):
            crypto.extend_chain(begun, [altered])


def test_a_shorter_or_another_chain_than_the_pinned_one_is_refused() -> None:
    stored = load("key_chain")
    entries = [bytes.fromhex(entry) for entry in stored["entries"]]
    chain = crypto.verify_chain(entries, origin=stored["origin"], name=stored["name"])

    def verify(entries: list[bytes], *, identity: bytes = chain.identity_public) -> Chain:
        return crypto.verify_chain(
            entries,
            origin=stored["origin"],
            name=stored["name"],
            pinned_identity=identity,
            pinned=chain.position,
        )

    assert verify(entries) == chain
    with pytest.raises(Refused, match="chain_rolled_back"):
        verify(entries[:2])
    with pytest.raises(Refused, match="identity_changed"):
        verify(entries, identity=bytes(32))


def test_a_vault_opens_and_every_flipped_bit_is_refused() -> None:
    stored = load("vault")
    key, box = bytes.fromhex(stored["vault_key"]), bytes.fromhex(stored["box"])

    content = crypto.open_vault(key, stored["name"], stored["version"], box)

    assert content.encode().hex() == stored["content"]
    for altered in flipped(box):
        with pytest.raises(Refused, match="vault_altered"):
            crypto.open_vault(key, stored["name"], stored["version"], altered)
    with pytest.raises(Refused, match="vault_altered"):
        crypto.open_vault(key, stored["name"], stored["version"] - 1, box)


@pytest.mark.parametrize("case", load("epoch")["refused"], ids=lambda case: case["why"])
def test_a_bad_epoch_record_is_refused(case: Any, people: Any, chains: Chains, epoch: Epoch) -> None:
    with pytest.raises(Refused) as refusal:
        open_record(
            bytes.fromhex(case["record"]), people, chains, previous=epoch if case["after_first"] else None
        )
    assert refusal.value.code == case["code"]


def test_every_flipped_bit_of_an_epoch_record_is_refused(people: Any, chains: Chains) -> None:
    for altered in flipped(bytes.fromhex(load("epoch")["records"][0]["record"])):
        with pytest.raises(Refused):
            open_record(altered, people, chains)


def test_messages_open_and_the_log_agrees(chains: Chains, epoch: Epoch) -> None:
    log = crypto.log_start(make_vectors.CONVERSATION)
    writers: dict[bytes, crypto.WriterEnd] = {}
    for message in load("envelope")["messages"]:
        opened = crypto.open_envelope(
            bytes.fromhex(message["envelope"]),
            conversation=make_vectors.CONVERSATION,
            side=0,
            client_id=bytes.fromhex(message["client_id"]),
            epochs={1: epoch},
            chains=chains,
            n=log.n + 1,
        )
        writers = crypto.advance_writers(writers, opened.header, opened.hash)
        log = crypto.log_next(log, opened.hash)

        assert (opened.content.text, opened.content.sent_at) == (message["text"], message["sent_at"])
        assert (opened.franking_key.hex(), log.hash.hex()) == (message["franking_key"], message["log_after"])


@pytest.mark.parametrize("case", load("envelope")["refused"], ids=lambda case: case["why"])
def test_a_bad_envelope_is_refused(case: Any, chains: Chains, epoch: Epoch) -> None:
    first = load("envelope")["messages"][0]

    with pytest.raises(Refused) as refusal:
        crypto.open_envelope(
            bytes.fromhex(case["envelope"]),
            conversation=make_vectors.CONVERSATION,
            side=0,
            client_id=bytes.fromhex(first["client_id"]),
            epochs={1: epoch},
            chains=chains,
        )
    assert refusal.value.code == case["code"]


def test_every_flipped_bit_of_an_envelope_is_refused(chains: Chains, epoch: Epoch) -> None:
    first = load("envelope")["messages"][0]
    for altered in flipped(bytes.fromhex(first["envelope"])):
        with pytest.raises(Refused):
            crypto.open_envelope(
                altered,
                conversation=make_vectors.CONVERSATION,
                side=0,
                client_id=bytes.fromhex(first["client_id"]),
                epochs={1: epoch},
                chains=chains,
            )


def test_a_head_opens_and_every_flipped_bit_is_refused(chains: Chains, epoch: Epoch) -> None:
    stored = load("head")

    def opened(encoded: bytes, epochs: dict[int, Epoch]) -> crypto.OpenedHead:
        conversation = make_vectors.CONVERSATION
        return crypto.open_head(encoded, conversation=conversation, chain=chains[0], side=0, epochs=epochs)

    encoded = bytes.fromhex(stored["head"])
    head = opened(encoded, {1: epoch})

    assert (head.body.n, head.body.hash.hex(), head.body.vault_version, head.read_n) == (
        stored["n"],
        stored["hash"],
        stored["vault_version"],
        stored["read_n"],
    )
    assert opened(encoded, {}).read_n is None
    for altered in flipped(encoded):
        with pytest.raises(Refused):
            opened(altered, {1: epoch})


def test_a_chain_with_every_kind_of_entry_is_followed() -> None:
    vector = load("key_chain")
    stored = vector["long"]
    entries = [bytes.fromhex(entry) for entry in stored["entries"]]

    chain = crypto.verify_chain(entries, origin=vector["origin"], name=vector["name"])

    assert [entry_hash.hex() for entry_hash in chain.hashes] == stored["hashes"]
    assert (chain.generation, chain.vault_generation) == (stored["generation"], stored["vault_generation"])
    assert {device.hex() for device in chain.standing()} == {
        device["device"] for device in stored["devices"] if device["ended"] is None
    }
    for altered in flipped(entries[0]):
        with pytest.raises(Refused):
            crypto.verify_chain([altered], origin=vector["origin"], name=vector["name"])
    for place, entry in enumerate(entries[1:], start=1):
        before = crypto.verify_chain(entries[:place], origin=vector["origin"], name=vector["name"])
        for altered in flipped(entry):
            with pytest.raises(Refused):
                crypto.extend_chain(before, [altered])


def test_the_recovery_code_is_read_in_every_spelling() -> None:
    stored = load("recovery_code")

    for spelling in stored["spellings"]:
        assert crypto.parse_recovery_code(spelling).hex() == stored["code"]
    for typed in stored["refused"]:
        with pytest.raises(Refused, match="recovery_code_malformed"):
            crypto.parse_recovery_code(typed)


def head_set(text: str) -> dict[str, Any]:
    conversation = str(uuid.UUID(bytes=make_vectors.CONVERSATION))
    return {"type": "head.set", "ref": 1, "conversation": conversation, "head": text}


def test_only_one_spelling_of_bytes_is_read() -> None:
    stored = load("encodings")

    for encoded in stored["cbor"]:
        assert wire.encode_cbor(wire.decode_exact(bytes.fromhex(encoded))).hex() == encoded
    for encoded in stored["cbor_refused"]:
        with pytest.raises(wire.Malformed):
            wire.decode_exact(bytes.fromhex(encoded))
    for hexadecimal, text in stored["base64url"]:
        assert wire.from_base64url(text).hex() == hexadecimal
    for text in stored["base64url_refused"]:
        with pytest.raises(wire.Malformed):
            wire.from_base64url(text)
        with pytest.raises(MalformedFrame):
            protocol.decode_client_frame(json.dumps(head_set(text)))


def test_the_server_reads_the_same_objects_and_computes_the_same_log() -> None:
    log = server_wire.first_log_hash(server_wire.parse_head(bytes.fromhex(load("head")["head"])).conversation)
    for n, message in enumerate(load("envelope")["messages"], start=1):
        envelope = bytes.fromhex(message["envelope"])
        header = server_wire.parse_envelope(envelope)
        log = server_wire.next_log_hash(log, n, server_wire.envelope_hash(envelope))

        assert (header.seq, header.client_id.hex(), log.hex()) == (
            n,
            message["client_id"],
            message["log_after"],
        )
    for n, record in enumerate(load("epoch")["records"], start=1):
        assert server_wire.parse_epoch_record(bytes.fromhex(record["record"])).epoch == n
        assert server_wire.epoch_record_hash(bytes.fromhex(record["record"])).hex() == record["hash"]


@pytest.mark.parametrize("frame", load("frames")["client"]["valid"], ids=lambda frame: frame["type"])
def test_the_server_takes_every_frame_of_a_browser(frame: Any) -> None:
    decoded = protocol.decode_client_frame(json.dumps(frame))

    assert json.loads(protocol.encode(decoded)) == frame


@pytest.mark.parametrize("frame", load("frames")["client"]["invalid"], ids=json.dumps)
def test_the_server_refuses_any_other_frame(frame: Any) -> None:
    with pytest.raises(MalformedFrame):
        protocol.decode_client_frame(json.dumps(frame))


@pytest.mark.parametrize("frame", load("frames")["server"]["valid"], ids=lambda frame: frame["type"])
def test_every_frame_of_the_server_has_its_form(frame: Any) -> None:
    decoded = protocol.decode_server_frame(json.dumps(frame))

    assert json.loads(protocol.encode(decoded)) == frame


def test_log_positions_that_are_known_must_agree() -> None:
    crypto.check_log_hash(LogPosition(3, bytes(32)), None)
    with pytest.raises(Refused, match="log_mismatch"):
        crypto.check_log_hash(LogPosition(3, bytes(32)), b"\1" * 32)
