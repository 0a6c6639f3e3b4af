"""Whatever comes over the wire, a decoder takes it or refuses it by its own error; server and peer refuse the same.

100,000 cases by default; ``FUZZ_CASES`` sets another number.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts import wire as accounts_wire
from messaging import protocol
from messaging import wire as messaging_wire
from messaging.errors import MalformedFrame
from tests.fuzz.mutations import mutant
from tests.peer import wire as peer_wire

CASES = int(os.environ.get("FUZZ_CASES", "100_000"))
BATCH = 100
_VECTORS = Path(__file__).parent.parent / "vectors"


class Decoder(NamedTuple):
    """``refusal`` is the one error that it may raise."""

    decode: Callable[[bytes], object]
    refusal: type[Exception]


class Kind(NamedTuple):
    originals: list[bytes]
    decoders: list[Decoder]


def _vector(name: str) -> Any:
    return json.loads((_VECTORS / f"{name}.json").read_text(encoding="utf-8"))


def _hex(items: list[str]) -> list[bytes]:
    return [bytes.fromhex(item) for item in items]


def _peer(decode: Callable[[bytes], object]) -> Decoder:
    return Decoder(decode, peer_wire.Malformed)


def _kinds() -> dict[str, Kind]:
    chain, messages = _vector("key_chain"), _vector("envelope")["messages"]
    return {
        "key-chain entry": Kind(
            _hex(
                [
                    *chain["entries"],
                    *chain["long"]["entries"],
                    *(entry for bad in chain["refused"] for entry in bad["entries"]),
                ]
            ),
            [
                Decoder(accounts_wire.parse_entry, accounts_wire.MalformedBytes),
                _peer(peer_wire.decode_chain_entry),
            ],
        ),
        "epoch record": Kind(
            _hex([record["record"] for record in _vector("epoch")["records"]]),
            [
                Decoder(messaging_wire.parse_epoch_record, MalformedFrame),
                _peer(peer_wire.decode_epoch_record),
            ],
        ),
        "envelope": Kind(
            _hex([message["envelope"] for message in messages]),
            [Decoder(messaging_wire.parse_envelope, MalformedFrame), _peer(peer_wire.decode_envelope)],
        ),
        "head": Kind(
            _hex([_vector("head")["head"]]),
            [Decoder(messaging_wire.parse_head, MalformedFrame), _peer(peer_wire.decode_head)],
        ),
        "message content": Kind(
            _hex([message["content"] for message in messages]), [_peer(peer_wire.decode_content)]
        ),
        "vault content": Kind(_hex([_vector("vault")["content"]]), [_peer(peer_wire.decode_vault_content)]),
    }


KINDS = _kinds()
_EXAMPLES = max(1, CASES // BATCH // len(KINDS))


def _taken(decoder: Decoder, raw: bytes) -> bool:
    try:
        decoder.decode(raw)
    except decoder.refusal:
        return False
    return True


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=_EXAMPLES, deadline=None, database=None)
@given(seed=st.integers(min_value=0, max_value=2**64 - 1))
def test_server_and_peer_take_and_refuse_the_same_objects(name: str, seed: int) -> None:
    random, kind = Random(seed), KINDS[name]  # noqa: S311 - a test may repeat itself
    for _ in range(BATCH):
        raw = mutant(random, kind.originals)
        answers = {_taken(decoder, raw) for decoder in kind.decoders}
        assert len(answers) == 1, f"one takes and the other refuses: {raw.hex()}"


@pytest.mark.parametrize("name", KINDS)
def test_every_original_is_taken(name: str) -> None:
    for raw in KINDS[name].originals[:2]:
        for decoder in KINDS[name].decoders:
            decoder.decode(raw)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda items: st.lists(items, max_size=5) | st.dictionaries(st.text(max_size=12), items, max_size=5),
    max_leaves=12,
)
_FRAMES = _vector("frames")["client"]["valid"]


@settings(max_examples=1_500, deadline=None, database=None)
@given(
    frame=st.sampled_from(_FRAMES),
    change=st.dictionaries(
        st.sampled_from(sorted({key for frame in _FRAMES for key in frame})), _json, max_size=3
    ),
)
def test_a_frame_is_taken_as_it_is_or_refused_as_malformed(
    frame: dict[str, Any], change: dict[str, Any]
) -> None:
    text = json.dumps(frame | change)

    try:
        taken = protocol.decode_client_frame(text)
    except MalformedFrame:
        protocol.ref_of(text)
        return

    assert json.loads(protocol.encode(taken)) == frame | change


@settings(max_examples=1_500, deadline=None, database=None)
@given(st.text(max_size=200))
def test_text_that_is_no_frame_is_malformed(text: str) -> None:
    with pytest.raises(MalformedFrame):
        protocol.decode_client_frame(text)
