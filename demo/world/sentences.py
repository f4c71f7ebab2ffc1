"""Sentences about scenes: their structure, when they are true, and their wordings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from demo.world.scene import Scene, Thing, relation_holds


@dataclass(frozen=True)
class Phrase:
    """`count` things of a kind; colour and size only where they are said."""

    count: int
    colour: str | None
    kind: str
    size: str | None = None


@dataclass(frozen=True)
class Sentence:
    """One or more phrases; `relation` is between the first two of them; `setting` where it is said."""

    phrases: tuple[Phrase, ...]
    relation: str | None = None
    setting: str | None = None


def matches(thing: Thing, phrase: Phrase) -> bool:
    """Whether one thing is what the phrase says (its count aside)."""
    return (
        thing.kind == phrase.kind
        and phrase.colour in (None, thing.colour)
        and phrase.size in (None, thing.size)
    )


def satisfies(scene: Scene, sentence: Sentence) -> bool:
    """Whether the sentence is true of the scene.

    Distinct phrases need distinct things; a count of two or more means exactly that many matching things in
    the scene, "a" at least one; the relation has to hold for some pair of the things chosen.
    """
    if sentence.setting not in (None, scene.setting):
        return False
    choices = [_choices(scene, phrase) for phrase in sentence.phrases]
    return all(choices) and any(
        sentence.relation is None or _related(scene, chosen[0], chosen[1], sentence.relation)
        for chosen in _disjoint(choices, ())
    )


def _choices(scene: Scene, phrase: Phrase) -> list[tuple[int, ...]]:
    found = tuple(i for i, thing in enumerate(scene.things) if matches(thing, phrase))
    if phrase.count == 1:
        return [(i,) for i in found]
    return [found] if len(found) == phrase.count else []


def _disjoint(
    choices: list[list[tuple[int, ...]]], chosen: tuple[tuple[int, ...], ...]
) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Every way to choose one tuple of things per phrase so that no thing is used twice."""
    if len(chosen) == len(choices):
        yield chosen
        return
    used = {i for part in chosen for i in part}
    for part in choices[len(chosen)]:
        if used.isdisjoint(part):
            yield from _disjoint(choices, (*chosen, part))


def _related(scene: Scene, first: tuple[int, ...], second: tuple[int, ...], relation: str) -> bool:
    return any(relation_holds(scene.things[a], scene.things[b], relation) for a in first for b in second)


_NUMBERS = {2: "two", 3: "three"}
_PLURALS = {"fish": "fish", "mouse": "mice", "butterfly": "butterflies"}
_SIZE_WORDS = {"small": ("small", "little", "tiny"), "medium": ("medium",), "big": ("big", "large")}
_PLACES = {
    "meadow": ("in a meadow", "on a green meadow", "in the meadow"),
    "beach": ("on the beach", "at the beach", "on a sandy beach"),
    "night": ("at night", "in the night", "under the night sky"),
    "snow": ("in the snow", "in winter snow", "in a snowy place"),
    "city": ("in the city", "on a city street", "in a city"),
    "plain": ("on a plain background", "on plain paper", "with an empty background"),
}
_RELATION_WORDS = {
    "left of": ("left of", "to the left of", "on the left of"),
    "right of": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over", "higher than"),
    "below": ("below", "under", "lower than"),
}
_ENDS = {
    "left of": ("on the left", "on the right"),
    "right of": ("on the right", "on the left"),
    "above": ("at the top", "at the bottom"),
    "below": ("at the bottom", "at the top"),
}
_SEEN_FROM = {"left of": "on its left", "right of": "on its right", "above": "above it", "below": "below it"}
_OPENINGS = ("", "there {be} ", "a picture of ", "", "we see ", "an image with ")
WORDINGS = 12
"""`render` gives this many wordings before it repeats itself; not all differ for every shape."""


def plural(kind: str) -> str:
    """The plural of a kind."""
    if kind in _PLURALS:
        return _PLURALS[kind]
    return kind + ("es" if kind.endswith(("s", "sh", "ch", "x")) else "s")


def relation_words(relation: str) -> tuple[str, ...]:
    """The ways to say a relation: "left of", "to the left of", "on the left of"."""
    return _RELATION_WORDS[relation]


def words(phrase: Phrase, wording: int = 0) -> str:
    """A phrase in English: "a big red car", "two fish", "an orange key"."""
    size = _SIZE_WORDS[phrase.size] if phrase.size else ("",)
    noun = phrase.kind if phrase.count == 1 else plural(phrase.kind)
    rest = " ".join(w for w in (size[wording % len(size)], phrase.colour, noun) if w)
    if phrase.count > 1:
        return f"{_NUMBERS[phrase.count]} {rest}"
    return f"{'an' if rest[0] in 'aeiou' else 'a'} {rest}"


def render(sentence: Sentence, wording: int) -> str:
    """The sentence in English, in one of WORDINGS ways (`wording` is taken modulo WORDINGS)."""
    wording %= WORDINGS
    places = _PLACES[sentence.setting] if sentence.setting else ("",)
    place = places[wording // 4 % len(places)]
    if sentence.relation and wording % 6 in (2, 3):
        body = _by_position(sentence, wording)
    else:
        body = _opening(sentence, wording) + _body(sentence, wording)
    if place and wording % 4 == 3:
        return f"{place}, {body}"
    return f"{body} {place}".strip()


def _opening(sentence: Sentence, wording: int) -> str:
    be = "is" if sentence.phrases[0].count == 1 else "are"
    return _OPENINGS[wording % len(_OPENINGS)].format(be=be)


def _body(sentence: Sentence, wording: int) -> str:
    parts = [words(phrase, wording // 2) for phrase in sentence.phrases]
    if sentence.relation:
        ways = _RELATION_WORDS[sentence.relation]
        parts = [f"{parts[0]} {ways[wording // 2 % len(ways)]} {parts[1]}", *parts[2:]]
    elif wording // 6 == 1 and len(parts) > 1:
        # without a relation the order says nothing, so that half of the wordings turn it round
        parts.reverse()
    return _join(parts)


def _by_position(sentence: Sentence, wording: int) -> str:
    """The relation said by places: "on the left a red car, on the right a blue house", and its like."""
    relation = sentence.relation or ""
    first, second, *others = (words(phrase, wording // 2) for phrase in sentence.phrases)
    rest = f", and {_join(others)}" if others else ""
    if wording % 6 == 2 and sentence.phrases[1].count == 1:
        return f"{second} with {first} {_SEEN_FROM[relation]}{rest}"
    here, there = _ENDS[relation]
    if wording >= 6:
        return f"{first} {here} and {second} {there}{rest}"
    return f"{here} {first}, {there} {second}{rest}"


def _join(parts: list[str]) -> str:
    if len(parts) < 3:
        return " and ".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]
