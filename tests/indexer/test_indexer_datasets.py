"""Datasets as others write them: WebDataset, img2dataset, Hugging Face on disk, Parquet with pictures in it.

The oracles are the libraries that write and read them: `webdataset`, `datasets`, pyarrow.
"""

from __future__ import annotations

import io
import json
import random
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image as Pillow

from sightline.errors import ImageRejected, SourceError
from sightline.indexer.items import Origin
from sightline.indexer.roots import Roots
from sightline.indexer.sources.listing import SourceItem, SourceProblem, iter_source


def picture(number: int) -> bytes:
    """A PNG like no other."""
    file = io.BytesIO()
    Pillow.new("RGB", (4, 4), (number % 256, number // 256, 7)).save(file, "PNG")
    return file.getvalue()


def listed(source: object, **how: Any) -> tuple[dict[str, SourceItem], list[SourceProblem]]:
    found = list(iter_source(str(source), **how))
    items = [item for item in found if isinstance(item, SourceItem)]
    assert len({item.image_id for item in items}) == len(items)
    return {one.image_id: one for one in items}, [one for one in found if isinstance(one, SourceProblem)]


def samples(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "__key__": f"{number:06d}",
            "png": picture(number),
            "txt": f"picture {number}\nin two lines",
            "json": {"year": 2000 + number, "nothing": None},
            "cls": number % 3,
        }
        for number in range(start, start + count)
    ]


def shard(path: Path, found: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path)) as writer:  # type: ignore[no-untyped-call]
        for sample in found:
            writer.write({**sample, "png": sample["png"]})
    return path


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "set"
    for number in range(3):
        shard(folder / f"shard-{number:06d}.tar", samples(4, number * 4))
    return folder


def agrees_with_webdataset(items: dict[str, SourceItem], paths: list[Path], prefix: str = "") -> None:
    """What we list is what the library reads."""
    met = 0
    for path in paths:
        for sample in webdataset.WebDataset(str(path), shardshuffle=False):  # type: ignore[no-untyped-call]
            item = items[f"{prefix}{path.name}!/{sample['__key__']}.png"]
            facts = {name: cell for name, cell in json.loads(sample["json"]).items() if cell is not None}
            assert item.read() == sample["png"]
            assert item.caption == sample["txt"].decode()
            assert item.metadata == {**facts, "class": int(sample["cls"])}
            assert item.origin == Origin("WebDataset", f"{prefix}{path.name}")
            met += 1
    assert met == len(items) > 0


def test_shards_are_what_the_library_webdataset_reads_however_they_are_named(shards: Path) -> None:
    paths = sorted(shards.glob("*.tar"))
    for source in (shards, shards / "*.tar", shards / "shard-{000000..000002}.tar"):
        items, problems = listed(source)
        agrees_with_webdataset(items, paths)
        assert problems == []
    items, _ = listed(paths[1])
    agrees_with_webdataset(items, paths[1:2])
    items, _ = listed(shards.parent)
    agrees_with_webdataset(items, paths, "set/")


def test_compressed_shards_and_zips_say_the_same(shards: Path, tmp_path: Path) -> None:
    path = sorted(shards.glob("*.tar"))[0]
    with tarfile.open(path) as plain:
        members = [(member, plain.extractfile(member)) for member in plain]
        files = [(member, file.read()) for member, file in members if file is not None]
    with tarfile.open(tmp_path / "s-0000.tar.gz", "w:gz") as packed:
        for member, data in files:
            packed.addfile(member, io.BytesIO(data))
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as zipped:
        far_apart = sorted(files, key=lambda one: one[0].name[::-1])
        for member, data in far_apart:
            zipped.writestr(member.name, data)
    there = [(one.caption, one.metadata, one.read()) for one in listed(path)[0].values()]
    for name in ("s-0000.tar.gz", "s.zip"):
        items, problems = listed(tmp_path / name)
        assert sorted(map(repr, there)) == sorted(
            repr((one.caption, one.metadata, one.read())) for one in items.values()
        )
        assert problems == []


def test_a_missing_shard_of_a_series_hides_more_and_the_others_count(shards: Path) -> None:
    items, problems = listed(shards / "shard-{000001..000004}.tar")
    assert len(items) == 8
    assert [(one.reason, one.hides_more) for one in problems] == [("unreadable", True)] * 2
    with pytest.raises(SourceError, match=r"shard-7\.tar"):
        listed(shards / "shard-{7..9}.tar")
    with pytest.raises(SourceError, match="more than 100,000 names"):
        listed(shards / "shard-{0..99999999}.tar")
    assert len(listed(shards / "shard-{000000,000002}.tar")[0]) == 8


def test_broken_sidecars_are_named_and_their_pictures_are_kept(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        members = {"a.png": picture(1), "a.json": b"{no json", "a.txt": b"a caption"}
        members |= {"b.png": picture(2), "b.txt": b"\xff\xfe", "c.png": picture(3)}
        members |= {"c.json": b"x" * (1 << 20) + b"y", "alone.txt": b"of no picture"}
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    for folder in (tmp_path / "a.tar", unpacked(tmp_path / "a.tar", tmp_path / "folder")):
        items, problems = listed(folder)
        told = {one.image_id.rpartition("/")[2]: one.reason for one in problems}
        alone = {"alone.txt": "skipped"} if folder.is_dir() else {}
        assert told == dict.fromkeys(("a.json", "b.txt", "c.json"), "bad_sidecar") | alone
        captions = {name.rpartition("/")[2]: one.caption for name, one in items.items()}
        kept = {"a.png": "a caption", "b.png": None, "c.png": None}
        assert captions == (kept if alone else kept | {"alone.txt": None})


def unpacked(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder


# --- img2dataset --------------------------------------------------------------------------------------------


def img2dataset(folder: Path, form: str) -> list[dict[str, Any]]:
    """What img2dataset writes: rows of metadata beside pictures in tars, in files or in Parquet."""
    folder.mkdir()
    rows = []
    for number in range(2):
        found = []
        for at in range(3):
            key = f"{number:05d}{at:04d}"
            facts = {"url": f"https://example.org/{key}.png", "caption": f"words of {key}", "key": key}
            facts |= {"status": "success", "error_message": None, "width": 4, "height": 4, "sha256": "0" * 64}
            found.append({"key": key, "png": picture(number * 10 + at), "facts": facts})
        name = f"{number:05d}"
        table = pa.Table.from_pylist([one["facts"] for one in found])
        if form == "parquet":
            table = table.append_column("png", pa.array([one["png"] for one in found]))
        elif form == "webdataset":
            made = [
                {
                    "__key__": one["key"],
                    "png": one["png"],
                    "txt": one["facts"]["caption"],
                    "json": one["facts"],
                }
                for one in found
            ]
            shard(folder / f"{name}.tar", made)
        else:
            (folder / name).mkdir()
            for one in found:
                (folder / name / f"{one['key']}.png").write_bytes(one["png"])
                (folder / name / f"{one['key']}.txt").write_text(one["facts"]["caption"])
                (folder / name / f"{one['key']}.json").write_text(json.dumps(one["facts"]))
        pq.write_table(table, folder / f"{name}.parquet")
        (folder / f"{name}_stats.json").write_text('{"count": 3, "successes": 3}')
        rows += found
    return rows


@pytest.mark.parametrize("form", ["webdataset", "files", "parquet"])
def test_what_img2dataset_wrote_is_listed_once_with_captions_and_facts(form: str, tmp_path: Path) -> None:
    rows = img2dataset(tmp_path / "out", form)
    items, problems = listed(tmp_path / "out")
    assert problems == []
    found = {one.read(): one for one in items.values()}
    assert len(found) == len(items) == 6
    for row in rows:
        one = found[row["png"]]
        assert one.caption == row["facts"]["caption"]
        facts = {name: cell for name, cell in row["facts"].items() if cell is not None and name != "caption"}
        if form == "parquet":
            assert one.image_id == facts.pop("key")
        assert one.metadata == facts
    kinds = {one.origin.kind for one in items.values() if one.origin}
    assert kinds == {"Parquet" if form == "parquet" else "img2dataset"}
    if form != "parquet":
        with pytest.raises(SourceError, match="its columns: url, caption, key"):
            listed(tmp_path / "out" / "00000.parquet")


# --- Parquet ------------------------------------------------------------------------------------------------


def many_rows(path: Path, count: int, group: int) -> list[bytes]:
    data = [random.Random(at).randbytes(200 + at % 50) for at in range(count)]
    rows = {
        "image": [{"bytes": one, "path": f"{at}.jpg"} for at, one in enumerate(data)],
        "captions": [[f"a {at}", f"b {at}"] for at in range(count)],
        "score": [at / 4 for at in range(count)],
    }
    pq.write_table(pa.table(rows), path, row_group_size=group)
    return data


def test_rows_are_read_in_any_order_by_any_thread(tmp_path: Path) -> None:
    data = many_rows(tmp_path / "p.parquet", 1500, 400)
    items, problems = listed(tmp_path / "p.parquet")
    assert problems == []
    found = list(items.values())
    assert [one.image_id for one in found] == [f"p.parquet!/{at}" for at in range(1, 1501)]
    assert found[7].caption == "a 7\nb 7"
    assert found[7].metadata == {"score": 1.75}
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda one: one.read(), found, timeout=60)) == data
    for at in random.Random(5).sample(range(1500), 12):
        assert found[at].read() == data[at]


def test_null_large_and_bombs_are_told_and_the_rest_is_read(tmp_path: Path) -> None:
    rows = pa.table({"jpg": pa.array([b"one", None, b"x" * 5000]), "text": ["a", "b", None]})
    pq.write_table(rows, tmp_path / "p.parquet")
    items, _ = listed(tmp_path / "p.parquet", max_bytes=100)
    reads = [reason(one) for one in items.values()]
    assert reads == ["", "empty", "too_many_bytes"]
    pq.write_table(pa.table({"jpg": [bytes(70 << 20)]}), tmp_path / "bomb.parquet", compression="zstd")
    with pytest.raises(SourceError, match="unpacks to"):
        listed(tmp_path / "bomb.parquet")


def reason(item: SourceItem) -> str:
    try:
        item.read()
    except ImageRejected as rejected:
        return rejected.reason
    return ""


def test_columns_that_json_has_nothing_for_cost_no_row(tmp_path: Path) -> None:
    columns = {
        "image": pa.array([picture(1)], pa.binary()), "n": pa.array([1]),
        "took": pa.array([1], pa.duration("s")),
        "inner": pa.array([{"took": 1}], pa.struct([("took", pa.duration("s"))])),
        "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    items, problems = listed(tmp_path / "a.parquet")
    assert problems == []
    assert [dict(one.metadata) for one in items.values()] == [{"n": 1}]


def test_a_parquet_file_cut_short_is_one_sentence(tmp_path: Path) -> None:
    many_rows(tmp_path / "p.parquet", 50, 10)
    whole = (tmp_path / "p.parquet").read_bytes()
    (tmp_path / "p.parquet").write_bytes(whole[:-100])
    with pytest.raises(SourceError, match="cannot be read as a Parquet file"):
        listed(tmp_path / "p.parquet")
    data = bytearray(whole)
    data[len(data) // 3 : len(data) // 3 + 2000] = bytes(2000)
    (tmp_path / "p.parquet").write_bytes(data)
    assert set(map(reason, listed(tmp_path / "p.parquet")[0].values())) <= {"", "unreadable"}


# --- Hugging Face -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hugging(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A DatasetDict on disk, and the library's own view of it."""
    import datasets

    folder = tmp_path_factory.mktemp("hugging") / "set"
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "sentences": [{"raw": datasets.Value("string"), "sentid": datasets.Value("int32")}],
            "when": datasets.Value("timestamp[s]"),
            "mask": datasets.Image(),
        }
    )
    made = {}
    for split, count in (("train", 23), ("test", 5)):
        rows = {
            "image": [{"bytes": picture(at + count), "path": None} for at in range(count)],
            "label": [at % 2 for at in range(count)],
            "sentences": [
                [{"raw": f"{split} {at}", "sentid": 1}, {"raw": "again", "sentid": 2}] for at in range(count)
            ],
            "when": [None if at % 2 else 1_600_000_000 + at for at in range(count)],
            "mask": [{"bytes": b"mask", "path": None}] * count,
        }
        made[split] = datasets.Dataset.from_dict(rows, features=features)
    whole = datasets.DatasetDict(made)
    whole.save_to_disk(str(folder), num_shards={"train": 3, "test": 1})
    return folder, whole


def test_a_dataset_on_disk_is_what_the_library_holds(hugging: tuple[Path, Any]) -> None:
    from datasets import Image as Features

    folder, whole = hugging
    items, problems = listed(folder)
    assert problems == []
    assert len(items) == 28
    for split, rows in whole.items():
        plain = rows.remove_columns("mask").cast_column("image", Features(decode=False))
        names = rows.features["label"].names
        for at, row in enumerate(plain, 1):
            one = items[f"set/{split}!/{at}"]
            assert one.read() == row["image"]["bytes"]
            assert one.caption == "\n".join(words["raw"] for words in row["sentences"])
            when = {} if row["when"] is None else {"when": row["when"].isoformat()}
            assert one.metadata == {"split": split, "label": names[row["label"]], **when}
            assert one.origin == Origin("Hugging Face dataset", split)
    single, _ = listed(folder / "test")
    assert len(single) == 5
    assert [one.read() for one in single.values()] == [one.read() for one in items.values()][-5:]


def test_parquet_that_the_library_wrote_keeps_names_of_labels(
    hugging: tuple[Path, Any], tmp_path: Path
) -> None:
    _, whole = hugging
    (tmp_path / "data").mkdir()
    whole["test"].to_parquet(str(tmp_path / "data" / "test-00000-of-00001.parquet"))
    (tmp_path / "notes.json").write_text("[]")
    items, _ = listed(tmp_path)
    rows = [
        one for one in items.values() if one.origin == Origin("Parquet", "data/test-00000-of-00001.parquet")
    ]
    assert [one.metadata["label"] for one in rows] == ["cat", "dog", "cat", "dog", "cat"]
    assert [one.read() for one in rows] == [picture(at + 5) for at in range(5)]


def test_a_dataset_without_pictures_names_its_columns(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_dict({"question": ["a"], "answer": ["b"]}).save_to_disk(str(tmp_path / "d"))
    with pytest.raises(SourceError, match=r"no column that holds pictures; its columns: question, answer\."):
        listed(tmp_path / "d")


def test_a_dataset_reads_nothing_outside_of_its_folder_and_its_roots(
    hugging: tuple[Path, Any], tmp_path: Path
) -> None:
    folder, _ = hugging
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    for name in ("state.json", "dataset_info.json"):
        (hostile / name).write_bytes((folder / "test" / name).read_bytes())
    state = json.loads((hostile / "state.json").read_text())
    [data] = (folder / "test").glob("*.arrow")
    for outside in (str(data), "../x.arrow", "..", ""):
        state["_data_files"] = [{"filename": outside}]
        (hostile / "state.json").write_text(json.dumps(state))
        with pytest.raises(SourceError, match="outside of its folder"):
            listed(hostile)
    (hostile / "link.arrow").symlink_to(data)
    state["_data_files"] = [{"filename": "link.arrow"}]
    (hostile / "state.json").write_text(json.dumps(state))
    assert len(listed(hostile)[0]) == 5
    with pytest.raises(SourceError, match="outside of what this server may read"):
        listed(hostile, roots=Roots([str(tmp_path)]))


def test_damaged_arrow_files_are_one_sentence_and_never_read_beyond_their_end(
    hugging: tuple[Path, Any], tmp_path: Path
) -> None:
    folder, _ = hugging
    broken = tmp_path / "d"
    broken.mkdir()
    for path in (folder / "test").iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    [data] = broken.glob("*.arrow")
    whole = data.read_bytes()
    for at in range(8, len(whole), 41):
        damaged = bytearray(whole)
        damaged[at : at + 4] = b"\xff\xff\xff\x7f"
        data.write_bytes(damaged)
        with suppress(SourceError):
            for one in listed(broken)[0].values():
                reason(one)
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="Arrow"):
        listed(broken)
