"""`manage.py verify_proof` and the peer's own checker, on proofs that hold and on every way of changing them.

No test here may touch the database.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command

from messaging import proofs
from messaging.management.commands.verify_proof import EXAMPLES
from tests.peer import crypto, wire
from tests.peer import proof as peer_proof
from tests.peer.account import create_account, reset_account
from tests.peer.crypto import Device, LogPosition, Refused
from tests.peer.wire import Malformed, from_base64url, to_base64url

ORIGIN = "https://chat.example"
CONVERSATION = UUID("0d4e2a5c-9b7f-4c11-8a3e-6f1d2c3b4a59")
NOW = 1_780_000_000_000
HASHES = [crypto.envelope_hash(bytes([number])) for number in range(7)]
HOLDS, DOES_NOT_HOLD, NOT_CHECKED = "holds", "does not hold", "not checked"

Json = dict[str, Any]


def door_keys(name: str) -> tuple[crypto.DoorKey, crypto.DoorKey]:
    return crypto.password_door(name.ljust(32).encode()), crypto.recovery_door(bytes(20))


def log(n: int) -> LogPosition:
    position = crypto.log_start(CONVERSATION.bytes)
    for hash_ in HASHES[:n]:
        position = crypto.log_next(position, hash_)
    return position


def head(device: Device, position: LogPosition, conversation: UUID = CONVERSATION) -> bytes:
    body = wire.HeadBody(
        conversation.bytes, position.n, position.hash, 1, device.id, 1, bytes(wire.READ_BOX_BYTES)
    ).encode()
    return wire.encode_cbor([body, crypto.sign(device.seed, "head", body)])


class Cast:
    """Alice, who lost a browser and renewed her keys, and Bob, who started fresh."""

    def __init__(self) -> None:
        self.lost = Device(bytes([9]) * 32)
        alice = create_account(origin=ORIGIN, name="alice", door_keys=door_keys("alice"), now=1)
        rotation = wire.AccountKeyRotation(2, crypto.xwing_public(bytes(32)), 2)
        for payload in (wire.DeviceAdd(self.lost.public), wire.DeviceRevoke(self.lost.id), rotation):
            alice = alice.with_entry(payload, now=2)
        self.alice = alice
        self.bob_before = create_account(origin=ORIGIN, name="bob", door_keys=door_keys("bob"), now=1)
        self.bob = reset_account(
            origin=ORIGIN,
            name="bob",
            entries=self.bob_before.entries,
            version=1,
            door_keys=door_keys("bob"),
            now=3,
        )

    def proof(self, alice: bytes | None = None, bob: bytes | None = None) -> Json:
        people = (("alice", self.alice.entries, alice), ("bob", self.bob.entries, bob))
        text = peer_proof.make_proof(
            origin=ORIGIN, conversation=CONVERSATION, now=NOW, people=people, hashes=HASHES
        )
        made: Json = json.loads(text)
        return made

    def signed(self) -> Json:
        """Alice for all messages but the last, Bob for the first three."""
        return self.proof(head(self.alice.device, log(6)), head(self.bob.device, log(3)))


@pytest.fixture(scope="module")
def cast() -> Cast:
    return Cast()


@pytest.fixture
def proof(cast: Cast) -> Json:
    return cast.signed()


def verdict(text: str) -> str:
    """Of both checkers, which must agree."""
    verdicts = (verdict_of_server(text), verdict_of_peer(text))
    assert verdicts[0] == verdicts[1]
    return verdicts[0]


def verdict_of_server(text: str) -> str:
    try:
        return HOLDS if proofs.check_proof(text.encode()).holds else DOES_NOT_HOLD
    except proofs.NotAProof:
        return NOT_CHECKED


def verdict_of_peer(text: str) -> str:
    try:
        peer_proof.check_proof(text)
    except Malformed:
        return NOT_CHECKED
    except Refused:
        return DOES_NOT_HOLD
    return HOLDS


def problem_of(proof: Json) -> str:
    assert verdict(json.dumps(proof)) == DOES_NOT_HOLD
    (problem,) = proofs.check_proof(json.dumps(proof).encode()).problems
    return problem


# What holds


def test_both_checkers_say_the_same_of_a_proof_that_holds(cast: Cast, proof: Json) -> None:
    text = json.dumps(proof)

    report, confirmed = proofs.check_proof(text.encode()), peer_proof.check_proof(text)

    number = crypto.safety_number(cast.alice.chain.fingerprint, cast.bob.chain.fingerprint)
    assert report.holds
    assert [person.confirmed for person in report.people] == [*confirmed.counts] == [6, 3]
    assert report.safety_number == confirmed.safety_number == number
    assert [person.identity_changes for person in report.people] == [0, 1]


def test_one_signature_is_enough_and_none_is_nothing(cast: Cast) -> None:
    device = cast.alice.device

    assert verdict(json.dumps(cast.proof(alice=head(device, log(7))))) == HOLDS
    assert verdict(json.dumps(cast.proof(alice=head(device, log(0))))) == HOLDS
    assert problem_of(cast.proof()) == "Nobody has signed anything in it, so that it proves nothing."


def test_the_safety_number_is_of_the_identity_that_signed(cast: Cast) -> None:
    proof = cast.proof(head(cast.alice.device, log(1)), head(cast.bob_before.device, log(1)))

    report = proofs.check_proof(json.dumps(proof).encode())

    fingerprints = (cast.alice.chain.fingerprint, cast.bob_before.chain.fingerprint)
    assert report.safety_number == crypto.safety_number(*fingerprints)
    assert report.safety_number == peer_proof.check_proof(json.dumps(proof)).safety_number
    assert [person.has_ended for person in report.people] == [False, True]


def test_a_browser_that_was_signed_out_has_signed_and_that_is_said(cast: Cast) -> None:
    report = proofs.check_proof(json.dumps(cast.proof(alice=head(cast.lost, log(2)))).encode())

    assert (report.holds, report.people[0].has_ended) == (True, True)


# What was changed


def flipped(text: str, at: int) -> str:
    raw = bytearray(from_base64url(text))
    raw[at] ^= 1 << at % 8
    return to_base64url(bytes(raw))


@pytest.mark.parametrize("side", [0, 1])
def test_no_byte_of_a_signed_head_can_be_changed(proof: Json, side: int) -> None:
    person = proof["people"][side]
    signed = person["head"]

    for at in range(len(from_base64url(signed))):
        person["head"] = flipped(signed, at)
        assert verdict(json.dumps(proof)) == DOES_NOT_HOLD, at


@pytest.mark.parametrize(("side", "entry"), [(0, entry) for entry in range(5)] + [(1, n) for n in range(4)])
def test_no_part_of_a_key_chain_can_be_changed(proof: Json, side: int, entry: int) -> None:
    chain = proof["people"][side]["chain"]
    signed = chain[entry]

    for at in range(0, len(from_base64url(signed)), 11):
        chain[entry] = flipped(signed, at)
        assert verdict(json.dumps(proof)) == DOES_NOT_HOLD, at


def test_no_message_that_somebody_signed_for_can_be_changed(proof: Json) -> None:
    for index in range(6):
        hash_ = proof["hashes"][index]
        proof["hashes"][index] = flipped(hash_, index)
        assert verdict(json.dumps(proof)) == DOES_NOT_HOLD
        proof["hashes"][index] = hash_


def test_what_nobody_signed_for_is_said_to_be_so(proof: Json) -> None:
    proof["hashes"][6] = flipped(proof["hashes"][6], 0)

    assert verdict(json.dumps(proof)) == HOLDS
    assert "Nobody has signed for the last 1 message of the file." in checked(proof)


def drop(*place: str | int) -> Callable[[Json], None]:
    def change(proof: Json) -> None:
        *path, last = place
        item: Any = proof
        for step in path:
            item = item[step]
        del item[last]

    return change


def put(value: object, *place: str | int) -> Callable[[Json], None]:
    def change(proof: Json) -> None:
        *path, last = place
        item: Any = proof
        for step in path:
            item = item[step]
        item[last] = value

    return change


def swap_people(field: str) -> Callable[[Json], None]:
    def change(proof: Json) -> None:
        one, other = proof["people"]
        one[field], other[field] = other[field], one[field]

    return change


def swap_hashes(proof: Json) -> None:
    proof["hashes"][:2] = reversed(proof["hashes"][:2])


def repeat_hash(proof: Json) -> None:
    proof["hashes"].insert(0, proof["hashes"][0])


def repeat_entry(proof: Json) -> None:
    chain = proof["people"][0]["chain"]
    chain.append(chain[-1])


OTHER = "11111111-2222-3333-4444-555555555555"
CHANGES: dict[str, Callable[[Json], None]] = {
    "another server": put("https://other.example", "origin"),
    "another conversation": put(OTHER, "conversation"),
    "another name": put("mallory", "people", 0, "name"),
    "names swapped": swap_people("name"),
    "chains swapped": swap_people("chain"),
    "heads swapped": swap_people("head"),
    "no genesis": drop("people", 0, "chain", 0),
    "an entry left out": drop("people", 0, "chain", 2),
    "an entry twice": repeat_entry,
    "without the browser that signed": drop("people", 1, "chain", 3),
    "a message left out": drop("hashes", 3),
    "a message twice": repeat_hash,
    "messages swapped": swap_hashes,
    "fewer messages than were signed for": put([to_base64url(hash_) for hash_ in HASHES[:4]], "hashes"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_put_together_otherwise_does_not_hold(proof: Json, change: Callable[[Json], None]) -> None:
    assert verdict(json.dumps(proof)) == HOLDS

    change(proof)

    assert verdict(json.dumps(proof)) == DOES_NOT_HOLD


def resigned(cast: Cast, **changes: Any) -> Json:
    """Alice's head says something else, and she has signed that."""
    head_body = wire.HeadBody(
        CONVERSATION.bytes, 6, log(6).hash, 1, cast.alice.device.id, 1, bytes(wire.READ_BOX_BYTES)
    )
    body = replace(head_body, **changes).encode()
    signed = wire.encode_cbor([body, crypto.sign(cast.alice.device.seed, "head", body)])
    return cast.proof(signed, head(cast.bob.device, log(3)))


def test_heads_that_were_signed_for_something_else_are_named_for_what_they_are(cast: Cast) -> None:
    stranger = Device(bytes([7]) * 32)
    foreign = cast.proof(alice=head(stranger, log(3)))
    forged = cast.proof(alice=head(replace_seed(cast.alice.device, stranger), log(3)))

    assert problem_of(foreign) == "The browser that signed for alice is not on the key chain."
    assert problem_of(forged) == "The signature of alice is not genuine."
    assert problem_of(resigned(cast, conversation=UUID(OTHER).bytes)) == (
        "What alice signed is about another conversation."
    )
    assert problem_of(resigned(cast, n=8)) == "alice signed for 8 messages; the file lists 7."
    assert problem_of(resigned(cast, n=5)) == (
        "alice signed for other messages, or in another order, than the file lists."
    )
    assert problem_of(resigned(cast, device=cast.bob.device.id)) == (
        "The browser that signed for alice is not on the key chain."
    )


def replace_seed(named: Device, signing: Device) -> Device:
    """Signs with one key and names the other."""

    class Impostor(Device):
        @property
        def public(self) -> bytes:
            return named.public

    return Impostor(signing.seed)


def test_a_chain_says_at_which_entry_it_breaks(cast: Cast, proof: Json) -> None:
    chain = proof["people"][0]["chain"]
    entry = crypto.next_entry(bytes([5]) * 32, cast.alice.chain.position, wire.DeviceAdd(bytes(32)), at=4)
    chain.append(to_base64url(entry))

    assert problem_of(proof) == (
        "Entry 6 of the key chain of alice is not signed by the key that may sign it, or not allowed."
    )
    chain[5] = to_base64url(b"\x82")
    assert problem_of(proof) == "Entry 6 of the key chain of alice is damaged."
    chain[5] = chain[4]
    assert problem_of(proof) == "Entry 6 of the key chain of alice does not follow the one before."
    proof["origin"] = "https://other.example"
    assert len(proofs.check_proof(json.dumps(proof).encode()).problems) == 2


# What is no proof

MALFORMED: dict[str, Callable[[Json], None]] = {
    **{f"no {field}": drop(field) for field in ("format", "origin", "conversation", "people", "hashes")},
    **{f"no {field} of a person": drop("people", 1, field) for field in ("name", "chain", "head")},
    "no time": drop("exported_at"),
    "a later version": put("securechat-proof/2", "format"),
    "a format that is no text": put(["securechat-proof/1"], "format"),
    "a field more": put(1, "note"),
    "a field more of a person": put(1, "people", 0, "note"),
    "a server that is no address": put("https://chat.example/\u001b[2J", "origin"),
    "a server without TLS": put("http://chat.example", "origin"),
    "a conversation in another form": put(str(CONVERSATION).upper(), "conversation"),
    "a conversation that is none": put("x", "conversation"),
    "a time that is true": put(True, "exported_at"),
    "a time before all times": put(-1, "exported_at"),
    "a time with a fraction": put(1.5, "exported_at"),
    "one person": drop("people", 1),
    "the same person twice": put("alice", "people", 1, "name"),
    "a name as it is typed": put("Alice", "people", 0, "name"),
    "no entries": put([], "people", 0, "chain"),
    "an entry that is a number": put(1, "people", 0, "chain", 0),
    "an entry with padding": put("AA==", "people", 0, "chain", 0),
    "a head that is not base64url": put("+/", "people", 0, "head"),
    "a short hash": put(to_base64url(bytes(31)), "hashes", 0),
    "a hash that is none": put(None, "hashes", 0),
    "hashes that are no list": put({}, "hashes"),
    "people that are no list": put("alice, bob", "people"),
    "a person that is none": put(None, "people", 0),
}


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED)
def test_what_has_another_form_is_not_checked(proof: Json, change: Callable[[Json], None]) -> None:
    change(proof)

    assert verdict(json.dumps(proof)) == NOT_CHECKED


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{", '"securechat-proof/1"', "[" * 100_000, "{}", '{"format": "securechat-proof/1"}'],
)
def test_what_is_something_else_is_not_checked(text: str) -> None:
    assert verdict(text) == NOT_CHECKED


def test_a_field_that_stands_there_twice_is_not_checked(proof: Json) -> None:
    text = json.dumps(proof)

    assert verdict(f'{{"origin": "https://other.example", {text[1:]}') == NOT_CHECKED


def test_what_is_too_large_is_not_read(proof: Json) -> None:
    text = json.dumps(proof).ljust(proofs.MAX_PROOF_BYTES + 1)

    with pytest.raises(proofs.NotAProof, match="larger than 64 MiB"):
        proofs.check_proof(text.encode())


# The command


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("verify_proof", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(proof: Json) -> str:
    Path("proof.json").write_text(json.dumps(proof), encoding="utf-8")
    return "proof.json"


def checked(proof: Json) -> str:
    return run(write(proof))


def test_a_person_reads_one_sentence_and_what_it_rests_on(cast: Cast, proof: Json) -> None:
    said = checked(proof)

    assert said.startswith(
        "The proof holds. Of 7 messages, alice confirmed the first 6 and bob confirmed the first 3.\n"
    )
    assert crypto.safety_number(cast.alice.chain.fingerprint, cast.bob.chain.fingerprint) in said
    assert "Exported       2026-05-28 20:26 UTC; nobody signs for this" in said
    assert "bob started fresh once: the safety number is of the keys that signed." in said


def test_two_who_signed_for_the_same_are_said_to_have(cast: Cast) -> None:
    said = checked(cast.proof(head(cast.alice.device, log(7)), head(cast.bob.device, log(7))))

    assert said.startswith(
        "The proof holds. alice and bob confirmed the same 7 messages, in the same order.\n"
    )


def test_a_signature_that_is_not_there_is_said_not_to_be(cast: Cast) -> None:
    said = checked(cast.proof(alice=head(cast.lost, log(7))))

    assert "Of 7 messages, alice confirmed the first 7 and bob signed for none." in said
    assert "The browser that signed for alice was signed out later" in said


def test_a_proof_that_does_not_hold_ends_with_1_and_every_reason(proof: Json) -> None:
    proof["people"][0]["head"] = flipped(proof["people"][0]["head"], -1)
    proof["people"][1]["name"] = "mallory"

    with pytest.raises(CommandError) as refusal:
        checked(proof)

    assert refusal.value.returncode == 1
    assert str(refusal.value).splitlines() == [
        "The proof does not hold.",
        "The signature of alice is not genuine.",
        "Entry 1 of the key chain of mallory was made for another person or another server.",
    ]


def test_programs_read_json_in_both_cases(proof: Json) -> None:
    held = json.loads(run(write(proof), "--json"))
    proof["hashes"].pop(0)
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("verify_proof", write(proof), "--json", stdout=out)
    refused = json.loads(out.getvalue())

    assert (held["holds"], held["problems"], held["messages"]) == (True, [], 7)
    assert [person["confirmed"] for person in held["people"]] == [6, 3]
    assert (refused["holds"], len(refused["problems"]), refused["people"]) == (False, 2, [])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff", "The file is not JSON in UTF-8, or was cut off."),
        (b"", "The file is not JSON in UTF-8, or was cut off."),
        (b"{}", "The file is not a proof: it does not say its format."),
        (
            b'{"format": "securechat-proof/2"}',
            "The file is of another format than securechat-proof/1, the only one that is known here.",
        ),
        (
            b'{"format": "securechat-proof/1"}',
            "The file is not a whole proof: “origin” is missing or not of its form.",
        ),
    ],
)
def test_what_could_not_be_checked_ends_with_2_and_the_reason(
    folder: Path, content: bytes, reason: str
) -> None:
    (folder / "proof.json").write_bytes(content)

    with pytest.raises(CommandError) as refusal:
        run("proof.json")

    assert (refusal.value.returncode, str(refusal.value)) == (2, f"Not checked. {reason}")


def test_a_file_that_cannot_be_read_ends_with_2(folder: Path) -> None:
    for name, reason in (("none.json", "No such file or directory"), (str(folder), "Is a directory")):
        with pytest.raises(CommandError, match=f"Not checked. The file cannot be read: {reason}.") as refusal:
            run(name)
        assert refusal.value.returncode == 2


@pytest.mark.parametrize(("changes", "code"), [({}, 0), ({"conversation": OTHER}, 1), ({"format": "x"}, 2)])
def test_both_programs_end_alike_without_a_database(proof: Json, changes: Json, code: int) -> None:
    text = json.dumps({**proof, **changes})
    Path("proof.json").write_text(text, encoding="utf-8")
    root = Path(proofs.__file__).parents[1]
    environment = {
        **os.environ,
        "SECRET_KEY": "x",
        "ENV_FILE": "/none",
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
        "PYTHONPATH": str(root),
    }

    ends = [
        subprocess.run(
            [sys.executable, *command], input=text.encode(), env=environment, capture_output=True, check=False
        ).returncode
        for command in (
            (str(root / "manage.py"), "verify_proof", "-"),
            ("-m", "tests.peer.proof", "proof.json"),
        )
    ]

    assert ends == [code, code]


def test_the_help_names_the_limits_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--help")

    said = capsys.readouterr().out
    assert EXAMPLES.strip() in said
    assert "exit codes: 0 the proof holds; 1 it does not hold, and why; 2 it could not be checked" in said
