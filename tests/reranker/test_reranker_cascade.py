"""A cascade keeps the best of the full order, computes nothing twice, and is used where it has passed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache

import numpy as np
import pytest
from safetensors.numpy import load, save

from sightline.blip.latents import Latents
from sightline.blip.pair_states import PairStates
from sightline.errors import CorruptionError, DeadlineError, InputError, ModelMismatchError
from sightline.records import Effort
from sightline.reranker import Cascade, Ranked, Reranker
from sightline.reranker import samples as sample_files
from sightline.reranker.cascade import Plan, Tails, needed, stops_of
from sightline.reranker.cascade_bytes import from_bytes, to_bytes
from sightline.reranker.cascade_fit import _stage as cross_fitted
from sightline.reranker.cascade_fit import fit, groups_of
from sightline.reranker.ordering import course_of
from sightline.reranker.samples import Sample
from tests.reranker.stages import LAYERS, Adding, Query, query

GOOD = (0.5, 0.95, 0.98)
"""What is known of a match logit after each layer: half of it, then nearly all."""
USELESS = (0.01, 0.01, 0.01)
TEXT = "whatever"


@cache
def learned(shares: tuple[float, ...] = GOOD) -> Cascade:
    return fit([query(seed, shares).sample() for seed in range(60)], Adding.fingerprint)


def reranked(
    one: Query, effort: Effort | None, cascade: Cascade | None, matcher: Adding | None = None, top: int = 10
) -> list[Ranked]:
    reranker = Reranker(matcher or Adding(), one)
    return reranker.rerank(TEXT, one.candidates(), 60, exact_top=top, effort=effort, cascade=cascade)


def test_full_is_the_order_without_a_cascade_to_the_last_bit() -> None:
    one = query(1000, GOOD)
    plain = Reranker(Adding(), one).rerank(TEXT, one.candidates(), 60)
    assert reranked(one, "full", learned()) == plain
    assert reranked(one, None, None) == plain
    assert [found.key for found in plain] == one.best(60)
    assert {found.layers for found in plain} == {LAYERS}


@pytest.mark.parametrize(("effort", "least"), [("auto", 0.98), ("quick", 0.90)])
def test_on_other_queries_it_keeps_what_its_report_promises_with_less_work(
    effort: Effort, least: float
) -> None:
    overlaps, work = [], []
    for seed in range(1000, 1060):
        one = query(seed, GOOD)
        found = reranked(one, effort, learned())
        overlaps.append(len({hit.key for hit in found[:10]} & set(one.best(10))) / 10)
        work.append(np.mean([hit.layers for hit in found]) / LAYERS)
        assert found[0].key == one.best(1)[0]
    (plan,) = [plan for plan in learned().plans if (plan.effort, plan.top) == (effort, 10)]
    assert plan.passed
    assert np.mean(overlaps) >= least - 0.01
    assert np.mean(overlaps) == pytest.approx(plan.overlap, abs=0.03)
    # A replay looks at the bound after every eighth pair, a search after every batch.
    assert np.mean(work) == pytest.approx(plan.work, abs=0.08)
    assert np.mean(work) < 0.8


def test_every_layer_of_every_pair_is_computed_once_at_most_and_as_far_as_it_says() -> None:
    matcher, one = Adding(), query(2000, GOOD)
    found = reranked(one, "auto", learned(), matcher)
    assert set(matcher.computed.values()) == {1}
    for hit in found:
        assert sum(matcher.computed[hit.key, layer] for layer in range(1, LAYERS + 1)) == hit.layers
    assert len(matcher.computed) < 60 * LAYERS


def test_scores_are_those_of_the_full_order_and_the_others_follow_in_itc_order_without_any() -> None:
    one = query(2000, GOOD)
    full = {hit.key: hit for hit in reranked(one, "full", None)}
    found = reranked(one, "auto", learned())
    scored = [hit for hit in found if hit.itm_logit is not None]
    others = found[len(scored) :]
    assert scored == sorted((full[hit.key] for hit in scored), key=lambda hit: -hit.score)
    assert others
    assert all(hit.itm_logit is None and hit.match_probability is None for hit in others)
    assert all(hit.score == hit.itc and hit.layers < LAYERS for hit in others)
    assert [hit.itc_rank for hit in others] == sorted(hit.itc_rank for hit in others)


def test_what_stages_know_nothing_of_is_not_left_out() -> None:
    blind = fit([query(seed, USELESS, itc_known=0.0).sample() for seed in range(60)], Adding.fingerprint)
    one = query(1000, USELESS, itc_known=0.0)
    assert not any(plan.passed and plan.work < 0.9 for plan in blind.plans if plan.top == 10)
    found = reranked(one, "auto", blind)
    assert len(set(one.best(10)) & {hit.key for hit in found[:10]}) >= 9


def test_a_plan_that_did_not_pass_its_report_is_not_used() -> None:
    failed = replace(learned(), plans=tuple(replace(plan, passed=False) for plan in learned().plans))
    one = query(1000, GOOD)
    for effort in (None, "auto", "quick"):
        assert reranked(one, effort, failed) == reranked(one, "full", None)


def test_without_an_effort_it_is_auto_and_exact_is_full_unless_an_effort_is_named() -> None:
    one = query(1000, GOOD)
    assert reranked(one, None, learned()) == reranked(one, "auto", learned())

    def exact(effort: Effort | None) -> list[Ranked]:
        return Reranker(Adding(), one).rerank(
            TEXT, one.candidates(), 60, precision="exact", exact_top=10, effort=effort, cascade=learned()
        )

    assert all(hit.itm_logit is not None for hit in exact(None))
    assert any(hit.itm_logit is None for hit in exact("auto"))


def test_more_hits_than_were_learned_for_mean_full() -> None:
    one = query(1000, GOOD)
    assert max(plan.top for plan in learned().plans) == 20, "samples have 60 pairs: at most half are hits"
    assert reranked(one, "auto", learned(), top=21) == reranked(one, "full", None)


def test_the_order_holds_for_itm_alone_too() -> None:
    one = query(1000, GOOD)
    found = Reranker(Adding(), one).rerank(
        TEXT, one.candidates(), 10, "itm", exact_top=10, effort="auto", cascade=learned()
    )
    wanted = np.argsort(-one.logits, kind="stable")[:10].tolist()
    assert len({hit.key for hit in found} & set(wanted)) >= 9


def test_a_lost_picture_keeps_its_itc_place_and_costs_no_other_its_score() -> None:
    whole = query(2000, GOOD)
    one = Query(whole.added, whole.itc, frozenset({whole.best(1)[0]}))
    found = reranked(one, "auto", learned())
    (gone,) = [hit for hit in found if hit.key in one.lost]
    assert (gone.itm_logit, gone.layers) == (None, 0)
    assert found[0].key == whole.best(2)[1]


def test_whoever_watches_is_told_of_scored_pairs_only_and_at_last_of_all() -> None:
    one, told = query(2000, GOOD), list[Sequence[Ranked]]()
    found = Reranker(Adding(), one).rerank(
        TEXT, one.candidates(), 60, exact_top=10, watch=told.append, effort="auto", cascade=learned()
    )
    assert told[-1] == [hit for hit in found if hit.itm_logit is not None]
    assert all(hit.itm_logit is not None for some in told for hit in some)
    sizes = [len(some) for some in told]
    assert sizes == sorted(set(sizes))


class Slow(Adding):
    """Each layer of each pair takes a second of its clock."""

    def __init__(self, free_for: int = 10**9) -> None:
        super().__init__()
        self.free_for = free_for

    def now(self) -> float:
        return float(self.computed.total())

    def look_on(self, states: PairStates, patches: Latents | object, layers: int) -> PairStates:
        if self.computed.total() >= self.free_for:
            raise DeadlineError("The model is busy.")
        return super().look_on(states, patches, layers)  # type: ignore[arg-type]


def test_with_a_deadline_all_candidates_are_judged_in_itc_order() -> None:
    matcher, one = Slow(), query(2000, GOOD)
    found = Reranker(matcher, one, clock=matcher.now).rerank(
        TEXT, one.candidates(), 60, deadline_ms=80_000, exact_top=10, effort="auto", cascade=learned()
    )
    scored = [hit for hit in found if hit.itm_logit is not None]
    assert 0 < len(scored) < 60
    assert {hit.itc_rank for hit in scored} == set(range(1, len(scored) + 1))
    assert {hit.layers for hit in scored} == {LAYERS}


def test_a_model_that_is_not_free_in_time_leaves_what_was_scored() -> None:
    one = query(2000, GOOD)
    matcher = Slow(free_for=50)
    found = Reranker(matcher, one).rerank(
        TEXT, one.candidates(), 60, exact_top=10, effort="auto", cascade=learned()
    )
    scored = [hit for hit in found if hit.itm_logit is not None]
    assert len(scored) < len([hit for hit in reranked(one, "auto", learned()) if hit.itm_logit is not None])
    assert [hit.itc_rank for hit in found[len(scored) :]] == sorted(
        hit.itc_rank for hit in found[len(scored) :]
    )


def test_recording_changes_no_bit_and_gives_what_the_model_computed() -> None:
    one, kept = query(1000, GOOD), list[Sample]()
    matcher = Adding()
    found = Reranker(matcher, one).rerank(TEXT, one.candidates(), 60, record=kept.append)
    assert found == reranked(one, "full", None)
    assert set(matcher.computed.values()) == {1}
    (sample,) = kept
    wanted = one.sample()
    assert sample.logits.tolist() == wanted.logits.tolist()
    np.testing.assert_allclose(sample.pooled.astype(float), wanted.pooled.astype(float), atol=0.01)
    np.testing.assert_array_equal(sample.itc, one.itc)


def test_nothing_is_recorded_of_few_pairs_of_lost_ones_or_under_a_deadline() -> None:
    kept: list[Sample] = []
    few, whole = query(1, GOOD, pairs=19), query(1, GOOD)
    lost = Query(whole.added, whole.itc, frozenset({3}))
    for one, deadline_ms in ((few, None), (lost, None), (whole, 1e9)):
        Reranker(Adding(), one).rerank(TEXT, one.candidates(), 5, deadline_ms=deadline_ms, record=kept.append)
    assert not kept


def test_a_cascade_of_another_model_or_an_unknown_effort_is_refused() -> None:
    one = query(1000, GOOD)
    with pytest.raises(InputError, match="another model"):
        reranked(one, "auto", replace(learned(), fingerprint="other"))
    with pytest.raises(InputError, match="no effort named"):
        reranked(one, "much", learned())  # type: ignore[arg-type]


def test_few_samples_and_mixed_ones_are_refused() -> None:
    with pytest.raises(InputError, match="there are 39"):
        fit([query(seed, GOOD).sample() for seed in range(39)], "adding")
    wider = replace(query(0, GOOD).sample(), pooled=np.zeros((3, 60, 4), np.float16))
    with pytest.raises(InputError, match="different models"):
        fit([wider, *(query(seed, GOOD).sample() for seed in range(40))], "adding")


def test_its_file_gives_the_same_searches_and_any_damage_is_noticed() -> None:
    content, one = to_bytes(learned()), query(1000, GOOD)
    again = from_bytes(content, Adding.fingerprint)
    assert again.plans == learned().plans
    assert reranked(one, "auto", again) == reranked(one, "auto", learned())
    with pytest.raises(ModelMismatchError):
        from_bytes(content, "other")
    rng = np.random.default_rng(0)
    start = 8 + int.from_bytes(content[:8], "little")
    for at in [*rng.integers(start, len(content), 20).tolist(), 3, 20]:
        damaged = bytearray(content)
        damaged[at] ^= 0x41
        with pytest.raises(CorruptionError):
            from_bytes(bytes(damaged), Adding.fingerprint)
    for cut in (b"", content[:100], content[:-1]):
        with pytest.raises(CorruptionError):
            from_bytes(cut, Adding.fingerprint)


def test_a_samples_file_gives_it_back_or_is_refused() -> None:
    sample = query(0, GOOD).sample()
    content = sample_files.to_bytes(sample)
    again = sample_files.from_bytes(content)
    np.testing.assert_array_equal(again.pooled, sample.pooled)
    np.testing.assert_array_equal(again.logits, sample.logits)
    for damaged in (b"", content[:-2], to_bytes(learned())):
        with pytest.raises(CorruptionError):
            sample_files.from_bytes(damaged)


def test_one_text_again_and_again_teaches_no_more_than_once() -> None:
    one = query(0, GOOD).sample()
    with pytest.raises(InputError, match="40 different queries to learn from; there are 1"):
        fit([one] * 46, "adding")
    samples = [query(seed, GOOD).sample() for seed in range(40)]
    again = [*samples, *(samples[row % 7] for row in range(30))]
    assert fit(again, "adding").queries == 40
    groups = groups_of(again)
    assert groups.tolist() == [*range(40), *(row % 7 for row in range(30))]
    # A prediction comes from other texts: changing the logits of one text changes none of its own.
    changed = [replace(each, logits=each.logits + 9) if each.text == one.text else each for each in again]
    _, before = cross_fitted(again, groups, 1, 1)
    _, after = cross_fitted(changed, groups, 1, 1)
    for row in np.flatnonzero(groups == 0):
        np.testing.assert_allclose(after[row], before[row], atol=1e-6)


BROKEN: dict[str, Callable[[Plan], Plan]] = {
    "descending stops": lambda plan: replace(plan, stops=(2, 1), epsilons=(0.1,) * 3, rates=(0.1,) * 3),
    "a stop at the end": lambda plan: replace(plan, stops=(LAYERS,), epsilons=(0.1,) * 2, rates=(0.1,) * 2),
    "no number": lambda plan: replace(plan, epsilons=tuple(float("nan") for _ in plan.epsilons)),
    "below nought": lambda plan: replace(plan, epsilons=tuple(-1.0 for _ in plan.epsilons)),
    "another top": lambda plan: replace(plan, top=7),
    "a text": lambda plan: replace(plan, top="10"),  # type: ignore[arg-type]
    "too few bounds": lambda plan: replace(plan, epsilons=()),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_whole_file_with_an_impossible_plan_is_refused(name: str) -> None:
    plans = (BROKEN[name](learned().plans[0]), *learned().plans[1:])
    with pytest.raises(CorruptionError):
        from_bytes(to_bytes(replace(learned(), plans=plans)), Adding.fingerprint)


def test_a_file_whose_plans_were_changed_or_nest_without_end_is_refused() -> None:
    content = to_bytes(replace(learned(), plans=()))
    assert from_bytes(content, Adding.fingerprint).plans == ()
    told, tensors = sample_files.metadata(content), load(content)
    for plans in ("[" * 100_000, "[1e999]", json.dumps([asdict(learned().plans[0])])):
        with pytest.raises(CorruptionError):
            from_bytes(save(tensors, {**told, "plans": plans}), Adding.fingerprint)


def test_a_cascade_that_cannot_read_the_models_states_means_full() -> None:
    one = query(1000, GOOD)
    wider, deeper = Adding(), Adding()
    wider.match_width = 5
    deeper.match_layers = LAYERS + 4
    for matcher in (wider, deeper):
        assert course_of(learned(), matcher, "auto", 10, "fast") is None
    assert reranked(one, "auto", learned(), wider) == reranked(one, "full", None)


def test_the_next_plan_that_passed_serves_if_it_keeps_the_first_hit() -> None:
    made = {
        (effort, top): replace(learned().plans[0], effort=effort, top=top, passed=False, first=1.0)
        for effort in ("auto", "quick")
        for top in (1, 10, 20)
    }

    def chosen(effort: Effort, top: int, *passed: tuple[str, int], first: float = 1.0) -> object:
        plans = [replace(made[one], passed=one in passed, first=first) for one in made]  # type: ignore[index]
        course = replace(learned(), plans=tuple(plans)).course(effort, top)
        return course and (course.plan.effort, course.plan.top)

    assert chosen("quick", 10, ("quick", 10), ("auto", 10)) == ("quick", 10)
    assert chosen("quick", 10, ("auto", 10), ("quick", 20)) == ("auto", 10)
    assert chosen("quick", 1, ("quick", 20)) == ("quick", 20)
    assert chosen("auto", 1, ("auto", 10), ("auto", 20)) == ("auto", 10)
    assert chosen("auto", 1, ("quick", 10)) is None
    assert chosen("auto", 20, ("auto", 10)) is None
    assert chosen("auto", 1, ("auto", 10), first=0.9) is None


def test_as_few_go_on_as_leave_less_than_the_bound_behind() -> None:
    chances = np.array([0.9, 0.5, 0.3, 0.1, 0.05])
    for epsilon in (0.01, 0.05, 0.1, 0.4, 0.46, 1.0, 5.0):
        left = [chances[count:].sum() for count in range(6)]
        assert needed(chances, epsilon) == next(count for count in range(6) if left[count] < epsilon)


def test_chances_are_the_shares_of_errors_of_like_predictions() -> None:
    rng = np.random.default_rng(0)
    predicted = np.repeat([0.0, 10.0], 4000)
    errors = np.where(predicted > 5, 3.0, 0.2) * rng.normal(size=8000)
    from sightline.reranker.cascade_fit import tails

    found: Tails = tails(predicted, predicted + errors)
    for place, spread in ((0.0, 0.2), (10.0, 3.0)):
        for gap in (-1.0, 0.3, 2.0):
            share = (errors[predicted == place] > gap).mean()
            assert found.chances(np.array([place]), np.array([gap]))[0] == pytest.approx(share, abs=0.03), (
                spread
            )
    assert found.chances(np.zeros(2), np.array([-np.inf, np.inf])).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("layers", "stops"), [(1, ()), (2, (1,)), (3, (1, 2)), (4, (1, 2, 3)), (12, (3, 6, 9))]
)
def test_stops_are_the_quarters(layers: int, stops: tuple[int, ...]) -> None:
    assert stops_of(layers) == stops
