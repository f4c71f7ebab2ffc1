"""The held-out pictures and sentences: relevance by the scenes, near misses, edits and absent things."""

from __future__ import annotations

import numpy as np

from demo.world.benchmark import absent, held_out, relevance_of, reserved, swap_groups, texts
from demo.world.scene import Scene
from demo.world.sentences import Sentence, satisfies
from demo.world.splits import split_of


def _shares_all(scene: Scene, sentence: Sentence) -> bool:
    kinds, colours = {t.kind for t in scene.things}, {t.colour for t in scene.things}
    return all(p.kind in kinds and p.colour in (None, *colours) for p in sentence.phrases)


def test_every_sentence_is_true_of_one_to_three_pictures_and_nearly_of_five_others() -> None:
    scenes, sentences, relevance = held_out(1, n_families=12)
    slow = np.array([[satisfies(scene, sentence) for scene in scenes] for sentence in sentences])
    assert np.array_equal(relevance, slow)
    assert relevance.shape == (96, 96)
    assert len(set(sentences)) == 96
    for row, sentence in zip(relevance, sentences, strict=True):
        assert 1 <= row.sum() <= 3
        assert sum(_shares_all(s, sentence) and not true for s, true in zip(scenes, row, strict=True)) >= 5


def test_held_out_pictures_are_of_the_test_split_and_lack_the_reserved_pairs() -> None:
    scenes, _, _ = held_out(2, n_families=10)
    assert {split_of(scene) for scene in scenes} == {"test"}
    assert reserved(2).isdisjoint((t.kind, t.colour) for s in scenes for t in s.things)


def test_held_out_is_deterministic() -> None:
    first, again = held_out(3, n_families=5), held_out(3, n_families=5)
    assert first[:2] == again[:2]
    assert texts(first[1], 0) == texts(again[1], 0)


def test_swap_groups_pair_a_true_with_a_false_sentence() -> None:
    groups = swap_groups(0, n=40)
    assert set(groups) == {"swap_colour", "swap_side", "exchange_object"}
    for group in groups.values():
        assert len(group) == 40
        for scene, true, false in group:
            assert satisfies(scene, true)
            assert not satisfies(scene, false)
            assert split_of(scene) == "test"


def test_absent_sentences_match_no_picture_and_present_ones_some() -> None:
    scenes, _, _ = held_out(0, n_families=80)
    missing, present = absent(0, n=100, n_families=80)
    assert not relevance_of(scenes, missing).any()
    assert relevance_of(scenes, present).any(axis=1).all()
    assert {p.kind for s in missing for p in s.phrases} <= {t.kind for s in scenes for t in s.things}
    assert {p.colour for s in missing for p in s.phrases} <= {t.colour for s in scenes for t in s.things}
    assert len(set(missing)) == len(set(present)) == 100
