"""When a count stops: seldom too soon, on queries drawn from known chances; what is kept to learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightline.searching.count_law import (
    BOUND,
    LEAST_QUERIES,
    Hits,
    Judged,
    Law,
    Left,
    Numbers,
    depths,
    is_deep,
    learn,
)
from sightline.searching.count_samples import CountSamples, learned_of
from sightline.store.cascade_files import CascadeFiles
from sightline.store.records import Collection

LEAST = 0.5


def drawn(chance: np.random.Generator, images: int = 1_500) -> Judged:
    """A query whose pictures reach τ by a logistic chance of their ITC score, with a midpoint of its own."""
    itc = np.sort(chance.normal(0.3, 0.06, images))[::-1]
    likely = 1 / (1 + np.exp(-(itc - chance.normal(0.46, 0.02)) / 0.008))
    return Judged(itc, np.where(chance.random(images) < likely, 0.9, 0.1))


def stopped(query: Judged, law: Law | None) -> int:
    """How deep a count would judge."""
    itc, hits = query.itc, query.probability >= LEAST
    for depth in depths(len(itc)):
        if depth < len(itc) and is_deep(depth, hits[:depth], law):
            if law is None:
                return depth
            if sum(law.expected(itc[:depth], hits[:depth], Left(itc[depth:], 0))) < law.most:
                return depth
    return len(itc)


def test_a_learned_law_stops_too_soon_no_more_often_than_the_bound_and_judges_a_part() -> None:
    chance = np.random.default_rng(1)
    law = learn([drawn(chance) for _ in range(60)], LEAST)
    assert law is not None
    queries = [drawn(chance) for _ in range(300)]
    at = [stopped(query, law) for query in queries]
    missed = [bool((one.probability[depth:] >= LEAST).any()) for one, depth in zip(queries, at, strict=True)]
    # 300 queries that miss with the allowed chance are 15, give or take 3.8: no more than three times that.
    assert sum(missed) <= BOUND * 300 + 3 * 3.8
    assert np.mean(at) < 0.3 * 1_500


def test_outliers_that_no_logistic_expects_make_the_law_stop_later() -> None:
    chance = np.random.default_rng(2)
    plain = [drawn(chance) for _ in range(40)]
    odd = []
    for one in plain:
        probability = one.probability.copy()
        probability[chance.integers(300, 600)] = 0.9
        odd.append(Judged(one.itc, probability))
    usual, careful = learn(plain, LEAST), learn(odd, LEAST)
    assert usual is not None
    assert careful is not None
    assert careful.most < usual.most <= BOUND
    missed = sum(bool((one.probability[stopped(one, careful) :] >= LEAST).any()) for one in odd)
    assert missed <= BOUND * (len(odd) + 1)


def test_the_expected_number_is_the_sum_of_chances_known_and_below() -> None:
    law = Law(0.5, 0.1, np.array([0.0, 4.0]), 1e-12 * np.eye(2), BOUND)
    itc: Numbers = np.array([0.9, 0.8])
    hits: Hits = np.array([True, True])
    rest: Numbers = np.array([0.5, 0.4])
    chances = 1 / (1 + np.exp(-np.array([0.0, -4.0])))
    known, below = law.expected(itc, hits, Left(rest, 10))
    assert known == pytest.approx(chances.sum(), rel=1e-6)
    assert below == pytest.approx(10 * chances[1], rel=1e-6)


def test_few_queries_teach_nothing() -> None:
    chance = np.random.default_rng(3)
    assert learn([drawn(chance) for _ in range(LEAST_QUERIES - 1)], LEAST) is None
    same = [Judged(np.full(50, 0.4), np.full(50, p)) for p in (0.1, 0.9) for _ in range(LEAST_QUERIES)]
    assert learn(same, LEAST) is not None, "not even equal scores are too much for it"


def test_depths_grow_in_whole_batches_and_end_at_the_end() -> None:
    for upto in (1, 31, 32, 33, 500, 10_000):
        found = list(depths(upto))
        assert found == sorted(set(found))
        assert found[-1] == upto
        assert all(depth % 16 == 0 for depth in found[:-1])


def test_samples_are_kept_by_servers_only_read_by_all_and_gone_after_a_purge(tmp_path: Path) -> None:
    of = learned_of(Collection(7, "pictures", "toy", None, "f" * 8, 4, 8, 0, 0.0, 1, None), 2)
    files = CascadeFiles(tmp_path)
    server, reader = CountSamples(files), CountSamples(CascadeFiles(tmp_path))
    assert (server.token(of), server.goes_deeper(of)) == (None, False)
    server.start()
    token = server.token(of)
    assert token is not None
    assert server.goes_deeper(of)
    chance = np.random.default_rng(4)
    for number in range(LEAST_QUERIES):
        assert reader.law(of, LEAST) is None
        server.note(of, token, f"query {number}", drawn(chance))
    law = reader.law(of, LEAST)
    assert law is not None
    assert reader.law(of, LEAST) is law
    broken = next(tmp_path.rglob("*.sample.safetensors"))
    broken.write_bytes(b"nothing of the kind")
    assert CountSamples(files).law(of, LEAST) is None, "one of them cannot be read"
    files.forget_samples(of.collection_id)
    server.note(of, token, "begun before the purge", drawn(chance))
    assert not list(tmp_path.rglob("*.sample.safetensors"))
