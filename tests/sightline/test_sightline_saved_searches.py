"""The members of a saved search are what the search anew finds, whatever happens to pictures meanwhile."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from torch import Tensor

from sightline.blip.calibration import Calibration
from sightline.blip.latents import Latents
from sightline.blip.toy import ToyEncoder
from sightline.errors import ConflictError, InputError, NotFoundError
from sightline.indexer.uploads import Upload
from sightline.queries import Clause, Query
from sightline.records import Precision, SearchRequest
from sightline.searching.saved_judging import SavedJudging
from sightline.searching.settings import SavedSettings
from sightline.upkeep.saved_watch import SavedWatch
from sightline.wiring import Installation, open_installation
from tests.indexer.world import shared_decoder
from tests.sightline.conftest import picture, toy_settings
from tests.sightline.test_sightline_one_version import OneModel

NAMES = "abcdefgh"
SHADES = ("red", "blue", "green", "white", "black", "pink")
SEARCHES = {
    "red": ("red", 0.5),
    "sky": ("blue top", 0.9),
    "all": ("green", 0.0),
    "strict": ("red left", 0.99),
}
BOUND = 60.0


class Counting(ToyEncoder):
    """The toy; counts calls, and ``meanwhile`` happens once while it judges."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], object] | None = None
        self.matched = 0

    def match(self, texts: Sequence[str], patches: Tensor | Latents, precision: Precision = "fast") -> Tensor:
        todo, self.meanwhile = self.meanwhile, None
        if todo is not None:
            todo()
        self.matched += len(patches)
        return super().match(texts, patches, precision)


@pytest.fixture
def model() -> Counting:
    return Counting()


@contextmanager
def opened(folder: Path, url: str, model: Counting) -> Iterator[Installation]:
    """An installation whose work is done in this process; batches of three pictures."""
    settings = toy_settings(folder / "data").model_copy(
        update={"database_url": url, "saved": SavedSettings(most=4, batch=3, rest_seconds=0.0)}
    )
    models = OneModel(model)  # type: ignore[arg-type]
    with open_installation(settings, inline=True, models=models, decoder=shared_decoder()) as services:
        services.collections.create("pictures")
        yield services


@pytest.fixture
def home(tmp_path: Path, model: Counting) -> Iterator[Installation]:
    """On SQLite."""
    with opened(tmp_path, "", model) as services:
        yield services


@pytest.fixture
def both(tmp_path: Path, catalog_url: str, model: Counting) -> Iterator[Installation]:
    """On either database."""
    with opened(tmp_path, catalog_url, model) as services:
        yield services


def add(home: Installation, name: str, *quarters: str) -> None:
    out = io.BytesIO()
    Image.fromarray(picture(*quarters)).save(out, "PNG")
    job, _ = home.indexer.add("pictures", [Upload(out.getvalue(), name)])
    home.indexer.wait(job.id, timeout=BOUND)


def number(home: Installation) -> int:
    return home.catalog.collection("pictures").id


def members(home: Installation, name: str) -> dict[str, float]:
    """Image id → probability; every page of it."""
    found: dict[str, float] = {}
    cursor: str | None = None
    for _ in range(len(NAMES)):
        page = home.saved_searches.members("pictures", name, cursor, limit=2)
        assert not found.keys() & {one.image_id for one in page.items}, "twice"
        found |= {one.image_id: one.probability for one in page.items}
        cursor = page.next_cursor
        if cursor is None:
            return found
    raise AssertionError("pages without an end")


def anew(home: Installation, text: str, least: float) -> dict[str, float]:
    """What the search finds now, with everything judged."""
    request = SearchRequest(
        "pictures", text, limit=100, candidates=100, min_probability=least, precision="exact",
        index="exact", effort="full",
    )  # fmt: skip
    hits = home.search.find(request).results
    return {hit.id: hit.match_probability for hit in hits if hit.match_probability is not None}


def assert_same(home: Installation) -> None:
    for one in home.saved_searches.every("pictures"):
        assert (one.pending, one.unjudged, one.trouble) == (0, 0, None)
        found = members(home, one.name)
        assert found == pytest.approx(anew(home, one.question["text"], one.min_probability), abs=1e-9)
        assert one.members == len(found)


def act(home: Installation, chance: random.Random) -> None:
    """One thing that users do."""
    name = chance.choice(NAMES)
    ids = {one.image_id for one in home.catalog.images("pictures", None, 100).items}
    what = chance.choice(("add", "add", "add", "delete", "restore", "purge", "empty", "describe", "judge"))
    if what == "add":
        add(home, name, *chance.choices(SHADES, k=4))
    elif what == "delete":
        home.catalog.delete_images(number(home), ids=[name])
    elif what == "restore":
        home.catalog.restore_images(number(home), [name])
    elif what == "purge" and name in ids:
        home.purging.images("pictures", [name])
    elif what == "empty":
        home.catalog.empty_trash(number(home), [name])
    elif what == "describe" and name in ids:
        home.catalog.update_image("pictures", name, caption="seen")
    elif what == "judge":
        home.saved_judging.step(home.catalog.collection("pictures"))


@pytest.mark.parametrize("seed", range(2))
def test_members_are_what_the_search_finds_anew_after_any_history(both: Installation, seed: int) -> None:
    chance = random.Random(seed)
    left = list(SEARCHES.items())
    for step in range(28):
        act(both, chance)
        if step % 8 == 3 and left:  # some pictures are there before, others come later
            name, (text, least) = left.pop()
            both.saved_searches.save("pictures", name, {"text": text}, least)
        if step % 7 == 6:
            both.saved_watch.step()
            assert_same(both)
    both.saved_watch.step()
    assert_same(both)
    assert both.catalog.check() == []


def test_pictures_that_were_there_before_are_pending_and_join(home: Installation) -> None:
    for name in "abcd":
        add(home, name, "red" if name < "c" else "blue")
    saved = home.saved_searches.save("pictures", "red", {"text": "red"}, 0.5)
    assert (saved.search.pending, saved.search.members, saved.secret) == (4, 0, None)
    assert home.saved_judging.step(home.catalog.collection("pictures")) == 3
    assert home.saved_searches.one("pictures", "red").pending == 1
    assert home.saved_watch.step() == 1
    assert list(members(home, "red")) == ["a", "b"]


def test_patches_are_read_once_for_all_searches_and_nothing_is_judged_twice(
    home: Installation, model: Counting
) -> None:
    for name, (text, least) in SEARCHES.items():
        home.saved_searches.save("pictures", name, {"text": text}, least)
    add(home, "a", "red")
    add(home, "b", "blue")
    reads: list[list[int]] = []
    gather = home.segments.gather_sound

    class Reads:
        """The segments, with every reading of patches noted."""

        def __getattr__(self, name: str) -> object:
            return getattr(home.segments, name)

        def gather_sound(self, places: Sequence[object]) -> object:
            reads.append([getattr(place, "key") for place in places])  # noqa: B009
            return gather(places)  # type: ignore[arg-type]

    parts = home.search_parts
    watched = replace(parts, patches=type(parts.patches)(
        parts.patches.catalog, Reads(), parts.patches.formats, parts.patches.reencoding  # type: ignore[arg-type]
    ))  # fmt: skip
    judging = SavedJudging(watched, 10)
    assert judging.step(home.catalog.collection("pictures")) == 2
    assert [len(keys) for keys in reads] == [2]
    assert model.matched == 2 * len(SEARCHES)
    assert judging.step(home.catalog.collection("pictures")) == 0
    assert model.matched == 2 * len(SEARCHES)


@pytest.mark.parametrize("what", ["delete", "purge", "replace", "change", "remove"])
def test_what_happens_while_it_is_judged_counts(home: Installation, model: Counting, what: str) -> None:
    home.saved_searches.save("pictures", "red", {"text": "red"}, 0.5)
    add(home, "a", "red")
    add(home, "b", "red")
    happens: dict[str, Callable[[], object]] = {
        "delete": lambda: home.catalog.delete_images(number(home), ids=["a"]),
        "purge": lambda: home.purging.images("pictures", ["a"]),
        "replace": lambda: add(home, "a", "blue"),
        "change": lambda: home.saved_searches.change("pictures", "red", {"text": "blue"}, 0.5),
        "remove": lambda: home.saved_searches.remove("pictures", "red"),
    }
    model.meanwhile = happens[what]
    home.saved_judging.step(home.catalog.collection("pictures"))
    home.saved_watch.step()
    if what == "remove":
        with pytest.raises(NotFoundError):
            home.saved_searches.one("pictures", "red")
        return
    assert list(members(home, "red")) == ([] if what == "change" else ["b"])
    assert_same(home)


def test_two_who_judge_the_same_pictures_keep_them_once(both: Installation, model: Counting) -> None:
    both.saved_searches.save("pictures", "red", {"text": "red"}, 0.5)
    for name in "abc":
        add(both, name, "red")
    collection = both.catalog.collection("pictures")
    other = SavedJudging(both.search_parts, 2)
    model.meanwhile = lambda: other.step(collection)
    both.saved_judging.step(collection)
    first = both.catalog.saved_members_after(both.saved_searches.one("pictures", "red").id, 0, 10)
    assert [one.image_id for one in first] == ["a", "b"], "what the slower one found is not kept"
    both.saved_watch.step()
    assert list(members(both, "red")) == ["a", "b", "c"]


def test_builders_at_once_keep_every_member_once(both: Installation) -> None:
    for name, (text, least) in SEARCHES.items():
        both.saved_searches.save("pictures", name, {"text": text}, least)
    settings = both.settings.saved
    watches = [SavedWatch(both.catalog, SavedJudging(both.search_parts, 2), None, settings) for _ in range(2)]
    stop = threading.Event()
    with watches[0].running(stop), watches[1].running(stop):
        for place, name in enumerate(NAMES):
            add(both, name, SHADES[place % len(SHADES)])
    for watch in watches:
        watch.step()
    assert_same(both)


def test_a_higher_bound_lets_go_a_lower_one_asks_again_and_another_question_begins_anew(
    home: Installation,
) -> None:
    home.saved_searches.save("pictures", "it", {"text": "red"}, 0.5)
    for name, shade in zip("abcd", ("red", "pink", "orange", "blue"), strict=True):
        add(home, name, shade)
    home.saved_watch.step()
    before = members(home, "it")
    assert len(before) > 1
    middle = sorted(before.values())[-1]
    assert home.saved_searches.change("pictures", "it", {"text": "red"}, middle).search.pending == 0
    assert members(home, "it") == {name: p for name, p in before.items() if p >= middle}
    assert home.saved_searches.change("pictures", "it", {"text": "red"}, 0.0).search.pending == 4
    home.saved_watch.step()
    assert members(home, "it").keys() == set("abcd")
    assert home.saved_searches.change("pictures", "it", {"text": "blue"}, 0.5).search.members == 0
    home.saved_watch.step()
    assert_same(home)


def test_another_calibration_judges_everything_again_and_nobody_joins_twice(home: Installation) -> None:
    home.saved_searches.save("pictures", "red", {"text": "red"}, 0.5)
    for name in "abc":
        add(home, name, "red")
    home.saved_watch.step()
    search = home.saved_searches.one("pictures", "red")
    first = home.catalog.saved_members_after(search.id, 0, 10)
    collection = home.catalog.collection("pictures")
    numbers = Calibration("platt", 1.0, 0.25).to_json()
    home.catalog.add_calibration(collection.id, collection.fingerprint, "platt", numbers, {})
    assert home.saved_judging.step(collection) == 3
    after = home.catalog.saved_members_after(search.id, 0, 10)
    assert [(one.id, one.key) for one in after] == [(one.id, one.key) for one in first]
    assert all(new.probability > old.probability for new, old in zip(after, first, strict=True))
    assert home.saved_searches.one("pictures", "red").judged_by != search.judged_by


def test_members_of_clauses_are_those_of_the_search_with_these_clauses(home: Installation) -> None:
    query = Query(all=(Clause("red"),), none=(Clause("blue"),))
    home.saved_searches.save("pictures", "red-not-blue", {"query": {"all": ["red"], "none": ["blue"]}}, 0.5)
    add(home, "a", "red")
    add(home, "b", "blue")
    add(home, "c", "green")
    home.saved_watch.step()
    request = SearchRequest("pictures", query=query, min_probability=0.5, exact=True, limit=100)
    assert (
        set(members(home, "red-not-blue")) == {hit.id for hit in home.search.find(request).results} == {"a"}
    )


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({}, "a text or a query"),
        ({"text": "red", "query": {"all": ["red"]}}, "one of the two"),
        ({"query": {"none": ["red"]}}, "what they should show"),
        ({"query": {"all": "red"}}, "a list"),
        ({"query": {"all": [{"text": "red", "weight": "much"}]}}, "text with a weight"),
        ({"query": {"every": ["red"]}}, "all, any and none"),
        ({"query": {"all": ["re\0d"]}}, "clause"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(
    home: Installation, question: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        home.saved_searches.save("pictures", "odd", question, 0.5)


def test_what_cannot_be_judged_is_told_and_joins_once_it_can(home: Installation, tmp_path: Path) -> None:
    home.saved_searches.save("pictures", "red", {"text": "red"}, 0.5)
    add(home, "a", "red")
    add(home, "b", "red")
    folders = [home.settings.segments_folder, home.settings.data_folder / "originals"]
    hidden = [(folder, tmp_path / f"away-{place}") for place, folder in enumerate(folders)]
    for folder, away in hidden:
        folder.rename(away)
        folder.mkdir()
    home.saved_judging.step(home.catalog.collection("pictures"))
    told = home.saved_searches.one("pictures", "red")
    assert (told.members, told.pending, told.unjudged) == (0, 0, 2)
    for folder, away in hidden:
        folder.rmdir()
        away.rename(folder)
    home.saved_watch.step()
    assert list(members(home, "red")) == ["a", "b"]
    assert_same(home)


def test_a_collection_that_goes_takes_its_searches_and_one_that_comes_back_brings_them(
    home: Installation,
) -> None:
    home.saved_searches.save("pictures", "red", {"text": "red"}, 0.5)
    add(home, "a", "red")
    home.catalog.delete_collection("pictures")
    assert home.saved_watch.step() == 0, "nobody sees a collection in the trash"
    home.catalog.restore_collection("pictures")
    assert home.saved_watch.step() == 1
    assert list(members(home, "red")) == ["a"]
    home.catalog.delete_collection("pictures")
    home.catalog.empty_collection("pictures")
    assert home.catalog.saved_holders() == []
    assert home.catalog.check() == []


def test_what_cannot_be_saved_is_refused_with_a_sentence(home: Installation) -> None:
    save = home.saved_searches.save
    refused: list[tuple[type[Exception], str, tuple[str, dict[str, object], float]]] = [
        (InputError, "text is empty", ("a", {"text": " "}, 0.5)),
        (InputError, "'colour'", ("a", {"text": "red", "colour": "x"}, 0.5)),
        (InputError, "from 0 to 1", ("a", {"text": "red"}, 1.5)),
        (InputError, "from 0 to 1", ("a", {"text": "red"}, float("nan"))),
        (InputError, "cannot be called", ("a/b", {"text": "red"}, 0.5)),
    ]
    for kind, said, arguments in refused:
        with pytest.raises(kind, match=said):
            save("pictures", *arguments)
    with pytest.raises(InputError, match="SIGHTLINE_SAVED__WEBHOOKS"):
        save("pictures", "a", {"text": "red"}, 0.5, "https://example.org/hook")
    with pytest.raises(NotFoundError):
        save("nothing", "a", {"text": "red"}, 0.5)
    for name in "abcd":
        save("pictures", name, {"text": "red"}, 0.5)
    with pytest.raises(ConflictError, match="already"):
        save("pictures", "a", {"text": "blue"}, 0.5)
    with pytest.raises(ConflictError, match="SIGHTLINE_SAVED__MOST"):
        save("pictures", "e", {"text": "red"}, 0.5)
