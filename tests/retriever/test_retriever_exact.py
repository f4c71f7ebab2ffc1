"""Retrieval equals brute force, ids and scores, whatever happened to the collection before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.retriever.living_collection import Living, living_collection


def ask(living: Living, queries: int) -> None:
    """With and without filters, down to ones that nothing passes."""
    for query in range(queries):
        since = (None, 2000, 2025, None, 2029, 2100)[query % 6]
        living.check((1, 10, 60, 500)[query % 4], since)


def test_two_hundred_queries_while_nothing_is_folded(tmp_path: Path) -> None:
    with living_collection(tmp_path, 0) as living:
        living.put([f"a{n}" for n in range(330)])
        ask(living, 200)


def test_two_hundred_queries_over_a_generation(tmp_path: Path) -> None:
    with living_collection(tmp_path, 1) as living:
        living.put([f"a{n}" for n in range(330)])
        living.fold()
        ask(living, 200)


def test_two_hundred_queries_after_deletes_and_replacements_partly_folded(tmp_path: Path) -> None:
    with living_collection(tmp_path, 2) as living:
        living.put([f"a{n}" for n in range(300)])
        living.fold()
        living.put([f"a{n}" for n in range(0, 100, 3)])
        living.put([f"b{n}" for n in range(70)])
        living.delete([f"a{n}" for n in range(50, 150)])
        living.delete([f"b{n}" for n in range(20)])
        ask(living, 200)


def test_two_hundred_queries_between_random_changes(tmp_path: Path) -> None:
    with living_collection(tmp_path, 3) as living:
        rng = living.rng
        living.put([f"a{n}" for n in range(120)], batch_size=20)
        for _ in range(40):
            change = rng.integers(0, 7)
            known = sorted(living.keys)
            some = [known[i] for i in rng.choice(len(known), min(15, len(known)), replace=False)]
            if change <= 1:
                living.put([f"a{n}" for n in rng.choice(400, 25, replace=False)], batch_size=10)
            elif change == 2:
                living.put(some, batch_size=10)
            elif change == 3 and len(known) > 40:
                living.delete(some)
            elif change == 4:
                living.fold()
            else:
                living.merge(covered=change == 5)
            ask(living, 5)


def test_every_image_deleted_leaves_no_candidate(tmp_path: Path) -> None:
    with living_collection(tmp_path, 4) as living:
        living.put(["a", "b", "c"])
        living.fold()
        living.delete(["a", "b", "c"])
        living.check(5)
        living.fold()
        living.check(5)
        living.merge(covered=True)
        living.check(5)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_two_thousand_queries_over_ten_thousand_images(tmp_path: Path) -> None:
    with living_collection(tmp_path, 5, queries=8, dim=32) as living:
        living.put([f"a{n}" for n in range(9_000)], batch_size=256)
        living.fold()
        living.put([f"a{n}" for n in range(0, 9_000, 11)], batch_size=256)
        living.put([f"b{n}" for n in range(1_600)], batch_size=256)
        living.delete([f"a{n}" for n in range(5, 9_000, 15)])
        for part in range(4):
            for query in range(500):
                since = (None, 2000, 2025, None)[query % 4]
                living.check((10, 100, 1000)[query % 3], since)
            living.put([f"c{part}-{n}" for n in range(300)], batch_size=256)
            if part == 1:
                living.merge(covered=True, count=8)
            if part == 2:
                living.fold()
