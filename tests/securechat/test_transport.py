"""What the transport sees of TLS's records, on records of any size that come in any pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from securechat.serving.transport import _Records

RECORDS = st.lists(
    st.binary(max_size=300).map(lambda content: b"\x17\x03\x03" + len(content).to_bytes(2, "big") + content),
    max_size=6,
)


@given(RECORDS, st.data())
def test_a_piece_is_one_record_only_where_it_is(made: list[bytes], data: st.DataObject) -> None:
    stream, starts = b"".join(made), {sum(map(len, made[:index])): one for index, one in enumerate(made)}
    cuts = sorted(data.draw(st.sets(st.one_of(st.sampled_from([*starts, 0]), st.integers(0, len(stream))))))
    records = _Records()

    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        if begin < end and records.is_one(stream[begin:end]):
            assert starts[begin] == stream[begin:end]


@given(RECORDS.filter(bool))
def test_records_that_come_one_by_one_are_each_seen(made: list[bytes]) -> None:
    records = _Records()

    assert all(records.is_one(one) for one in made)


@given(RECORDS.filter(lambda made: len(made) > 1), st.integers(6, 300))
def test_after_pieces_of_a_record_the_next_is_seen_again(made: list[bytes], cut: int) -> None:
    first, *others = made
    records = _Records()
    pieces = [first[: max(5, cut % len(first))], first[max(5, cut % len(first)) :]]

    assert not any(records.is_one(piece) for piece in pieces if piece != first and piece)
    assert all(records.is_one(one) for one in others)
