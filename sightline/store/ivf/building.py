"""From segments to a generation: learn or take what was learned, write parts, measure, write the manifest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from sightline.faultpoint import faultpoint
from sightline.store.index import BuiltIndex
from sightline.store.ivf.calibration import Calibration, calibrate, still_enough
from sightline.store.ivf.effort import Efforts
from sightline.store.ivf.growing import SharedPart, grow
from sightline.store.ivf.learning import divide, learn
from sightline.store.ivf.manifest import LearnedFiles, Manifest, NamedFile, write_manifest
from sightline.store.ivf.opening import open_index
from sightline.store.ivf.parts import Learning, write_part
from sightline.store.ivf.predictor import fit, write_predictor
from sightline.store.ivf.telling import told_of
from sightline.store.ivf.trained import write_trained
from sightline.store.ivf.truth import Truth
from sightline.store.living_images import Images

if TYPE_CHECKING:
    from sightline.store.index import BuildRequest
    from sightline.store.ivf.growing import Growth
    from sightline.store.ivf.predictor import CellScores
    from sightline.store.ivf.trained import Trained
    from sightline.store.segments import SegmentReader

PART_IMAGES: Final = 1 << 19
"""Most images of one part: what its lists take is in memory twice while it is written."""
ATTEMPTS: Final = 2
"""What finds too little is built again, with more texts and more tokens, before it is left at that."""


@dataclass(frozen=True)
class Building:
    """One build of one kind; removes what it wrote when it does not end well."""

    folder: Path
    kind: str
    reader: SegmentReader
    request: BuildRequest
    written: list[str] = field(default_factory=list)

    def run(self) -> BuiltIndex:
        """See `sightline.store.index.IndexBackend.build`."""
        with self._or_nothing():
            images = Images.living(self.reader, self.request.segments, self.request.dead)
            if not len(images):
                return self._publish(images, self._empty(images))
            growth = grow(self.folder, self.request, images)
            manifest = self._anew(images) if growth is None else self._grown(images, growth)
            return self._publish(images, manifest)

    @contextmanager
    def _or_nothing(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._remove()
            raise

    def _remove(self) -> None:
        for file in self.written:
            (self.folder / file).unlink(missing_ok=True)
        self.written.clear()

    def _empty(self, images: Images) -> Manifest:
        divide(self.request.texts, 0)
        truth = Truth.empty(0)
        return Manifest(self.kind, images.queries, images.dim, None, (), (), Efforts(()), 1.0, truth)

    def _anew(self, images: Images) -> Manifest:
        for attempt in range(ATTEMPTS):
            self._remove()
            texts = divide(self.request.texts, len(images), attempt)
            trained = learn(self.kind, images, texts)
            file = write_trained(self.folder, trained)
            self.written.append(file.file)
            faultpoint("ivf.trained")
            learning = Learning.begun(trained, images.queries)
            parts = self._written(images, trained, learning)
            learned = self._learned(NamedFile(*file), trained, learning.cells)
            draft = self._draft(images, learned, parts, learning.truth, Efforts(()))
            manifest = self._measured(images, draft)
            if manifest.recall >= self.request.recall_target:
                break
        return manifest

    def _grown(self, images: Images, growth: Growth) -> Manifest:
        new = self._written(growth.fresh, growth.trained, growth.learning) if len(growth.fresh) else []
        parts = [*growth.shared, *new]
        learned = self._learned(growth.named, growth.trained, growth.learning.cells)
        draft = self._draft(images, learned, parts, growth.learning.truth, growth.efforts)
        return self._measured(images, replace(draft, parameters=growth.told))

    def _written(self, images: Images, trained: Trained, learning: Learning) -> list[SharedPart]:
        parts = []
        for some in images.split(PART_IMAGES):
            file = write_part(self.folder, some, trained, learning)
            self.written.append(file.file)
            parts.append(SharedPart(NamedFile(*file, len(some)), np.zeros(len(some), np.bool_)))
            faultpoint("ivf.part")
        return parts

    def _learned(self, file: NamedFile, trained: Trained, cells: CellScores) -> LearnedFiles:
        """With the predictor, fitted to all tokens."""
        written = write_predictor(self.folder, self.kind, fit(cells, trained), cells)
        self.written.append(written.file)
        return LearnedFiles(file, NamedFile(*written))

    def _draft(
        self, images: Images, learned: LearnedFiles, parts: list[SharedPart], truth: Truth, efforts: Efforts
    ) -> Manifest:
        named, hidden = tuple(part.named for part in parts), tuple(part.hidden for part in parts)
        return Manifest(self.kind, images.queries, images.dim, learned, named, hidden, efforts, 1.0, truth)

    def _measured(self, images: Images, draft: Manifest) -> Manifest:
        index, trained = open_index(self.folder, draft, images.stored())
        texts, target = trained.held_out, self.request.recall_target
        known = still_enough(index, draft.truth, texts, target) if draft.efforts.measured else None
        found = calibrate(index, draft.truth, texts, target) if known is None else Calibration(known, None)
        told = told_of(self.request, trained, index, found, draft.parameters)
        recall = found.chosen[0].recall100
        return replace(draft, efforts=found.efforts, recall=recall, parameters=told)

    def _publish(self, images: Images, manifest: Manifest) -> BuiltIndex:
        file = write_manifest(self.folder, manifest)
        self.written.append(file.file)
        faultpoint("ivf.manifest")
        names = [one.file for one in manifest.files]
        size = file.bytes + sum(one.bytes for one in manifest.files)
        covered = tuple(segment.id for segment in self.request.segments)
        parameters = {**manifest.parameters, "kind": self.kind, "recall": manifest.recall, "files": names}
        return BuiltIndex(file.file, file.sha256, size, covered, len(images), manifest.recall, parameters)
