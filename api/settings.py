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
    """The largest request of any other kind (reranking carries pictures in its JSON)."""
    max_candidates: int = 1000
    """Candidates that one search may ask for: each costs one ITM pair."""
    max_documents: int = 1000
    """Documents of one /v1/rerank request."""
    max_document_pixels: int = 100_000_000
    """Pixels of all pictures that one /v1/rerank request brings, decoded."""
    event_seconds: float = 0.4
    """How often a job is looked at for those who follow its progress."""
    page_collection: str | None = None
    """The collection that the page opens with; the first one that has pictures when not given."""
    low_probability: float = 0.5
    """The page says that nothing matches when the best match probability is below this."""
