"""Which addresses may be connected to: those of the public internet, and networks that the operator names."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final

IPAddress = IPv4Address | IPv6Address

_REFUSED_V4: Final = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",  # public by its number, answered inside of one cloud only
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",  # multicast, reserved, broadcast
        ),
    )
)
"""IANA's special-purpose registry, written down: Python's ``is_global`` differs between versions."""
_PUBLIC_V6: Final = ip_network("2000::/3")
"""The only part of IPv6 that is given out for the public internet."""
_REFUSED_V6: Final = tuple(
    map(
        ip_network,
        (
            "2001::/23",  # Teredo, ORCHID, benchmarks
            "2001:db8::/32",
            "2002::/16",  # 6to4: an IPv4 address inside
            "2620:4f:8000::/48",
            "3ffe::/16",
            "3fff::/20",
        ),
    )
)
_NAT64: Final = ip_network("64:ff9b::/96")
"""What networks without IPv4 name public IPv4 hosts by: the address inside counts."""


class AddressPolicy:
    """Judges addresses. ``networks``: not public, and permitted all the same."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks = [ip_network(network) for network in networks]

    def permits(self, address: IPAddress) -> bool:
        """Whether one may connect to it."""
        if getattr(address, "scope_id", None) is not None:
            return False
        return any(address in network for network in self._networks) or is_public(address)


def is_public(address: IPAddress) -> bool:
    """Whether an address is one of the public internet, by IANA's registry and by Python's."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
        fine = address in _PUBLIC_V6 and not any(address in network for network in _REFUSED_V6)
        return fine and address.is_global
    return address.is_global and not any(address in network for network in _REFUSED_V4)
