"""Fits a calibration to a collection by labels or captions, and reports on queries that it was not fitted by.

Shapes: N pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from random import Random
from string import ascii_lowercase
from typing import TYPE_CHECKING, Final

import numpy as np

from sightline.blip.calibrated import calibration_of, words_read
from sightline.blip.calibration import PLAIN, Calibration
from sightline.errors import InputError, NotFoundError
from sightline.reranker.calibration_fit import (
    Bin,
    Pairs,
    bins,
    calibration_error,
    fit,
    probabilities,
    split,
)
from sightline.reranker.judging import gathered

if TYPE_CHECKING:
    from sightline.blip.protocols import RetrievalModel
    from sightline.retriever.retriever import Retriever
    from sightline.searching.calibrations import Calibrations
    from sightline.searching.patches import CollectionPatches, PatchCache
    from sightline.serving.models import Models
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection
    from sightline.types import OnProgress
    from sightline.upkeep.calibration_labels import Label

CAPTIONS: Final = 300
"""Captions that are asked, drawn from the first `LOOKED_AT` pictures."""
LOOKED_AT: Final = 3000
OTHERS: Final = 9
"""Pictures with other captions that each caption is taken to be wrong of."""
SENSELESS: Final = 100
"""Texts of random letters."""
_JUDGED_AT_ONCE: Final = 16
HOW_LABELS: Final = "{labels:,} labels of {queries:,} queries"
HOW_CAPTIONS: Final = (
    "{captions:,} captions of the collection, each taken as right of its own picture and as wrong of "
    "{others} pictures with other captions (which is not always so: where captions are alike, give --labels)"
)
HOW_SENSELESS: Final = "; {texts} texts of random letters, wrong of the pictures that ITC finds nearest"


@dataclass(frozen=True)
class CalibrationReport:
    """Errors (ECE over 15 bins) and ``bins`` are of the queries that were not fitted by. ``version`` None: it
    would have been no better than what serves, which goes on serving."""

    collection: str
    fingerprint: str
    version: int | None
    kind: str
    parameters: dict[str, object]
    how: str
    fitted_pairs: int
    fitted_right: int
    held_out_pairs: int
    held_out_right: int
    held_out_queries: int
    ece_raw: float
    ece_before: float
    """With the calibration that served until now."""
    ece_after: float
    raw_bins: tuple[Bin, ...]
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class _Question:
    """A text, and keys with whether each shows it."""

    text: str
    truth: dict[int, bool]


class Calibrating:
    """For one installation; judges as searches do, but every pair."""

    def __init__(
        self,
        catalog: Catalog,
        models: Models,
        retriever: Retriever,
        patches: PatchCache,
        calibrations: Calibrations,
    ) -> None:
        self._catalog = catalog
        self._models = models
        self._retriever = retriever
        self._patches = patches
        self._calibrations = calibrations

    def fit(self, name: str, labels: Sequence[Label] | None, on_progress: OnProgress) -> CalibrationReport:
        """Fit by ``labels``, or by captions when there are none, and let it serve if it is better.

        Raises:
            NotFoundError: no such collection, or a label names an image that it does not have.
            InputError: too few labels or captions, or nothing in them to learn from.
        """
        collection = self._catalog.collection(name)
        model = self._models.encoder(collection)
        if labels is None:
            questions, how = self._of_captions(collection, model)
        else:
            questions, how = self._of_labels(name, labels)
        pairs = self._pairs(collection, model, questions, on_progress)
        fitting, held_out = split(pairs)
        found = replace(fit(fitting), unknown=calibration_of(model).unknown)
        before = self._calibrations.of(collection, model)
        return self._kept(collection, found, before, fitting, held_out, how)

    def reset(self, name: str) -> int:
        """Match probabilities are by the checkpoint's own calibration again; the version that says so.

        Raises:
            NotFoundError: no such collection.
        """
        collection = self._catalog.collection(name)
        return self._catalog.add_calibration(collection.id, collection.fingerprint, "default", {}, {})

    def _kept(
        self,
        collection: Collection,
        found: Calibration,
        before: Calibration,
        fitting: Pairs,
        held_out: Pairs,
        how: str,
    ) -> CalibrationReport:
        truth = held_out.truth
        if not truth.any() or truth.all():
            raise InputError("The held-out half has only right or only wrong pairs; give more queries.")
        said = {name: probabilities(one, held_out) for name, one in
                (("raw", PLAIN), ("before", before), ("after", found))}  # fmt: skip
        errors = {name: round(calibration_error(one, truth), 5) for name, one in said.items()}
        report = CalibrationReport(
            collection.name, collection.fingerprint, None, found.kind, found.to_json(), how,
            len(fitting.truth), int(fitting.truth.sum()), len(truth), int(truth.sum()),
            len(np.unique(held_out.queries)), errors["raw"], errors["before"], errors["after"],
            tuple(bins(said["raw"], truth)), tuple(bins(said["after"], truth)),
        )  # fmt: skip
        if report.ece_after > report.ece_before:
            return report
        told = asdict(report)
        for part in ("collection", "fingerprint", "version", "parameters"):
            del told[part]
        version = self._catalog.add_calibration(
            collection.id, collection.fingerprint, found.kind, found.to_json(), told
        )
        return replace(report, version=version)

    def _of_labels(self, name: str, labels: Sequence[Label]) -> tuple[list[_Question], str]:
        keys = {image: self._key(name, image) for image in dict.fromkeys(one.image for one in labels)}
        truths: dict[str, dict[int, bool]] = {}
        for one in labels:
            truths.setdefault(one.query, {})[keys[one.image]] = one.relevant
        questions = [_Question(text, truth) for text, truth in truths.items()]
        return questions, HOW_LABELS.format(labels=len(labels), queries=len(questions))

    def _key(self, name: str, image_id: str) -> int:
        image = self._catalog.image(name, image_id)
        if image.state != "live":
            raise NotFoundError(f"Image {image_id} of {name} is not indexed yet ({image.state}).")
        return image.key

    def _of_captions(self, collection: Collection, model: RetrievalModel) -> tuple[list[_Question], str]:
        said = self._captions(collection.name)
        by_caption: dict[str, list[int]] = {}
        for key, caption in said:
            by_caption.setdefault(caption, []).append(key)
        rng = Random(f"{collection.id} {collection.fingerprint}")
        chosen = rng.sample(sorted(by_caption), min(CAPTIONS, len(by_caption)))
        if len(by_caption) < 2 * OTHERS:
            raise InputError(
                f"Collection {collection.name} has {len(by_caption)} different captions, too few to fit by; "
                "give --labels FILE."
            )
        questions = []
        for text in chosen:
            others = [key for key, caption in rng.sample(said, min(len(said), 3 * OTHERS)) if caption != text]
            truth = dict.fromkeys(others[:OTHERS], False) | {by_caption[text][0]: True}
            questions.append(_Question(text, truth))
        senseless = list(self._senseless(collection, model, rng))
        how = HOW_CAPTIONS.format(captions=len(chosen), others=OTHERS)
        return questions + senseless, how + HOW_SENSELESS.format(texts=len(senseless)) * bool(senseless)

    def _captions(self, name: str) -> list[tuple[int, str]]:
        """Key and first line of the caption of pictures that have one."""
        said: list[tuple[int, str]] = []
        cursor, seen = None, 0
        while seen < LOOKED_AT:
            page = self._catalog.images(name, cursor, 100)
            said += [
                (one.key, one.caption.strip().partition("\n")[0])
                for one in page.items
                if one.caption and one.caption.strip()
            ]
            cursor, seen = page.next_cursor, seen + len(page.items)
            if cursor is None:
                break
        return said

    def _senseless(self, collection: Collection, model: RetrievalModel, rng: Random) -> Iterator[_Question]:
        """Without those that the model would not rank by: their words are all unknown to it."""
        for _ in range(SENSELESS):
            words = ("".join(rng.choices(ascii_lowercase, k=rng.randint(3, 10))) for _ in range(2))
            text = " ".join(words)
            if not words_read(model, text).nothing_known:
                vector = model.encode_text([text])[0].float().cpu().numpy()
                near = self._retriever.retrieve(collection.name, vector, OTHERS + 1).candidates
                yield _Question(text, dict.fromkeys((one.key for one in near), False))

    def _pairs(
        self,
        collection: Collection,
        model: RetrievalModel,
        questions: Sequence[_Question],
        on_progress: OnProgress,
    ) -> Pairs:
        source = self._patches.of(collection, model)
        differences: list[float] = []
        truths: list[bool] = []
        queries: list[int] = []
        for number, question in enumerate(questions):
            for key, difference in _judged(model, source, question):
                differences.append(difference)
                truths.append(question.truth[key])
                queries.append(number)
            on_progress("calibrate", number + 1, len(questions))
        return Pairs(np.array(differences), np.array(truths, bool), np.array(queries))


def _judged(
    model: RetrievalModel, source: CollectionPatches, question: _Question
) -> Iterable[tuple[int, float]]:
    """Key and logit difference of the pictures that can be seen."""
    keys = list(question.truth)
    for start in range(0, len(keys), _JUDGED_AT_ONCE):
        for found, patches in gathered(source, keys[start : start + _JUDGED_AT_ONCE]):
            logits_K2 = model.match([question.text], patches.to(model.device)).double()
            yield from zip(found, (logits_K2[:, 1] - logits_K2[:, 0]).tolist(), strict=True)
