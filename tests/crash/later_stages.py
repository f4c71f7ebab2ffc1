"""The later stages of a life: what its owner does with what is indexed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from sightline.indexer.resuming import Resumption
from sightline.indexer.uploads import Upload
from sightline.store.places import LocalPlace
from sightline.store.records import EMBED
from sightline.upkeep.backups.checking import check
from sightline.wiring import Installation
from tests.crash.life import AT_ONCE, BUILDER, Life
from tests.indexer.traces import Traces, bytes_of
from tests.indexer.world import COLLECTION, picture

VICTIM = "holiday-of-1969.png"
TEXTS = {"id": VICTIM, "caption": "a caption that only this one has", "metadata": "metadata-of-2038074743"}
GONE_AT_ONCE = replace(BUILDER, trash_seconds=0.0)


def trash(life: Life) -> None:
    """Two are deleted; one comes back, the other one's time is over."""
    with life.open() as installation:
        life.delete(installation, "c")
        life.delete(installation, "f")
        collection = installation.catalog.collection(COLLECTION)
        with life.asked(life.contents(c=13)):
            assert installation.catalog.restore_images(collection.id, ["c"]).restored == ["c"]
    with life.open(builder=GONE_AT_ONCE) as installation:
        life.tend(installation)
    with life.open(builder=AT_ONCE) as installation:
        life.tend(installation)


# --- a picture that is to leave no trace ------------------------------------------------------------------


def victim(life: Life) -> None:
    """Before ``purge``: it is embedded and folded; what it leaves is written down beside the installation."""
    with life.open() as installation, life.asked(life.contents(**{VICTIM: 1969})):
        upload = Upload(picture(1969), VICTIM, TEXTS["caption"], {"note": TEXTS["metadata"]})
        installation.indexer.add(COLLECTION, [upload])
        life.work_off(installation)
        assert installation.builder.fold(COLLECTION)
        image = installation.catalog.image(COLLECTION, VICTIM)
        found = bytes_of(installation.catalog, installation.segments, installation.blobs, image)
    found |= {what: text.encode() for what, text in TEXTS.items()}
    (life.folder / "traces").mkdir()
    for what, data in found.items():
        (life.folder / "traces" / what).write_bytes(data)
    assert all(_found(life).values()), "the oracle must see them"


def purge(life: Life) -> None:
    with life.open() as installation, life.asked({VICTIM: None}):
        assert installation.purging.images(COLLECTION, [VICTIM]) == {VICTIM}


def left(life: Life) -> list[str]:
    """What of the victim is in any file yet, unless it is as before: nothing was accepted, nothing begun."""
    with life.open() as installation:
        if any(one.image_id == VICTIM for one in installation.catalog.images(COLLECTION, None, 1000).items):
            return []
        outstanding = installation.catalog.outstanding_purges(float("inf"), 0, 9)
    found = [f"its {what} is in {files}" for what, files in _found(life).items() if files]
    return found + [f"{purge} is not through" for purge in outstanding]


def _found(life: Life) -> dict[str, list[str]]:
    traces = {path.name: path.read_bytes() for path in (life.folder / "traces").iterdir()}
    return Traces(traces).files(life.folder / "data")


# --- sources ----------------------------------------------------------------------------------------------


def folder(life: Life) -> None:
    """Before ``index``: a folder of pictures."""
    _write(life.folder / "photos", **{"one.png": 101, "two.png": 102, "three.png": 103})


def index(life: Life) -> None:
    with life.asked(life.contents(**{"one.png": 101, "two.png": 102, "three.png": 103})):
        _index(life, life.folder / "photos")


def renamed(life: Life) -> None:
    """Before ``move``: the folder has another name; one picture went, one is another one, one came."""
    with life.open() as installation:
        [old] = [name for name in installation.catalog.sources(COLLECTION) if name.endswith("photos")]
    (life.folder / "old").write_text(old)
    (life.folder / "photos").rename(life.folder / "album")
    (life.folder / "album" / "one.png").unlink()
    _write(life.folder / "album", **{"two.png": 112, "four.png": 104})


def move(life: Life) -> None:
    """The same command as before the restart, if there was one."""
    changes = {"one.png": None} | life.contents(**{"two.png": 112, "three.png": 103, "four.png": 104})
    with life.asked(changes):
        _index(life, life.folder / "album", moved_from=(life.folder / "old").read_text())


def _index(life: Life, source: Path, moved_from: str | None = None) -> None:
    with life.open() as installation:
        options = {"prune_limit": "100%", "moved_from": moved_from}
        job = installation.indexer.index([str(source)], COLLECTION, copy=True, prune=True, **options)
        life.work_off(installation)
        assert installation.catalog.job_progress(job.id).state == "done"


def _write(folder: Path, **numbers: int) -> None:
    folder.mkdir(exist_ok=True)
    for name, number in numbers.items():
        (folder / name).write_bytes(picture(number))


# --- work that others did not live to end -----------------------------------------------------------------


def split(life: Life) -> None:
    """Workers died with a batch in hand: the next one halves it."""
    with life.open() as installation:
        life.upload(installation, h1=201, h2=202)
        [task_id] = installation.catalog.unsent_tasks(0, 9)
        for number in range(life.settings().indexer.split_deaths + 1):
            assert installation.catalog.acquire(task_id, f"dead {number}", 0.0, [EMBED]) is not None
        life.work_off(installation)


SERVED = {f"{number}.png": number for number in range(301, 305)}


def resume(life: Life) -> None:
    """A server died while it listed: another one takes that up."""
    _write(life.folder / "served", **SERVED)
    with life.open() as installation:
        roots = [str(life.folder)]
        with life.asked(life.contents(**SERVED)):
            installation.indexer.begin([str(life.folder / "served")], COLLECTION, copy=True, roots=roots)
            _take_up(life, installation)


def take_up(life: Life) -> None:
    """What the next server does, of which nobody has asked anything; not what has ended and said so."""
    with life.open() as installation:
        if installation.catalog.unsealed_jobs():
            with life.asked(life.contents(**SERVED)):
                _take_up(life, installation)


def _take_up(life: Life, installation: Installation) -> None:
    [listing] = installation.catalog.unsealed_jobs()
    register = installation.indexer.register
    for thread in Resumption(installation.catalog, register, [str(life.folder)], 0.0).step():
        thread.join(timeout=60)
    life.work_off(installation)
    assert installation.catalog.job_progress(listing.job.id).state == "done"


# --- texts ------------------------------------------------------------------------------------------------


def caption(life: Life) -> None:
    """Every image is captioned; no patches are kept, so that features are stored on the way."""
    with life.open("none") as installation:
        life.upload(installation, i=401, j=402)
        life.work_off(installation)
        installation.captioning.begin(COLLECTION, model="toy", n=2)
        life.work_off(installation)


def filtered(life: Life) -> None:
    """All texts are judged."""
    with life.open() as installation:
        installation.capfilt.begin(COLLECTION, captioner="toy", n=2)
        life.work_off(installation)


def listed_again(life: Life) -> None:
    """Whoever asked died while the images were listed: the builder does the rest."""
    with life.open() as installation:
        life.tend(installation)


def not_captioned(life: Life) -> list[str]:
    """What a captioning that was begun lacks, or has twice; nothing when none was begun."""
    return _ended(life, "caption") + _wrong_texts(life, "caption", {"unjudged", "kept", "dropped"})


def not_filtered(life: Life) -> list[str]:
    """What a filtering that was begun lacks."""
    return _ended(life, "capfilt") + _wrong_texts(life, "capfilt", {"kept", "dropped"})


def _ended(life: Life, kind: str) -> list[str]:
    with life.open() as installation:
        jobs = [job for job in installation.catalog.jobs(COLLECTION) if job.kind == kind]
        return [f"job {job.id} is {job.state}" for job in jobs if job.state != "done"]


def _wrong_texts(life: Life, kind: str, verdicts: set[str]) -> list[str]:
    """Images whose captions are not the two that the toy writes."""
    with life.open() as installation:
        if not any(job.kind == kind for job in installation.catalog.jobs(COLLECTION)):
            return []
        images = installation.catalog.images(COLLECTION, None, 1000).items
        found = installation.catalog.texts_of([image.key for image in images])
        return [
            f"{image.image_id} has {[(one.text, one.verdict) for one in found.get(image.key, [])]}"
            for image in images
            if [one.text.split(" ", 1)[1] for one in found.get(image.key, []) if one.source == "captioner"]
            != ["top left", "top right"]
            or {one.verdict for one in found[image.key] if one.source == "captioner"} - verdicts
        ]


# --- backups ----------------------------------------------------------------------------------------------


def backup(life: Life) -> None:
    with life.open() as installation:
        assert installation.backup.run(LocalPlace(life.folder / "backup")).point.missing == ()


def not_restorable(life: Life) -> list[str]:
    """What is wrong with the backup, and with what is made of it elsewhere."""
    place = LocalPlace(life.folder / "backup")
    shutil.rmtree(life.folder / "elsewhere", ignore_errors=True)
    (life.folder / "elsewhere").mkdir()
    shutil.copy(life.folder / "ledger.jsonl", life.folder / "elsewhere")
    other = Life(life.folder / "elsewhere", life.ahead)
    with other.open() as installation:
        missing = installation.restore.run(place).missing
    return [*check(place).problems, *missing, *other.problems()]


def lose_all(life: Life) -> None:
    """Before ``restore``: nothing is left but the backup."""
    shutil.rmtree(life.folder / "data")


def restore(life: Life) -> None:
    with life.open() as installation:
        assert installation.restore.run(LocalPlace(life.folder / "backup")).missing == []
