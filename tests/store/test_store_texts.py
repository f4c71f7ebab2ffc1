"""Texts of images: they follow what is stored of the image, and verdicts of people outlive every job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from sightline.errors import InputError, NotFoundError
from sightline.store.catalog import open_catalog
from sightline.store.text_records import NewText, StoredText, TextCount
from sightline.store.work_records import Lease
from tests.store.catalog_world import Clock, World, create_pictures, emptied, item, opened

BOAT, DUSK = "a boat", "a harbour at dusk"


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        yield world


def caption_lease(world: World, *names: str) -> Lease:
    """A leased task of these images, of a job of another kind than indexing."""
    job = world.catalog.create_job(world.collection.id, "capfilt", {})
    live = world.live()
    [task] = world.catalog.add_tasks(job.id, "capfilt", [live[name] for name in names], 10)
    world.catalog.seal_job(job.id)
    return world.lease(task)


def written(world: World, *texts: NewText, names: Sequence[str] = ()) -> bool:
    live = {key: name for name, key in world.live().items()}
    chosen = names or sorted({live[text.key] for text in texts})
    return world.catalog.finish(caption_lease(world, *chosen), texts=texts)


def said(world: World, name: str) -> list[tuple[str, str, str]]:
    """(source, text, verdict) of the live version, in order."""
    key = world.live()[name]
    return [(one.source, one.text, one.verdict) for one in texts_of(world, name, key)]


def texts_of(world: World, name: str, key: int | None = None) -> list[StoredText]:
    key = world.live()[name] if key is None else key
    return world.catalog.texts_of([key]).get(key, [])


def judged(world: World, name: str, verdict: str = "kept", text: str = BOAT) -> NewText:
    return NewText(world.live()[name], "given", text, None, None, 0.9, "judge", verdict)  # type: ignore[arg-type]


def test_each_version_with_a_caption_has_a_given_text_and_no_other(world: World) -> None:
    world.add(item("a", caption=BOAT), item("b"), item("c", caption=""))
    assert [said(world, name) for name in "abc"] == [[("given", BOAT, "unjudged")], [], []]
    world.add(item("a", "other bytes", DUSK))
    assert said(world, "a") == [("given", DUSK, "unjudged")]
    world.catalog.update_image("pictures", "b", caption=DUSK)
    assert said(world, "b") == [("given", DUSK, "unjudged")]
    world.catalog.update_image("pictures", "b", caption=None)
    world.add(item("a", "other bytes", BOAT), item("c", caption="said by a manifest"))
    assert [said(world, name) for name in "abc"] == [
        [("given", BOAT, "unjudged")], [], [("given", "said by a manifest", "unjudged")],
    ]  # fmt: skip


def test_an_unchanged_caption_keeps_its_verdict_and_a_changed_one_has_none(world: World) -> None:
    world.add(item("a", caption=BOAT))
    assert written(world, judged(world, "a", "dropped"))
    [before] = texts_of(world, "a")
    assert (before.match_probability, before.judge, before.verdict) == (0.9, "judge", "dropped")
    world.catalog.update_image("pictures", "a", caption=BOAT, metadata={"year": 1})
    world.add(item("a", caption=BOAT, year=2))
    assert texts_of(world, "a") == [before]
    world.catalog.update_image("pictures", "a", caption=DUSK)
    [after] = texts_of(world, "a")
    assert after.id > before.id
    assert (after.match_probability, after.verdict, after.overruled) == (None, "unjudged", False)


def test_a_persons_verdict_outlives_every_job_and_the_picture_embedded_again(world: World) -> None:
    world.add(item("a", caption=BOAT))
    [first] = texts_of(world, "a")
    world.catalog.overrule_text(world.collection.id, first.id, "dropped")
    assert written(world, replace(judged(world, "a"), match_probability=0.99))
    [again] = texts_of(world, "a")
    assert (again.verdict, again.overruled, again.match_probability) == ("dropped", True, 0.99)
    world.catalog.delete_images(world.collection.id, ids=["a"])
    world.add(item("a", caption=BOAT))
    assert said(world, "a") == [("given", BOAT, "dropped")]
    assert [one.overruled for one in texts_of(world, "a")] == [True]
    world.catalog.delete_images(world.collection.id, ids=["a"])
    world.add(item("a", "other bytes", BOAT))
    assert said(world, "a") == [("given", BOAT, "unjudged")], "nobody judged this picture"


def test_a_verdict_can_be_withdrawn_and_then_jobs_decide_again(world: World) -> None:
    world.add(item("a", caption=BOAT))
    [text] = texts_of(world, "a")
    number = world.collection.id
    assert world.catalog.overrule_text(number, text.id, "kept").overruled
    assert world.catalog.withdraw_overruling(number, text.id).verdict == "unjudged"
    assert written(world, judged(world, "a", "dropped"))
    assert world.catalog.withdraw_overruling(number, text.id).verdict == "dropped", "no person said so"
    for wrong in (-1, 0, text.id + 1, 2**70):
        with pytest.raises(NotFoundError):
            world.catalog.overrule_text(number, wrong, "kept")
    with pytest.raises(InputError, match="A verdict is unjudged, kept, dropped"):
        world.catalog.overrule_text(number, text.id, "perhaps")  # type: ignore[arg-type]


def test_a_model_replaces_what_it_said_before_and_nobody_elses_words(world: World) -> None:
    world.add(item("a", caption=BOAT), item("b"))
    a, b = (world.live()[name] for name in "ab")

    def says(model: str, *texts: str, key: int = a) -> list[NewText]:
        return [NewText(key, "captioner", text, model, -3.0, 0.8, "judge", "kept") for text in texts]

    assert written(world, *says("m1", "one", "two"), *says("m2", "three"), *says("m1", "of b", key=b))
    kept = next(one for one in texts_of(world, "a") if one.text == "two")
    world.catalog.overrule_text(world.collection.id, kept.id, "dropped")
    assert written(world, *says("m1", "one", "four"))
    assert [(text, verdict) for _, text, verdict in said(world, "a")] == [
        (BOAT, "unjudged"), ("one", "kept"), ("two", "dropped"), ("three", "kept"), ("four", "kept"),
    ]  # fmt: skip
    assert [text for _, text, _ in said(world, "b")] == ["of b"]
    assert written(world, NewText(a, "captioner", "one", "m1", -2.0))
    [one] = [text for text in texts_of(world, "a") if text.text == "one"]
    assert (one.verdict, one.log_probability) == ("kept", -2.0), "not judged again is judged still"


def test_what_an_image_does_not_say_any_more_is_not_written_and_goes(world: World) -> None:
    world.add(item("a", caption=BOAT, alt="alt text", tags=["x", "y"]))
    a = world.live()["a"]
    texts = [
        NewText(a, "given", DUSK), NewText(a, "metadata.alt", "alt text"), NewText(a, "metadata.tags", "y"),
        NewText(a, "metadata.alt", "another"), NewText(a, "captioner", "seen", "m"),
    ]  # fmt: skip
    assert written(world, *texts)
    assert [text for _, text, _ in said(world, "a")] == [BOAT, "alt text", "y", "seen"]
    world.catalog.update_image("pictures", "a", metadata={"alt": "alt text"})
    assert [text for _, text, _ in said(world, "a")] == [BOAT, "alt text", "seen"]
    world.catalog.update_image("pictures", "a", caption=None, metadata={})
    assert [text for _, text, _ in said(world, "a")] == ["seen"]


def test_a_lost_lease_writes_nothing_and_a_repeated_end_changes_nothing(world: World) -> None:
    world.add(item("a", caption=BOAT), item("b", caption=DUSK))
    lease = caption_lease(world, "a", "b")
    world.catalog.delete_images(world.collection.id, ids=["b"])
    texts = [judged(world, "a"), NewText(lease.images[1].key, "captioner", "late", "m")]
    world.time += 100.0
    other = world.lease(lease.task_id, "other")
    before = world.version()
    assert not world.catalog.finish(lease, texts=texts)
    assert said(world, "a") == [("given", BOAT, "unjudged")]
    assert world.version() == before
    for _ in range(2):
        assert world.catalog.finish(other, texts=texts)
    assert said(world, "a") == [("given", BOAT, "kept")]
    assert len(texts_of(world, "b", lease.images[1].key)) == 2, "what is in the trash keeps its texts"


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": "a\x00b"}, {"source": "elsewhere"}, {"verdict": "good"},
        {"match_probability": float("nan")},
    ],
)  # fmt: skip
def test_what_cannot_be_stored_is_refused_as_a_whole(world: World, wrong: dict[str, object]) -> None:
    world.add(item("a", caption=BOAT))
    fine = judged(world, "a")
    with pytest.raises(InputError):
        written(world, fine, replace(fine, **{"source": "captioner", **wrong}))  # type: ignore[arg-type]
    assert said(world, "a") == [("given", BOAT, "unjudged")]


def test_texts_wait_in_the_trash_come_back_and_end_with_their_picture(world: World) -> None:
    world.add(item("a", caption=BOAT), item("b", caption=DUSK), item("c", caption="gone"))
    assert written(world, judged(world, "a"))
    before, keys = texts_of(world, "a"), world.live()
    number = world.collection.id
    world.catalog.delete_images(number, ids=["a", "b"])
    assert world.catalog.text_page(number).total == 1
    world.catalog.restore_images(number, ["a"])
    assert texts_of(world, "a") == before
    world.catalog.empty_trash(number)
    world.catalog.begin_purge(number, ["c"])
    assert set(world.catalog.texts_of(list(keys.values()))) == {keys["a"]}


def test_pages_counts_and_exports_tell_of_live_texts(world: World) -> None:
    world.add(
        *(item(f"i{n}", caption=f"Ein Föhn {n} überm See") for n in range(7)), item("t", caption="trashed")
    )
    world.catalog.delete_images(world.collection.id, ids=["t"])
    live, number = world.live(), world.collection.id
    texts = [
        NewText(live[f"i{n}"], "captioner", f"no {n}", "m", None, n / 10, "j", "dropped") for n in range(3)
    ]
    lease = caption_lease(world, "i0", "i1", "i2")
    assert world.catalog.finish(lease, texts=texts)
    page = world.catalog.text_page(number, limit=4)
    rest = world.catalog.text_page(number, limit=100, cursor=page.next_cursor)
    assert (page.total, len(page.items), len(rest.items), rest.next_cursor) == (10, 4, 6, None)
    assert world.catalog.iter_texts(number) == page.items + rest.items
    said = [len(text.text.encode()) for text in page.items]
    short = world.catalog.text_page(number, limit=4, most_bytes=sum(said) - 1)
    assert (short.items, short.next_cursor) == (page.items[:3], str(page.items[2].id)), "it ends early"
    assert len(world.catalog.text_page(number, limit=4, most_bytes=1).items) == 1
    assert [t.text for t in world.catalog.iter_texts(number, ["dropped"])] == ["no 0", "no 1", "no 2"]
    assert world.catalog.text_page(number, contains="FOHN 3").items[0].image_id == "i3"
    assert world.catalog.text_page(number, "dropped", contains="no").total == 3
    assert world.catalog.text_page(number, contains="x%_").total == 0
    assert world.catalog.text_page(number, contains=" ").total == 10
    assert world.catalog.text_page(number, source="given", overruled=False).total == 7
    job_id = lease.images[0].job_id
    assert job_id is not None
    counts = [TextCount("captioner", "dropped", False, 3), TextCount("given", "unjudged", False, 7)]
    assert world.catalog.text_counts(number) == counts
    told = world.catalog.text_probabilities(number)
    assert [one.match_probability for _, one in told] == [0.0, 0.1, 0.2]
    assert world.catalog.text_probabilities(number, after_id=told[-1][0]) == []
    many = " ".join(f"w{n}" for n in range(1_500))
    assert world.catalog.text_page(number, contains="no " * 1_500).total == 3, "each word counts once"
    for wrong in ({"limit": 0}, {"limit": 1_001}, {"cursor": "x"}, {"contains": many}, {"contains": "%_"}):
        with pytest.raises(InputError):
            world.catalog.text_page(number, **wrong)  # type: ignore[arg-type]


def test_no_word_of_a_purged_picture_is_left_in_the_file(tmp_path: Path) -> None:
    """What the row held, and what the full-text index made of it."""
    file = tmp_path / "catalog.sqlite"
    with closing(open_catalog(f"sqlite:///{file}", now=Clock())) as catalog:
        create_pictures(catalog)
        world = World(catalog, Clock())
        world.add(*(item(f"k{n}", caption=f"kept words {n}") for n in range(30)))
        world.add(item("p", caption="an unmistakable xylophonist"))
        key = world.live()["p"]
        assert written(world, NewText(key, "captioner", "quagmire of zeppelins", "m"))
        catalog.forget_old_pages(5.0)
        assert all(word in file.read_bytes() for word in (b"xylophonist", b"zeppelins"))
        catalog.begin_purge(world.collection.id, ["p"])
        catalog.scrub_purged([key])
        assert catalog.forget_old_pages(5.0)
        assert not any(word in file.read_bytes() for word in (b"xylophonist", b"zeppelin", b"quagmire"))
        assert len(catalog.search_texts(world.collection.id, "kept words 7", 5)) == 1
