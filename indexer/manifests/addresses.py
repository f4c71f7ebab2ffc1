"""What the column ``uri`` of a manifest may say, and which file it means."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sightline.fetching.schemes import is_web
from sightline.indexer.files import absolute, local_path, local_uri, readable, scheme_of
from sightline.indexer.roots import ANYWHERE, ARCHIVE_MARK, Roots, climbs

Fetch = Callable[[str], bytes]
"""The bytes of a picture on the web; raises ImageRejected."""
NOT_FETCHED: Final = "Pictures on the web are not fetched here; SIGHTLINE_FETCH__ENABLED=true turns it on."
BUCKETS: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci"})
"""Schemes whose hosts the operator's configuration names. A manifest may be another's: with any other scheme
it could name hosts of the inner network."""
_LEADING_DOTS: Final = re.compile(r"^(\.\./)+")


@dataclass(frozen=True)
class Address:
    """The image id that a row gets when it names none, and the absolute address of its picture."""

    image_id: str
    uri: str


class Addresses:
    """Resolves addresses against the folder of a manifest.

    ``read`` gives the bytes at an absolute one, ``fetch`` those at one on the web. ``roots``: below which the
    manifest itself is read; its rows are checked one by one later.
    """

    def __init__(
        self,
        folder: str,
        read: Callable[[str], bytes],
        *,
        allow_remote: bool = False,
        fetch: Fetch | None = None,
        roots: Roots = ANYWHERE,
    ) -> None:
        self._folder = folder
        self._read = read
        self.roots = roots
        self._allow_remote = allow_remote
        self._fetch = fetch

    def read(self, uri: str) -> bytes:
        """The bytes at an absolute address. Raises ImageRejected."""
        return self._fetch(uri) if self._fetch is not None and is_web(uri) else self._read(uri)

    def resolve(self, raw: str) -> Address:
        """Raises ValueError with a sentence for what cannot be an address here."""
        if "\0" in raw:
            raise ValueError("its address contains a NUL")
        if is_web(raw):
            return self._on_the_web(raw)
        scheme = scheme_of(raw)
        if raw.startswith("blob:"):
            raise ValueError("its address names a stored original; those are not sources")
        if scheme not in (None, "file"):
            return self._remote(raw, scheme)
        if climbs(raw.partition(ARCHIVE_MARK)[2]):
            raise ValueError("its address climbs with '..' after '!/'")
        path, mark, member = self._split(raw)
        if scheme == "file":
            path = local_path(path)
        return Address(
            self._name(path) + mark + member, local_uri(absolute(path, self._folder)) + mark + member
        )

    def _split(self, raw: str) -> tuple[str, str, str]:
        """Archive, mark and member; a folder may carry the mark in its name, and then nothing is split."""
        if (
            ARCHIVE_MARK in raw
            and scheme_of(raw) is None
            and os.path.lexists(os.path.join(self._folder, raw))
        ):
            return raw, "", ""
        return raw.partition(ARCHIVE_MARK)

    def _name(self, path: str) -> str:
        """The path relative to the manifest, unless an absolute one leads elsewhere.

        Leading ``..`` are left out: no client would send them back as a part of a URL.
        """
        if not os.path.isabs(path):
            return readable(_LEADING_DOTS.sub("", os.path.normpath(path)))
        relative = os.path.relpath(path, self._folder)
        return readable(os.path.normpath(path) if relative.startswith("..") else relative)

    def _on_the_web(self, raw: str) -> Address:
        if not self._allow_remote:
            raise ValueError("its address is on the web, and so not below what may be read here")
        if self._fetch is None:
            raise ValueError("its address is on the web, which SIGHTLINE_FETCH__ENABLED=true lets be fetched")
        return Address(raw, raw)

    def _remote(self, raw: str, scheme: str | None) -> Address:
        if not self._allow_remote:
            raise ValueError("its address is remote; remote pictures are not fetched")
        if scheme not in BUCKETS:
            raise ValueError("its address is remote and not of a store of objects; it is not read")
        return Address(raw, raw)
