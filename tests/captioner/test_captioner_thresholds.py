"""The threshold that labels ask for, against every one there is; Wilson's interval from its definition."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.captioner.labels import read_labels
from sightline.captioner.thresholds import Threshold, smallest_threshold, wilson_lower_bound
from sightline.errors import InputError

LABELS = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30)


def brute(probabilities: np.ndarray, right: np.ndarray, precision: float) -> set[int] | None:
    """The rows that the smallest sufficient threshold keeps, by trying all."""
    for threshold in sorted(set(probabilities.tolist())):
        kept = probabilities >= threshold
        if right[kept].mean() >= precision:
            return set(np.flatnonzero(kept).tolist())
    return None


@settings(max_examples=100, deadline=None)
@given(LABELS, st.sampled_from([0.3, 0.5, 0.75, 0.95, 1.0]))
def test_it_is_the_smallest_that_has_the_precision(rows: list[tuple[int, bool]], precision: float) -> None:
    probabilities = np.array([number / 7 for number, _ in rows])
    right = np.array([is_right for _, is_right in rows])
    wanted = brute(probabilities, right, precision)
    if not right.any() or wanted is None:
        with pytest.raises(InputError):
            smallest_threshold(probabilities, right, precision)
        return
    threshold = smallest_threshold(probabilities, right, precision)
    kept = {row for row, probability in enumerate(probabilities) if threshold.keeps(probability)}
    assert kept == wanted
    assert threshold.found is not None
    assert threshold.found.precision == pytest.approx(right[sorted(kept)].mean())
    assert threshold.found.recall == pytest.approx(right[sorted(kept)].sum() / right.sum())


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (5, 10), (10, 10), (95, 100), (1, 1)])
def test_the_bound_is_where_the_score_test_just_accepts(hits: int, trials: int) -> None:
    bound, z = wilson_lower_bound(hits, trials), 1.959963984540054
    if not hits:
        assert bound == 0
        return
    score = (hits / trials - bound) / np.sqrt(bound * (1 - bound) / trials)
    assert score == pytest.approx(z, rel=1e-9)


@pytest.mark.parametrize("number", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_threshold_is_a_probability(number: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        Threshold(number)


def test_a_threshold_travels_in_a_job() -> None:
    threshold = smallest_threshold(np.array([0.2, 0.8]), np.array([False, True]), 1.0)
    assert Threshold.from_json(json.loads(json.dumps(threshold.to_json()))) == threshold
    assert threshold.keep_above == 0.5, "half-way between what is kept and what is not"


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"image": "a", "text": "b"}', '{"image": 1, "text": "b", "right": true}',
             '{"image": "a", "text": "b", "right": "yes"}', '{"image": "a", "text": " ", "right": true}'],
)  # fmt: skip
def test_a_row_that_is_no_label_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text('{"image": "a", "text": "b", "right": true}\n\n' + line + "\n")
    with pytest.raises(InputError, match="Line 3"):
        read_labels(file)


def test_a_file_without_labels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    for name in ("empty", "missing"):
        with pytest.raises(InputError, match=name):
            read_labels(tmp_path / name)
