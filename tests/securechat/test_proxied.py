"""Behind a proxy, from outside: what it says of a client is believed of it alone, and has to be said."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPResponse
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings
from websockets.asyncio.client import connect

from securechat.serving.proxied import InvalidHeader, UnknownProxy, read_header, trusted_networks
from tests.securechat.test_guards import Echo, certs, running_echo
from tests.securechat.test_serve import wait_until

__all__ = ["certs"]

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
PROXY, LOCAL = 0x21, 0x20


def version_1(client: str) -> bytes:
    family = "TCP6" if ":" in client else "TCP4"
    here = "::1" if ":" in client else "127.0.0.1"
    return f"PROXY {family} {client} {here} 50000 443\r\n".encode()


def version_2(client: str, *, command: int = PROXY, more: bytes = b"") -> bytes:
    source = ip_address(client).packed
    addresses = source + bytes(len(source)) + struct.pack("!HH", 50_000, 443) + more
    family = 0x11 if len(source) == 4 else 0x21
    return SIGNATURE + struct.pack("!BBH", command, family, len(addresses)) + addresses


@pytest.fixture(scope="module")
def proxied(certs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Echo]:
    """127.0.0.1 is a proxy of its, 127.0.0.2 is not."""
    folder = tmp_path_factory.mktemp("proxied")
    with running_echo(certs, folder, TRUSTED_PROXIES="127.0.0.1") as echo:
        yield echo


@contextmanager
def tunnel(echo: Echo, header: bytes, *, source: str = "127.0.0.1") -> Iterator[ssl.SSLSocket]:
    plain = socket.create_connection(("127.0.0.1", echo.port), timeout=15, source_address=(source, 0))
    with closing(plain):
        plain.sendall(header)
        with echo.trust.wrap_socket(plain, server_hostname="localhost") as through:
            yield through


def address_seen(echo: Echo, header: bytes, *, source: str = "127.0.0.1", headers: str = "") -> str:
    with tunnel(echo, header, source=source) as through:
        through.sendall(f"GET /address HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
        return answer_on(through)


def answer_on(through: ssl.SSLSocket) -> str:
    response = HTTPResponse(through)
    response.begin()
    with closing(response):
        return response.read().decode()


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (version_1("192.0.2.7"), "192.0.2.7"),
        (version_1("2001:db8::7"), "2001:db8::7"),
        (version_2("192.0.2.7"), "192.0.2.7"),
        (version_2("2001:db8::7"), "2001:db8::7"),
        (version_2("192.0.2.7", more=b"\x04\0\x03abc"), "192.0.2.7"),
    ],
)
def test_a_proxy_says_who_the_client_is(proxied: Echo, header: bytes, client: str) -> None:
    assert address_seen(proxied, header) == client
    with tunnel(proxied, header) as through:  # What is left to shake hands for is the WebSocket.
        through.sendall(
            b"GET /ws/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert through.recv(10_000).startswith(b"HTTP/1.1 101 ")
        through.sendall(b"\x81\x87\0\0\0\0address")
        assert through.recv(10_000)[2:].decode() == client


@pytest.mark.parametrize("header", [version_2("192.0.2.7", command=LOCAL), b"PROXY UNKNOWN\r\n"])
def test_a_proxy_that_speaks_for_itself_is_itself(proxied: Echo, header: bytes) -> None:
    assert address_seen(proxied, header) == "127.0.0.1"


@pytest.mark.parametrize("header", [version_1("192.0.2.7"), version_2("192.0.2.7")])
def test_a_header_may_come_in_pieces(proxied: Echo, header: bytes) -> None:
    plain = socket.create_connection(("127.0.0.1", proxied.port), timeout=15)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with closing(plain):
        for byte in header:
            plain.sendall(bytes([byte]))
        with proxied.trust.wrap_socket(plain, server_hostname="localhost") as through:
            through.sendall(b"GET /address HTTP/1.1\r\nHost: localhost\r\n\r\n")

            assert answer_on(through) == "192.0.2.7"


@pytest.mark.parametrize("header", [version_1("192.0.2.7"), version_2("192.0.2.7")])
def test_nobody_else_is_believed(proxied: Echo, header: bytes) -> None:
    assert not is_served(proxied, header, source="127.0.0.2")
    assert address_seen(proxied, b"", source="127.0.0.2") == "127.0.0.2"


def test_what_a_header_of_http_says_is_never_believed(proxied: Echo) -> None:
    said = "X-Forwarded-For: 198.51.100.1\r\nForwarded: for=198.51.100.1\r\nX-Real-IP: 198.51.100.1\r\n"

    assert address_seen(proxied, version_2("192.0.2.7"), headers=said) == "192.0.2.7"


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"PROXY TCP4 192.0.2.7\r\n",
        b"PROXY TCP4 2001:db8::7 ::1 50000 443\r\n",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 99999 443\r\n",
        b"PROXY TCP4 " + b"1" * 107,
        SIGNATURE + struct.pack("!BBH", 0x31, 0x11, 12) + bytes(12),
        SIGNATURE + struct.pack("!BBH", PROXY, 0x11, 4) + bytes(4),
        SIGNATURE + struct.pack("!BBH", PROXY, 0x11, 65_535),
    ],
)
def test_a_proxy_that_does_not_say_it_is_hung_up_on(proxied: Echo, header: bytes) -> None:
    assert not is_served(proxied, header)

    assert proxied.refusals()[-1] == "invalid_proxy_header"


def test_a_header_that_does_not_come_ends_at_the_deadline(proxied: Echo) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", proxied.port), timeout=20) as silent:
        silent.sendall(b"PROXY ")
        assert silent.recv(1) == b""

    assert 9 < time.monotonic() - began < 14


def test_caps_are_for_each_client_and_not_for_the_proxy(certs: Path, tmp_path: Path) -> None:
    with running_echo(certs, tmp_path, TRUSTED_PROXIES="127.0.0.0/30", MAX_CONNECTIONS_PER_ADDRESS=1) as echo:
        with tunnel(echo, version_2("192.0.2.1")), tunnel(echo, version_2("192.0.2.2")):
            assert not is_served(echo, version_1("192.0.2.1"))

        wait_until(lambda: is_served(echo, version_1("192.0.2.1")))


def is_served(echo: Echo, header: bytes, *, source: str = "127.0.0.1") -> bool:
    """Whether a handshake begins: the first byte that comes back is that of a record with one."""
    with socket.create_connection(("127.0.0.1", echo.port), timeout=15, source_address=(source, 0)) as plain:
        try:
            plain.sendall(header + client_hello(echo))
            return plain.recv(1) == b"\x16"
        except ConnectionError:
            return False


def client_hello(echo: Echo) -> bytes:
    sent = ssl.MemoryBIO()
    connection = echo.trust.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return sent.read()


async def test_without_trusted_proxies_a_header_is_no_beginning(certs: Path, tmp_path: Path) -> None:
    with running_echo(certs, tmp_path) as echo:
        assert not is_served(echo, version_2("192.0.2.7"))
        async with connect(f"wss://localhost:{echo.port}/ws/", ssl=echo.trust) as client:
            await client.send("address")
            assert await asyncio.wait_for(client.recv(), 10) == "127.0.0.1"


def test_an_entry_that_is_no_network_is_one_sentence(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/24", "proxy.example"]

    with pytest.raises(UnknownProxy, match=r"^TRUSTED_PROXIES: 'proxy\.example' is neither an address"):
        trusted_networks()


@given(st.ip_addresses(), st.binary(max_size=40), st.booleans())
def test_a_header_is_read_when_it_is_all_there_and_not_a_byte_further(
    client: object, rest: bytes, second: bool
) -> None:
    header = (version_2 if second else version_1)(str(client))

    for length in range(1, len(header)):
        assert read_header(header[:length]) is None
    read = read_header(header + rest)
    assert read is not None
    assert read[0] is not None
    assert (ip_address(read[0].host), read[1]) == (client, len(header))


@given(st.binary(max_size=200), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE]))
def test_whatever_comes_is_a_header_or_refused(data: bytes, beginning: bytes) -> None:
    try:
        read = read_header(beginning + data)
    except InvalidHeader:
        return
    assert read is None or 0 < read[1] <= len(beginning + data)
