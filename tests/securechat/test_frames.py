"""The short way for whole text frames, against the parser that decides about all others."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from securechat.serving.frames import take_text, text_frame

LIMIT = 70_000


def masked(text: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    return Frame(opcode, text, fin).serialize(mask=True)


@given(st.text(max_size=300), st.binary(max_size=20), st.binary(max_size=20))
def test_a_whole_text_is_taken_and_what_follows_is_left(text: str, before: bytes, after: bytes) -> None:
    frame = masked(text.encode())

    assert take_text(before + frame + after, len(before), LIMIT) == (text.encode(), len(before) + len(frame))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535])
def test_every_length_up_to_the_one_that_needs_eight_bytes(size: int) -> None:
    payload = b"x" * size

    assert take_text(masked(payload), 0, LIMIT) == (payload, len(masked(payload)))


@pytest.mark.parametrize(
    "frame",
    [
        masked(b"a", Opcode.BINARY),
        masked(b"a", Opcode.PING),
        masked(b"\x03\xe8", Opcode.CLOSE),
        masked(b"a", Opcode.CONT),
        masked(b"a", fin=False),
        Frame(Opcode.TEXT, b"a").serialize(mask=False),
        b"\xc1" + masked(b"a")[1:],
        b"\x81\xfe\x00\x05" + masked(b"hello")[2:],
        b"\x81\xff\0\0\0\0\0\0\0\x05" + masked(b"hello")[2:],
        masked(b"x" * 65_536),
        masked(b"x" * 101),
    ],
    ids=[
        "binary",
        "ping",
        "close",
        "continuation",
        "begun",
        "unmasked",
        "reserved-bit",
        "long-2",
        "long-8",
        "8-bytes",
        "large",
    ],
)
def test_anything_else_is_left(frame: bytes) -> None:
    assert take_text(frame, 0, 100) is None


def test_half_a_frame_is_left() -> None:
    frame = masked(b"x" * 300)

    assert all(take_text(frame[:end], 0, LIMIT) is None for end in range(len(frame)))


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_frame_of_ours_is_what_others_read(size: int) -> None:
    payload = os.urandom(size)
    reader = StreamReader()
    reader.feed_data(text_frame(payload))

    parsing = Frame.parse(reader.read_exact, mask=False, max_size=None)
    with pytest.raises(StopIteration) as parsed:
        next(parsing)
    assert parsed.value.value == Frame(Opcode.TEXT, payload)
