"""What the transport sees of TLS's records, on records of any size that come in any pieces."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from securechat import certificates
from securechat.serving.admission import Admission
from securechat.serving.tls import TLSContexts
from securechat.serving.transport import TLSTransport, _Records

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


@given(RECORDS.filter(lambda made: len(made) > 1), st.data())
def test_after_pieces_of_a_record_the_next_is_seen_again(made: list[bytes], data: st.DataObject) -> None:
    first, *others = made
    cut = data.draw(st.integers(1, len(first) - 1))
    records = _Records()

    assert not records.is_one(first[:cut])
    assert not records.is_one(first[cut:])
    assert all(records.is_one(one) for one in others)


class Hearing(asyncio.Protocol):
    """What speaks on a transport, as far as it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def makeConnection(self, transport: object) -> None:
        pass

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)


@pytest.mark.parametrize("last", [1, 5, 100, 16_000])
def test_a_record_that_comes_in_pieces_is_heard_whole(tmp_path: Path, settings: Settings, last: int) -> None:
    """Not in pieces as long as the last that came: one byte of it would be 16,000 calls."""
    settings.CERTS_DIR = str(tmp_path)
    certificates.init()
    hearing = Hearing()
    server = TLSTransport(
        Mock(buildProtocol=lambda _: hearing), Admission(), TLSContexts(certificates.files())
    )
    sent: list[bytes] = []
    loop = Mock(write=sent.append, is_closing=lambda: False, get_extra_info=lambda _: ("127.0.0.1", 1))
    server.connection_made(loop)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cafile=str(tmp_path / "root.crt")).wrap_bio(
        incoming, outgoing, server_hostname="localhost"
    )
    for _ in range(3):
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        if said := outgoing.read():
            server.data_received(said)
        incoming.write(b"".join(sent))
        sent.clear()

    client.write(b"x" * 16_000)
    record = outgoing.read()
    server.data_received(record[:-last])
    server.data_received(record[-last:])
    client.write(b"next")
    server.data_received(outgoing.read())

    assert hearing.heard == [b"x" * 16_000, b"next"]
