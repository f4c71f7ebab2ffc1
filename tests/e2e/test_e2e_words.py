"""From pictures to words and back, with each kind of captioner: caption → CapFilt → a search → ask → purge.

What jobs write, keep and answer is compared with the same checkpoints called directly.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from sightline.blip.checkpoint import Role
from sightline.blip.instructions import TaskName
from sightline.captioner.answering import Question, Reply, answer_sampling
from sightline.captioner.thresholds import Threshold
from sightline.records import SearchHit, SearchRequest
from sightline.searching.asking import AskRequest
from sightline.store.text_records import CAPTIONER, GIVEN, StoredText
from sightline.wiring import Installation, open_installation
from tests.e2e.words_world import CAPTIONS, NAMES, RARE, Alone, write_checkpoints, write_pictures
from tests.indexer.world import shared_decoder
from tests.sightline.conftest import toy_settings

TOLD = 3
"""Candidates of a search, fewer than there are pictures: ITC alone does not bring all of them."""


@dataclass(frozen=True)
class Kind:
    """Checkpoints: one that captions, one that answers, and that of the collection."""

    writes: str
    answers: str
    retrieves: str


KINDS = {
    "blip": Kind("blip-captions", "blip-answers", "blip"),
    "blip2-opt": Kind("blip2-opt", "blip2-opt", "blip2"),
    "blip2-t5": Kind("blip2-t5", "blip2-t5", "blip"),
    "instructblip-t5": Kind("instructblip-t5", "instructblip-t5", "blip2"),
    "instructblip-llama": Kind("instructblip-llama", "instructblip-llama", "blip"),
    "instructblip-opt": Kind("instructblip-opt", "instructblip-opt", "blip2"),
    "itg": Kind("blip2", "blip2-t5", "blip2"),  # the collection's own model, which answers nothing
    "toy": Kind("toy", "toy", "blip"),
}


@dataclass
class World:
    """An installation, the checkpoints, and a manifest of the five pictures."""

    services: Installation
    folders: dict[str, str]
    manifest: Path
    loaded: dict[tuple[str, Role], Alone] = field(default_factory=dict)

    def alone(self, checkpoint: str, role: Role) -> Alone:
        """A checkpoint, called directly."""
        return self.loaded.setdefault((checkpoint, role), Alone(self.folders[checkpoint], role))


@dataclass(frozen=True)
class Chain:
    """One kind of captioner in a collection of that name."""

    name: str
    services: Installation
    captioner: Alone
    answerer: Alone
    retrieval: Alone

    def texts(self) -> dict[str, list[StoredText]]:
        """Of each live image."""
        images = self.services.catalog.images(self.name, None, 100).items
        found = self.services.catalog.texts_of([one.key for one in images])
        return {image.image_id: found.get(image.key, []) for image in images}

    def search(self, text: str, candidates: int, *, texts: bool = True) -> dict[str, SearchHit]:
        """Hits by id: as many as there are candidates."""
        request = SearchRequest(self.name, text, limit=candidates, candidates=candidates, texts=texts)
        return {hit.id: hit for hit in self.services.search.find(request).results}

    def healthy(self) -> bool:
        """Whether catalog, segments and index agree."""
        said = self.services.consistency.disagreements(self.services.catalog.collection(self.name))
        return (said, list(self.services.catalog.check())) == ([], [])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place = tmp_path_factory.mktemp("words")
    with open_installation(toy_settings(place / "data"), decoder=shared_decoder(), inline=True) as services:
        yield World(services, write_checkpoints(place / "models"), write_pictures(place / "pictures"))


@pytest.mark.parametrize("name", KINDS)
def test_captions_are_judged_found_by_their_words_asked_about_and_gone_with_their_picture(
    world: World, name: str
) -> None:
    kind = KINDS[name]
    chain = Chain(
        name,
        world.services,
        world.alone(kind.writes, "captioning"),
        world.alone(kind.answers, "asking"),
        world.alone(kind.retrieves, "retrieval"),
    )
    world.services.collections.create(name, chain.retrieval.folder)
    job = world.services.indexer.index([str(world.manifest)], name)
    assert world.services.indexer.wait(job.id, timeout=60).indexed == len(NAMES)
    captions_are_what_the_model_writes(chain)
    kept = texts_are_kept_as_the_model_judges_them(chain)
    names_are_found_by_the_texts_that_were_kept(chain, kept)
    answers_are_those_of_the_model(chain)
    pictures_of_a_search_are_asked_about(chain)
    nothing_is_left_of_a_purged_picture(chain)


def captions_are_what_the_model_writes(chain: Chain) -> None:
    job = chain.services.captioning.begin(chain.name, model=chain.captioner.folder, n=2)
    progress = chain.services.indexer.wait(job.id, timeout=60)
    assert (progress.state, progress.processed, progress.failed) == ("done", len(NAMES), 0)
    expected = chain.captioner.captions(2, "beam")
    assert len({text for some in expected.values() for text in some}) > 1, "pictures make a difference"
    for name, some in chain.texts().items():
        told = {one.text: one.log_probability for one in some if one.source == CAPTIONER}
        assert told == pytest.approx(expected[name], rel=1e-3)
        assert [one.text for one in some if one.source == GIVEN] == [CAPTIONS[name]]
        assert {one.verdict for one in some} == {"unjudged"}


def texts_are_kept_as_the_model_judges_them(chain: Chain) -> list[str]:
    """Names of the pictures whose own caption was kept; that of RARE is one of them."""
    written = chain.captioner.captions(2, "nucleus")
    every = {(name, text) for name in NAMES for text in [CAPTIONS[name], *written[name]]}
    expected = {(name, text): chain.retrieval.probability(name, text) for name, text in every}
    own = sorted(expected[about] for about in CAPTIONS.items())
    rare = expected[RARE, CAPTIONS[RARE]]
    threshold = between(own[own.index(rare) - 1], rare, expected.values())
    job = chain.services.capfilt.begin(
        chain.name, captioner=chain.captioner.folder, n=2, threshold=Threshold(threshold)
    )
    assert chain.services.indexer.wait(job.id, timeout=60).state == "done"
    found = {(name, one.text): one for name, some in chain.texts().items() for one in some}
    assert {about: one.match_probability for about, one in found.items()} == pytest.approx(expected, abs=1e-5)
    verdicts = {about: one.verdict for about, one in found.items()}
    assert verdicts == {about: "kept" if p >= threshold else "dropped" for about, p in expected.items()}
    counts = chain.services.capfilt.report(chain.name, job.id).sources
    assert sum(one.kept for one in counts) == list(verdicts.values()).count("kept")
    assert sum(one.dropped for one in counts) == list(verdicts.values()).count("dropped") > 0
    return [name for name in NAMES if verdicts[name, CAPTIONS[name]] == "kept"]


def between(low: float, high: float, probabilities: Iterable[float]) -> float:
    """A threshold that drops the one and keeps the other: in the widest gap, so that no rounding matters."""
    some = sorted(one for one in probabilities if low <= one <= high)
    gap, start = max((above - below, below) for below, above in itertools.pairwise(some))
    assert gap > 1e-4, "the numbers of another machine may fall on the other side"
    return start + gap / 2


def names_are_found_by_the_texts_that_were_kept(chain: Chain, kept: list[str]) -> None:
    assert chain.retrieval.itc_order(RARE)[-1] == RARE
    assert RARE not in chain.search(RARE, TOLD, texts=False)
    assert RARE in kept
    assert len(kept) < len(NAMES)
    for name in NAMES:
        rank = chain.retrieval.itc_order(name).index(name) + 1
        by_words = {
            one: (hit.found_by, hit.itc_rank, hit.matched_text)
            for one, hit in chain.search(name, TOLD).items()
            if hit.found_by != "picture"
        }
        told = ("both", rank, CAPTIONS[name]) if rank <= TOLD else ("text", None, CAPTIONS[name])
        assert by_words == ({name: told} if name in kept else {})


def answers_are_those_of_the_model(chain: Chain) -> None:
    model = chain.answerer.answerer
    seen = chain.answerer.features(model)
    tasks: dict[TaskName, tuple[str, ...]] = {
        "short_answer": (),
        "yes_no": (),
        "multiple_choice": ("red", "a green car"),
    }
    for task, options in tasks.items():
        question = Question("is there a red house?", task, "plain", options)
        replies = asked(chain, AskRequest(chain.name, question, NAMES, model=chain.answerer.folder))
        assert list(replies) == list(NAMES)
        if not (choices := question.choices()):
            sampling = answer_sampling(question, model.sampling("beam"))
            free = model.answer(seen, [question.prompt()], sampling)
            assert [one.answer for one in replies.values()] == [one.text for one in free]
            probabilities = [one.probability for one in replies.values()]
            assert probabilities == pytest.approx([one.probability for one in free], rel=1e-2)
            continue
        exact = model.log_likelihoods(seen, [question.prompt()], choices).double().softmax(dim=1)
        told = [[one.probability for one in reply.options] for reply in replies.values()]
        assert torch.allclose(torch.tensor(told).double(), exact, atol=1e-3)
        best = [choices[at] for at in torch.tensor(told).argmax(dim=1).tolist()]
        assert [one.answer for one in replies.values()] == best


def asked(chain: Chain, request: AskRequest) -> dict[str, Reply]:
    with chain.services.asking.ask(request) as answered:
        return {one.image.image_id: one.reply for one in answered.answers}


def pictures_of_a_search_are_asked_about(chain: Chain) -> None:
    """The one that words brought, too: its match probability is the search's, its answer that of its id."""
    question = Question("is there a red house?", "yes_no", "plain")
    by_id = asked(chain, AskRequest(chain.name, question, NAMES, model=chain.answerer.folder))
    request = AskRequest(chain.name, question, text=RARE, limit=len(NAMES), model=chain.answerer.folder)
    with chain.services.asking.ask(request) as answered:
        found = list(answered.answers)
    hits = list(chain.search(RARE, len(NAMES)).values())
    assert [one.image.image_id for one in found] == [hit.id for hit in hits]
    assert [one.match_probability for one in found] == pytest.approx([one.match_probability for one in hits])
    for one in found:
        assert one.reply.answer == by_id[one.image.image_id].answer
        assert one.reply.probability == pytest.approx(by_id[one.image.image_id].probability, abs=1e-5)


def nothing_is_left_of_a_purged_picture(chain: Chain) -> None:
    catalog = chain.services.catalog
    found, key = catalog.collection(chain.name), catalog.image(chain.name, RARE).key
    fingerprint = chain.captioner.captioner.fingerprint
    own = catalog.feature_set(found.id, fingerprint)
    assert own is not None
    assert own.serving == (fingerprint == found.fingerprint)
    assert catalog.locations([key], own.id).keys() == {key}

    assert catalog.delete_images(found.id, [RARE]) == 1
    assert RARE not in chain.search(RARE, len(NAMES))
    assert len(catalog.texts_of([key])[key]) > 1, "a picture in the trash keeps its texts"
    assert chain.services.purging.images(chain.name, [RARE]) == {RARE}

    assert catalog.texts_of([key]) == {}
    assert catalog.locations([key], own.id) == {}
    assert catalog.search_texts(found.id, RARE, 10, None) == []
    left = {name: hit.found_by for name, hit in chain.search(RARE, len(NAMES)).items()}
    assert left == dict.fromkeys(set(NAMES) - {RARE}, "picture")
    keys = {catalog.image(chain.name, name).key for name in left}
    assert catalog.locations(sorted(keys), own.id).keys() == keys
    assert all(chain.texts()[name] for name in left)
    assert chain.healthy()
