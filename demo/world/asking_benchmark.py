"""What the demo model that answers is judged by: questions about test scenes, their answers balanced."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from random import Random

from demo.world.questions import TOPICS, Question, Topic, answers_of, ask
from demo.world.scene import Scene
from demo.world.splits import families, scenes

Asked = tuple[Scene, Question]


def asked(seed: int, n: int = 200) -> dict[Topic, list[Asked]]:
    """``n`` questions of each topic about as many scenes, every answer as often as the others (±1).

    Half of the scenes are random ones, half members of families, whose members differ in one thing.
    """
    return {topic: _of_topic(seed, topic, n) for topic in TOPICS}


def _of_topic(seed: int, topic: Topic, n: int) -> list[Asked]:
    rng = Random(f"asked {topic} {seed}")
    wanted = list(answers_of(topic))
    rng.shuffle(wanted)
    lacking = [answer for answer, _ in zip(cycle(wanted), range(n), strict=False)]
    found: list[Asked] = []
    for scene in _scenes(seed + TOPICS.index(topic)):
        for answer in dict.fromkeys(lacking):
            question = ask(rng, scene, topic, answer)
            if question is not None:
                found.append((scene, question))
                lacking.remove(answer)
                break
        if not lacking:
            rng.shuffle(found)
            return found
    raise RuntimeError("the scenes came to an end")


def _scenes(seed: int) -> Iterator[Scene]:
    members = (scene for family in families("test", seed + 2_000_003) for scene in family[:2])
    for pair in zip(scenes("test", seed + 3_000_017), members, strict=False):
        yield from pair
