"""ITC, ITM and ITG against numbers worked out by hand or by plain Python."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from sightline.training import objectives


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_itc_score_is_the_best_query_token() -> None:
    tokens = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [0.6, 0.8]]])
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    expected = torch.tensor([[1.0, 1.0, 0.0], [0.6, 0.8, 1.0]])
    torch.testing.assert_close(objectives.itc_scores(tokens, vectors), expected)


def two_pairs() -> tuple[torch.Tensor, torch.Tensor]:
    # One query token each: the similarity matrix is [[1.0, 0.6], [0.0, 0.8]] (rows images, columns texts).
    return torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]), torch.tensor([[1.0, 0.0], [0.6, 0.8]])


def softmax_loss(row: list[float], weights: list[float]) -> float:
    total = math.log(sum(math.exp(value) for value in row))
    return sum(weight * (total - value) for weight, value in zip(weights, row, strict=True))


def test_itc_loss_is_the_mean_of_both_directions() -> None:
    tokens, vectors = two_pairs()
    ids = torch.tensor([0, 1])
    contrast = objectives.itc_loss(tokens, vectors, 0.5, ids, ids, smoothing=0.1)
    image_to_text = [softmax_loss([2.0, 1.2], [0.95, 0.05]), softmax_loss([0.0, 1.6], [0.05, 0.95])]
    text_to_image = [softmax_loss([2.0, 0.0], [0.95, 0.05]), softmax_loss([1.2, 1.6], [0.05, 0.95])]
    expected = (sum(image_to_text) / 2 + sum(text_to_image) / 2) / 2
    assert math.isclose(contrast.loss.item(), expected, rel_tol=1e-6)
    torch.testing.assert_close(contrast.image_to_text, torch.tensor([[2.0, 1.2], [0.0, 1.6]]))
    torch.testing.assert_close(contrast.text_to_image, torch.tensor([[2.0, 0.0], [1.2, 1.6]]))


def test_without_duplicates_itc_equals_cross_entropy_on_the_diagonal() -> None:
    tokens = functional.normalize(torch.randn(5, 3, 4, generator=generator()), dim=-1)
    vectors = functional.normalize(torch.randn(5, 4, generator=generator(1)), dim=-1)
    ids = torch.arange(5)
    contrast = objectives.itc_loss(tokens, vectors, 0.07, ids, ids, smoothing=0.1)
    scores = torch.stack([torch.stack([(image @ text).max() for text in vectors]) for image in tokens]) / 0.07
    expected = (
        functional.cross_entropy(scores, ids, label_smoothing=0.1)
        + functional.cross_entropy(scores.T, ids, label_smoothing=0.1)
    ) / 2
    torch.testing.assert_close(contrast.loss, expected)


def test_a_duplicate_picture_or_sentence_is_a_second_positive() -> None:
    positives = objectives.shared_identity(*(torch.tensor(ids) for ids in ([7, 8, 7], [1, 2, 3]) * 2))
    assert positives.tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    positives = objectives.shared_identity(*(torch.tensor(ids) for ids in ([7, 8, 9], [1, 2, 2]) * 2))
    assert positives.tolist() == [[True, False, False], [False, True, True], [False, True, True]]
    torch.testing.assert_close(
        objectives.soft_targets(positives, 0.09),
        torch.tensor([[0.94, 0.03, 0.03], [0.03, 0.485, 0.485], [0.03, 0.485, 0.485]]),
    )


def test_the_temperature_is_learned() -> None:
    tokens, vectors = two_pairs()
    temperature = torch.tensor(0.5, requires_grad=True)
    ids = torch.tensor([0, 1])
    objectives.itc_loss(tokens, vectors, temperature, ids, ids).loss.backward()  # type: ignore[no-untyped-call]
    step = 1e-3
    above, below = (
        objectives.itc_loss(tokens, vectors, 0.5 + change, ids, ids).loss.item() for change in (step, -step)
    )
    assert temperature.grad is not None
    assert math.isclose(temperature.grad.item(), (above - below) / (2 * step), rel_tol=1e-2)


def test_hard_negatives_follow_the_itc_softmax_and_never_a_duplicate() -> None:
    similarity = torch.tensor([[9.0, math.log(1.0), math.log(3.0), 5.0]])
    positives = torch.tensor([[True, False, False, True]])
    torch.testing.assert_close(
        objectives.negative_weights(similarity, positives, 1.0), torch.tensor([[0.0, 0.25, 0.75, 0.0]])
    )
    torch.testing.assert_close(
        objectives.negative_weights(similarity, positives, 0.0), torch.tensor([[0.0, 0.5, 0.5, 0.0]])
    )
    torch.testing.assert_close(
        objectives.negative_weights(similarity, positives, 0.5), torch.tensor([[0.0, 0.375, 0.625, 0.0]])
    )


def test_a_certain_positive_leaves_the_negatives_their_proportions() -> None:
    similarity = torch.tensor([[500.0, math.log(1.0), math.log(3.0)]])
    weights = objectives.negative_weights(similarity, torch.tensor([[True, False, False]]), 1.0)
    torch.testing.assert_close(weights, torch.tensor([[0.0, 0.25, 0.75]]))


def test_sampled_frequencies_match_the_weights() -> None:
    weights = torch.tensor([[0.0, 0.25, 0.75]]).expand(4000, 3)
    chosen, found = objectives.sample_negatives(weights, generator())
    assert found.all()
    share = torch.bincount(chosen, minlength=3).float() / 4000
    assert share[0] == 0.0
    assert abs(share[1].item() - 0.25) < 0.03


def test_pairs_are_the_true_ones_then_a_negative_image_per_text_then_a_negative_text_per_image() -> None:
    # Certain choices: one column dominates each row. Rows are images in image_to_text, texts in the other.
    image_to_text = torch.tensor([[0.0, 0.0, 99.0], [99.0, 0.0, 0.0], [0.0, 99.0, 0.0]])
    text_to_image = torch.tensor([[0.0, 99.0, 0.0], [0.0, 0.0, 99.0], [0.0, 99.0, 0.0]])
    pairs = objectives.itm_pairs(
        image_to_text, text_to_image, torch.eye(3, dtype=torch.bool), 1.0, generator()
    )
    assert pairs.image.tolist() == [0, 1, 2, 1, 2, 1, 0, 1, 2]
    assert pairs.text.tolist() == [0, 1, 2, 0, 1, 2, 2, 0, 1]
    assert pairs.label.tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0]


def test_a_row_of_duplicates_brings_no_negative() -> None:
    positives = torch.tensor([[True, True], [True, True]])
    pairs = objectives.itm_pairs(torch.zeros(2, 2), torch.zeros(2, 2), positives, 0.5, generator())
    assert pairs.label.tolist() == [1, 1]


def test_itm_loss_is_the_mean_of_minus_log_probability_by_one_softmax() -> None:
    averaged = torch.tensor([[0.0, 3.0], [2.0, 0.0]])
    expected = (math.log(1 + math.exp(-3.0)) + math.log(1 + math.exp(2.0))) / 2
    loss = objectives.itm_loss(averaged, torch.tensor([1, 1]))
    assert math.isclose(loss.item(), expected, rel_tol=1e-6)


def test_itg_loss_predicts_the_next_token_with_smoothing_and_without_padding() -> None:
    # Two sentences of three positions over four words; the second one ends after two.
    logits = torch.zeros(2, 3, 4)
    logits[0, 0], logits[0, 1], logits[1, 0] = (
        torch.tensor([1.0, 2.0, 0.0, 0.0]),
        torch.tensor([0.0, 0.0, 3.0, 0.0]),
        torch.tensor([0.0, 1.0, 0.0, 5.0]),
    )
    logits[1, 1] = torch.tensor([50.0, 0.0, 0.0, -50.0])  # predicts padding: must not count
    ids = torch.tensor([[0, 1, 2], [0, 3, 0]])
    text_mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    rows = [([1.0, 2.0, 0.0, 0.0], 1), ([0.0, 0.0, 3.0, 0.0], 2), ([0.0, 1.0, 0.0, 5.0], 3)]
    losses = [
        softmax_loss(row, [0.9 + 0.025 if word == target else 0.025 for word in range(4)])
        for row, target in rows
    ]
    loss = objectives.itg_loss(logits, ids, text_mask, smoothing=0.1)
    assert math.isclose(loss.item(), sum(losses) / 3, rel_tol=1e-6)
