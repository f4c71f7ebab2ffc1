"""What counts are remembered for: their next pages, within bounds of time and memory."""

from __future__ import annotations

from sightline.reranker.records import Ranked
from sightline.retriever.records import Retrieved
from sightline.searching.count_memory import EACH, Asked, CountMemory
from sightline.searching.counting import Counted
from sightline.searching.reading import Reading


def counted(hits: int) -> Counted:
    ranked = tuple(Ranked(key, 0.5, 0.5, key, 0.0, 0.5) for key in range(hits))
    return Counted(ranked, hits, hits, True, False, Retrieved([], 1, hits), (), False, Reading())


def asked(number: int) -> Asked:
    return Asked(1, 1, "f", 0, str(number), None)


def test_counts_that_find_nothing_do_not_pile_up() -> None:
    memory = CountMemory(most_hits=10 * EACH)
    for number in range(100):
        memory.put(asked(number), counted(0))
    known = [number for number in range(100) if memory.get(asked(number)) is not None]
    assert known == list(range(90, 100))


def test_one_that_alone_is_too_many_is_not_remembered() -> None:
    memory = CountMemory(most_hits=10 * EACH)
    memory.put(asked(0), counted(3))
    memory.put(asked(1), counted(10 * EACH))
    assert memory.get(asked(1)) is None
    memory.put(asked(2), counted(3))
    assert memory.get(asked(2)) is not None


def test_what_is_too_old_is_forgotten_though_nobody_asks_for_it() -> None:
    now = [0.0]
    memory = CountMemory(seconds=60.0, clock=lambda: now[0])
    memory.put(asked(0), counted(3))
    assert len(memory) == 1
    now[0] = 61.0
    memory.put(asked(1), counted(3))
    assert len(memory) == 1
    assert memory.get(asked(0)) is None
