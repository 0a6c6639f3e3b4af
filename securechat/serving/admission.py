"""Caps on open connections, in all and for each address: who is over them is turned away before the TLS handshake."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address, ip_address

from django.conf import settings


class Admission:
    """Counts for all ports of this process together. A limit of 0 is none."""

    def __init__(self) -> None:
        self._from = Counter[str]()

    def admits(self, network: str) -> bool:
        """Whether one more may come."""
        return not (
            0 < settings.MAX_CONNECTIONS <= self._from.total()
            or 0 < settings.MAX_CONNECTIONS_PER_ADDRESS <= self._from[network]
        )

    def enter(self, network: str) -> None:
        self._from[network] += 1

    def leave(self, network: str) -> None:
        self._from[network] -= 1
        if not self._from[network]:
            del self._from[network]


def network_of(host: str) -> str:
    """An IPv4 address, also when it comes as IPv6; of IPv6 the /64 that one household or machine has."""
    address = ip_address(host.partition("%")[0])
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return address.packed[:8].hex()
