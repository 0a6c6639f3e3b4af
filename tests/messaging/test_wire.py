"""The server reads of an envelope, a record and a head exactly what it needs, and takes nothing that is not of that form."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from messaging import wire
from messaging.errors import MalformedFrame
from tests.messaging.make_objects import Tab, encoded


@pytest.fixture
def tab() -> Tab:
    return Tab(uuid4(), Ed25519PrivateKey.generate())


def test_an_envelope_says_where_it_belongs(tab: Tab) -> None:
    client_id = uuid4()

    header = wire.parse_envelope(tab.envelope(client_id))

    assert (header.conversation, header.client_id, header.epoch) == (
        tab.conversation.bytes,
        client_id.bytes,
        1,
    )
    assert (header.device, header.writer, header.seq, header.prev) == (tab.device, tab.writer, 1, bytes(32))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("version", True),
        ("suite", 1),
        ("conversation", bytes(15)),
        ("epoch", -1),
        ("epoch", 0),
        ("epoch", 2**53),
        ("epoch", 1.0),
        ("epoch", True),
        ("epoch_hash", bytes(31)),
        ("device", bytes(17)),
        ("client_id", "x" * 16),
        ("writer", b""),
        ("seq", None),
        ("seq", 0),
        ("vault_version", 0),
        ("prev", bytes(33)),
        ("head_n", "1"),
        ("own", [1]),
        ("peer", [1, bytes(32), 3]),
        ("vault_version", b"1"),
        ("commitment", b""),
    ],
)
def test_a_header_of_another_form_is_refused(tab: Tab, field: str, value: Any) -> None:
    with pytest.raises(MalformedFrame):
        wire.parse_envelope(tab.envelope(uuid4(), **{field: value}))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw + b"\0",
        lambda raw: raw[:-1],
        lambda raw: b"",
        lambda raw: b"\x98\x04" + raw[1:],
        lambda raw: b"\x9f" + raw[1:] + b"\xff",
        lambda raw: b"\xd9\xd9\xf7" + raw,
        lambda raw: encoded([*cbor2.loads(raw), 0]),
        lambda raw: b"\x9b" + b"\xff" * 8,
        lambda raw: b"\x81" * 60_000,
    ],
    ids=["longer", "shorter", "empty", "long length", "indefinite", "tag", "one item more", "huge", "deep"],
)
def test_only_deterministic_cbor_is_read(tab: Tab, spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(MalformedFrame):
        wire.parse_envelope(spoil(tab.envelope(uuid4())))


@given(st.data())
def test_the_short_way_through_an_envelope_says_what_the_long_one_says(data: st.DataObject) -> None:
    tab = Tab(
        uuid4(), Ed25519PrivateKey.generate(), epoch=data.draw(st.sampled_from([1, 23, 24, 255, 256, 70_000]))
    )
    tab.seq = data.draw(st.integers(0, 2**32 - 2))
    envelope = bytearray(tab.envelope(uuid4(), length=data.draw(st.sampled_from([24, 100, 255, 256, 3_000]))))
    assert wire._usual_envelope(bytes(envelope)) == wire._any_envelope(bytes(envelope)) is not None
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, min(len(envelope) - 1, 480)) | st.integers(0, len(envelope) - 1))
        envelope[place] = data.draw(st.integers(0, 255))

    short = wire._usual_envelope(bytes(envelope))

    if short is not None:
        assert short == wire._any_envelope(bytes(envelope))


@pytest.mark.parametrize("number", [0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**53 - 1, 2**53])
def test_the_short_way_takes_integers_in_their_shortest_form_only(tab: Tab, number: int) -> None:
    for field in ("epoch", "seq", "head_n", "vault_version"):
        envelope = tab.envelope(uuid4(), **{field: number})
        try:
            long = wire._any_envelope(envelope)
        except MalformedFrame:
            long = None
        assert wire._usual_envelope(envelope) in ((long, None) if number >= 2**32 else (long,))


@pytest.mark.parametrize(
    ("shortest", "longer"),
    [(b"\x18\x18", b"\x19\x00\x18"), (b"\x18\x18", b"\x1a\x00\x00\x00\x18"), (b"\x17", b"\x18\x17")],
)
def test_a_longer_form_of_an_integer_is_refused(tab: Tab, shortest: bytes, longer: bytes) -> None:
    header, *rest = cbor2.loads(tab.envelope(uuid4(), epoch=24 if len(shortest) == 2 else 23))
    place = 3 + 17  # After the two versions and the conversation.
    assert header.startswith(shortest, place)
    longer_header = header[:place] + longer + header[place + len(shortest) :]

    with pytest.raises(MalformedFrame):
        wire.parse_envelope(cbor2.dumps([longer_header, *rest]))


def test_an_epoch_record_says_where_it_belongs(tab: Tab) -> None:
    prev = os.urandom(32)

    body = wire.parse_epoch_record(tab.record(3, prev=prev))

    assert body == wire.EpochBody(tab.conversation, 3, prev, tab.device)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("member_0", [bytes(32), 1, 2]),
        ("member_1", [bytes(31), 1, 2, bytes(32)]),
        ("prev", b""),
        ("log_n", -1),
    ],
)
def test_a_record_of_another_form_is_refused(tab: Tab, field: str, value: Any) -> None:
    with pytest.raises(MalformedFrame):
        wire.parse_epoch_record(tab.record(1, **{field: value}))


def test_a_head_says_what_was_checked(tab: Tab) -> None:
    log_hash = os.urandom(32)

    body = wire.parse_head(tab.head(5, log_hash, epoch=3))
    assert body == wire.HeadBody(tab.conversation, 5, log_hash, tab.device, 3)
    for changes in ({"vault_version": "1"}, {"epoch": 0}, {"read": bytes(38)}, {"read": [1, 2]}):
        with pytest.raises(MalformedFrame):
            wire.parse_head(tab.head(5, log_hash, **changes))


@given(st.binary(max_size=200))
def test_whatever_arrives_is_refused_and_nothing_else_happens(raw: bytes) -> None:
    for parse in (wire.parse_envelope, wire.parse_epoch_record, wire.parse_head):
        with pytest.raises(MalformedFrame):
            parse(raw)


def test_the_log_binds_position_order_and_conversation() -> None:
    one, other = uuid4(), uuid4()
    start = wire.first_log_hash(one)

    assert wire.first_log_hash(other) != start
    assert wire.next_log_hash(start, 1, bytes(32)) != wire.next_log_hash(start, 2, bytes(32))
