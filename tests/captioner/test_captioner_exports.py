"""What is exported is read back by those who are to read it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image as Pillow
from pyarrow import parquet

from sightline.captioner.export_files import Shards
from sightline.captioner.histograms import histogram_lines, histogram_png
from sightline.captioner.thresholds import Threshold
from sightline.errors import InputError
from sightline.evaluation.data import read_pictures
from sightline.indexer.sources.listing import SourceItem, iter_source
from sightline.indexer.uploads import Upload
from sightline.wiring import Installation
from tests.captioner.conftest import COLLECTION, images, index, texts
from tests.captioner.test_captioner_jobs import filtered


@pytest.fixture
def cleaned(ready: Installation, folder: Path) -> Installation:
    """Filtered, with an upload beside the files."""
    services = ready
    services.indexer.add(COLLECTION, [Upload((folder / "c.png").read_bytes() + b" ", "uploaded")])
    services.indexer.run_pending()
    filtered(services, threshold=Threshold(0.6))
    return services


def kept(services: Installation) -> dict[str, list[str]]:
    """Image id → its kept texts, each once."""
    found = {
        name: list(dict.fromkeys(one.text for one in some if one.verdict == "kept"))
        for name, some in texts(services).items()
    }
    return {name: some for name, some in found.items() if some}


def test_json_lines_are_what_training_reads(cleaned: Installation, tmp_path: Path) -> None:
    out = tmp_path / "cleaned.jsonl"
    exported = cleaned.exports.write(COLLECTION, out, "jsonl")
    wanted = kept(cleaned)
    found = [one for some in texts(cleaned).values() for one in some if one.verdict == "kept"]
    assert (exported.images, exported.texts) == (len(wanted), len(found))
    read = read_pictures(out, tmp_path)
    assert read.problems == ()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["id"]: row["captions"] for row in rows} == wanted
    assert [list(one.captions) for one in read.pictures] == [row["captions"] for row in rows]
    known = images(cleaned)
    for row, picture in zip(rows, read.pictures, strict=True):
        assert hashlib.sha256(picture.path.read_bytes()).hexdigest() == known[row["id"]].sha256


def test_parquet_has_a_row_for_each_text_also_of_dropped_ones_when_asked(
    cleaned: Installation, tmp_path: Path
) -> None:
    cleaned.exports.write(COLLECTION, tmp_path / "all.parquet", "parquet", ["kept", "dropped"])
    rows = parquet.read_table(tmp_path / "all.parquet").to_pylist()
    found = {(n, one.source, one.text): one for n, some in texts(cleaned).items() for one in some}
    assert {(row["id"], row["source"], row["text"]) for row in rows} == set(found)
    for row in rows:
        one = found[row["id"], row["source"], row["text"]]
        assert (row["match_probability"], row["verdict"], row["model"]) == (
            one.match_probability, one.verdict, one.model,
        )  # fmt: skip


def test_webdataset_shards_hold_picture_captions_and_facts(cleaned: Installation, tmp_path: Path) -> None:
    cleaned.exports.write(COLLECTION, tmp_path / "shards", "webdataset")
    [shard] = (tmp_path / "shards").iterdir()
    members: dict[str, dict[str, bytes]] = {}
    with tarfile.open(shard) as tar:
        for member in tar:
            name, _, suffix = member.name.partition(".")
            data = tar.extractfile(member)
            assert data is not None
            members.setdefault(name, {})[suffix] = data.read()
    known = images(cleaned)
    found = {}
    for sample in members.values():
        told = json.loads(sample["json"])
        found[told["id"]] = sample["txt"].decode().splitlines()
        assert hashlib.sha256(sample["png"]).hexdigest() == known[told["id"]].sha256
    assert found == kept(cleaned)


def test_webdataset_shards_can_be_indexed_again_under_the_same_ids(
    cleaned: Installation, tmp_path: Path
) -> None:
    cleaned.exports.write(COLLECTION, tmp_path / "shards", "webdataset")
    found = [item for item in iter_source(str(tmp_path / "shards")) if isinstance(item, SourceItem)]
    known = images(cleaned)
    assert {item.image_id: (item.caption or "").splitlines() for item in found} == kept(cleaned)
    for item in found:
        assert hashlib.sha256(item.read()).hexdigest() == known[item.image_id].sha256
        assert item.metadata == {}


def test_a_shard_ends_when_it_is_full(cleaned: Installation, tmp_path: Path) -> None:
    [first, *_] = images(cleaned).values()
    with Shards(tmp_path, "s", most_samples=2) as shards:
        for _ in range(5):
            shards.add(first, b"\x89PNG\r\n\x1a\n", ["one"], {})
    counts = []
    for path in sorted(tmp_path.glob("s-*.tar")):
        with tarfile.open(path) as tar:
            counts.append(len(tar.getnames()) // 3)
    assert counts == [2, 2, 1]


def test_nothing_is_overwritten_and_nothing_half_written_stays(cleaned: Installation, tmp_path: Path) -> None:
    place = tmp_path / "exports"
    place.mkdir()
    (place / "there").write_text("mine")
    with pytest.raises(InputError, match="already"):
        cleaned.exports.write(COLLECTION, place / "there", "jsonl")
    for format in ("jsonl", "parquet", "webdataset"):
        with pytest.raises(InputError, match="no texts that are unjudged"):
            cleaned.exports.write(COLLECTION, place / "new", format, ["unjudged"])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no folder"):
        cleaned.exports.write(COLLECTION, place / "no" / "new", "jsonl")
    with pytest.raises(InputError, match="cannot be made: File name too long"):
        cleaned.exports.write(COLLECTION, place / ("x" * 300), "parquet")
    with pytest.raises(InputError, match="copies of pictures"):
        cleaned.exports.write(COLLECTION, place / "new.images", "jsonl")
    dangling = place / "dangling"
    dangling.symlink_to(place / "nothing")
    with pytest.raises(InputError, match="already"):
        cleaned.exports.write(COLLECTION, dangling, "jsonl")
    dangling.unlink()
    assert [path.name for path in place.iterdir()] == ["there"]
    assert (place / "there").read_text() == "mine"


def test_a_picture_that_is_gone_is_left_out_and_named(
    services: Installation, folder: Path, tmp_path: Path
) -> None:
    cleaned = services
    index(services, folder)
    filtered(services)
    (folder / "a.png").write_bytes(b"another")
    exported = cleaned.exports.write(COLLECTION, tmp_path / "shards", "webdataset")
    assert (exported.left_out, [one["id"] for one in exported.examples]) == (1, ["a"])
    assert exported.images == len(kept(cleaned)) - 1


def test_a_histogram_is_a_picture_and_lines_that_add_up(cleaned: Installation) -> None:
    report = cleaned.capfilt.report(COLLECTION)
    with Pillow.open(io.BytesIO(histogram_png(report))) as picture:
        assert picture.format == "PNG"
        assert picture.width > 300
    lines = histogram_lines(report.histogram)
    numbers = [int(line.split(" kept, ")[1].split()[0]) for line in lines]
    assert sum(numbers) == sum(report.histogram.dropped)
    assert len(lines) == 10
