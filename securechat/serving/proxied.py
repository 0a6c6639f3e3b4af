"""Who is at the other end of a connection that a proxy passes on: the PROXY protocol, versions 1 and 2, of trusted proxies only.

The proxy passes the bytes on as they are, TLS and all, and says in front of them where they came from. From an address in
``TRUSTED_PROXIES`` that header has to come, as otherwise a browser behind a proxy that sends none could send its own; from
any other address nothing that somebody says of themselves is believed. https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias, cast

from django.conf import settings
from twisted.internet.address import IPv4Address as TCPv4
from twisted.internet.address import IPv6Address as TCPv6

from securechat.logs import refused
from securechat.serving.transport import Transport

Client: TypeAlias = "TCPv4 | TCPv6"
MakeTransport: TypeAlias = Callable[[], Transport]
Network: TypeAlias = "IPv4Network | IPv6Network"

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_MAX_V1_BYTES = 107  # The specification's own bound.
_MAX_V2_BYTES = 4096  # What is said beside the addresses is read over.
_V2_ADDRESSES = {0x11: ("!4s4sHH", TCPv4), 0x21: ("!16s16sHH", TCPv6)}
_V1_ADDRESSES = {b"TCP4": (4, TCPv4), b"TCP6": (6, TCPv6)}


class InvalidHeader(Exception):
    """Not the beginning of a connection that a proxy passes on."""


class UnknownProxy(Exception):
    """Says in one sentence which entry of ``TRUSTED_PROXIES`` is none."""


def trusted_networks() -> list[Network]:
    """Raises ``UnknownProxy``."""
    return [_network(text) for text in settings.TRUSTED_PROXIES]


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise UnknownProxy(
            f"TRUSTED_PROXIES: {text!r} is neither an address nor a network such as 10.0.0.0/24."
        ) from None


def as_proxies_say(make: MakeTransport) -> Callable[[], asyncio.Protocol]:
    """What reads the header and then makes the connection; where there are no proxies, what makes it."""
    networks = trusted_networks()
    return partial(ProxiedConnection, make, networks) if networks else make


class ProxiedConnection(asyncio.Protocol):
    """Silent until the header is there; then the connection begins as if the client had opened it."""

    def __init__(self, make: MakeTransport, networks: Sequence[Network]) -> None:
        self._make = make
        self._networks = networks
        self._header = b""
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if peer and self._trusts(peer[0]):
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(settings.HEADER_DEADLINE.total_seconds(), self._transport.abort)
        else:
            self._begin(None, b"")

    def data_received(self, data: bytes) -> None:
        self._header += data
        try:
            read = read_header(self._header)
        except InvalidHeader:
            refused("connection", "invalid_proxy_header")
            self._transport.abort()
            return
        if read is not None:
            client, length = read
            self._begin(client, self._header[length:])

    def connection_lost(self, error: Exception | None) -> None:
        self._forget_deadline()

    def _begin(self, client: Client | None, rest: bytes) -> None:
        self._forget_deadline()
        connection = self._make()
        connection.client = client
        self._transport.set_protocol(connection)
        connection.connection_made(self._transport)
        if rest and not self._transport.is_closing():
            connection.data_received(rest)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    def _trusts(self, host: str) -> bool:
        address = ip_address(host.partition("%")[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def read_header(data: bytes) -> tuple[Client | None, int] | None:
    """The client (None: the proxy itself speaks) and how long the header is; None while it is not all there."""
    if data.startswith(_SIGNATURE):
        return _read_v2(data)
    if data.startswith(b"PROXY "):
        return _read_v1(data)
    if _SIGNATURE.startswith(data) or b"PROXY ".startswith(data):
        return None
    raise InvalidHeader


def _read_v2(data: bytes) -> tuple[Client | None, int] | None:
    if len(data) < 16:
        return None
    version_and_command, family, length = struct.unpack_from("!BBH", data, 12)
    end = 16 + length
    if end > _MAX_V2_BYTES or version_and_command not in (0x20, 0x21):
        raise InvalidHeader
    if len(data) < end:
        return None
    if version_and_command == 0x20 or family not in _V2_ADDRESSES:
        return None, end
    form, kind = _V2_ADDRESSES[family]
    if length < struct.calcsize(form):
        raise InvalidHeader
    source, _, port, _ = struct.unpack_from(form, data, 16)
    return kind("TCP", str(ip_address(source)), port), end


def _read_v1(data: bytes) -> tuple[Client | None, int] | None:
    line, newline, _ = data[:_MAX_V1_BYTES].partition(b"\r\n")
    if not newline:
        if len(data) >= _MAX_V1_BYTES:
            raise InvalidHeader
        return None
    end = len(line) + 2
    match line.split(b" "):
        case [b"PROXY", b"UNKNOWN", *_]:
            return None, end
        case [b"PROXY", family, source, _, port, _] if family in _V1_ADDRESSES:
            return _client(family, source, port), end
    raise InvalidHeader


def _client(family: bytes, source: bytes, port: bytes) -> Client:
    version, kind = _V1_ADDRESSES[family]
    try:
        address, number = ip_address(source.decode("ascii")), int(port)
    except ValueError:
        raise InvalidHeader from None
    if address.version != version or not 0 <= number <= 65_535:
        raise InvalidHeader
    return kind("TCP", str(address), number)
