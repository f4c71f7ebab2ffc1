"""Pictures as queries, from the library: against scores that are worked out on paper, or in NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.blip.toy import COLOURS, ToyEncoder
from sightline.errors import ConflictError, InputError, NotFoundError, UnavailableError
from sightline.records import InstructedMatcher, SearchHit, SearchRequest, SearchResponse
from sightline.rerank_records import InlineImage, PendingImage, StoredImage
from sightline.store.index import BuildRequest
from sightline.store.records import Generation
from sightline.types import RGB
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import Run, index, picture, save, toy_settings

PICTURES: dict[str, tuple[str, ...]] = {
    "red": ("red",),
    "blue": ("blue",),
    "purple": ("purple",),
    "half": ("red", "blue", "red", "blue"),
    "green top": ("green", "green", "red", "red"),
    "white": ("white",),
    "copy": ("red",),
}


def fill(services: Installation, folder: Path) -> Installation:
    for name, quarters in PICTURES.items():
        save(folder, name, *quarters)
    index(services, folder)
    return services


@pytest.fixture
def changing(services: Installation, tmp_path: Path) -> Installation:
    """A collection of this test's own."""
    return fill(services, tmp_path / "pictures")


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One for all tests that only read."""
    folder = tmp_path_factory.mktemp("similar")
    with open_installation(toy_settings(folder / "data"), inline=True) as services:
        yield fill(services, folder / "pictures")


def tokens_of(*quarters: str) -> np.ndarray:
    """fp64 ``[4,8]``, from the formula in sightline/blip/toy.py, rounded as segments hold them."""
    rows = []
    for place, (x, y) in enumerate(((-1, 1), (1, 1), (-1, -1), (1, -1))):
        seen = np.round(np.array(COLOURS[quarters[place % len(quarters)]]) * 255)
        r, g, b = np.floor(seen * 256 / 255 + 0.5) / 256
        row = np.array([r, g, b, 1 - r, 1 - g, 1 - b, x / 4, y / 4])
        rows.append(row / np.linalg.norm(row))
    return np.array(rows, np.float32).astype(np.float16).astype(np.float64)


def similarity(query: tuple[str, ...], other: tuple[str, ...]) -> float:
    """The mean over the query's tokens of the best product."""
    return float((tokens_of(*query) @ tokens_of(*other).T).max(axis=1).mean())


def find(services: Installation, **asked: Any) -> SearchResponse:
    return services.search.find(SearchRequest("pictures", **asked))


def stored(name: str, collection: str = "pictures") -> StoredImage:
    return StoredImage(collection, f"{name}.png")


def ids(response: SearchResponse) -> list[str]:
    return [hit.id.removesuffix(".png") for hit in response.results]


def test_a_picture_alone_is_answered_by_similarity_without_itm(coloured: Installation) -> None:
    response = find(coloured, image=InlineImage(picture("red")), limit=100)
    expected = {name: similarity(("red",), quarters) for name, quarters in PICTURES.items()}
    assert {one.id.removesuffix(".png"): one.score for one in response.results} == pytest.approx(expected)
    assert [one.score for one in response.results] == sorted(expected.values(), reverse=True)
    assert sorted(ids(response)[:2]) == ["copy", "red"]
    assert response.results[0].score == pytest.approx(1, abs=1e-3)
    assert (response.scored, response.images, response.truncated, response.approximate) == (
        0,
        7,
        False,
        False,
    )
    for hit in response.results:
        assert hit.score == hit.itc == hit.similarity
        assert (hit.itm_logit, hit.match_probability, hit.itc_rank) == (None, None, hit.rank)


def test_a_stored_picture_asks_as_its_file_does_and_is_no_answer_to_itself(coloured: Installation) -> None:
    for name, quarters in PICTURES.items():
        by_id = find(coloured, image=stored(name), limit=100)
        by_file = find(coloured, image=PendingImage(lambda q=quarters: picture(*q)), limit=100)  # type: ignore[misc]
        assert (by_id.images, by_file.images) == (6, 7)
        others = [(one.id, one.score) for one in by_file.results if one.id != f"{name}.png"]
        assert [(one.id, one.score) for one in by_id.results] == others


def test_a_stored_picture_without_a_text_needs_no_model(coloured: Installation) -> None:
    class NoModels:
        def encoder(self, collection: object) -> object:
            raise AssertionError("a model is asked for")

    parts = replace(coloured.search_parts, models=NoModels())  # type: ignore[arg-type]
    from sightline.searching.search import Search

    response = Search(parts).find(SearchRequest("pictures", image=stored("red")))
    assert ids(response)[0] == "copy"


def test_pages_filters_and_tombstones(changing: Installation, tmp_path: Path) -> None:
    whole = ids(find(changing, image=stored("half"), limit=100))
    assert ids(find(changing, image=stored("half"), limit=2, offset=3)) == whole[3:5]
    condition = {"should": [{"field": "id", "equals": f"{name}.png"} for name in ("white", "red", "half")]}
    some = find(changing, image=stored("half"), filter=condition)
    assert (ids(some), some.images) == ([name for name in whole if name in ("white", "red")], 2)
    changing.catalog.delete_images(changing.catalog.collection("pictures").id, ids=["red.png"])
    assert ids(find(changing, image=stored("half"), limit=100)) == [name for name in whole if name != "red"]


def test_a_folded_collection_answers_the_same(changing: Installation, tmp_path: Path) -> None:
    before = find(changing, image=stored("purple"), limit=100)
    snapshot = changing.catalog.snapshot("pictures")
    built = changing.indexes.of().build(changing.segments, BuildRequest(snapshot.segments, snapshot.gone))
    generation = Generation(
        snapshot.collection.feature_set_id, 1, built.file, built.sha256, built.covered, built.images, 0.0,
        kind="flat",
    )  # fmt: skip
    assert changing.catalog.publish_generation(snapshot.collection.id, 0, generation)
    save(tmp_path / "more", "late", "purple", "red")
    changing.indexer.wait(changing.indexer.index([str(tmp_path / "more")], "pictures").id, timeout=60)
    after = find(changing, image=stored("purple"), limit=100)
    assert after.generation == 1
    assert "late" in ids(after)
    kept = [(hit.id, hit.score) for hit in after.results if hit.id != "late.png"]
    assert kept == [(hit.id, hit.score) for hit in before.results]


def by_text(services: Installation, text: str) -> dict[str, float]:
    """Id → match probability of the text alone."""
    response = find(services, text=text, limit=100)
    return {hit.id: hit.match_probability or 0.0 for hit in response.results}


def test_with_a_text_both_count_and_itm_decides_the_texts_part(coloured: Installation) -> None:
    response = find(coloured, image=stored("red"), text="green top", limit=100)
    matches = by_text(coloured, "green top")
    expected = {
        f"{name}.png": similarity(("red",), quarters) * matches[f"{name}.png"]
        for name, quarters in PICTURES.items() if name != "red"
    }  # fmt: skip
    assert {hit.id: hit.score for hit in response.results} == pytest.approx(expected)
    assert ids(response)[0] == "green top"  # as green at the top as can be, and half as red
    assert (response.scored, response.images) == (6, 6)
    for hit in response.results:
        assert hit.match_probability == matches[hit.id]
        assert hit.similarity == pytest.approx(similarity(("red",), PICTURES[hit.id.removesuffix(".png")]))
        assert hit.score == pytest.approx(hit.similarity * hit.match_probability)
    likely = find(coloured, image=stored("red"), text="green top", min_probability=0.9)
    assert ids(likely) == [one.id.removesuffix(".png") for one in response.results if matches[one.id] >= 0.9]


def test_candidates_come_from_both_lists(coloured: Installation) -> None:
    """One place for each: the best by the text, which is unlike the picture, and the other way round."""
    response = find(coloured, image=stored("white"), text="blue", candidates=2, limit=2)
    best_text = find(coloured, text="blue", limit=1, rerank=False)
    best_like = find(coloured, image=stored("white"), limit=1)
    assert {*ids(best_text), *ids(best_like)} == set(ids(response))
    assert response.scored == 2


class Told:
    """A watch that wants everything."""

    def __init__(self) -> None:
        self.first: SearchResponse | None = None
        self.orders: list[list[SearchHit]] = []

    def candidates(self, response: SearchResponse) -> None:
        self.first = response

    def is_due(self) -> bool:
        return True

    def order(self, hits: Any, scored: int, of: int) -> None:
        self.orders.append(list(hits))


def test_whoever_watches_is_told_the_fused_order_and_then_itms(coloured: Installation) -> None:
    told = Told()
    request = SearchRequest("pictures", "green top", image=stored("red"), limit=100)
    response = coloured.search.find(request, told)
    assert told.first is not None
    assert sorted(ids(told.first)) == sorted(ids(response))
    assert [hit.itc_rank for hit in told.first.results] == [1, 2, 3, 4, 5, 6]
    assert told.orders[-1] == list(response.results)
    alone = Told()
    whole = coloured.search.find(SearchRequest("pictures", image=stored("red"), limit=100), alone)
    assert alone.first is not None
    assert alone.first.results == whole.results
    assert alone.orders == []


def test_a_deadline_leaves_the_rest_in_the_order_of_both(coloured: Installation) -> None:
    response = find(coloured, image=stored("red"), text="green top", deadline_ms=1e-3, limit=100)
    before = find(coloured, image=stored("red"), text="green top", rerank=False, limit=100)
    assert response.scored == 0
    assert ids(response) == ids(before)


def test_words_of_captions_bring_candidates_beside_a_picture_too(changing: Installation) -> None:
    changing.catalog.update_image("pictures", "white.png", caption="a lighthouse at dawn")
    response = find(changing, image=stored("red"), text="lighthouse", candidates=3, limit=3)
    brought = [hit for hit in response.results if hit.id == "white.png"]
    assert [hit.matched_text for hit in brought] == ["a lighthouse at dawn"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"min_probability": 0.5}, "min_probability is about a text"),
        ({"matcher": InstructedMatcher("Is it red?")}, "A matcher judges by a text"),
        ({"limit": 0}, "at least 1"),
    ],
)
def test_what_a_picture_alone_cannot_be_asked_is_refused(
    coloured: Installation, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        find(coloured, image=stored("red"), **asked)


def test_a_stored_picture_that_is_not_there_or_not_ready_is_told(
    changing: Installation, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError, match=r"none\.png"):
        find(changing, image=stored("none"))
    with pytest.raises(NotFoundError, match="elsewhere"):
        find(changing, image=stored("red", "elsewhere"))
    save(tmp_path / "late", "late", "red")
    changing.indexer.index([str(tmp_path / "late")], "pictures")
    with pytest.raises(UnavailableError, match=r"late\.png of pictures is not indexed yet"):
        find(changing, image=stored("late"))


def test_a_picture_of_another_collection_is_asked_with_where_the_model_is_the_same(
    changing: Installation, tmp_path: Path
) -> None:
    save(tmp_path / "others", "red", "red")
    index(changing, tmp_path / "others", "others")
    response = find(changing, image=stored("red", "others"), limit=100)
    assert response.images == 7  # it is none of these itself
    assert sorted(ids(response)[:2]) == ["copy", "red"]
    changing.catalog.create_collection(
        "foreign", model="another", revision=None, fingerprint="f2", num_query_tokens=4, joint_dim=8
    )
    with pytest.raises(ConflictError, match=r"red\.png of others was indexed with toy, and foreign with"):
        changing.search.find(SearchRequest("foreign", image=stored("red", "others")))


def test_damaged_tokens_of_the_query_picture_are_told_not_guessed(changing: Installation) -> None:
    snapshot = changing.catalog.snapshot("pictures")
    key = changing.catalog.image("pictures", "red.png").key
    for segment in snapshot.segments:
        head = changing.segments.head(segment.file)
        rows = np.flatnonzero(head.keys == key)
        if len(rows):
            spec, start = head.layout.specs["tokens"], head.layout.starts["tokens"]
            size = spec.bytes // spec.shape[0]
            with open(head.layout.path, "r+b") as file:
                file.seek(start + int(rows[0]) * size)
                file.write(b"\x01" * size)
    changing.segments.forget(segment.file)
    with pytest.raises(UnavailableError, match=r"tokens of image red\.png cannot be read"):
        find(changing, image=stored("red"))
    others = find(changing, image=stored("copy"), limit=100)
    assert "red" not in ids(others)
    assert others.degraded


def test_one_query_token_is_enough(tmp_path: Path) -> None:
    """As of BLIP: the similarity is the cosine of the two vectors."""
    from sightline.retriever.similar import SimilarImages
    from tests.retriever.living_collection import living_collection

    with living_collection(tmp_path, 5, queries=1, dim=8) as living:
        living.put(["a", "b", "c"])
        query = living.tokens["a"]
        found = SimilarImages(living.retriever).retrieve("pictures", query, 3)
        cosines = {
            living.keys[name]: float(tokens[0].astype(float) @ query[0].astype(float))
            for name, tokens in living.tokens.items()
        }
        assert {one.key: one.itc for one in found.candidates} == pytest.approx(cosines)


def test_the_toys_tokens_are_those_of_the_paper() -> None:
    model = ToyEncoder()
    pixels: list[RGB] = [picture("red", "blue", "green", "white")]
    tokens = model.encode_image(model.encode_patches(model.preprocess(pixels)))[0].numpy()
    assert np.array_equal(tokens.astype(np.float16), tokens_of("red", "blue", "green", "white"))


def test_the_commands_ask_with_files_and_ids(changing: Installation, tmp_path: Path, sightline: Run) -> None:
    file = str(save(tmp_path / "asked", "like", "red"))
    by_file = sightline("similar", file, "-c", "pictures", "-k", "3", "--json")
    assert (by_file.code, len(by_file.answer["results"])) == (0, 3)
    assert {by_file.answer["results"][n]["id"] for n in (0, 1)} == {"red.png", "copy.png"}
    by_id = sightline("similar", "--id", "red.png", "-c", "pictures", "--json")
    assert by_id.answer["results"][0]["id"] == "copy.png"
    table = sightline("similar", "--id", "red.png", "-c", "pictures")
    assert "similarity" in table.stdout
    assert "copy.png" in table.stdout
    both = sightline("search", "green top", "--image", file, "-c", "pictures", "--json")
    assert both.answer["results"][0]["id"] == "green top.png"
    assert both.answer["scored"] == len(PICTURES)
    shown = sightline("search", "green top", "--image", file, "-c", "pictures")
    assert "like it" in shown.stdout
    alone = sightline("search", "--image", file, "-c", "pictures", "--json")
    assert [one["id"] for one in alone.answer["results"]][:3] == [
        one["id"] for one in by_file.answer["results"]
    ]
    for wrong in (("similar", "-c", "pictures"), ("similar", file, "--id", "red.png", "-c", "pictures"),
                  ("search", "-c", "pictures"), ("similar", str(tmp_path), "-c", "pictures")):  # fmt: skip
        ended = sightline(*wrong)
        assert (ended.code, ended.stdout) == (2, "")
    assert sightline("similar", "--id", "none", "-c", "pictures").code == 3
