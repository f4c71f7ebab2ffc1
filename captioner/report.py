"""What CapFilt kept and dropped: counts by source, a few examples, a histogram of match probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.captioner.plans import CAPFILT, CapFiltPlan
from sightline.captioner.settings import BINS, EXAMPLES
from sightline.errors import NotFoundError
from sightline.store.text_records import CAPTIONER, GIVEN

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.records import Job
    from sightline.store.text_records import StoredText, TextCount, TextProbability, Verdict

JOBS_SEARCHED = 1_000


@dataclass(frozen=True)
class SourceCounts:
    """Texts of one source. ``overruled``: of all, those about which a person decided."""

    source: str
    kept: int = 0
    dropped: int = 0
    unjudged: int = 0
    overruled: int = 0


@dataclass(frozen=True)
class Histogram:
    """Numbers of kept and of dropped texts in bars of equal width over the match probabilities 0 to 1."""

    kept: tuple[int, ...]
    dropped: tuple[int, ...]


@dataclass(frozen=True)
class CapFiltReport:
    """Of one job (``job``, and what it was to do in ``settings``) or of all texts of a collection."""

    collection: str
    job: str | None
    state: str | None
    settings: dict[str, Any] | None
    sources: tuple[SourceCounts, ...]
    kept_examples: tuple[dict[str, Any], ...]
    dropped_examples: tuple[dict[str, Any], ...]
    histogram: Histogram

    @property
    def threshold(self) -> float | None:
        """From which match probability on texts were kept; None: no job is known."""
        return None if self.settings is None else float(self.settings["threshold"]["keep_above"])

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def make_report(catalog: Catalog, collection: str, job_id: str | None) -> CapFiltReport:
    """See `captioner.capfilt.CapFilt.report`."""
    found = catalog.collection(collection)
    job = _latest(catalog, collection) if job_id is None else _named(catalog, collection, job_id)
    settings = None if job is None else _settings(job)
    return CapFiltReport(
        collection=collection,
        job=None if job is None else job.id,
        state=None if job is None else job.state,
        settings=settings,
        sources=counted(catalog.text_counts(found.id, job_id)),
        kept_examples=_examples(catalog, found.id, job_id, "kept"),
        dropped_examples=_examples(catalog, found.id, job_id, "dropped"),
        histogram=histogram(_probabilities(catalog, found.id, job_id)),
    )


def _probabilities(catalog: Catalog, collection_id: int, job_id: str | None) -> Iterator[TextProbability]:
    after = 0
    while chunk := catalog.text_probabilities(collection_id, job_id, after):
        yield from (one for _, one in chunk)
        after = chunk[-1][0]


def _latest(catalog: Catalog, collection: str) -> Job | None:
    jobs = catalog.jobs(collection, JOBS_SEARCHED)
    return next((job for job in jobs if job.kind == CAPFILT), None)


def _named(catalog: Catalog, collection: str, job_id: str) -> Job:
    job = catalog.job(job_id)
    if job.kind != CAPFILT or job.collection != collection:
        raise NotFoundError(f"Collection {collection!r} has no job {job_id!r} that filtered its texts.")
    return job


def _settings(job: Job) -> dict[str, Any]:
    """What the job was to do, without the choice of images, which may be long."""
    plan = CapFiltPlan.from_json(job.request).to_json()
    return {name: plan[name] for name in ("writing", "threshold", "text_fields")}


def counted(counts: Iterable[TextCount]) -> tuple[SourceCounts, ...]:
    """Counts by source: given texts first, then those of metadata, then captions of models."""
    by_source: dict[str, dict[str, int]] = {}
    for one in counts:
        numbers = by_source.setdefault(one.source, {})
        numbers[one.verdict] = numbers.get(one.verdict, 0) + one.texts
        numbers["overruled"] = numbers.get("overruled", 0) + one.texts * one.overruled
    order = sorted(by_source, key=lambda source: (source == CAPTIONER, source != GIVEN, source))
    return tuple(SourceCounts(source, **by_source[source]) for source in order)


def _examples(
    catalog: Catalog, collection_id: int, job_id: str | None, verdict: Verdict
) -> tuple[dict[str, Any], ...]:
    found = catalog.iter_texts(collection_id, (verdict,), 0, EXAMPLES, job_id)
    return tuple(_example(text) for text in found)


def _example(text: StoredText) -> dict[str, Any]:
    probability = text.match_probability
    return {"id": text.image_id, "source": text.source, "text": text.text, "match_probability": probability}


def histogram(probabilities: Iterable[TextProbability], bins: int = BINS) -> Histogram:
    """Bar ``i`` of ``n`` counts i/n ≤ p < (i + 1)/n; the last one also 1. Constant memory.

    A text whose verdict was taken back has its probability still, and is neither kept nor dropped.
    """
    counts = np.zeros((2, bins), np.int64)
    for one in probabilities:
        if one.verdict != "unjudged":
            bar = min(int(one.match_probability * bins), bins - 1)
            counts[int(one.verdict == "dropped"), bar] += 1
    return Histogram(tuple(counts[0].tolist()), tuple(counts[1].tolist()))
