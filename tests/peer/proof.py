"""Proof files, made and checked a second time. docs/protocol.md section 11.

python -m tests.peer.proof FILE
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.peer import crypto, wire
from tests.peer.crypto import Chain, LogPosition, Refused
from tests.peer.wire import Malformed, from_base64url, to_base64url

FORMAT = "securechat-proof/1"
_FIELDS = {"format", "origin", "conversation", "exported_at", "people", "hashes"}
_PERSON_FIELDS = {"name", "chain", "head"}
_ORIGIN = re.compile(r"https://[a-z0-9._:\[\]-]+", re.ASCII)
_NAME = re.compile(r"[a-z0-9]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Confirmed:
    """Up to which message each person signed, by side; None where there is no signature."""

    names: tuple[str, str]
    counts: tuple[int | None, int | None]
    safety_number: str


def make_proof(
    *,
    origin: str,
    conversation: UUID,
    now: int,
    people: Sequence[tuple[str, Sequence[bytes], bytes | None]],
    hashes: Sequence[bytes],
) -> str:
    """``people`` by side: folded name, entries of the key chain, signed head."""
    proof = {
        "format": FORMAT,
        "origin": origin,
        "conversation": str(conversation),
        "exported_at": now,
        "people": [
            {
                "name": name,
                "chain": [to_base64url(entry) for entry in entries],
                "head": None if head is None else to_base64url(head),
            }
            for name, entries, head in people
        ],
        "hashes": [to_base64url(hash_) for hash_ in hashes],
    }
    return json.dumps(proof, indent=1) + "\n"


def check_proof(text: str) -> Confirmed:
    """Raises ``Malformed`` for what is no proof, ``Refused`` for one that does not hold."""
    proof = _object(_parsed(text), _FIELDS)
    if proof["format"] != FORMAT:
        raise Malformed("format")
    origin = _matching(_ORIGIN, proof["origin"])
    conversation = _conversation(proof["conversation"])
    _time(proof["exported_at"])
    hashes = [_hash(item) for item in _list(proof["hashes"])]
    people = [_object(person, _PERSON_FIELDS) for person in _list(proof["people"])]
    if len(people) != 2 or people[0]["name"] == people[1]["name"]:
        raise Malformed("people")
    logs = [crypto.log_start(conversation.bytes)]
    for hash_ in hashes:
        logs.append(crypto.log_next(logs[-1], hash_))
    one, other = (_check_person(person, origin, conversation, logs) for person in people)
    if one[1] is None and other[1] is None:
        raise Refused("nothing_signed")
    return Confirmed(
        names=(people[0]["name"], people[1]["name"]),
        counts=(one[1], other[1]),
        safety_number=crypto.safety_number(one[0], other[0]),
    )


def _check_person(
    person: dict[str, Any], origin: str, conversation: UUID, logs: list[LogPosition]
) -> tuple[bytes, int | None]:
    """The fingerprint that a safety number shows, and how far the person signed."""
    name = _matching(_NAME, person["name"])
    entries = [from_base64url(entry) for entry in _list(person["chain"])]
    if not entries:
        raise Malformed("chain")
    encoded = None if person["head"] is None else from_base64url(person["head"])
    chain = crypto.verify_chain(entries, origin=origin, name=name)
    if encoded is None:
        return chain.fingerprint, None
    try:
        head, body, signature = wire.decode_head(encoded)
    except Malformed:
        raise Refused("head_invalid") from None
    if head.conversation != conversation.bytes:
        raise Refused("wrong_conversation")
    device = chain.device(head.device)
    crypto.require_signature(device.public, "head", body, signature, code="head_invalid")
    if head.n >= len(logs) or logs[head.n].hash != head.hash:
        raise Refused("log_mismatch")
    return _fingerprint_at(chain, device.added_seq), head.n


def _fingerprint_at(chain: Chain, seq: int) -> bytes:
    return crypto.identity_fingerprint(chain.origin, chain.name, chain.identity_at(seq))


def _parsed(text: str) -> object:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise Malformed("a field twice")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise Malformed("JSON") from None


def _object(item: object, fields: set[str]) -> dict[str, Any]:
    if type(item) is not dict or item.keys() != fields:
        raise Malformed("an object")
    return item


def _list(item: object) -> list[Any]:
    if type(item) is not list:
        raise Malformed("a list")
    return item


def _matching(pattern: re.Pattern[str], item: object) -> str:
    if type(item) is not str or pattern.fullmatch(item) is None:
        raise Malformed("text")
    return item


def _conversation(item: object) -> UUID:
    try:
        conversation = UUID(item) if type(item) is str else None
    except ValueError:
        conversation = None
    if conversation is None or str(conversation) != item:
        raise Malformed("conversation")
    return conversation


def _hash(item: object) -> bytes:
    raw = from_base64url(item)
    if len(raw) != wire.HASH_BYTES:
        raise Malformed("hash")
    return raw


def _time(item: object) -> None:
    if type(item) is not int or not 0 <= item <= wire.LARGEST_INTEGER:
        raise Malformed("time")


def main(path: str) -> int:
    try:
        confirmed = check_proof(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, Malformed) as problem:
        sys.stderr.write(f"Not checked: {problem}\n")
        return 2
    except Refused as refusal:
        sys.stderr.write(f"The proof does not hold: {refusal.code}\n")
        return 1
    for name, count in zip(confirmed.names, confirmed.counts, strict=True):
        sys.stdout.write(f"{name} signed for {'nothing' if count is None else count}\n")
    sys.stdout.write(f"Safety number {confirmed.safety_number}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
