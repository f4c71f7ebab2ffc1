"""Who is next at the model: requests in a circle, texts together. A simulation with a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.blip.toy import ToyEncoder
from sightline.serving.queue import Text, Ticket, Turn, TurnQueue

BATCH = 16


@dataclass
class Simulation:
    """Requests that hand in one batch after the other; each pair costs one second of the model."""

    line: TurnQueue = field(default_factory=lambda: TurnQueue(32))
    now: float = 0.0
    left: dict[Ticket, int] = field(default_factory=dict)
    ended: dict[Ticket, float] = field(default_factory=dict)
    order: list[Ticket] = field(default_factory=list)

    def enter(self, pairs: int) -> Ticket:
        ticket = Ticket()
        self.left[ticket] = pairs
        self._hand_in(ticket)
        return ticket

    def step(self) -> bool:
        """One turn; False when nobody waits."""
        turn = self.line.take()
        if not isinstance(turn, Turn):
            return False
        self.now += turn.run()
        self.order.append(turn.ticket)
        if self.left[turn.ticket]:
            self._hand_in(turn.ticket)
        else:
            self.ended[turn.ticket] = self.now
        return True

    def run(self) -> None:
        while self.step():
            pass

    def _hand_in(self, ticket: Ticket) -> None:
        size = min(BATCH, self.left[ticket])
        self.left[ticket] -= size
        self.line.add_turn(Turn(ticket, lambda: size, self.now))


def test_a_small_request_overtakes_a_big_one_that_came_first() -> None:
    simulation = Simulation()
    big = simulation.enter(1000)
    simulation.step()
    small = simulation.enter(10)
    simulation.run()
    # It waits for the batch that stood in line before it, and for no other.
    assert simulation.ended[small] == BATCH + BATCH + 10
    assert simulation.ended[big] == 1010


@given(st.lists(st.integers(1, 200), min_size=1, max_size=12), st.integers(0, 30))
def test_nobody_waits_for_more_than_one_batch_of_each_other_request(sizes: list[int], early: int) -> None:
    simulation = Simulation()
    tickets = [simulation.enter(size) for size in sizes[: len(sizes) // 2 + 1]]
    for _ in range(early):
        simulation.step()
    tickets += [simulation.enter(size) for size in sizes[len(sizes) // 2 + 1 :]]
    simulation.run()
    assert set(simulation.ended) == set(tickets)
    for ticket in tickets:
        places = [place for place, served in enumerate(simulation.order) if served is ticket]
        for first, second in pairwise(places):
            between = simulation.order[first + 1 : second]
            assert len(between) == len(set(between)), "somebody had two turns between two of mine"


def test_one_request_with_many_turns_at_once_takes_them_in_the_circle_too() -> None:
    line = TurnQueue(32)
    greedy, modest = Ticket(), Ticket()
    for _ in range(5):
        line.add_turn(Turn(greedy, lambda: None, 0.0))
    line.add_turn(Turn(modest, lambda: None, 0.0))
    assert [ticket is modest for ticket in _tickets(line)] == [False, True, False, False, False, False]


def _tickets(line: TurnQueue) -> Iterator[Ticket]:
    while isinstance(turn := line.take(), Turn):
        yield turn.ticket


def test_texts_of_one_model_go_together_and_those_of_another_apart() -> None:
    line, first, second = TurnQueue(3), ToyEncoder(), ToyEncoder()
    for model, texts in ((first, ("a",)), (second, ("b",)), (first, ("c", "d")), (first, ("e",))):
        line.add_text(Text(Ticket(), model, texts, 0.0))
    together = [[text.texts for text in _texts(line)] for _ in range(4)]
    assert together == [[("a",), ("c", "d")], [("b",)], [("e",)], []]


def test_more_texts_than_fit_in_a_batch_still_go_when_one_request_brings_them() -> None:
    line = TurnQueue(2)
    line.add_text(Text(Ticket(), ToyEncoder(), ("a", "b", "c"), 0.0))
    assert [text.texts for text in _texts(line)] == [("a", "b", "c")]


def test_texts_and_turns_alternate_so_that_neither_starves() -> None:
    line, model = TurnQueue(1), ToyEncoder()
    for _ in range(3):
        line.add_text(Text(Ticket(), model, ("a",), 0.0))
        line.add_turn(Turn(Ticket(), lambda: None, 0.0))
    assert [isinstance(line.take(), Turn) for _ in range(6)] == [False, True, False, True, False, True]


def test_what_is_drained_waits_no_more() -> None:
    line = TurnQueue(1)
    line.add_text(Text(Ticket(), ToyEncoder(), ("a",), 0.0))
    line.add_turn(Turn(Ticket(), lambda: None, 0.0))
    assert len(line) == len(line.drain()) == 2
    assert len(line) == 0
    assert line.take() == []


def _texts(line: TurnQueue) -> list[Text]:
    taken = line.take()
    if isinstance(taken, Turn):
        pytest.fail("a turn came where texts were expected")
    return taken
