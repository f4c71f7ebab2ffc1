"""The chain from pictures to words as a user types it, with checkpoints on a disk and workers of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sightline.captioner.answering import Question, answer_sampling
from sightline.settings import Settings
from tests.e2e.words_world import (
    CAPTIONS,
    NAMES,
    RARE,
    Alone,
    write_captioner_answerer_and_retrieval,
    write_pictures,
)
from tests.sightline.conftest import Run, processes_of, toy_settings
from tests.sightline.conftest import sightline as sightline

QUESTION = "is there a red house?"
HERE = ("--collection", "pictures")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_captioner_answerer_and_retrieval(tmp_path_factory.mktemp("models"))


@pytest.fixture
def settings(tmp_path: Path, folders: dict[str, str]) -> Settings:
    """No command names a model: the settings do."""
    empty = toy_settings(tmp_path / "data")
    return empty.model_copy(
        update={
            "model": replace(empty.model, name=folders["retrieval"], device="cpu"),
            "captioner": replace(empty.captioner, model=folders["captioner"]),
            "answerer": replace(empty.answerer, model=folders["answerer"]),
        }
    )


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_collection_is_captioned_filtered_exported_searched_and_asked(
    sightline: Run, settings: Settings, folders: dict[str, str], tmp_path: Path
) -> None:
    retrieval, captioner = Alone(folders["retrieval"], "retrieval"), Alone(folders["captioner"], "captioning")
    manifest = write_pictures(tmp_path / "pictures")
    done = sightline("index", str(manifest), *HERE, "--json")
    assert (done.code, done.answer["indexed"]) == (0, len(NAMES)), done.stderr

    done = sightline("caption", *HERE, "--n", "2", "--json")
    assert (done.code, done.answer["processed"], done.answer["failed"]) == (0, len(NAMES), 0), done.stderr
    assert listed(sightline, "--source", "captioner") == {
        (name, text) for name, some in captioner.captions(2, "beam").items() for text in some
    }

    about = sorted(CAPTIONS.items(), key=lambda one: retrieval.probability(*one))
    place = about.index((RARE, CAPTIONS[RARE]))
    least = (retrieval.probability(*about[place - 1]) + retrieval.probability(*about[place])) / 2
    done = sightline("capfilt", *HERE, "--n", "2", "--keep-above", str(least), "--json")
    assert done.code == 0, done.stderr
    kept, dropped = (listed(sightline, "--verdict", verdict) for verdict in ("kept", "dropped"))
    assert set(about[place:]) <= kept
    assert set(about[:place]) <= dropped
    assert kept | dropped == set(about) | {
        (name, text) for name, some in captioner.captions(2, "nucleus").items() for text in some
    }
    [given, written] = done.answer["report"]["sources"]
    assert (given["kept"] + written["kept"], given["dropped"] + written["dropped"]) == (
        len(kept),
        len(dropped),
    )

    out = tmp_path / "kept.jsonl"
    assert sightline("texts", "export", *HERE, str(out)).code == 0
    exported = {row["id"]: row["captions"] for row in map(json.loads, out.read_text().splitlines())}
    lines = {(name, line) for name, text in kept for line in text.splitlines() if line.strip()}
    assert {(name, line) for name, some in exported.items() for line in some} == lines

    few = ("--candidates", "3", "-k", "3", "--json")
    assert RARE not in {
        hit["id"] for hit in sightline("search", RARE, *HERE, *few, "--no-texts").answer["results"]
    }
    hits = sightline("search", RARE, *HERE, *few).answer["results"]
    [hit] = [one for one in hits if one["found_by"] != "picture"]
    assert (hit["id"], hit["found_by"], hit["matched_text"]) == (RARE, "text", CAPTIONS[RARE])

    answered_as_by_the_model(sightline, Alone(folders["answerer"], "asking"))
    assert processes_of(settings) == [], "a command left a process behind"


def listed(sightline: Run, *options: str) -> set[tuple[str, str]]:
    """Image id and text of all that are listed."""
    rows = sightline("texts", "list", *HERE, *options, "--limit", "1000", "--json").answer["items"]
    return {(row["image_id"], row["text"]) for row in rows}


def answered_as_by_the_model(sightline: Run, alone: Alone) -> None:
    model = alone.answerer
    ids = [word for name in NAMES for word in ("--id", name)]
    done = sightline("ask", QUESTION, *HERE, *ids, "--json")
    assert done.code == 0, done.stderr
    question = Question(QUESTION)
    sampling = answer_sampling(question, model.sampling("beam"))
    free = model.answer(alone.features(model), [question.prompt()], sampling)
    assert [(row["id"], row["answer"]) for row in done.answer["results"]] == [
        (name, one.text) for name, one in zip(NAMES, free, strict=True)
    ]
    best = ("--text", RARE, "-k", str(len(NAMES)))
    done = sightline("ask", QUESTION, *HERE, *best, "--task", "yes_no", "--json")
    question = Question(QUESTION, "yes_no")
    exact = model.log_likelihoods(alone.features(model), [question.prompt()], question.choices())
    yes = dict(zip(NAMES, exact.double().softmax(dim=1)[:, 0].tolist(), strict=True))
    told = {row["id"]: row["options"][0] for row in done.answer["results"]}
    assert {one["text"] for one in told.values()} == {"yes"}
    assert {name: one["probability"] for name, one in told.items()} == pytest.approx(yes, abs=1e-3)
