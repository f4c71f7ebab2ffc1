"""Calibrated probabilities: fitted to what is true, shown in place of the softmax, and changing no order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from sightline.blip.calibration import Calibration
from sightline.blip.known_words import WordsRead
from sightline.blip.toy import ToyEncoder
from sightline.errors import InputError
from sightline.reranker import PatchGroup, Reranker
from sightline.reranker.calibration_fit import Pairs, bins, calibration_error, fit, probabilities, split
from sightline.reranker.judging import match_scores

HALF = Calibration("platt", 2.0, -1.0)


def pairs(count: int = 4000, slope: float = 0.8, bias: float = -0.6) -> Pairs:
    """Pairs whose truth is drawn with exactly that probability."""
    rng = np.random.default_rng(3)
    differences = rng.normal(0, 3, count)
    truth = rng.random(count) < 1 / (1 + np.exp(-(slope * differences + bias)))
    return Pairs(differences, truth, np.arange(count) // 10)


def pictures(count: int = 12) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (4, 4, 3), np.uint8) for _ in range(count)]


class SayingToy(ToyEncoder):
    """A toy whose checkpoint has a calibration, and which does not know one word."""

    calibration = Calibration("platt", 2.0, -1.0, unknown=-3.0)
    note = None

    def words_read(self, text: str) -> WordsRead:
        return WordsRead(("perro",), 1) if "perro" in text else WordsRead()


@dataclass(frozen=True)
class Found:
    key: int
    itc: float
    itc_rank: int


class Stored:
    def __init__(self, images: list[np.ndarray]) -> None:
        toy = ToyEncoder()
        self.all = toy.encode_patches(toy.preprocess(images))

    def patches(self, keys: list[int]) -> list[PatchGroup]:
        return [PatchGroup(range(len(keys)), self.all[torch.tensor(keys)])]


def test_temperature_and_bias_are_found_again() -> None:
    found = fit(pairs(20_000), isotonic_from=None)
    assert 1 / found.temperature == pytest.approx(0.8, abs=0.03)
    assert found.bias == pytest.approx(-0.6, abs=0.06)


@pytest.mark.parametrize("isotonic_from", [None, 100])
def test_a_fit_says_on_other_queries_what_is_so(isotonic_from: int | None) -> None:
    fitting, held_out = split(pairs(8000, slope=0.4, bias=-1.5))
    assert not set(fitting.queries) & set(held_out.queries)
    found = fit(fitting, isotonic_from=isotonic_from)
    before = calibration_error(probabilities(Calibration(), held_out), held_out.truth)
    after = calibration_error(probabilities(found, held_out), held_out.truth)
    assert before > 0.15
    assert after < 0.03


def test_isotonic_knots_rise_and_are_never_sure() -> None:
    found = fit(pairs(4000), isotonic_from=100)
    said = [found.probability(one) for one in np.linspace(-20, 20, 200)]
    assert np.all(np.diff(said) >= 0)
    assert 0 < said[0] < said[-1] < 1


def test_pairs_that_do_not_overlap_still_give_finite_numbers() -> None:
    differences = np.concatenate([np.full(20, -5.0), np.full(20, 5.0)])
    found = fit(Pairs(differences, differences > 0, np.arange(40)))
    assert 0 < found.temperature < 100
    assert found.probability(5.0) > 0.95
    assert found.probability(-5.0) < 0.05


@pytest.mark.parametrize("wrong", ["too few", "the other way round"])
def test_what_cannot_be_learned_from_is_refused(wrong: str) -> None:
    few = pairs(500, slope=-0.8)
    if wrong == "too few":
        few = few.where(np.arange(500) < 9)
    with pytest.raises(
        InputError, match="at least 10 of each" if wrong == "too few" else "look at the labels"
    ):
        fit(few)


def test_the_calibration_error_is_that_of_its_definition() -> None:
    said = np.array([0.05, 0.05, 0.95, 0.95, 1.0])
    so = np.array([False, True, True, True, False])
    # of five pairs two say 0.05 where half are so, three 0.9667 where two thirds are
    assert calibration_error(said, so, 10) == pytest.approx(2 / 5 * 0.45 + 3 / 5 * 0.3)
    assert [(one.count, one.so) for one in bins(said, so, 10)] == [(2, 0.5), (3, pytest.approx(2 / 3))]


def test_scores_have_the_softmax_beside_what_a_calibration_makes_of_it() -> None:
    (scored,) = match_scores(torch.tensor([[1.0, 4.0]]), HALF)
    assert scored.logit == 4
    assert scored.raw == pytest.approx(1 / (1 + np.exp(-3.0)))
    assert scored.probability == pytest.approx(1 / (1 + np.exp(-0.5)))


def test_a_calibration_changes_no_order_and_no_score() -> None:
    images, toy = pictures(), ToyEncoder()
    plain = Reranker(toy, encoder=toy).rank("red left blue", images)
    other = Reranker(toy, encoder=toy, calibration=HALF).rank("red left blue", images)
    assert [(one.index, one.score, one.itm_logit, one.itc) for one in plain] == [
        (one.index, one.score, one.itm_logit, one.itc) for one in other
    ]
    assert [one.match_probability_raw for one in other] == [one.match_probability for one in plain]
    for one in other:
        raw = one.match_probability_raw
        odds = np.log(raw / (1 - raw)) / 2 - 1
        assert one.match_probability == pytest.approx(1 / (1 + np.exp(-odds)))


def test_the_checkpoint_speaks_where_nothing_else_was_fitted() -> None:
    images, saying = pictures(3), SayingToy()
    reranker = Reranker(saying, Stored(images), saying)
    plain = Reranker(saying, Stored(images), saying, calibration=Calibration())
    by_probability = [one.match_probability for one in reranker.rank("red", images)]
    for raw, said in zip(
        [one.match_probability for one in plain.rank("red", images)], by_probability, strict=True
    ):
        assert np.log(said / (1 - said)) == pytest.approx(np.log(raw / (1 - raw)) / 2 - 1)
    candidates = [Found(key, 0.5, key + 1) for key in range(3)]
    assert sorted(
        one.match_probability or 0 for one in reranker.rerank("red", candidates, 3)
    ) == pytest.approx(sorted(by_probability), abs=1e-6)
    assert sorted(reranker.predict([("red", image) for image in images])) == pytest.approx(
        sorted(by_probability), abs=1e-6
    )


def test_an_unknown_word_makes_every_match_less_likely() -> None:
    images, saying = pictures(3), SayingToy()
    ranked = {
        text: [
            one.match_probability for one in Reranker(saying, encoder=saying).rank(text, images, score="itm")
        ]
        for text in ("red", "red perro")
    }
    for known, unknown in zip(ranked["red"], ranked["red perro"], strict=True):
        assert np.log(known / (1 - known)) - np.log(unknown / (1 - unknown)) == pytest.approx(3)
