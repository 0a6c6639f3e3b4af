"""What is a frame and what is not: docs/protocol.md section 7."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from accounts.wire import encode_base64url
from messaging import protocol
from messaging.errors import MalformedFrame

CONVERSATION = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
SECRET = "c2VjcmV0"


def valid() -> dict[str, Any]:
    return {
        "type": "envelope.send",
        "ref": 1,
        "conversation": CONVERSATION,
        "client_id": CONVERSATION,
        "epoch": 1,
        "envelope": SECRET,
    }


def test_the_frame_that_the_refused_ones_differ_from_is_accepted() -> None:
    frame = protocol.decode_client_frame(json.dumps(valid()))

    assert isinstance(frame, protocol.SendEnvelope)
    assert frame.envelope == b"secret"


@pytest.mark.parametrize(
    "change",
    [
        {"type": "envelope.sent"},
        {"type": None},
        {"ref": 0},
        {"ref": -1},
        {"ref": 2**53},
        {"ref": 1.0},
        {"ref": True},
        {"ref": "1"},
        {"ref": None},
        {"epoch": 0},
        {"conversation": CONVERSATION.upper()},
        {"conversation": CONVERSATION.replace("-", "")},
        {"conversation": "{" + CONVERSATION + "}"},
        {"conversation": 7},
        {"client_id": None},
        {"envelope": ""},
        {"envelope": "c2VjcmV0cw=="},
        {"envelope": "c2VjcmV0cx"},
        {"envelope": "c2Vj cmV0"},
        {"envelope": "+/+/"},
        {"envelope": "ä"},
        {"envelope": [SECRET]},
        {"extra": 1},
    ],
)
def test_a_wrong_field_makes_a_frame_malformed(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedFrame):
        protocol.decode_client_frame(json.dumps({**valid(), **change}))


@given(data=st.data())
def test_the_usual_form_of_a_message_is_read_as_any_other(data: st.DataObject) -> None:
    """What is written out for speed decides as the types do, whatever is done to a text."""
    text = json.dumps({**valid(), "ref": data.draw(st.integers(1, 2**53))}, separators=(",", ":"))
    at = data.draw(st.integers(0, len(text)))
    text = text[:at] + data.draw(st.text(max_size=2)) + text[at + data.draw(st.integers(0, 2)) :]

    short = protocol.sent_envelope(text.encode())

    if short is not None:
        assert short == _sent(protocol.decode_client_frame(text))


def test_the_browsers_form_of_a_message_takes_the_short_way() -> None:
    text = json.dumps(valid(), separators=(",", ":"))

    assert protocol.sent_envelope(text.encode()) == _sent(protocol.decode_client_frame(text))


def _sent(frame: protocol.ClientFrame) -> protocol.SentEnvelope:
    assert isinstance(frame, protocol.SendEnvelope)
    return protocol.SentEnvelope(
        frame.ref, frame.conversation.bytes, frame.client_id.bytes, frame.epoch, frame.envelope
    )


@given(
    st.integers(1, 2**53 - 1),
    st.uuids(),
    st.uuids(),
    st.integers(0, 2**53 - 1),
    st.binary(),
    st.integers(0, 1),
)
def test_what_leaves_for_every_message_is_what_its_types_say(
    n: int, conversation: UUID, client_id: UUID, stored_at: int, envelope: bytes, side: protocol.Side
) -> None:
    stored = protocol.EnvelopeStored(
        ref=n, conversation=conversation, client_id=client_id, n=n, stored_at=stored_at
    )
    row = protocol.Row(n=n, side=side, client_id=client_id, envelope=envelope, stored_at=stored_at)
    new = protocol.EnvelopeNew(conversation=conversation, row=row)

    ids = {"conversation": str(conversation), "client_id": str(client_id)}
    assert protocol.stored_text(ref=n, n=n, stored_at=stored_at, **ids) == protocol.encode(stored)
    assert protocol.new_text(
        n=n, side=side, envelope=envelope, stored_at=stored_at, **ids
    ) == protocol.encode(new)


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.integers(0, 2**53 - 1),
    st.integers(0, 2**53 - 1),
    st.lists(st.tuples(st.uuids(), st.sampled_from([True, False, None]))),
)
def test_a_welcome_is_what_its_type_says(
    name: str, server_time: int, requests: int, presence: list[tuple[UUID, bool | None]]
) -> None:
    text = protocol.welcome_text(name=name, server_time=server_time, requests=requests, presence=presence)

    items = tuple(protocol.PresenceItem(conversation=id_, online=online) for id_, online in presence)
    assert protocol.decode_server_frame(text) == protocol.Welcome(
        name=name, server_time=server_time, requests=requests, presence=items
    )


@pytest.mark.parametrize("field", ["type", "ref", "conversation", "client_id", "epoch", "envelope"])
def test_a_missing_field_makes_a_frame_malformed(field: str) -> None:
    frame = valid()
    del frame[field]

    with pytest.raises(MalformedFrame):
        protocol.decode_client_frame(json.dumps(frame))


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "7", '"ping"', "\ud800", "{}", None])
def test_what_is_not_an_object_is_malformed(text: str | None) -> None:
    with pytest.raises(MalformedFrame):
        protocol.decode_client_frame(text)


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_nothing_but_frames_and_refusals_comes_out(text: str) -> None:
    with pytest.raises(MalformedFrame):
        protocol.decode_client_frame(text)


def test_the_largest_envelope_is_accepted_and_one_byte_more_is_not() -> None:
    largest = {**valid(), "envelope": encode_base64url(bytes(settings.MAX_ENVELOPE_BYTES))}
    larger = {**valid(), "envelope": encode_base64url(bytes(settings.MAX_ENVELOPE_BYTES + 1))}

    assert protocol.decode_client_frame(json.dumps(largest))
    with pytest.raises(MalformedFrame):
        protocol.decode_client_frame(json.dumps(larger))


@pytest.mark.parametrize("count", [0, 51])
def test_a_look_up_asks_for_one_to_fifty(count: int) -> None:
    ids = [str(UUID(int=number)) for number in range(count)]
    frame = {"type": "envelopes.lookup", "ref": 1, "conversation": CONVERSATION, "client_ids": ids}

    with pytest.raises(MalformedFrame):
        protocol.decode_client_frame(json.dumps(frame))


@pytest.mark.parametrize(("field", "value"), [("limit", 0), ("limit", 51), ("n", -1), ("direction", "up")])
def test_a_page_of_history_has_bounds(field: str, value: object) -> None:
    frame = {
        "type": "history.get",
        "ref": 1,
        "conversation": CONVERSATION,
        "direction": "before",
        "n": 0,
        "limit": 50,
    }
    assert protocol.decode_client_frame(json.dumps(frame))

    with pytest.raises(MalformedFrame):
        protocol.decode_client_frame(json.dumps({**frame, field: value}))


def test_a_refusal_quotes_nothing_of_what_was_sent() -> None:
    with pytest.raises(MalformedFrame) as refused:
        protocol.decode_client_frame(json.dumps({**valid(), "epoch": "Secret!"}))

    assert "Secret!" not in repr(refused.value) + str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_bytes_travel_as_base64url_and_ids_as_text() -> None:
    row = protocol.Row(n=1, side=0, client_id=UUID(CONVERSATION), envelope=b"\xfb\xff", stored_at=5)

    text = protocol.encode(protocol.EnvelopeNew(conversation=UUID(CONVERSATION), row=row))

    assert json.loads(text) == {
        "type": "envelope.new",
        "conversation": CONVERSATION,
        "row": {"n": 1, "side": 0, "client_id": CONVERSATION, "envelope": "-_8", "stored_at": 5},
    }
    assert protocol.decode_server_frame(text) == protocol.EnvelopeNew(
        conversation=UUID(CONVERSATION), row=row
    )
