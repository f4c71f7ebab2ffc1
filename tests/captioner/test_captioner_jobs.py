"""Jobs that caption and filter, on the toy, whose captions and match probabilities are worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightline.blip.checkpoint import Role
from sightline.blip.toy import COLOURS
from sightline.captioner.labels import Label
from sightline.captioner.thresholds import Threshold
from sightline.errors import InputError, ModelUnavailableError, NotFoundError
from sightline.indexer.settings import BuilderSettings
from sightline.indexer.uploads import Upload
from sightline.serving.models import ModelProvider, WriterIdentity
from sightline.settings import Settings
from sightline.wiring import Installation, open_installation
from tests.captioner.conftest import (
    ALT,
    COLLECTION,
    GIVEN,
    NAMES,
    QUARTERS,
    images,
    index,
    said,
    texts,
    written,
)
from tests.indexer.world import shared_decoder


def caption(services: Installation, **options: object) -> str:
    """A job that captions, done in this process; its id."""
    job = services.captioning.begin(COLLECTION, model="toy", **options)  # type: ignore[arg-type]
    services.indexer.wait(job.id, timeout=60)
    return job.id


def filtered(services: Installation, **options: object) -> str:
    """A job that filters, likewise."""
    options = {"captioner": "toy", "n": 2, "text_fields": ["alt"], **options}
    job = services.capfilt.begin(COLLECTION, **options)  # type: ignore[arg-type]
    assert services.indexer.wait(job.id, timeout=60).state == "done"
    return job.id


def probability(quarters: tuple[str, ...], text: str) -> float:
    """The toy's match probability of "COLOUR PLACE", by its definition: softmax of (2·w, 8·a − 4)."""
    # In 256ths, as the toy sees them.
    shown = np.array([[round(round(255 * c) * 256 / 255) / 256 for c in COLOURS[q]] for q in quarters])
    colour, place = text.split(" ", 1)
    agreement = 1 - np.abs(np.array(COLOURS[colour]) - shown[NAMES.index(place)]).mean()
    unmatched, matched = 2 * shown.mean(), 8 * agreement - 4
    return math.exp(matched) / (math.exp(matched) + math.exp(unmatched))


# --- captions -----------------------------------------------------------------------------------------


def test_every_image_has_the_captions_that_its_features_give(ready: Installation) -> None:
    job = caption(ready, n=3)
    assert said(ready, "captioner") == {name: written(q, 3) for name, q in QUARTERS.items()}
    progress = ready.catalog.job_progress(job)
    assert (progress.processed, progress.failed, progress.state) == (3, 0, "done")
    model = ready.models.captioner("toy")
    for some in texts(ready).values():
        mine = [one for one in some if one.source == "captioner"]
        assert [one.log_probability for one in mine] == [-1.0, -2.0, -3.0]
        assert {one.model for one in mine} == {model.fingerprint}
        assert {(one.verdict, one.job_id) for one in mine} == {("unjudged", job)}
    caption(ready, n=1, prompt="it is")
    assert said(ready, "captioner") == {
        name: [f"it is {text}" for text in written(q, 1)] for name, q in QUARTERS.items()
    }, "what the model wrote before is replaced"


def test_a_job_is_about_the_images_that_were_chosen(ready: Installation) -> None:
    caption(ready, ids=["a", "nobody"])
    assert [name for name, some in said(ready, "captioner").items() if some] == ["a"]
    caption(ready, filter={"field": "metadata.alt", "exists": False})
    assert [name for name, some in said(ready, "captioner").items() if some] == ["a", "b"]
    with pytest.raises(InputError, match="not by both"):
        caption(ready, ids=["a"], filter={})
    with pytest.raises(InputError, match="one caption"):
        caption(ready, n=2, sampling="greedy")
    with pytest.raises(NotFoundError):
        ready.captioning.begin("nowhere", model="toy")
    with pytest.raises(ModelUnavailableError):
        ready.captioning.begin(COLLECTION, model="/no/such/model")
    assert [job.kind for job in ready.catalog.jobs(COLLECTION)] == ["caption", "caption", "index"]


def without_patches(settings: Settings) -> Settings:
    return settings.model_copy(update={"indexer": replace(settings.indexer, patch_codec="none")})


def test_what_had_to_be_seen_is_seen_once(settings: Settings, folder: Path) -> None:
    """No patches are kept here; afterwards the originals are gone, and captions are written all the same."""
    with open_installation(without_patches(settings), decoder=shared_decoder(), inline=True) as services:
        index(services, folder)
        caption(services, ids=["a", "b"])
        for name in "ab":
            (folder / f"{name}.png").unlink()
        caption(services, n=2)
        assert said(services, "captioner") == {name: written(q, 2) for name, q in QUARTERS.items()}
        found = services.catalog.collection(COLLECTION)
        own = services.catalog.feature_set(found.id, services.models.captioner("toy").fingerprint)
        assert own is not None
        assert not own.serving
        places = services.catalog.locations([one.key for one in images(services).values()], own.id)
        assert len(places) == 3
        assert list(services.catalog.check()) == []
        hits = services.retriever.retrieve(COLLECTION, np.eye(8, dtype=np.float32)[0], 10).candidates
        assert len(hits) == 3, "searches see the set that serves only"


def test_an_image_that_cannot_be_seen_fails_alone_and_can_be_tried_again(
    settings: Settings, folder: Path
) -> None:
    with open_installation(without_patches(settings), decoder=shared_decoder(), inline=True) as services:
        index(services, folder)
        (folder / "b.png").rename(folder / "away")
        job = caption(services)
        progress = services.catalog.job_progress(job)
        assert (progress.processed, progress.failed, progress.state) == (2, 1, "done")
        assert [(one.id, one.reason) for one in services.catalog.job_errors(job)] == [("b", "unreadable")]
        (folder / "away").rename(folder / "b.png")
        services.indexer.retry(job)
        assert services.indexer.wait(job, timeout=60).processed == 3
        assert said(services, "captioner") == {name: written(q, 1) for name, q in QUARTERS.items()}


# --- CapFilt ------------------------------------------------------------------------------------------


def test_texts_are_judged_by_the_collections_model_and_kept_from_the_threshold_on(
    ready: Installation,
) -> None:
    job = filtered(ready, threshold=Threshold(0.6))
    for name, quarters in QUARTERS.items():
        alt = ALT.get(name, [])
        wanted = {("given", GIVEN[name])} if name in GIVEN else set()
        wanted |= {("metadata.alt", text) for text in ([alt] if isinstance(alt, str) else alt)}
        wanted |= {("captioner", text) for text in written(quarters, 2)}
        found = texts(ready)[name]
        assert {(one.source, one.text) for one in found} == wanted
        for one in found:
            exact = probability(quarters, one.text)
            assert one.match_probability == pytest.approx(exact, abs=1e-6)
            assert one.verdict == ("kept" if exact >= 0.6 else "dropped")
            assert (one.judge, one.job_id) == (ready.catalog.collection(COLLECTION).fingerprint, job)
    dropped = {(n, one.text) for n, some in texts(ready).items() for one in some if one.verdict == "dropped"}
    assert {("b", "green top left"), ("a", "red bottom left")} <= dropped, "the wrong ones"


def test_what_a_person_decided_stays_when_the_job_runs_again(ready: Installation) -> None:
    number = ready.catalog.collection(COLLECTION).id
    filtered(ready, threshold=Threshold(0.6))
    by_text = {one.text: one for some in texts(ready).values() for one in some}
    ready.catalog.overrule_text(number, by_text["green top left"].id, "kept")
    ready.catalog.overrule_text(number, by_text["red top left"].id, "dropped")
    ready.catalog.overrule_text(number, by_text["yellow top left"].id, "dropped")
    again = filtered(ready, threshold=Threshold(0.6), n=1, seed=1)  # the captions are others now
    by_text = {one.text: one for some in texts(ready).values() for one in some}
    for text, verdict in {
        "green top left": "kept",
        "red top left": "dropped",
        "yellow top left": "dropped",
    }.items():
        assert (by_text[text].verdict, by_text[text].overruled) == (verdict, True)
    assert "cyan top right" not in by_text, "what the captioner does not say any more is gone"
    assert by_text["cyan top left"].job_id == again
    ready.catalog.withdraw_overruling(number, by_text["green top left"].id)
    filtered(ready, threshold=Threshold(0.6))
    by_text = {one.text: one for some in texts(ready).values() for one in some}
    assert (by_text["green top left"].verdict, by_text["green top left"].overruled) == ("dropped", False)


def test_draws_repeat_by_their_seed_and_own_texts_need_no_captioner(ready: Installation) -> None:
    filtered(ready, seed=1)
    first = said(ready, "captioner")
    assert first == {name: written(q, 2, shifted=1) for name, q in QUARTERS.items()}
    filtered(ready, seed=1)
    assert said(ready, "captioner") == first
    ready.capfilt.begin(COLLECTION, captioner=None, text_fields=["alt"])
    ready.indexer.run_pending()
    assert said(ready, "captioner") == first


def test_of_a_caption_with_several_lines_the_worst_line_counts(ready: Installation) -> None:
    ready.catalog.update_image(COLLECTION, "a", caption="red top left\npurple bottom left")
    filtered(ready, n=0)
    [one] = [one for one in texts(ready)["a"] if one.source == "given"]
    assert one.match_probability == pytest.approx(probability(QUARTERS["a"], "purple bottom left"), abs=1e-6)


def test_labels_choose_the_threshold(ready: Installation) -> None:
    rows = [("a", "red top left", True), ("b", "green top left", False), ("c", "purple top right", True),
            ("a", "white top left", False)]  # fmt: skip
    labels = [Label(*row, line) for line, row in enumerate(rows, 1)]
    threshold = ready.capfilt.threshold(COLLECTION, labels, 1.0)
    worst = min(probability(QUARTERS[name], text) for name, text, right in rows if right)
    next_one = max(probability(QUARTERS[name], text) for name, text, right in rows if not right)
    assert threshold.keep_above == pytest.approx((worst + next_one) / 2, abs=1e-6)
    filtered(ready, threshold=threshold)
    report = ready.capfilt.report(COLLECTION)
    assert report.settings is not None
    assert report.settings["threshold"]["found"]["labels"] == 4
    with pytest.raises(NotFoundError):
        ready.capfilt.threshold(COLLECTION, [Label("nobody", "x", True, 1)], 0.5)


def test_a_report_counts_what_the_job_decided(ready: Installation) -> None:
    job = filtered(ready, threshold=Threshold(0.6))
    report = ready.capfilt.report(COLLECTION, job)
    found = [one for some in texts(ready).values() for one in some]
    for counts in report.sources:
        mine = [one.verdict for one in found if one.source == counts.source]
        assert (counts.kept, counts.dropped) == (mine.count("kept"), mine.count("dropped"))
    assert [one.source for one in report.sources] == ["given", "metadata.alt", "captioner"]
    bars = np.histogram([p for one in found if (p := one.match_probability) is not None], 50, (0, 1))[0]
    assert (np.array(report.histogram.kept) + np.array(report.histogram.dropped) == bars).all()
    assert {one["text"] for one in report.dropped_examples} <= {
        o.text for o in found if o.verdict == "dropped"
    }
    with pytest.raises(NotFoundError, match="no job"):
        ready.capfilt.report(COLLECTION, ready.catalog.jobs(COLLECTION)[-1].id)


def test_the_examples_of_a_job_are_its_own(ready: Installation) -> None:
    first = filtered(ready, ids=["a", "b"], threshold=Threshold(0.6))
    second = filtered(ready, ids=["c"], threshold=Threshold(0.6))
    of_first, of_second = (ready.capfilt.report(COLLECTION, job) for job in (first, second))
    assert {one["id"] for one in (*of_first.kept_examples, *of_first.dropped_examples)} == {"a", "b"}
    assert {one["id"] for one in (*of_second.kept_examples, *of_second.dropped_examples)} == {"c"}


def test_who_writes_what_another_job_judged_takes_nothing_from_its_report(ready: Installation) -> None:
    """Captions that are the same, written by a job that judges nothing, stay those of the job that judged."""
    job = filtered(ready, n=2)
    before = ready.capfilt.report(COLLECTION, job)
    caption(ready, n=2)
    assert ready.capfilt.report(COLLECTION, job) == before
    again = filtered(ready, n=2)
    assert ready.capfilt.report(COLLECTION, again).sources == before.sources
    assert ready.capfilt.report(COLLECTION, job).sources == (), "each text is one of the last to judge it"


def test_a_verdict_that_was_taken_back_is_in_no_bar(ready: Installation) -> None:
    job = filtered(ready, n=0, text_fields=())
    [text] = [one for one in texts(ready)["a"] if one.source == "given"]
    number = ready.catalog.collection(COLLECTION).id
    ready.catalog.overrule_text(number, text.id, "dropped")
    ready.catalog.withdraw_overruling(number, text.id)
    report = ready.capfilt.report(COLLECTION, job)
    [given] = report.sources
    assert (given.kept, given.dropped, given.unjudged) == (
        sum(report.histogram.kept),
        sum(report.histogram.dropped),
        1,
    )


# --- robustness ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", [0, 1, 3])
def test_a_job_whose_listing_died_is_listed_again_by_the_builder(
    settings: Settings, folder: Path, listed: int
) -> None:
    """Whatever was listed before, every image is captioned once."""
    impatient = settings.model_copy(update={"builder": BuilderSettings(silent_seconds=0.0)})
    with open_installation(impatient, decoder=shared_decoder(), inline=True) as services:
        index(services, folder)
        request = services.catalog.job(caption(services, ids=["nobody"])).request
        job = services.catalog.create_job(
            services.catalog.collection(COLLECTION).id, "caption", {**request, "ids": None}
        )
        keys = [one.key for one in images(services).values()][:listed]
        services.catalog.add_tasks(job.id, "caption", keys, 2)
        services.indexer.run_pending()
        assert services.catalog.job(job.id).state == "registering"
        report = services.builder.step()
        assert report is not None
        assert report.sealed == 1
        services.indexer.run_pending()
        progress = services.catalog.job_progress(job.id)
        assert (progress.processed, progress.state) == (3, "done")
        assert said(services, "captioner") == {name: written(q, 1) for name, q in QUARTERS.items()}


def test_a_job_that_was_cancelled_writes_nothing_more(ready: Installation) -> None:
    job = ready.captioning.begin(COLLECTION, model="toy")
    ready.catalog.cancel_job(job.id)
    ready.indexer.run_pending()
    assert not any(said(ready, "captioner").values())
    assert ready.catalog.job(job.id).state == "cancelled"


class OtherVersion(ModelProvider):
    """Models of a worker whose captioner is another version, until it is set right."""

    wrong = False

    def identify_writer(self, model: str, role: Role, revision: str | None = None) -> WriterIdentity:
        known = super().identify_writer(model, role, revision)
        return replace(known, fingerprint="another") if self.wrong else known


def test_a_worker_without_the_model_leaves_the_work_and_says_why(settings: Settings, folder: Path) -> None:
    models = OtherVersion(settings.model)
    quick = settings.model_copy(
        update={"indexer": replace(settings.indexer, retry_pause_seconds=0.0, trouble_seconds=0.0)}
    )
    with open_installation(quick, decoder=shared_decoder(), inline=True, models=models) as services:
        index(services, folder)
        job = services.captioning.begin(COLLECTION, model="toy")
        models.wrong = True
        assert services.indexer.run_pending() == 0, "it ends, and is not tried again at once"
        progress = services.catalog.job_progress(job.id)
        assert (progress.pending, progress.failed) == (3, 0)
        assert progress.detail is not None
        assert "another version of toy" in progress.detail
        models.wrong = False
        assert services.indexer.wait(job.id, timeout=60).processed == 3


def test_given_pictures_are_described_without_any_collection(services: Installation) -> None:
    from tests.sightline.conftest import picture

    described = services.describing.describe(
        (picture(*q) for q in QUARTERS.values()), model="toy", n=2, sampling="nucleus", seed=None
    )
    assert [[one.text for one in some] for some in described] == [written(q, 2) for q in QUARTERS.values()]
    with pytest.raises(InputError, match="1 to 20"):
        services.describing.describe([], model="toy", n=0)


def test_an_upload_is_captioned_like_all_others(services: Installation, folder: Path) -> None:
    services.collections.create(COLLECTION)
    services.indexer.add(COLLECTION, [Upload((folder / "c.png").read_bytes(), "c")])
    services.indexer.run_pending()
    caption(services)
    assert said(services, "captioner") == {"c": written(QUARTERS["c"], 1)}
