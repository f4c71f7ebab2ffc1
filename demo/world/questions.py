"""Questions that a scene can answer, each with its answer and a sentence that the answer follows from.

``rng`` is a random.Random throughout. A question is asked only where its answer is clear: what it speaks of
is one thing (or things that are all alike), and nothing stands so that "left of" is a matter of opinion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

from demo.world.sample import OPPOSITE, How, near_miss_sentence, random_sentence
from demo.world.scene import Scene, Thing, relation_holds
from demo.world.sentences import WORDINGS, Phrase, matches, plural, relation_words, render, words
from demo.world.things import COLOURS, KINDS, RELATIONS

Topic = Literal["colour", "count", "there", "position", "match"]
TOPICS: tuple[Topic, ...] = get_args(Topic)
MOST = 3
"""The highest number that is asked for; a scene has at most three things of a kind."""
NUMBERS = (1.0, 2.0, 3.0, 4.0)
"""How often 0, 1, 2 and 3 are asked for: few scenes have two or three alike."""
UNCLEAR = 0.04
"""A thing is clearly not left of another when its centre is at most this much farther left."""
_HOWS: tuple[How, ...] = get_args(How)

_COLOUR = (
    "what colour {is} the {noun}", "what is the colour of the {noun}",
    "which colour {does} the {noun} have", "what color {is} the {noun}", "tell me the colour of the {noun}",
    "the {noun} {is} of what colour", "which color {is} the {noun}",
    "in what colour {is} the {noun} painted",
)  # fmt: skip
_COUNT = (
    "how many {nouns} are there", "how many {nouns} do you see", "how many {nouns} are in the image",
    "count the {nouns}", "what is the number of {nouns}", "how many {nouns} can be seen",
    "how many {nouns} are in this picture", "how many {nouns} does the image show",
)  # fmt: skip
_THERE = (
    "{is} there {things}", "do you see {things}", "can you see {things}", "does the image contain {things}",
    "{is} {things} in the image", "does the picture have {things}", "{is} there {things} in this picture",
    "{is} {things} visible",
)  # fmt: skip
_POSITION = (
    "what is {where} the {noun}", "what do you see {where} the {noun}", "which thing is {where} the {noun}",
    "what can be seen {where} the {noun}", "what stands {where} the {noun}",
    "name the thing {where} the {noun}", "what object is {where} the {noun}",
    "{where} the {noun}, what is there",
)  # fmt: skip
_MATCH = (
    'does this image show "{text}"', "does this image show {text}", "does the picture show {text}",
    "does this picture show {text}", "is this an image of {text}", "is this a picture of {text}",
    "does the text match the image: {text}", "is it true that the image shows {text}",
    "does {text} describe this image", "do you see {text}", "can the following be seen: {text}",
)  # fmt: skip
_IS_COLOUR = (
    "{is} the {noun} {colour}",
    "{is} the {noun} {colour} in this image",
    "would you call the {noun} {colour}",
)
_RELATED = ("is the {first} {where} the {second}", "does the {first} stand {where} the {second}")


@dataclass(frozen=True)
class Question:
    """What is asked, without a question mark; ``evidence`` is a true sentence that gives the answer away."""

    topic: Topic
    text: str
    answer: str
    evidence: str


def ask(
    rng: Random,
    scene: Scene,
    topic: Topic,
    answer: str | None = None,
    numbers: Sequence[float] = NUMBERS,
) -> Question | None:
    """A question of a topic; None where the scene has none (with this ``answer``, if one is asked for).

    ``numbers``: how often 0, 1, 2 and 3 are asked for where they can be.
    """
    for _ in range(4):
        if topic == "count":
            found = _count(rng, scene, answer, numbers)
        else:
            found = _ASKERS[topic](rng, scene, answer)
        if found is not None and answer in (None, found.answer):
            return found
    return None


def any_question(
    rng: Random, scene: Scene, weights: dict[Topic, float], numbers: Sequence[float] = NUMBERS
) -> Question:
    """A question of a topic drawn by weight; "is there", which every scene answers, where that has none."""
    topic = rng.choices(list(weights), list(weights.values()))[0]
    return ask(rng, scene, topic, numbers=numbers) or _there(rng, scene, None)


def _named(phrase: Phrase) -> str:
    """ "red car", without an article."""
    return " ".join(word for word in (phrase.colour, phrase.kind) if word)


def _plural(phrase: Phrase) -> str:
    return " ".join(word for word in (phrase.colour, plural(phrase.kind)) if word)


def _count_of(scene: Scene, phrase: Phrase) -> int:
    return sum(matches(thing, phrase) for thing in scene.things)


def _colour(rng: Random, scene: Scene, answer: str | None) -> Question | None:
    alike = {t.kind: t.colour for t in scene.things}
    kinds = [k for k, c in alike.items() if all(t.colour == c for t in scene.things if t.kind == k)]
    kinds = [k for k in kinds if answer in (None, alike[k])]
    if not kinds:
        return None
    kind = rng.choice(kinds)
    many = _count_of(scene, Phrase(1, None, kind)) > 1
    noun, colour = plural(kind) if many else kind, alike[kind]
    verbs = {"is": "are", "does": "do"} if many else {"is": "is", "does": "does"}
    text = rng.choice(_COLOUR).format(noun=noun, **verbs)
    return Question("colour", text, colour, f"the {noun} {verbs['is']} {colour}")


def _count(rng: Random, scene: Scene, answer: str | None, weights: Sequence[float]) -> Question | None:
    """Numbers 0 to 3; none of a kind that the scene lacks, or of a kind in a colour of another thing."""
    looks = {(t.colour, t.kind) for t in scene.things} | {(None, t.kind) for t in scene.things}
    phrases = [Phrase(1, colour, kind) for colour, kind in sorted(looks, key=str)]
    by_number: dict[int, list[Phrase]] = {0: [_absent(rng, scene)]}
    for phrase in phrases:
        by_number.setdefault(_count_of(scene, phrase), []).append(phrase)
    numbers = [n for n in by_number if n <= MOST and answer in (None, str(n))]
    if not numbers:
        return None
    number = rng.choices(numbers, [weights[n] for n in numbers])[0]
    phrase = rng.choice(by_number[number])
    said = _plural(phrase) if number != 1 else _named(phrase)
    evidence = f"there {'is' if number == 1 else 'are'} {number or 'no'} {said}"
    return Question("count", rng.choice(_COUNT).format(nouns=_plural(phrase)), str(number), evidence)


def _absent(rng: Random, scene: Scene) -> Phrase:
    """Something that is not there; mostly a kind of the scene in another thing's colour."""
    while True:
        near = rng.random() < 0.7
        kind = rng.choice(scene.things).kind if near else rng.choice(KINDS)
        near_colour = rng.choice(scene.things).colour if rng.random() < 0.6 else rng.choice(COLOURS)
        phrase = Phrase(1, near_colour if near or rng.random() < 0.5 else None, kind)
        if not _count_of(scene, phrase):
            return phrase


def _there(rng: Random, scene: Scene, answer: str | None) -> Question:
    yes = answer == "yes" if answer else rng.random() < 0.5
    if rng.random() < 0.2 and (found := _is_colour(rng, scene, yes)) is not None:
        return found
    thing = rng.choice(scene.things)
    phrase = (
        Phrase(1, thing.colour if rng.random() < 0.8 else None, thing.kind) if yes else _absent(rng, scene)
    )
    many = rng.random() < 0.15 and not (yes and _count_of(scene, phrase) < 2)
    things = _plural(phrase) if many else words(phrase)
    text = rng.choice(_THERE).format(things=things, **{"is": "are" if many else "is"})
    evidence = (
        f"there is {things}"
        if yes
        else f"there {'are' if many else 'is'} no {things if many else _named(phrase)}"
    )
    return Question("there", text, "yes" if yes else "no", evidence)


def _is_colour(rng: Random, scene: Scene, yes: bool) -> Question | None:
    """ "is the car red", of a kind in one colour; the wrong colour is mostly another thing's."""
    colour = _colour(rng, scene, None)
    if colour is None:
        return None
    noun, verb = colour.evidence.removeprefix("the ").split()[:2]
    others = [thing.colour for thing in scene.things if thing.colour != colour.answer]
    if not others or rng.random() < 0.4:
        others = [one for one in COLOURS if one != colour.answer]
    said = colour.answer if yes else rng.choice(others)
    text = rng.choice(_IS_COLOUR).format(noun=noun, colour=said, **{"is": verb})
    return Question("there", text, "yes" if yes else "no", colour.evidence)


def _position(rng: Random, scene: Scene, answer: str | None) -> Question | None:
    """What lies left of, right of, above or below a thing, where things of one kind alone do, and clearly."""
    found = [
        (thing, relation, kinds.pop())
        for thing in scene.things
        if _count_of(scene, _phrase_of(scene, thing)) == 1
        for relation in RELATIONS
        if len(kinds := _kinds_beside(scene, thing, relation)) == 1
    ]
    found = [one for one in found if answer in (None, one[2])]
    if not found:
        return None
    thing, relation, kind = rng.choice(found)
    noun = _named(_phrase_of(scene, thing, rng))
    text = rng.choice(_POSITION).format(noun=noun, where=rng.choice(relation_words(relation)))
    if rng.random() < 0.5:
        evidence = f"the {kind} is {rng.choice(relation_words(relation))} the {noun}"
    else:
        evidence = f"the {noun} is {rng.choice(relation_words(OPPOSITE[relation]))} the {kind}"
    return Question("position", text, kind, evidence)


def _phrase_of(scene: Scene, thing: Thing, rng: Random | None = None) -> Phrase:
    """The thing by its kind, with its colour where the kind alone is not enough, or at random."""
    plain = Phrase(1, None, thing.kind)
    needed = _count_of(scene, plain) > 1 or (rng is not None and rng.random() < 0.5)
    return Phrase(1, thing.colour, thing.kind) if needed else plain


def _kinds_beside(scene: Scene, thing: Thing, relation: str) -> set[str]:
    """Kinds that are ``relation`` the thing; empty where that is unclear for some thing."""
    kinds = set()
    for other in scene.things:
        if other is thing:
            continue
        if relation_holds(other, thing, relation):
            kinds.add(other.kind)
        elif _offset(other, thing, relation) > UNCLEAR:
            return set()
    return kinds


def _offset(a: Thing, b: Thing, relation: str) -> float:
    """How far ``a`` is ``relation`` ``b``, in shares of the picture's side."""
    along = {"left of": b.x - a.x, "right of": a.x - b.x, "above": b.y - a.y, "below": a.y - b.y}
    return along[relation]


def _match(rng: Random, scene: Scene, answer: str | None) -> Question | None:
    yes = answer == "yes" if answer else rng.random() < 0.5
    if rng.random() < 0.25:
        return _related(rng, scene, yes)
    true = random_sentence(rng, scene)
    evidence = render(true, rng.randrange(WORDINGS))
    said = true
    if not yes:
        tries = (near_miss_sentence(rng, scene, true, how) for how in rng.sample(_HOWS, len(_HOWS)))
        false = next((one for one in tries if one is not None), None)
        if false is None:
            return None
        said = false
    text = rng.choice(_MATCH).format(text=render(said, rng.randrange(WORDINGS)))
    return Question("match", text, "yes" if yes else "no", evidence)


def _related(rng: Random, scene: Scene, yes: bool) -> Question | None:
    """ "is the red car left of the blue house", of two things that clearly are or clearly are not."""
    named = [thing for thing in scene.things if _count_of(scene, _phrase_of(scene, thing)) == 1]
    pairs = [
        (a, b, r) for a in named for b in named if a is not b for r in RELATIONS if relation_holds(a, b, r)
    ]
    if not pairs:
        return None
    a, b, relation = rng.choice(pairs)
    first, second = (_named(_phrase_of(scene, thing, rng)) for thing in (a, b))
    asked = relation if yes else OPPOSITE[relation]
    text = rng.choice(_RELATED).format(first=first, second=second, where=rng.choice(relation_words(asked)))
    evidence = f"the {first} is {rng.choice(relation_words(relation))} the {second}"
    return Question("match", text, "yes" if yes else "no", evidence)


_ASKERS: dict[Topic, Callable[[Random, Scene, str | None], Question | None]] = {
    "colour": _colour, "there": _there, "position": _position, "match": _match,
}  # fmt: skip


def answers_of(topic: Topic) -> Sequence[str]:
    """Every answer that a question of the topic can have."""
    if topic == "colour":
        return COLOURS
    if topic == "count":
        return [str(number) for number in range(MOST + 1)]
    return KINDS if topic == "position" else ("yes", "no")
