"""The server's own check of what was disclosed, against the vectors that the browser and the peer read, too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import cbor2
import pytest

from accounts.chain import ChainState
from messaging import franking
from messaging.franking import NotProved, Problem
from messaging.wire import parse_envelope

FOLDER = Path(__file__).parent.parent / "vectors"


def load(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


VECTORS = load("envelope")
PEOPLE = load("people")
CONVERSATION = UUID(VECTORS["conversation"])
MESSAGES = VECTORS["messages"]


def keys_of(name: str) -> ChainState:
    person = PEOPLE[name]
    entries = [bytes.fromhex(entry) for entry in person["entries"]]
    return franking.chain_of(PEOPLE["origin"], person["name"], entries)


def require_sent(message: Any, **changes: Any) -> franking.Content:
    arguments = {
        "conversation": CONVERSATION,
        "content": bytes.fromhex(message["content"]),
        "franking_key": bytes.fromhex(message["franking_key"]),
        "keys": keys_of("alice"),
    }
    envelope = changes.pop("envelope", bytes.fromhex(message["envelope"]))
    return franking.require_sent(envelope, **{**arguments, **changes})


def problem_of(message: Any, **changes: Any) -> Problem:
    with pytest.raises(NotProved) as refusal:
        require_sent(message, **changes)
    return refusal.value.problem


def flipped(raw: bytes) -> Iterator[bytes]:
    for bit in range(len(raw) * 8):
        yield raw[: bit >> 3] + bytes([raw[bit >> 3] ^ 1 << (bit & 7)]) + raw[(bit >> 3) + 1 :]


@pytest.mark.parametrize("message", MESSAGES)
def test_what_was_sent_is_proved(message: Any) -> None:
    content = require_sent(message)

    assert content.text == message["text"]
    assert content.sent_at is not None
    assert content.sent_at.timestamp() * 1000 == message["sent_at"]


@pytest.mark.parametrize("message", MESSAGES)
def test_the_commitment_is_that_of_the_vectors(message: Any) -> None:
    header = parse_envelope(bytes.fromhex(message["envelope"]))
    content, key = bytes.fromhex(message["content"]), bytes.fromhex(message["franking_key"])

    assert franking.commitment_to(header, key, content).hex() == message["commitment"]


def test_every_flipped_bit_of_the_content_is_another_content() -> None:
    for content in flipped(bytes.fromhex(MESSAGES[0]["content"])):
        assert problem_of(MESSAGES[0], content=content) is Problem.OTHER_CONTENT


def test_every_flipped_bit_of_the_key_proves_nothing() -> None:
    for key in flipped(bytes.fromhex(MESSAGES[0]["franking_key"])):
        assert problem_of(MESSAGES[0], franking_key=key) is Problem.OTHER_CONTENT


def test_every_flipped_bit_of_the_envelope_is_seen() -> None:
    for envelope in flipped(bytes.fromhex(MESSAGES[0]["envelope"])):
        assert problem_of(MESSAGES[0], envelope=envelope) in {
            Problem.UNREADABLE,
            Problem.OTHER_CONVERSATION,
            Problem.UNKNOWN_DEVICE,
            Problem.FALSE_SIGNATURE,
        }


def test_it_is_nobody_elses() -> None:
    assert problem_of(MESSAGES[0], keys=keys_of("bob")) is Problem.UNKNOWN_DEVICE


def test_it_is_of_no_other_conversation() -> None:
    assert problem_of(MESSAGES[0], conversation=UUID(int=1)) is Problem.OTHER_CONVERSATION


def test_a_commitment_to_something_else_proves_nothing() -> None:
    refused = [one for one in VECTORS["refused"] if one["code"] == "commitment_mismatch"]
    assert refused

    for one in refused:
        assert problem_of(MESSAGES[0], envelope=bytes.fromhex(one["envelope"])) is Problem.OTHER_CONTENT


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        cbor2.dumps([1, 1, 0]),
        cbor2.dumps([2, 1, 0, b"x"]),
        cbor2.dumps([1, 1, 0, b"\xff"]),
        cbor2.dumps([1, 1, 0, "x"]),
        cbor2.dumps({"a": 1}),
        cbor2.dumps([1, 1, 0, b"x"]) + b"\x00",
    ],
)
def test_what_is_no_content_is_not_shown(content: bytes) -> None:
    with pytest.raises(NotProved) as refusal:
        franking.read_content(content)

    assert refusal.value.problem is Problem.UNREADABLE


def test_another_kind_of_content_has_no_text() -> None:
    content = franking.read_content(cbor2.dumps([1, 9, 2**53 - 1, b"\xff"]))

    assert (content.kind, content.text, content.sent_at) == (9, None, None)


def test_a_chain_with_a_flipped_bit_proves_nothing() -> None:
    entries = [bytes.fromhex(entry) for entry in PEOPLE["alice"]["entries"]]
    changed = entries[-1][:-1] + bytes([entries[-1][-1] ^ 1])

    for chain in ([], [*entries[:-1], changed], entries[1:]):
        with pytest.raises(NotProved) as refusal:
            franking.chain_of(PEOPLE["origin"], PEOPLE["alice"]["name"], chain)
        assert refusal.value.problem is Problem.NO_KEYS
