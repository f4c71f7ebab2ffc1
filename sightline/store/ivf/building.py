"""From segments to a generation: learn, write parts, measure, write the manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sightline.faultpoint import faultpoint
from sightline.store.index import BuiltIndex
from sightline.store.ivf.calibration import Calibration, calibrate
from sightline.store.ivf.effort import Efforts
from sightline.store.ivf.images import Images
from sightline.store.ivf.learning import divide, learn
from sightline.store.ivf.manifest import Manifest, NamedFile, write_manifest
from sightline.store.ivf.opening import open_index
from sightline.store.ivf.parts import write_part
from sightline.store.ivf.trained import write_trained
from sightline.store.ivf.truth import Truth
from sightline.store.segment_tokens import SegmentTokens

if TYPE_CHECKING:
    from sightline.store.index import BuildRequest
    from sightline.store.segments import SegmentReader

PART_IMAGES: Final = 1 << 19
"""Most images of one part: what its lists take is in memory twice while it is written."""


@dataclass(frozen=True)
class Building:
    """One build of one kind; removes what it wrote when it does not end well."""

    folder: Path
    kind: str
    reader: SegmentReader
    request: BuildRequest

    def run(self) -> BuiltIndex:
        """See `sightline.store.index.IndexBackend.build`."""
        written: list[str] = []
        try:
            return self._run(written)
        except BaseException:
            for file in written:
                (self.folder / file).unlink(missing_ok=True)
            raise

    def _run(self, written: list[str]) -> BuiltIndex:
        request = self.request
        images = Images.living(self.reader, request.segments, request.dead)
        texts = divide(request.texts, len(images))
        assert request.texts is not None
        if not len(images):
            return self._publish(images, self._empty(images), written)
        trained = learn(self.kind, images, texts)
        file = write_trained(self.folder, trained)
        written.append(file.file)
        faultpoint("ivf.trained")
        truth, parts = Truth.empty(len(texts.held_out)), []
        for some in images.split(PART_IMAGES):
            part = write_part(self.folder, some, trained, truth)
            written.append(part.file)
            parts.append(NamedFile(*part, len(some)))
            faultpoint("ivf.part")
        hidden = tuple(np.zeros(part.images, np.bool_) for part in parts)
        told: dict[str, Any] = {}
        draft = Manifest(
            self.kind, images.queries, images.dim, NamedFile(*file), tuple(parts), hidden,
            Efforts(()), 1.0, truth, told,
        )  # fmt: skip
        return self._publish(images, self._measured(images, draft), written)

    def _empty(self, images: Images) -> Manifest:
        return Manifest(
            self.kind, images.queries, images.dim, None, (), (), Efforts(()), 1.0, Truth.empty(0), {}
        )

    def _measured(self, images: Images, draft: Manifest) -> Manifest:
        tokens = SegmentTokens(self.reader.folder, images.queries, images.dim)
        tokens.cover([], [(file, self.reader.head(file)) for file in images.files])
        index, trained = open_index(self.folder, draft, tokens)
        found = calibrate(index, draft.truth, trained.held_out, self.request.recall_target)
        recall = found.chosen[0].recall100
        parameters = self._told(found)
        return Manifest(
            draft.kind, draft.queries, draft.dim, draft.trained, draft.parts, draft.hidden,
            found.efforts, recall, draft.truth, parameters,
        )  # fmt: skip

    def _told(self, found: Calibration) -> dict[str, Any]:
        texts = self.request.texts
        best = found.chosen[0]
        return {
            "kind": self.kind,
            "recall": best.recall100,
            "recall10": best.recall10,
            "texts": None if texts is None else texts.id,
            "efforts": [
                {
                    "share": one.effort.share, "probes": one.effort.probes, "fetch": one.effort.fetch,
                    "recall100": one.recall100, "ms": one.milliseconds,
                }
                for one in found.chosen
            ],
            "curve": [
                {
                    "probes": one.effort.probes, "fetch": one.effort.fetch, "recall10": one.recall10,
                    "recall100": one.recall100, "ms": one.milliseconds,
                }
                for one in found.curve
            ],
        }  # fmt: skip

    def _publish(self, images: Images, manifest: Manifest, written: list[str]) -> BuiltIndex:
        file = write_manifest(self.folder, manifest)
        written.append(file.file)
        faultpoint("ivf.manifest")
        names = [one.file for one in manifest.files]
        size = file.bytes + sum(one.bytes for one in manifest.files)
        covered = tuple(segment.id for segment in self.request.segments)
        parameters = {**manifest.parameters, "files": names}
        return BuiltIndex(file.file, file.sha256, size, covered, len(images), manifest.recall, parameters)
