"""Caps on open connections, in all and for each address: who is over them is turned away before the TLS handshake."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address, ip_address
from typing import Any

from django.conf import settings
from twisted.internet.interfaces import IAddress
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory


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


class _Admitting(WrappingFactory[ProtocolWrapper]):
    admission: Admission

    def buildProtocol(self, address: IAddress | None) -> Any:
        """``None`` for who is over a limit: Twisted closes the connection without a word."""
        if not self.admission.admits(network_of(address.host)):  # type: ignore[union-attr]
            return None
        return super().buildProtocol(address)

    def registerProtocol(self, protocol: Any) -> None:
        """Counts once: a TLS connection registers twice, as itself and as the wrapper that it is."""
        if protocol not in self.protocols:
            protocol.network = network_of(protocol.getPeer().host)
            self.admission.enter(protocol.network)
        super().registerProtocol(protocol)

    def unregisterProtocol(self, protocol: Any) -> None:
        super().unregisterProtocol(protocol)
        self.admission.leave(protocol.network)


class AdmittingFactory(_Admitting):
    def __init__(self, admission: Admission, factory: object) -> None:
        super().__init__(factory)
        self.admission = admission


class AdmittingTLSFactory(_Admitting, TLSMemoryBIOFactory):
    def __init__(self, admission: Admission, contexts: object, factory: object) -> None:
        TLSMemoryBIOFactory.__init__(self, contexts, False, factory)
        self.admission = admission
