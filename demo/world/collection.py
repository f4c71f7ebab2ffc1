"""The demo collection: `python -m demo.world.collection OUT` writes it: pictures, manifest and queries.

Twelve queries, for each a few pictures that satisfy it among many near misses of it, and a filling of random
pictures. All are of the test split: the demo model saw no picture of the same kinds and colours together.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random

from PIL import Image

from demo.world.draw import draw
from demo.world.questions import Topic, ask
from demo.world.sample import Look, build_scene, full_caption
from demo.world.scene import Scene
from demo.world.sentences import WORDINGS, Phrase, Sentence, matches, render, satisfies
from demo.world.splits import content_key, scenes, split_of_key
from demo.world.things import COLOURS, KINDS, RELATIONS, SETTINGS, SIZES

PICTURES = 500
SIDE = 384
QUALITY = 90
NEAR_MISSES = 26
RELEVANT = 5
MOST_THINGS = 5


@dataclass(frozen=True)
class Query:
    """A shipped query: what it says, in which wording, and what it is there to show."""

    sentence: Sentence
    wording: int
    shows: str


def _phrase(text: str) -> Phrase:
    """From "2 red car big" (count, colour or -, kind, size if said)."""
    count, colour, kind, *size = text.split()
    return Phrase(int(count), None if colour == "-" else colour, kind, size[0] if size else None)


def _query(
    shows: str, wording: int, said: str, relation: str | None = None, setting: str | None = None
) -> Query:
    phrases = tuple(_phrase(part.strip()) for part in said.split(","))
    return Query(Sentence(phrases, relation, setting), wording, shows)


def queries() -> list[Query]:
    """The twelve queries of the demo, in the order in which they are shown."""
    return [
        _query("attribute binding: which colour belongs to which thing", 0, "1 red car, 1 blue house"),
        _query("attribute binding: the same words with the colours swapped", 0, "1 blue car, 1 red house"),
        _query("relation: left of", 2, "1 yellow cat, 1 purple umbrella", "left of"),
        _query(
            "relation: the same things with the sides swapped",
            2,
            "1 yellow cat, 1 purple umbrella",
            "right of",
        ),
        _query(
            "relation: above, with colours that could be swapped", 0, "1 green boat, 1 pink fish", "above"
        ),
        _query("counting: exactly three", 0, "3 orange balloon"),
        _query("counting: two of one and one of the other", 0, "2 blue bird, 1 yellow bird"),
        _query("size: which of the two is the big one", 0, "1 pink flower big, 1 brown mushroom small"),
        _query("three things, each with its colour", 0, "1 brown dog, 1 green hat, 1 red key"),
        _query("setting: a thing in a place", 0, "1 red rocket", None, "night"),
        _query("relation and setting together", 0, "1 orange bicycle, 1 green tree", "right of", "beach"),
        _query(
            "nothing matches: there are trains and purple things, but no purple train", 0, "1 purple train"
        ),
    ]


def _around(rng: Random, query: Query) -> Scene | None:
    """The query's things with looks, places and setting drawn anew; None when it is no test picture."""
    sentence = query.sentence
    phrases = sentence.phrases
    colours, extras = _colours(rng, query)
    looks: list[Look] = []
    for phrase, colour in zip(phrases, colours, strict=True):
        count = rng.choice((1, 2, 3)) if any(p.count > 1 for p in phrases) else 1
        size = rng.choice(("small", "big") if any(p.size for p in phrases) else SIZES)
        looks += [(phrase.kind, colour, size)] * count
    looks += extras
    key = content_key({kind for kind, _, _ in looks}, {colour for _, colour, _ in looks})
    if len(looks) > MOST_THINGS or split_of_key(key) != "test":
        return None
    setting = sentence.setting if sentence.setting and rng.random() < 0.5 else rng.choice(SETTINGS)
    return build_scene(rng, setting, looks, rng.choice(RELATIONS) if sentence.relation else None)


def _colours(rng: Random, query: Query) -> tuple[list[str], list[Look]]:
    """The colours of the query's things, shuffled among them and often among other things beside them."""
    said = {phrase.kind for phrase in query.sentence.phrases}
    colours = [phrase.colour or rng.choice(COLOURS) for phrase in query.sentence.phrases]
    extra = rng.choice((0, 1, 1, 2))
    others = [rng.choice(COLOURS) for _ in range(extra)]
    if rng.random() < 0.5:
        pool = colours + others
        rng.shuffle(pool)
        colours, others = pool[: len(colours)], pool[len(colours) :]
    else:
        rng.shuffle(colours)
    kinds = rng.sample([kind for kind in KINDS if kind not in said], extra)
    return colours, [(kind, c, rng.choice(SIZES)) for kind, c in zip(kinds, others, strict=True)]


def collect(seed: int = 0) -> list[Scene]:
    """The scenes of the collection, shuffled; per query RELEVANT true ones (but the last) and near misses."""
    rng = Random(f"collection {seed}")
    asked = queries()
    found: list[Scene] = []
    for query in asked:
        found += _some(rng, query, asked, true=True, count=0 if query is asked[-1] else RELEVANT)
        found += _some(rng, query, asked, true=False, count=NEAR_MISSES)
    others = (scene for scene in scenes("test", seed) if not _answers(scene, asked))
    found += islice(others, PICTURES - len(found))
    rng.shuffle(found)
    return found


def _some(rng: Random, query: Query, asked: list[Query], *, true: bool, count: int) -> list[Scene]:
    found: list[Scene] = []
    while len(found) < count:
        scene = _around(rng, query)
        if scene is None or _answers(scene, asked) != ([query] if true else []):
            continue
        if not true or _literal(scene, query):
            found.append(scene)
    return found


def _literal(scene: Scene, query: Query) -> bool:
    """Whether "a" means one as well: where three were painted, nobody would say "a"."""
    return all(sum(matches(t, p) for t in scene.things) == p.count for p in query.sentence.phrases)


def _answers(scene: Scene, asked: list[Query]) -> list[Query]:
    return [query for query in asked if satisfies(scene, query.sentence)]


def write(out: Path, found: list[Scene]) -> None:
    """Pictures as WebP below `out`/images, `out`/manifest.jsonl, `out`/queries.json and questions.json."""
    named = {_name(row): scene for row, scene in enumerate(found)}
    rng = Random("captions")
    (out / "images").mkdir(parents=True, exist_ok=True)
    with (out / "manifest.jsonl").open("w") as manifest:
        for name, scene in named.items():
            uri = f"images/{name}.webp"
            Image.fromarray(draw(scene, SIDE)).save(out / uri, quality=QUALITY, method=6)
            manifest.write(json.dumps({"id": name, "uri": uri, **_metadata(scene, rng)}) + "\n")
    asked = [_asked(query, named) for query in queries()]
    (out / "queries.json").write_text(json.dumps(asked, indent=1) + "\n")
    (out / "questions.json").write_text(json.dumps(talk(found), indent=1) + "\n")


def talk(found: list[Scene]) -> dict[str, object]:
    """Two pictures to describe, and three questions: a colour, a number, and what stands beside something."""
    rng = Random("talk")
    rows = [row for row, scene in enumerate(found) if len(scene.things) > 2]
    rng.shuffle(rows)
    captions = [_name(rows.pop()) for _ in range(2)]
    questions = []
    wanted: tuple[tuple[Topic, str | None], ...] = (("colour", None), ("count", "2"), ("position", None))
    for topic, answer in wanted:
        asked = None
        while asked is None:
            row = rows.pop()
            asked = ask(rng, found[row], topic, answer)
        text = f"{asked.text}?".capitalize()
        questions.append({"image": _name(row), "question": text, "answer": asked.answer})
    return {"captions": captions, "questions": questions}


def _name(row: int) -> str:
    return f"picture-{row + 1:03d}"


def _metadata(scene: Scene, rng: Random) -> dict[str, object]:
    caption = replace(full_caption(scene, rng), setting=scene.setting if scene.setting != "plain" else None)
    return {
        "caption": render(caption, rng.randrange(WORDINGS)),
        "setting": scene.setting,
        "kinds": sorted({t.kind for t in scene.things}),
        "colours": sorted({t.colour for t in scene.things}),
        "count": len(scene.things),
    }


def _asked(query: Query, named: dict[str, Scene]) -> dict[str, object]:
    relevant = [name for name, scene in named.items() if satisfies(scene, query.sentence)]
    return {"text": render(query.sentence, query.wording), "relevant": relevant, "shows": query.shows}


def main(arguments: list[str]) -> int:
    """Writes the collection to the folder named on the command line; 2 when none is named."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m demo.world.collection OUT\n")
        return 2
    write(Path(arguments[0]), collect())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
