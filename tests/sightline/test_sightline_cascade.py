"""A cascade in the whole house: learned by the report or by searches, used once it has passed, gone with its
collection."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.errors import CorruptionError, InputError
from sightline.faultpoint import VARIABLE
from sightline.indexer.building.cleaning import Cleaning
from sightline.records import Effort, Reached, SearchHit, SearchRequest, SearchResponse
from sightline.reranker.cascade import Cascade
from sightline.reranker.cascade_bytes import from_bytes
from sightline.reranker.samples import Sample
from sightline.store.cascade_files import CascadeFiles, Learned
from sightline.store.ownership import places_of
from sightline.upkeep.cascade_report import CascadeReport
from sightline.upkeep.folders import Folders
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import index, toy_settings

COLOURS = ("red", "green", "blue", "yellow", "cyan", "magenta", "orange", "purple")
PLACES = ("", " left", " right", " top", " bottom")
QUERIES = [
    f"{first} and {second}{place}" for first in COLOURS[:5] for second in COLOURS[3:] for place in PLACES[:2]
]
FRESH = ["pink and blue right", "brown top and green", "yellow bottom and grey", "cyan and red left"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Fifty pictures with four colours each, of which the first layer of the toy does not know the places."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(50):
        rgb = np.kron(rng.integers(0, 256, (2, 2, 3)), np.ones((4, 4, 1))).astype(np.uint8)
        Image.fromarray(rgb).save(folder / f"{number:03d}.png")
    with open_installation(toy_settings(tmp_path_factory.mktemp("data")), inline=True) as services:
        index(services, folder)
        yield services


@pytest.fixture(scope="module")
def reported(installed: Installation) -> CascadeReport:
    return installed.cascade_measurement.report("pictures", QUERIES, 100, lambda *_: None)


def files_of(services: Installation) -> CascadeFiles:
    return CascadeFiles(services.settings.segments_folder)


def learned_of(services: Installation) -> Learned:
    collection = services.catalog.collection("pictures")
    return Learned(collection.id, collection.fingerprint, "fp16")


def kept(services: Installation) -> Cascade:
    found = services.cascades.cascade(learned_of(services))
    assert found is not None
    return found


def passing(cascade: Cascade) -> Cascade:
    return replace(cascade, plans=tuple(replace(plan, passed=True, first=1.0) for plan in cascade.plans))


@pytest.fixture
def used(installed: Installation, reported: CascadeReport) -> Iterator[Installation]:
    """With plans that all may be used, whatever the report says of these few queries."""
    from sightline.reranker.cascade_bytes import to_bytes

    files, learned = files_of(installed), learned_of(installed)
    before = files.read(learned)
    assert before is not None
    files.write(learned, to_bytes(passing(from_bytes(before, learned.fingerprint))))
    yield installed
    files.write(learned, before)


def test_the_report_learns_from_the_collections_own_queries(
    installed: Installation, reported: CascadeReport
) -> None:
    assert (reported.queries, reported.candidates, reported.codec) == (50, 50, "fp16")
    assert {(plan.effort, plan.top) for plan in reported.plans} >= {("auto", 10), ("quick", 10)}
    assert kept(installed).plans == reported.plans
    assert all(plan.work <= 1.0 and len(plan.rates) == len(plan.stops) + 1 for plan in reported.plans)


def test_too_few_queries_are_said_and_nothing_is_learned(installed: Installation) -> None:
    few = installed.cascade_measurement.report("pictures", QUERIES[:39], 100, lambda *_: None)
    assert few.missing == "A cascade needs 40 queries to learn from; there are 39."
    assert not few.passed


@pytest.mark.parametrize("text", FRESH)
def test_a_search_is_auto_and_says_how_far_its_candidates_went(used: Installation, text: str) -> None:
    found = used.search.find(SearchRequest("pictures", text, limit=5))
    full = used.search.find(SearchRequest("pictures", text, limit=5, effort="full"))
    assert (found.effort, full.effort) == ("auto", "full")
    assert full.reached == (Reached(2, 2, 50),)
    assert full.scored == sum(one.candidates for one in full.reached) == 50
    assert sum(one.candidates for one in found.reached) == 50
    assert [one.layers for one in found.reached] == sorted({one.layers for one in found.reached})
    assert found.scored == next(one.candidates for one in found.reached if one.layers == 2)
    scores = {hit.id: hit.score for hit in full.results}
    assert all(hit.score == scores[hit.id] for hit in found.results if hit.id in scores)


class _Told:
    """What a search tells before its end."""

    def __init__(self) -> None:
        self.efforts: list[str] = []

    def candidates(self, response: SearchResponse) -> None:
        self.efforts.append(response.effort)

    def is_due(self) -> bool:
        return False

    def order(self, hits: Sequence[SearchHit], scored: int, of: int) -> None:
        raise AssertionError("it was not due")


@pytest.mark.parametrize("effort", ["full", "quick", None])
def test_what_is_told_before_itm_begins_names_the_effort_that_follows(
    used: Installation, effort: Effort | None
) -> None:
    told = _Told()
    found = used.search.find(SearchRequest("pictures", FRESH[0], limit=5, effort=effort), told)
    assert told.efforts == [found.effort] == ["auto" if effort is None else found.effort]
    assert (found.effort == "full") == (effort == "full")


def test_what_needs_every_score_is_full(used: Installation) -> None:
    ask = SearchRequest("pictures", FRESH[0], limit=5, effort="quick")
    assert used.search.find(ask).effort == "quick"
    whole = replace(ask, min_probability=0.1)
    exact = replace(ask, effort=None, precision="exact")
    many = replace(ask, limit=40)
    late, second = replace(ask, deadline_ms=60_000), replace(ask, offset=1)
    for one in (whole, exact, many, late, second):
        found = used.search.find(one)
        assert (found.effort, found.scored) == ("full", 50)
    by_itc = used.search.find(replace(ask, score="itc"))
    assert (by_itc.effort, by_itc.reached) == ("full", (Reached(0, 2, 50),))
    with pytest.raises(InputError, match="no effort named"):
        used.search.find(replace(ask, effort="little"))  # type: ignore[arg-type]


def test_a_damaged_file_means_full_and_one_line_in_the_log(
    used: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    files, learned = files_of(used), learned_of(used)
    files.write(learned, b"not a cascade")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert used.search.find(SearchRequest("pictures", FRESH[0])).effort == "full"
    assert len([one for one in caplog.records if "cascade" in one.getMessage()]) == 1


def test_two_fits_at_once_leave_one_whole_file(installed: Installation, reported: CascadeReport) -> None:
    files, learned = files_of(installed), learned_of(installed)
    content, seen = files.read(learned), list[bytes | None]()
    assert content is not None
    writers = [
        threading.Thread(target=lambda: [files.write(learned, content) for _ in range(50)]) for _ in "ab"
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        seen.append(files.read(learned))
    assert {*seen, files.read(learned)} == {content}
    assert [path.name for path in files.path(learned).parent.glob("*")] == ["cascade.safetensors"]


def wait_for(what: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "nothing came of it"
        time.sleep(0.02)


def test_a_server_learns_from_full_searches_and_others_do_not(
    installed: Installation, tmp_path: Path
) -> None:
    files, learned = files_of(installed), learned_of(installed)
    ask = SearchRequest("pictures", "red", effort="full")
    installed.search.find(ask)
    assert files.samples(learned) == []
    with open_installation(installed.settings, inline=True) as server:
        server.cascades.start()
        before = files.version(learned)
        for number, text in enumerate(QUERIES[:40], 1):
            server.search.find(replace(ask, text=text))
            wait_for(lambda number=number: len(files.samples(learned)) == number)  # type: ignore[misc]
        wait_for(lambda: files.version(learned) != before)
        assert kept(server).queries == 40
    installed.catalog.collection("pictures")


def test_a_purged_picture_takes_all_samples_with_it(installed: Installation) -> None:
    files, learned = files_of(installed), learned_of(installed)
    token = files.token(learned.collection_id)
    assert token is not None
    assert files.add_sample(learned, token, "of a text", b"of a picture", 10)
    installed.purging.images("pictures", ["049.png"])
    assert files.samples(learned) == []
    assert files.read(learned) is not None
    assert not files.add_sample(learned, token, "begun before", b"of a picture", 10)
    assert files.samples(learned) == []
    assert files.token(learned.collection_id) not in (None, token)


def test_a_purge_takes_what_a_killed_writer_left_of_a_sample(tmp_path: Path) -> None:
    files, learned = CascadeFiles(tmp_path), Learned(7, "model", "fp16")
    token = files.token(7)
    assert token is not None
    path = files.path(learned).parent
    code = (
        "import sys; from pathlib import Path\n"
        "from sightline.store.cascade_files import CascadeFiles, Learned\n"
        "files = CascadeFiles(Path(sys.argv[1]))\n"
        "files.add_sample(Learned(7, 'model', 'fp16'), sys.argv[2], 'text', b'of a picture', 4)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), token],
        env=os.environ | {VARIABLE: "file.aside"},
        check=False,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGKILL
    (begun,) = path.iterdir()
    assert begun.read_bytes() == b"of a picture"
    assert files.unfinished() == {begun.name: begun}
    files.forget_samples(7)
    assert list(path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x80", b"0" * 31, b"g" * 32, b"0" * 65_536])
def test_what_is_no_token_is_replaced_by_one(tmp_path: Path, content: bytes) -> None:
    files = CascadeFiles(tmp_path)
    token = files.token(7)
    assert token is not None
    (tmp_path / "cascades" / "7" / "token").write_bytes(content)
    assert not files.add_sample(Learned(7, "model", "fp16"), token, "text", b"begun before", 4)
    assert files.token(7) not in (None, token)


def test_a_folder_in_the_tokens_place_stops_learning_and_no_purge(tmp_path: Path) -> None:
    files, learned = CascadeFiles(tmp_path), Learned(7, "model", "fp16")
    token = files.token(7)
    assert token is not None
    assert files.add_sample(learned, token, "text", b"of a picture", 4)
    (tmp_path / "cascades" / "7" / "token").unlink()
    (tmp_path / "cascades" / "7" / "token").mkdir()
    assert files.token(7) is None
    files.forget_samples(7)
    assert files.samples(learned) == []


def test_files_that_are_too_large_are_damage(tmp_path: Path) -> None:
    files, learned = CascadeFiles(tmp_path), Learned(7, "model", "fp16")
    token = files.token(7)
    assert token is not None
    assert files.add_sample(learned, token, "text", b"of a picture", 4)
    files.write(learned, b"a cascade")
    for path in files.path(learned).parent.iterdir():
        os.truncate(path, 8 << 40)
    (name,) = files.samples(learned)
    for read in (lambda: files.read(learned), lambda: files.sample(learned, name)):
        with pytest.raises(CorruptionError, match="larger than any"):
            read()


def test_a_cascade_from_the_far_future_hides_no_new_samples(tmp_path: Path) -> None:
    files, learned = CascadeFiles(tmp_path), Learned(7, "model", "fp16")
    token = files.token(7)
    assert token is not None
    assert files.add_sample(learned, token, "text", b"of a picture", 4)
    files.write(learned, b"a cascade")
    os.utime(files.path(learned), (time.time() + 60, time.time() + 60))
    assert files.new_samples(learned) == 0
    os.utime(files.path(learned), (2e9, 2e9))
    assert files.new_samples(learned) == 1


def test_a_report_that_cannot_be_kept_says_so_and_nothing_else_is_lost(
    installed: Installation, reported: CascadeReport
) -> None:
    files, learned = files_of(installed), learned_of(installed)
    kept = files.read(learned)
    assert kept is not None
    files.path(learned).unlink()
    files.path(learned).mkdir()
    try:
        told = installed.cascade_measurement.report("pictures", QUERIES, 60, lambda *_: None)
    finally:
        files.path(learned).rmdir()
        files.write(learned, kept)
    assert told.missing is not None
    assert "cannot be kept" in told.missing
    assert (told.plans, told.codec) == ((), reported.codec)


def test_a_late_sample_brings_no_folder_back(tmp_path: Path) -> None:
    files, learned = CascadeFiles(tmp_path), Learned(7, "model", "fp16")
    token = files.token(7)
    assert token is not None
    assert files.forget_others(set) == 1
    assert not files.add_sample(learned, token, "late", b"of nobody", 10)
    assert list((tmp_path / "cascades").iterdir()) == []


def test_the_same_text_leaves_one_sample_and_an_unreadable_one_stops_nothing(
    installed: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    from sightline.reranker.samples import to_bytes
    from tests.reranker.stages import query

    files, learned = files_of(installed), learned_of(installed)._replace(codec="again")
    token = files.token(learned.collection_id)
    assert token is not None
    sample = query(0, (0.5, 0.9, 0.95)).sample().salted(token)
    for _ in range(3):
        assert files.add_sample(learned, token, sample.text, to_bytes(sample), 10)
    (files.path(learned).parent / "folder.sample.safetensors").mkdir()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert [one.text for one in installed.cascades.samples(learned)] == [sample.text]
    assert len([one for one in caplog.records if "passed over" in one.getMessage()]) == 1
    files.forget_samples(learned.collection_id)
    assert files.samples(learned) == ["folder.sample.safetensors"]


def test_one_in_twenty_open_searches_is_full_and_a_sample(used: Installation) -> None:
    files, learned = files_of(used), learned_of(used)
    before = len(files.samples(learned))
    with open_installation(used.settings, inline=True) as server:
        server.cascades.start()
        efforts = [server.search.find(SearchRequest("pictures", FRESH[0], limit=5)).effort for _ in range(40)]
        assert [number for number, one in enumerate(efforts, 1) if one == "full"] == [20, 40]
        wait_for(lambda: len(files.samples(learned)) == before + 1)
    files.forget_samples(learned.collection_id)


def test_own_folders_are_not_foreign_and_what_was_begun_long_ago_is_cleaned_away(
    installed: Installation, reported: CascadeReport
) -> None:
    files, learned = files_of(installed), learned_of(installed)
    begun = files.path(learned).with_name(".aside-0123")
    begun.write_bytes(b"half")
    assert files.unfinished() == {begun.name: begun}
    cleaner = Cleaning(
        installed.catalog,
        installed.blobs,
        installed.segments,
        installed.indexes,
        replace(installed.settings.builder, orphan_seconds=60.0),
        time.time,
    )
    cleaner.run()
    assert begun.exists(), "it is young"
    replaced = replace(installed.settings.builder, orphan_seconds=0.0)
    cleaner = Cleaning(
        installed.catalog, installed.blobs, installed.segments, installed.indexes, replaced, time.time
    )
    for _ in range(2):
        cleaner.run()
    assert not begun.exists()
    places = places_of(installed.catalog, installed.settings.segments_folder, installed.indexes)
    for state in Folders(installed.catalog, lambda: places).look():
        assert "cascades" not in state.foreign


def test_of_many_samples_the_newest_stay_and_unreadable_ones_go(installed: Installation) -> None:
    files = files_of(installed)
    learned = learned_of(installed)._replace(codec="other")
    token = files.token(learned.collection_id)
    assert token is not None
    for number in range(6):
        assert files.add_sample(learned, token, f"text {number}", b"%d" % number, 4)
    assert {files.sample(learned, name) for name in files.samples(learned)} <= {b"%d" % n for n in range(6)}
    assert len(files.samples(learned)) == 4
    assert installed.cascades.samples(learned) == list[Sample]()
    assert files.samples(learned) == []


def test_what_was_learned_goes_with_the_collection_and_stays_in_the_trash(installed: Installation) -> None:
    files, learned = files_of(installed), learned_of(installed)
    files.write(learned._replace(collection_id=999_999), b"of nobody")
    installed.builder.step()
    assert files.read(learned) is not None
    assert files.read(learned._replace(collection_id=999_999)) is None
    installed.catalog.delete_collection("pictures")
    installed.builder.step()
    assert files.read(learned) is not None
