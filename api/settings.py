"""Every number and name that the HTTP side can be told. The roof maps its settings onto this dataclass."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.api.authority import PATTERN, read_origin
from sightline.errors import InputError


@dataclass(frozen=True)
class ApiSettings:
    """The server, who may use it, and what it accepts."""

    host: str = "127.0.0.1"
    """The address to listen on; ``0.0.0.0`` for every network. Beyond this machine it needs a key."""
    port: int = 8000
    """The TCP port; 0 takes a free one."""
    key: str | None = None
    """An admin's key: when set, all but /livez and /readyz needs a key (as does a catalog that has keys)."""
    key_attempts: str = "20/minute"
    """How many wrong keys may come from one address; 429 beyond."""
    session_seconds: int = 604_800
    """How long the page's cookie is good for, at most; no longer than its key."""
    insecure: bool = False
    """Serve other machines without a key all the same: whoever reaches the port may do everything."""
    allowed_hosts: tuple[str, ...] = ()
    """Names besides those of this machine that a server without a key answers to, such as
    ``pictures.example.org`` or ``*.example.org``; ``*`` for any. With a key it answers to every name.
    """
    cors_origins: tuple[str, ...] = ()
    """Web origins whose pages may call the API, such as ``https://example.org``; ``*`` for any. The address
    of a proxy that changes the ``Host`` header belongs here too.
    """
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    """Addresses and networks of reverse proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are
    believed, such as ``10.0.0.0/24``.
    """
    rate_per_key: str = "1200/minute"
    """Searches, reranks and queries of the page that one key may ask for; ten times as much of all else.
    Reads like ``20/second``; empty for no limit. Beyond it the answer is 429.
    """
    rate_per_address: str = "600/minute"
    """The same for one address (IPv6: for one /64), whatever keys come from it."""
    concurrent_per_client: int | None = None
    """Searches, reranks and queries of the page that one key (without one: one address) may have waiting for
    the model at once; a quarter of SIGHTLINE_SERVING__MAX_WAITING when not given, 0 for no limit.
    """
    show_details: bool = False
    """Tell every caller why something fails, with paths, hosts and addresses. Otherwise only those with the
    key, and on a server without one that only this machine reaches everybody, are told.
    """
    show_uris: bool = False
    """Show in answers where pictures came from (``uri``), and let filters ask for it. Otherwise ``uri`` holds
    the image id, but for uploads.
    """
    root_path: str = ""
    """The prefix under which a reverse proxy serves this, such as ``/pictures``."""
    models: tuple[str, ...] = ()
    """Models that requests may name besides the default one, ``demo`` and those of existing collections: hub
    ids, or ``owner/name@revision``. The hub is asked for no other.
    """
    source_roots: tuple[str, ...] = ()
    """Folders (or URL prefixes) below which POST …/jobs may read; none: no server-side jobs over HTTP."""
    max_upload_bytes: int = 512 << 20
    """The largest upload request, all its files together."""
    max_upload_files: int = 1000
    """Files in one upload request."""
    max_body_bytes: int = 64 << 20
    """The largest body that carries pictures in its JSON (/v1/rerank)."""
    max_json_bytes: int = 1 << 20
    """The largest body of any other kind, and all fields of an upload beside its files, together."""
    max_bodies_bytes: int = 256 << 20
    """All JSON bodies, files to ask with, and fields of uploads that are in memory at once; a request that
    brings more is answered 503.
    """
    max_answer_bytes: int = 16 << 20
    """Captions, texts and metadata that one answer repeats, in bytes: a list ends its page early, a search is
    refused (422; in the library and the command line InputError).
    """
    max_candidates: int = 1000
    """Candidates that one search may ask for: each costs one ITM pair."""
    max_batch_searches: int = 100
    """Searches of one batch (POST …/search/batch); each counts as one for the limits on how often."""
    max_batch_candidates: int = 10_000
    """Candidates that all searches of one batch may have ITM score, and hits that they may ask for, together.
    """
    max_documents: int = 1000
    """Documents of one /v1/rerank request."""
    max_document_pixels: int = 100_000_000
    """Pixels of all pictures that one /v1/rerank request brings, decoded."""
    max_connections: int | None = None
    """Connections that may be open; when not given, what the limit on open files (``ulimit -n``) leaves,
    4,096 at most. When all are in use, those that wait for their clients make room."""
    max_connections_per_address: int | None = None
    """Of these, from one address; half of them when not given. A proxy in front is one address."""
    max_header_bytes: int = 64 << 10
    """The address and the headers of one request, together."""
    header_seconds: float = 10.0
    """The header of a request must be here so long after its first byte."""
    body_seconds: float = 30.0
    """In each stretch of this length, a body that is not whole must bring ``least_rate`` bytes per second."""
    upload_seconds: float = 3600.0
    """A body must be whole after this time, however steadily it comes: it holds a place meanwhile."""
    write_seconds: float = 60.0
    """Likewise, so much of an answer must be read."""
    least_rate: int = 512
    """The slowest client that is waited for, in bytes per second."""
    idle_seconds: int = 5
    """How long a connection is kept for the next request."""
    max_uploads: int = 8
    """Upload requests that are received at once, half of them of one client; more are told to come again."""
    max_followers: int = 200
    """Clients that follow the progress of jobs, or a search as it is ordered, at once, a quarter of them of
    one key (without one: of one address); more are told to come again."""
    decoders: int = 2
    """Decode processes for the pictures of /v1/rerank requests; they start with the first picture."""
    document_seconds: float = 10.0
    """Processor time for decoding all pictures that one /v1/rerank request brings."""
    document_wait_seconds: float = 30.0
    """How long the pictures of one /v1/rerank request may take, waiting for a decoder included; then 503."""
    event_seconds: float = 0.4
    """How often a job is looked at for those who follow its progress."""
    page_collection: str | None = None
    """The collection that the page opens with; the first one that has pictures when not given."""
    low_probability: float = 0.5
    """The page says that nothing matches when the best match probability is below this."""

    def __post_init__(self) -> None:
        if self.concurrent_per_client is not None and self.concurrent_per_client < 0:
            raise InputError("SIGHTLINE_API__CONCURRENT_PER_CLIENT cannot be less than 0.")
        for name in self.allowed_hosts:
            if PATTERN.fullmatch(name) is None:
                raise InputError(
                    f"SIGHTLINE_API__ALLOWED_HOSTS: {name!r} is no name of a host; it reads like "
                    "'pictures.example.org' or '*.example.org', without scheme and port."
                )
        for origin in self.cors_origins:
            found = read_origin(origin)
            if origin != "*" and (found is None or origin != origin.lower()):
                raise InputError(
                    f"SIGHTLINE_API__CORS_ORIGINS: {origin!r} is no origin; it reads like "
                    "'https://example.org' or 'http://localhost:3000', in small letters and without a path."
                )
