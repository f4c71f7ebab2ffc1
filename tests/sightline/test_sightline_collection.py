"""`Collection`: a folder, an index, searches, deletions and tables, without a server or other processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sightline import Collection, SearchRequest
from sightline.errors import InputError, ModelMismatchError, NotFoundError, SourceError
from sightline.frames import frame_of, is_frame, read_frame
from sightline.queries import Clause, Query
from tests.sightline.conftest import picture, processes_of, save

COLOURS = ("red", "blue", "green")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures."""
    made = tmp_path_factory.mktemp("photos")
    for name in COLOURS:
        save(made, name, name)
    return made


@pytest.fixture(scope="module")
def photos(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """A collection of them; whoever changes it puts it right again."""
    with Collection("photos", data=tmp_path_factory.mktemp("data"), model="toy") as made:
        done = made.index(folder)
        assert (done.indexed, done.failed, len(done.jobs)) == (3, 0, 1)
        yield made


def ids(collection: Collection) -> set[str]:
    return {image.image_id for image in collection}


def test_reading_what_is_not_there_names_the_folder_and_makes_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Collection("photos", data=data) as none, pytest.raises(NotFoundError, match=str(data)):
        none.search("red")
    assert not data.exists()


def test_another_name_is_told_what_is_there(photos: Collection) -> None:
    with (
        Collection("fotos", data=photos.installation.settings.data_folder) as other,
        pytest.raises(NotFoundError, match=r"'fotos' in .*it holds photos"),
    ):
        len(other)
    with pytest.raises(NotFoundError, match="has no image 'fotos'"):
        photos.get("fotos")


def test_a_wrong_source_leaves_no_collection(tmp_path: Path) -> None:
    with Collection("photos", data=tmp_path / "data", model="toy") as none:
        with pytest.raises(SourceError, match="no file or folder"):
            none.index(tmp_path / "nothing")
        with pytest.raises(NotFoundError):
            len(none)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda one: one.search("red", k="3"), lambda one: one.search("red", k=None),
        lambda one: one.search("red", k=1.5), lambda one: one.search("red", min_probability="much"),
        lambda one: one.search(["red"]), lambda one: one.search_batch(None),
        lambda one: one.search_batch(["red", 3]), lambda one: one.delete([3]), lambda one: one.restore(3.5),
        lambda one: one.index(None), lambda one: one.index([3]),
    ],
)  # fmt: skip
def test_a_wrong_kind_of_argument_is_told_of_in_a_sentence(
    photos: Collection, wrong: Callable[[Any], object]
) -> None:
    with pytest.raises(InputError, match=r"^[A-Z].*[.]$"):
        wrong(photos)
    assert len(photos) == len(COLOURS)


def test_a_collection_stays_where_it_is_when_the_working_folder_changes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_DATA", "named")
    given, named = Collection("photos", data="given", model="toy"), Collection("photos")
    with pytest.raises(NotFoundError, match=str(tmp_path / "named")):
        len(named)
    monkeypatch.chdir(folder)
    with pytest.raises(NotFoundError, match=str(tmp_path / "named")):
        len(named)
    with given:
        given.index("red.png")
        assert ids(given) == {"red.png"}
    assert [path.name for path in tmp_path.iterdir()] == ["given"]


def test_a_column_of_paths_is_a_list_of_paths(photos: Collection, folder: Path) -> None:
    column = pd.Series([str(folder / "red.png"), str(folder / "blue.png")])
    assert not is_frame(column)
    assert not is_frame(pa.chunked_array([["a"]]))
    assert photos.index(column).unchanged == 2


def test_it_answers_as_the_search_of_its_installation(photos: Collection) -> None:
    hits = photos.search("red", k=2)
    whole = photos.installation.search.find(SearchRequest("photos", "red", limit=2))
    assert list(hits) == list(whole.results)
    assert hits[0].id == "red.png"
    assert (len(hits), hits.total, hits.notes, hits.degraded) == (2, None, whole.notes, ())
    assert hits.unknown_words == whole.unknown_words
    assert photos.search("red", min_probability=0.0, exact=True).total == 3
    query = Query(all=(Clause("blue"),), none=(Clause("red"),))
    assert photos.search(query, k=1)[0].id == "blue.png"
    assert photos.find(SearchRequest("", "green", limit=1))[0].id == "green.png"


def test_a_batch_answers_as_one_search_after_the_other(photos: Collection) -> None:
    texts = ["red", "blue", Query(all=(Clause("green"),)), "red"]
    batch = photos.search_batch(texts, k=2)
    assert [list(hits) for hits in batch] == [list(photos.search(text, k=2)) for text in texts]
    with pytest.raises(InputError, match="empty"):
        photos.search_batch(["red", ""])
    with pytest.raises(InputError, match="list of texts"):
        photos.search_batch("red")


def test_pictures_like_one_by_file_pixels_or_id(photos: Collection, folder: Path) -> None:
    for asked in (folder / "blue.png", (folder / "blue.png").read_bytes(), picture("blue")):
        assert photos.similar(asked, k=1)[0].id == "blue.png"
        assert photos.search(image=asked, k=1)[0].id == "blue.png"
    assert "blue.png" not in [hit.id for hit in photos.similar(id="blue.png")]
    with pytest.raises(InputError, match="one picture"):
        photos.similar()


def test_what_is_deleted_lies_in_the_trash(photos: Collection) -> None:
    assert photos.delete("red.png") == 1
    assert ids(photos) == {"blue.png", "green.png"}
    assert photos.delete(filter={"must": [{"field": "id", "in": ["blue.png"]}]}) == 1
    assert len(photos) == 1
    assert sorted(photos.restore().restored) == ["blue.png", "red.png"]
    assert len(photos) == 3
    with pytest.raises(InputError, match="which images"):
        photos.delete()


def test_pictures_come_back_as_they_were(photos: Collection, folder: Path) -> None:
    assert np.array_equal(np.asarray(photos.open("green.png")), picture("green"))
    assert photos.read("green.png") == (folder / "green.png").read_bytes()
    assert photos.thumbnail("green.png").size == (8, 8)


def test_closed_it_opens_again_and_starts_no_process(photos: Collection) -> None:
    settings = photos.installation.settings
    photos.close()
    assert len(photos) == 3
    assert [one for one in processes_of(settings) if "sightline worker" in " ".join(one.cmdline())] == []


def test_a_collection_keeps_its_model(photos: Collection, folder: Path) -> None:
    data = photos.installation.settings.data_folder
    with Collection("photos", data=data, model="demo") as other, pytest.raises(ModelMismatchError):
        other.index(folder)


TABLE: dict[str, list[Any]] = {
    "path": ["red.png", "blue.png", "missing.png", None],
    "caption": ["a red one", np.nan, None, None],
    "year": [2024, np.nan, 1, 1],
    "when": [pd.Timestamp("2024-05-01 12:00", tz="Europe/Zurich"), pd.NaT, pd.NaT, pd.NaT],
    "tags": [["a", "b"], None, None, None],
    "id": ["own", None, None, None],
}


def test_a_table_names_pictures_and_says_more(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with Collection("table", data=tmp_path / "data", model="toy") as table:
        done = table.add(pd.DataFrame(TABLE))
        assert (done.indexed, done.failed) == (2, 2)
        assert {one.id for one in done.errors} == {"missing.png", "table.jsonl:4"}
        own, blue = table.get("own"), table.get("blue.png")
        assert own.caption == "a red one"
        assert own.metadata == {"year": 2024, "when": "2024-05-01T10:00:00Z", "tags": ["a", "b"]}
        assert (blue.caption, blue.metadata) == (None, {})
        assert (own.uri, blue.uri) == (str(folder / "red.png"), str(folder / "blue.png"))

        frame = table.to_frame()
        assert list(frame.columns) == ["id", "uri", "caption", "year", "when", "tags"]
        assert table.index(frame).unchanged == 2
        assert table.get("own").metadata == own.metadata

        # From the same table by its name, so that other bytes under an id replace those before.
        save(folder, "again", "green")
        assert table.index(pa.table({"uri": ["again.png"], "id": ["own"]})).replaced == 1
        assert table.index(pd.DataFrame({"path": ["red.png"]}), prune=True, prune_limit="100%").deleted == 2
        (folder / "again.png").unlink()
        found = table.search("red", k=1).to_frame()
        assert found[["rank", "id"]].to_numpy().tolist() == [[1, "red.png"]]
        assert found.loc[0, "match_probability"] == table.search("red")[0].match_probability


def test_a_table_may_hold_the_bytes_of_its_pictures(folder: Path, tmp_path: Path) -> None:
    red, blue = ((folder / f"{name}.png").read_bytes() for name in ("red", "blue"))
    with Collection("bytes", data=tmp_path / "data", model="toy") as made:
        rows = {
            "image": [red, {"bytes": blue, "path": "b.png"}],
            "id": [7, None],
            "captions": [["a", "b"], None],
        }
        done = made.index(pd.DataFrame(rows, dtype=object), id_prefix="p/")
        assert (done.indexed, ids(made)) == (2, {"p/7", "p/b.png"})
        assert made.get("p/7").caption == "a\nb"
        assert made.read("p/7") == red
        with pytest.raises(InputError, match="pruned"):
            made.index(pd.DataFrame({"image": [red]}), prune=True)
        assert made.index(pd.DataFrame({"image": [b""]})).failed == 1


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"name": ["a"]}, "no column that names its pictures.*name"),
        ({"path": ["a"], "image": ["b"]}, "path and image; only one"),
        ({"path": ["a"], "took": [pd.Timedelta(1, "s")]}, "Row 1.*'took'.*Timedelta"),
        ({"path": ["a"], "raw": [b"x"]}, "Row 1.*'raw'.*bytes"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_whole(columns: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_frame(pd.DataFrame(columns))


def test_tables_of_other_libraries_say_the_same() -> None:
    columns = {"path": ["/a.png", "/b.png"], "n": [1, None], "captions": [["x", "y"], None]}
    index = pd.DataFrame({**columns, "n": [1, pd.NA]}, dtype=object)
    assert read_frame(index).lines == read_frame(pa.table(columns)).lines
    assert [line.get("caption") for line in read_frame(index).lines] == ["x", "y", None]
    assert read_frame(index.set_index("path")).lines == read_frame(index).lines
    twice = pd.DataFrame([["/a.png", 1, 2]], columns=["path", "n", "n"])
    with pytest.raises(InputError, match="two columns 'n'"):
        read_frame(twice)
    assert not is_frame("photos")
    assert not is_frame([Path("photos")])


def test_fields_called_like_columns_come_back_as_they_were() -> None:
    frame = frame_of([({"id": "a", "uri": "/a.png"}, {"path": "x", "id": 3})], ("id", "uri"))
    assert list(frame.columns) == ["id", "uri", "metadata.path", "metadata.id"]
    [line] = read_frame(frame).lines
    assert line == {"id": "a", "uri": "/a.png", "path": "x", "metadata.id": 3}
