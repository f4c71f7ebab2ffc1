"""Who counts as one client: by the address that a connection, or a proxy that is trusted, comes from."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

SITE_BITS = 64
"""An IPv6 customer has a network of addresses; all of it is one client."""


def read_ip(text: str) -> IPv4Address | IPv6Address | None:
    """An address as it is written, an IPv4 address inside of an IPv6 one as itself; None for what is none."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def client_of(text: str) -> str:
    """The client that this address is of: itself, or the network of an IPv6 address.

    What is no address (the peer of a Unix socket, what a proxy made up) is one client.

    >>> client_of("::ffff:192.0.2.1"), client_of("2001:db8::1%eth0")
    ('192.0.2.1', '2001:db8::/64')
    """
    address = read_ip(text.partition("%")[0])
    if address is None:
        return "unknown"
    if isinstance(address, IPv4Address):
        return str(address)
    return str(ip_network((int(address), SITE_BITS), strict=False))


def is_here(text: str) -> bool:
    """Whether what has this address, or listens on it, is this machine alone; a socket without one is."""
    address = read_ip(text.partition("%")[0])
    return address is None or address.is_loopback
