"""Every number and name that the HTTP side can be told. The roof maps its settings onto this dataclass."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ApiSettings:
    """The server, who may use it, and what it accepts."""

    host: str = "127.0.0.1"
    """The address to listen on; ``0.0.0.0`` for every network (set a key then)."""
    port: int = 8000
    """The TCP port; 0 takes a free one."""
    key: str | None = None
    """When set, all but /livez and /readyz needs ``Authorization: Bearer KEY`` (the page asks for it)."""
    cors_origins: tuple[str, ...] = ()
    """Web origins whose pages may call the API, such as ``https://example.org``; ``*`` for any."""
    root_path: str = ""
    """The prefix under which a reverse proxy serves this, such as ``/pictures``."""
    source_roots: tuple[str, ...] = ()
    """Folders (or URL prefixes) below which POST …/jobs may read; none: no server-side jobs over HTTP."""
    max_upload_bytes: int = 512 << 20
    """The largest upload request, all its files together."""
    max_upload_files: int = 1000
    """Files in one upload request."""
    max_body_bytes: int = 64 << 20
    """The largest request of any other kind (reranking carries pictures in its JSON)."""
    max_candidates: int = 1000
    """Candidates that one search may ask for: each costs one ITM pair."""
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
    write_seconds: float = 60.0
    """Likewise, so much of an answer must be read."""
    least_rate: int = 512
    """The slowest client that is waited for, in bytes per second."""
    idle_seconds: int = 5
    """How long a connection is kept for the next request."""
    max_uploads: int = 8
    """Upload requests that are received at once; more are told to come again."""
    max_followers: int = 200
    """Clients that follow the progress of jobs at once; more are told to come again."""
    event_seconds: float = 0.4
    """How often a job is looked at for those who follow its progress."""
    page_collection: str | None = None
    """The collection that the page opens with; the first one that has pictures when not given."""
    low_probability: float = 0.5
    """The page says that nothing matches when the best match probability is below this."""
