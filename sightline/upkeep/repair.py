"""Lost or damaged segments and generations made again, and lost images brought back. Searches go on.

Each segment is one transaction. What can be had of it is repaired, however much of the rest cannot (see
`sightline.upkeep.remaking`); nothing is dropped in silence, and a later repair, or indexing the source again,
brings lost images back once their originals are there, with captions and metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sightline.errors import SightlineError
from sightline.faultpoint import faultpoint
from sightline.store.durable import publish_or_remove

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.index import Indexes
    from sightline.store.records import Collection, Generation, Image, NewSegment, Segment
    from sightline.store.segments import SegmentReader
    from sightline.upkeep.remaking import Remade, Remaking

Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Repaired:
    """What became of one damaged segment (``file``), generation, or of images that were lost before.

    ``images``: how many are whole again. ``bare``: ids of those that are found as before, and whose patches
    need an original that is away now. ``lost``: ids of those that cannot be found any more. ``problem``: why
    something was left as it is, or what is lost. ``forgotten``: images whose features, of a model that does
    not serve, were given up: they are encoded again when they are needed.
    """

    collection: str
    file: str
    images: int
    problem: str | None = None
    bare: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    forgotten: int = 0


class Repair:
    """Makes again what `sightline.upkeep.consistency` complains about."""

    def __init__(
        self,
        catalog: Catalog,
        segments: SegmentReader,
        indexes: Indexes,
        remaking: Remaking,
        refold: Callable[[int], bool],
    ) -> None:
        self._catalog = catalog
        self._segments = segments
        self._indexes = indexes
        self._remaking = remaking
        self._refold = refold

    def run(self) -> Iterator[Repaired]:
        """Everything that is missing or not what was written, collection by collection; tells as it goes.

        Of deleted ones too: what lies in the trash is to answer the same when it is restored.
        """
        for collection in self._catalog.collections(trashed=True):
            yield from self._bring_back(collection)
            snapshot = self._catalog.snapshot_of(collection.id)
            for segment in [] if snapshot is None else snapshot.segments:
                if not self._remaking.is_sound(collection, segment):
                    yield _guarded(collection, segment.file, self._mend, segment)
            yield from self._fold(collection)
            for features in self._catalog.other_feature_sets(collection.id):
                yield from self._forget_damaged(collection, features.id)

    def _forget_damaged(self, collection: Collection, feature_set_id: int) -> Iterator[Repaired]:
        """Features of a model that does not serve: encoded again at the next need, and not before."""
        snapshot = self._catalog.snapshot_of_set(feature_set_id)
        if snapshot is None:
            return
        for segment in snapshot.segments:
            sound = self._remaking.is_sound(snapshot.collection, segment)
            if not sound and self._catalog.forget_features(collection.id, segment.id):
                self._segments.forget(segment.file)
                yield Repaired(collection.name, segment.file, 0, forgotten=segment.count)

    def _mend(self, collection: Collection, segment: Segment) -> Repaired:
        images = self._catalog.images_in_segment(segment.id)
        generation = self._generation_over(collection, segment)
        remade = self._remaking.remake(collection, segment, images, generation)
        if not remade.encoded and not remade.lost and (remade.bare or remade.unread):
            why = "None of its originals can be read now; its images are found as before. Repair again then."
            return Repaired(collection.name, segment.file, 0, why)
        lost = {key: why for key, (_, why) in remade.lost.items()}
        made = self._remaking.write(remade)
        replaced = publish_or_remove(
            self._segments.path(made[0]) if made else None,
            lambda: self._catalog.mend_segment(collection.id, segment.id, made, lost),
        )
        faultpoint("repair.published")
        if not replaced:
            for one in made[1:]:
                (self._segments.folder / one.file).unlink(missing_ok=True)
            problem = "Its images changed meanwhile; try again."
            return Repaired(collection.name, segment.file, 0, problem)
        self._segments.forget(segment.file)
        return _told(collection, segment.file, len(images), remade)

    def _generation_over(self, collection: Collection, segment: Segment) -> Generation | None:
        snapshot = self._catalog.snapshot_of(collection.id)
        generation = None if snapshot is None else snapshot.generation
        return generation if generation is not None and segment.id in generation.covered else None

    def _bring_back(self, collection: Collection) -> Iterator[Repaired]:
        """Lost images whose originals can be read again."""
        after = 0
        while images := self._catalog.lost_images(collection.id, after):
            after = images[-1].key
            yield _guarded(collection, "", self._bring_back_some, images)

    def _bring_back_some(self, collection: Collection, images: list[Image]) -> Repaired:
        remade = self._remaking.encode(collection, images)
        back = sum(self._publish_back(collection, made) for made in self._remaking.write(remade))
        return _told(collection, "", back + len(remade.lost), remade)

    def _publish_back(self, collection: Collection, made: NewSegment) -> int:
        keys: list[int] = []

        def publish() -> bool:
            keys.extend(self._catalog.bring_back(collection.id, made))
            return bool(keys)

        publish_or_remove(self._segments.path(made), publish)
        return len(keys)

    def _fold(self, collection: Collection) -> Iterator[Repaired]:
        """A generation that is missing or not what was built is built anew from the segments."""
        snapshot = self._catalog.snapshot_of(collection.id)
        serving = None if snapshot is None else snapshot.generation
        if serving is None or serving.kind not in self._indexes.backends:
            return
        if self._indexes.of(serving.kind).report(serving.file, serving.sha256).problem is None:
            return
        yield _guarded(collection, serving.file, self._fold_anew, serving)

    def _fold_anew(self, collection: Collection, generation: Generation) -> Repaired:
        snapshot = self._catalog.snapshot_of(collection.id) if self._refold(collection.id) else None
        if snapshot is None:
            problem = "Its collection changed meanwhile; try again."
            return Repaired(collection.name, generation.file, 0, problem)
        return Repaired(collection.name, generation.file, sum(one.count for one in snapshot.segments))


def _guarded(
    collection: Collection, file: str, repair: Callable[[Collection, Subject], Repaired], subject: Subject
) -> Repaired:
    """What one repair told, or what prevented it: the others go on."""
    try:
        return repair(collection, subject)
    except (SightlineError, OSError) as error:
        return Repaired(collection.name, file, 0, str(error))


def _told(collection: Collection, file: str, images: int, remade: Remade) -> Repaired:
    """What came of ``images`` that were to be made again."""
    bare = tuple(remade.bare)
    lost = [(image.image_id, why) for image, why in remade.lost.values()]
    whole = images - len(bare) - len(lost)
    problem = None
    if lost:
        first = f"{lost[0][0]}: {lost[0][1].rstrip('.')}"
        problem = f"{len(lost)} images cannot be found until their originals are there again ({first})."
    elif bare:
        problem = f"The patches of {len(bare)} images are gone until their originals are there again."
    return Repaired(collection.name, file, whole, problem, bare, tuple(name for name, _ in lost))
