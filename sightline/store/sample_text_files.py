"""Files of sample texts, and of the vectors of what was asked.

They lie with what else is learned on a collection (`sightline.store.cascade_files`): so they appear whole,
what was begun before a purge is not kept, a purge takes all of them, and they go with their collection. All
may be lost or deleted at any time: a worker draws them again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from sightline.errors import CorruptionError
from sightline.store.cascade_files import SAMPLE, CascadeFiles, Learned
from sightline.store.sample_texts import SampleTexts, from_bytes, to_bytes

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_TEXTS: Final = "texts"
_QUERIES: Final = "queries"
"""Names in the place of a codec's: neither kind is of one."""


class SampleTextFiles:
    """The sets of an installation, beside the segments in ``segments``. Thread-safe, in any process."""

    def __init__(self, segments: Path) -> None:
        self._files = CascadeFiles(segments)

    def newest(self, fingerprint: str, collection_id: int) -> SampleTexts | None:
        """The set that was written last for a model and a collection; None when there is no sound one."""
        return self._newest(Learned(collection_id, fingerprint, _TEXTS))

    def queries(self, fingerprint: str, collection_id: int) -> SampleTexts | None:
        """Vectors of what was asked, all of origin `QUERIES`; ``images`` is of how many they are a sample."""
        return self._newest(Learned(collection_id, fingerprint, _QUERIES))

    def forget_queries(self, fingerprint: str, collection_id: int) -> None:
        """Nothing of what was asked is kept any more. `OSError`: the disk lets go of none."""
        of = Learned(collection_id, fingerprint, _QUERIES)
        for name in self._files.samples(of):
            self._files.drop_sample(of, name)

    def token(self, collection_id: int) -> str | None:
        """What a set must be begun under, before its texts are read; None: it cannot be had now."""
        return self._files.token(collection_id)

    def write(self, fingerprint: str, collection_id: int, token: str, texts: SampleTexts) -> bool:
        """Put a set in place of the last one.

        False, and nothing is kept: something was purged since ``token`` was given, or the collection is gone.
        `StorageError`: the disk does not take it.
        """
        return self._write(Learned(collection_id, fingerprint, _TEXTS), token, texts)

    def write_queries(self, fingerprint: str, collection_id: int, token: str, texts: SampleTexts) -> bool:
        """The same for what was asked."""
        return self._write(Learned(collection_id, fingerprint, _QUERIES), token, texts)

    def _write(self, of: Learned, token: str, texts: SampleTexts) -> bool:
        return self._files.add_sample(of, token, texts.id, to_bytes(texts), most=1)

    def _newest(self, of: Learned) -> SampleTexts | None:
        for name in self._files.samples(of):
            try:
                content = self._files.sample(of, name)
                if content is not None:
                    return from_bytes(content, name.removesuffix(SAMPLE))
            except (CorruptionError, OSError) as error:
                log.warning("%s", error)
        return None
