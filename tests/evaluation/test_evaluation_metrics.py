"""Recall and its interval against literal matrices (after big_vision's `image_text_retrieval_test.py`)."""

from __future__ import annotations

import numpy as np

from sightline.evaluation import metrics

# Two pictures with two captions each: texts 0, 1 belong to picture 0, texts 2, 3 to picture 1.
IMAGE_OF_TEXT = np.array([0, 0, 1, 1])


def test_text_to_image_recall_by_hand() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.7], [0.3, 0.8], [0.1, 0.4]])
    assert metrics.text_to_image_ranks(scores, IMAGE_OF_TEXT).tolist() == [0, 1, 0, 0]
    assert metrics.recall(metrics.text_to_image_ranks(scores, IMAGE_OF_TEXT), (1, 2)) == {1: 0.75, 2: 1.0}


def test_any_caption_of_a_picture_is_right_for_image_to_text() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.2], [0.9, 0.8, 0.1, 0.7]])
    ranks = metrics.image_to_text_ranks(scores, IMAGE_OF_TEXT)
    assert ranks.tolist() == [0, 2]
    assert metrics.recall(ranks, (1, 2, 3)) == {1: 0.5, 2: 0.5, 3: 1.0}


def test_a_tie_counts_against_the_relevant_column_but_not_between_relevant_ones() -> None:
    assert metrics.best_rank(np.zeros(4), [2]) == 3
    assert metrics.best_rank(np.zeros(4), [1, 2]) == 2


def test_a_row_that_was_never_scored_finds_nothing() -> None:
    scores = np.full((1, 20), -100.0)
    scores[0, :5] = 1.0
    assert metrics.recall(metrics.text_to_image_ranks(scores, np.array([7])))[10] == 0.0


def test_interval_covers_the_share_and_narrows_with_more_groups() -> None:
    generator = np.random.default_rng(1)
    few, many = (generator.random(n) < 0.3 for n in (50, 5000))
    low, high = metrics.bootstrap_interval(few, np.arange(50))
    narrow_low, narrow_high = metrics.bootstrap_interval(many, np.arange(5000))
    assert low < few.mean() < high
    assert narrow_low < many.mean() < narrow_high
    # The normal approximation is an independent oracle for the width.
    expected = 2 * 1.96 * np.sqrt(many.mean() * (1 - many.mean()) / 5000)
    assert abs((narrow_high - narrow_low) / expected - 1) < 0.1
    assert high - low > 5 * (narrow_high - narrow_low)


def test_captions_of_one_picture_are_resampled_together() -> None:
    hits = np.repeat(np.arange(40) % 2 == 0, 5)
    low, high = metrics.bootstrap_interval(hits, np.repeat(np.arange(40), 5))
    alone_low, alone_high = metrics.bootstrap_interval(hits, np.arange(200))
    assert high - low > 1.8 * (alone_high - alone_low)
