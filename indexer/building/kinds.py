"""Which kind of index a collection is to have: what was asked for, what fits its size, what finds enough.

What a build taught is kept with the generation that came of it (``parameters["choice"]``): which kinds were
refused, at how many images and with which sample texts. They are tried again when the images have doubled, or
with other texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from sightline.store.records import AUTO, CHOICE, EXACT, FLAT, IVF_RABITQ, IVF_SQ8, choice_of

if TYPE_CHECKING:
    from sightline.indexer.settings import IndexSettings
    from sightline.store.catalog import Catalog
    from sightline.store.index import Indexes
    from sightline.store.records import Generation, Snapshot
    from sightline.store.sample_texts import SampleTexts

KEPT_TOKENS: Final = 10
"""Tokens of an image that an approximate index keeps, before one has said it: 6 to 11 were measured."""
LOOK_SECONDS: Final = 30.0
"""How often sample texts are looked for that nobody needs yet."""


class TextSource(Protocol):
    """Where sample texts come from."""

    def newest(self, fingerprint: str, collection_id: int) -> SampleTexts | None:
        """The latest of a collection, in the model with this fingerprint; None when there are none."""
        ...


class NoTexts:
    """Where nobody writes any."""

    def newest(self, fingerprint: str, collection_id: int) -> SampleTexts | None:
        """None."""
        return None


@dataclass(frozen=True)
class Wish:
    """Kinds to build, the best first; the last one is taken whatever it finds.

    ``target``: the recall that the others must have. ``choice``: what is to be kept of it.
    """

    kinds: tuple[str, ...]
    why: str
    target: float = 0.0
    texts: SampleTexts | None = None
    choice: Mapping[str, Any] = field(default_factory=dict)

    def kept(self, refused: Mapping[str, float | None]) -> dict[str, Any]:
        """The choice with what was refused now (kind → recall; None: it could not be built)."""
        together = {**self.choice.get("refused", {}), **refused}
        why = _refusal(together, self.target) if together else self.why
        return {CHOICE: {**self.choice, "why": why, "refused": together}}


class Kinds:
    """What to build. ``monotonic`` is in seconds."""

    def __init__(
        self,
        indexes: Indexes,
        settings: IndexSettings,
        texts: TextSource,
        monotonic: Callable[[], float],
        live: Callable[[int], int],
    ) -> None:
        """``live``: how many images of a collection, by its number, are live; asked when it is not clear."""
        self._indexes = indexes
        self._settings = settings
        self._texts = texts
        self._monotonic = monotonic
        self._live = live
        self._looked: dict[tuple[str, int], tuple[float, SampleTexts | None]] = {}

    @property
    def recall_target(self) -> float:
        """What every build aims at."""
        return self._settings.recall_target

    def is_exact(self, kind: str) -> bool:
        """Whether a kind that is known here never misses an image."""
        return self._indexes.of(kind).exact

    def is_tended_here(self, snapshot: Snapshot) -> bool:
        """Whether this installation knows what serves, and what was asked for."""
        asked, serving = self._asked(snapshot), snapshot.generation
        known = {AUTO, EXACT, *self._indexes.backends}
        return asked in known and (serving is None or serving.kind in known)

    def moves(self, snapshot: Snapshot) -> str | None:
        """Why another kind than the one that serves is to take over; None when none is."""
        serving = snapshot.generation
        if serving is None:
            return None
        wish = self.wish(snapshot)
        return None if wish.kinds[0] == serving.kind else f"{wish.kinds[0]} is to take over: {wish.why}"

    def wish(self, snapshot: Snapshot) -> Wish:
        """What to build for a collection that `is_tended_here`."""
        asked, images = self._asked(snapshot), self._images(snapshot)
        if asked in (EXACT, FLAT):
            return Wish((FLAT,), "An exact index was asked for.")
        if asked == AUTO and images < self._least(snapshot.generation):
            return Wish((FLAT,), f"It has fewer than {self._settings.approximate_from:,} images.")
        texts = self._newest(snapshot)
        if asked == AUTO:
            kinds, target = self._approximate(snapshot, images, texts), self._settings.recall_target
            why = f"It has {images:,} images."
        else:
            kinds, target, why = (asked,), 0.0, "This kind was asked for."
        if not kinds:
            return Wish((FLAT,), _LACKING if self._known() else "No approximate index is installed.")
        return self._not_refused(snapshot.generation, asked, images, Wish(kinds, why, target, texts))

    def same(self, snapshot: Snapshot) -> Wish:
        """The kind that serves, for whoever must not change it; an exact one when it cannot be built."""
        serving = snapshot.generation
        kinds = () if serving is None else (serving.kind,)
        choice = choice_of(serving)
        return Wish((*kinds, FLAT) if FLAT not in kinds else kinds, str(choice.get("why", "")), choice=choice)

    def must_train(self, snapshot: Snapshot) -> str | None:
        """Why the next one must not share what was trained for the one that serves; None when it may.

        One that was trained for itself is what it can be, whatever it says; and nothing is learned from
        nothing.
        """
        serving = snapshot.generation
        told = {} if serving is None else serving.parameters
        why = told.get("retrain") if told.get("grown") else None
        return f"it is to be trained anew: {why}" if why and self._newest(snapshot) is not None else None

    def _not_refused(self, serving: Generation | None, asked: str, images: int, wish: Wish) -> Wish:
        """Without the kinds that proved unfit, as long as that is likely to be so still."""
        texts = None if wish.texts is None else wish.texts.id
        choice: Mapping[str, Any] = {"asked": asked, "images": images, "texts": texts, "refused": {}}
        known = choice_of(serving)
        if (known.get("asked"), known.get("texts")) == (asked, texts) and images < 2 * known["images"]:
            choice = known
        left = tuple(kind for kind in wish.kinds if kind not in choice["refused"])
        why = wish.why if left else str(choice.get("why", wish.why))
        return replace(wish, kinds=(*left, FLAT) if FLAT not in left else left, why=why, choice=choice)

    def _asked(self, snapshot: Snapshot) -> str:
        return snapshot.collection.index_kind or self._settings.index

    def _images(self, snapshot: Snapshot) -> int:
        """How many a search can find; about so many where that decides nothing."""
        most = sum(segment.count for segment in snapshot.segments)
        # Some of the dead may be in the generation only, so this is the least that there can be.
        fewest, least = max(0, most - len(snapshot.dead)), self._least(snapshot.generation)
        if fewest >= least or most < least:
            return fewest if fewest >= least else most
        return self._live(snapshot.collection.id)

    def _least(self, serving: Generation | None) -> int:
        """Images from which on a collection is large; one that was large stays so for a while."""
        was_large = serving is not None and not self.is_exact(serving.kind)
        return self._settings.approximate_from // 2 if was_large else self._settings.approximate_from

    def _known(self) -> list[str]:
        return [kind for kind in (IVF_SQ8, IVF_RABITQ) if kind in self._indexes.backends]

    def _approximate(self, snapshot: Snapshot, images: int, texts: SampleTexts | None) -> tuple[str, ...]:
        """The approximate kinds in the order in which they fit; none without anything to learn from."""
        serving, known = snapshot.generation, self._known()
        serves = None if serving is None else serving.kind
        if texts is None:
            return (serves,) if serves in known else ()
        told = {} if serving is None else serving.parameters
        each = float(told.get("tokens_per_image") or KEPT_TOKENS)
        size, room = images * each * snapshot.collection.joint_dim, self._settings.memory_bytes
        # What serves is not left for a little more or less.
        room = room * 5 // 4 if serves == IVF_SQ8 else room // 2 if serves == IVF_RABITQ else room
        return tuple(known if size <= room else known[::-1])

    def _newest(self, snapshot: Snapshot) -> SampleTexts | None:
        one = snapshot.collection
        key, now = (one.fingerprint, one.id), self._monotonic()
        looked = self._looked.get(key)
        if looked is None or now - looked[0] >= LOOK_SECONDS:
            looked = self._looked[key] = now, self._texts.newest(*key)
        return looked[1]


_LACKING: Final = (
    "There are no sample texts yet, which an approximate index learns from: a worker writes them when it is "
    "idle."
)


def live_images(catalog: Catalog, collection_id: int) -> int:
    """How many images of a collection are live."""
    return catalog.collection_counts_of(collection_id)["live"]


def _refusal(refused: Mapping[str, float | None], target: float) -> str:
    said = [
        f"{kind} could not be built" if recall is None
        else f"{kind} finds {recall:.1%} of the best 100, below the target of {target:.1%}"
        for kind, recall in sorted(refused.items())
    ]  # fmt: skip
    return f"Tried and not taken: {'; '.join(said)}."
