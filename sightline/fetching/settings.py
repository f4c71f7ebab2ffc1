"""What may be fetched from the web, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from ipaddress import ip_network

from sightline.errors import InputError


@dataclass(frozen=True)
class FetchSettings:
    """Pictures from the web, as sources and as documents to rerank. Off by default."""

    enabled: bool = False
    """Fetch pictures from the web: URLs as sources, in manifests, and as documents of /v1/rerank."""
    http: bool = False
    """Plain ``http://`` too. Whoever is on the way may then read and replace what is fetched."""
    ports: tuple[int, ...] = ()
    """Ports besides those of the schemes (443, and 80 for ``http://``)."""
    allowed_hosts: tuple[str, ...] = ()
    """Only these hosts: ``example.org``, or ``*.example.org`` for all below it; any when empty."""
    allowed_networks: tuple[str, ...] = ()
    """Networks that are not public and may be fetched from all the same, such as ``10.1.2.0/24``."""
    max_bytes: int = 64 << 20
    """Bytes of one picture."""
    seconds: float = 30.0
    """Wall clock of one picture, redirects and all."""
    idle_seconds: float = 10.0
    """How long a server may be silent."""
    max_redirects: int = 5
    """Redirects that are followed for one picture; each is checked as the first address was."""
    connections: int = 8
    """Connections at once for jobs, as many for requests, and requests that may fetch at once."""
    host_connections: int = 2
    """Of these, connections to one host."""
    max_documents: int = 16
    """Documents of one /v1/rerank request that may be URLs."""
    documents_bytes: int = 64 << 20
    """Bytes of all pictures that are fetched for one /v1/rerank request."""
    documents_seconds: float = 30.0
    """Wall clock for fetching all of them."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and value < 0:
                raise InputError(f"SIGHTLINE_FETCH__{field.name.upper()} cannot be less than 0.")
        for network in self.allowed_networks:
            try:
                ip_network(network)
            except ValueError as error:
                raise InputError(
                    f"SIGHTLINE_FETCH__ALLOWED_NETWORKS names {network!r:.60}, which is no network like "
                    "10.1.2.0/24."
                ) from error
