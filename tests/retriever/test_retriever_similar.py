"""Images like a picture, against the definition in NumPy: a mean of maxima, product by product."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightline.errors import InputError
from sightline.retriever import Retriever
from sightline.retriever.exact import ExactCatalog
from sightline.retriever.max_sim import Part
from sightline.retriever.similar import SimilarImages
from sightline.retriever.similarity import QueryTokens, similar
from sightline.store.filters import parse_filter
from sightline.store.halves import widen
from tests.retriever.living_collection import Living, living_collection
from tests.retriever.test_retriever_exact import fold_sampled
from tests.store.sampled_index import SampledBackend, is_known
from tests.store.token_world import flat_tail, random_tokens


def by_definition(tokens_NQD: np.ndarray, query_TD: np.ndarray) -> np.ndarray:
    """``[N]``: the mean over the query's tokens of the best product, in fp64."""
    products = np.einsum("nqd,td->nqt", tokens_NQD.astype(np.float64), query_TD.astype(np.float64))
    return products.max(axis=1).mean(axis=1)


def best(living: Living, query: np.ndarray, images: int, allowed: set[int]) -> list[tuple[int, float]]:
    """(key, similarity), sorted in Python by (−similarity, key)."""
    ids = [name for name in living.keys if living.keys[name] in allowed]
    scores = by_definition(np.stack([living.tokens[name] for name in ids]), query) if ids else []
    pairs = [(living.keys[name], round(float(score), 12)) for name, score in zip(ids, scores, strict=True)]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:images]


def check(living: Living, images: int, since: int | None = None, name: str | None = None) -> None:
    """One query against the definition: with tokens of nobody, or with those of a stored image."""
    finder = SimilarImages(living.retriever)
    exclude, query = None, random_tokens(living.rng, 1, living.queries, living.dim)[0]
    if name is not None:
        exclude, query = living.keys[name], finder.tokens("pictures", living.keys[name])
        assert query is not None
        assert np.array_equal(query, living.tokens[name])
    condition = parse_filter({"field": "metadata.year", "range": {"gte": since}}) if since else None
    allowed = {key for one, key in living.keys.items() if since is None or living.years[one] >= since}
    allowed -= {exclude}  # type: ignore[arg-type]
    found = finder.retrieve("pictures", query, images, condition, exclude)
    expected = best(living, query, images, allowed)
    assert [one.key for one in found.candidates] == [key for key, _ in expected]
    assert np.allclose([one.itc for one in found.candidates], [s for _, s in expected], rtol=0, atol=1e-12)
    assert [one.itc_rank for one in found.candidates] == list(range(1, len(expected) + 1))
    assert (found.images, found.approximate, found.degraded) == (len(allowed), False, ())


def test_it_is_exact_in_a_collection_that_lives(tmp_path: Path) -> None:
    with living_collection(tmp_path, 11) as living:
        living.put([f"a{n}" for n in range(120)])
        living.fold()
        living.put([f"b{n}" for n in range(40)] + [f"a{n}" for n in range(7)])
        living.delete([f"a{n}" for n in range(20, 40)])
        for turn in range(40):
            name = (None, "a50", "b3", "a2")[turn % 4]  # nobody's, folded, in a segment, replaced
            check(living, (1, 7, 50, 500)[turn // 4 % 4], (None, 2000, 2029)[turn % 3], name)


def test_an_image_scores_the_same_folded_or_not(tmp_path: Path) -> None:
    with living_collection(tmp_path, 12, queries=32, dim=24) as living:
        living.put([f"a{n}" for n in range(60)])
        query = random_tokens(living.rng, 1, 32, 24)[0]
        finder = SimilarImages(living.retriever)
        before = finder.retrieve("pictures", query, 60)
        some = finder.similarities("pictures", query, [one.key for one in before.candidates[:9]] + [10**9])
        living.fold()
        after = finder.retrieve("pictures", query, 60)
        assert (before.generation, after.generation) == (0, 1)
        assert before.candidates == after.candidates  # to the last bit
        assert some == {one.key: one.itc for one in before.candidates[:9]}
        assert some == finder.similarities("pictures", query, list(some))


def test_copies_of_the_picture_come_first_and_it_does_not(tmp_path: Path) -> None:
    with living_collection(tmp_path, 13) as living:
        living.put([f"a{n}" for n in range(60)])
        name = next(
            one for one in living.keys
            if sum(np.array_equal(living.tokens[one], other) for other in living.tokens.values()) > 1
        )  # fmt: skip
        copies = {
            key for one, key in living.keys.items() if np.array_equal(living.tokens[one], living.tokens[name])
        }
        finder = SimilarImages(living.retriever)
        found = finder.retrieve("pictures", living.tokens[name], 60, exclude=living.keys[name])
        first = [one for one in found.candidates if one.itc > 0.999]
        assert {one.key for one in first} == copies - {living.keys[name]}
        assert first[0].itc == pytest.approx(1, abs=1e-3)  # fp16's idea of length 1
        assert living.keys[name] not in {one.key for one in found.candidates}


def test_an_approximate_index_says_so_and_scores_exactly(tmp_path: Path) -> None:
    with living_collection(tmp_path, 14) as living:
        living.put([f"a{n}" for n in range(150)])
        fold_sampled(living, SampledBackend(tmp_path / "sampled"))
        living.put([f"b{n}" for n in range(20)])
        living.delete([f"a{n}" for n in range(10)])
        some = SimilarImages(Retriever(living.catalog, living.reader, living.indexes))
        living.retriever = Retriever(
            ExactCatalog(living.catalog, living.indexes), living.reader, living.indexes
        )
        every = SimilarImages(living.retriever)
        check(living, 160)
        query = random_tokens(living.rng, 1)[0]
        found, all_ = (one.retrieve("pictures", query, 160) for one in (some, every))
        assert (found.approximate, found.recall, found.images) == (True, None, all_.images)
        assert (all_.approximate, all_.recall) == (False, None)
        missed = {one.key for one in all_.candidates} - {one.key for one in found.candidates}
        assert missed
        assert not is_known(np.array(sorted(missed))).any()
        scores = {one.key: one.itc for one in all_.candidates}
        assert all(scores[one.key] == one.itc for one in found.candidates)
        lacking = sorted(missed)[0]  # the index does not find it, and still it can be asked with
        tokens = some.tokens("pictures", lacking)
        assert tokens is not None
        assert np.array_equal(
            tokens, next(living.tokens[n] for n, key in living.keys.items() if key == lacking)
        )


def test_what_is_no_picture_of_this_model_is_refused(tmp_path: Path) -> None:
    with living_collection(tmp_path, 15) as living:
        living.put(["a"])
        finder = SimilarImages(living.retriever)
        with pytest.raises(InputError, match=r"\[T, 16\], not \[4, 8\] of another model"):
            finder.retrieve("pictures", random_tokens(living.rng, 1, 4, 8)[0], 5)
        with pytest.raises(InputError, match="length 1"):
            finder.retrieve("pictures", np.full((4, 16), np.nan, np.float16), 5)
        with pytest.raises(InputError, match="At least one"):
            finder.retrieve("pictures", living.tokens["a"], 0)
        assert finder.tokens("pictures", 10**9) is None


def test_tokens_that_are_all_the_same_cost_no_more_memory_than_others() -> None:
    """Every pair of a flat picture may be the best one; they are multiplied a few at a time."""
    tokens = np.zeros((300, 32, 16), np.float16)
    tokens[:, :, 0] = 1
    tail = flat_tail(np.arange(300), tokens)
    found = similar(Part(tail), [], QueryTokens(tokens[0]), 10)
    assert (found.keys.tolist(), found.scores.tolist()) == (list(range(10)), [1.0] * 10)


def test_widening_gives_the_same_numbers() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = np.ascontiguousarray(every[np.isfinite(every)])
    out = np.empty(len(finite), np.float32)
    widen(finite, out)
    assert np.array_equal(out.view(np.uint32), finite.astype(np.float32).view(np.uint32))
