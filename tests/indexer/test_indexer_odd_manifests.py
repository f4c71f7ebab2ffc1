"""Manifests as other programs write them: read, or refused with a sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sightline.errors import SourceError
from sightline.indexer.manifests.addresses import Addresses
from sightline.indexer.manifests.parquet import parquet_rows
from sightline.indexer.manifests.rows import csv_rows
from sightline.indexer.sources.listing import SourceItem, SourceProblem, iter_source


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"uri;caption\na.png;x\n", "separated by semicolons: save it with commas"),
        (b"caption\turi\nx\ta.png\n", "separated by tabs"),
        (b"id|URI\n", "separated by bars"),
        (b"URI,caption\na.png,x\n", 'it has "URI", and names of columns are in small letters'),
        ("uri,caption\na.png,x\n".encode("utf-16"), "is written in UTF-16; save it as UTF-8"),
        (b"url,caption\na.png,x\n", 'no column "uri" in its first line.'),
    ],
)
def test_a_table_of_another_kind_says_what_to_do(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "m.csv").write_bytes(data)
    with pytest.raises(SourceError, match=why):
        list(iter_source(str(tmp_path / "m.csv")))


def test_a_jsonl_in_utf_16_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes('{"uri": "a.png"}\n'.encode("utf-16"))
    with pytest.raises(SourceError, match="UTF-16"):
        list(iter_source(str(tmp_path / "m.jsonl")))


def test_nanoseconds_of_parquet_are_cut_to_microseconds_wherever_they_stand(tmp_path: Path) -> None:
    ns = 1_700_000_000_123_456_789
    columns = {
        "uri": pa.array(["a.png"]),
        "plain": pa.array([ns], pa.timestamp("ns")),
        "zoned": pa.array([ns], pa.timestamp("ns", "Europe/Berlin")),
        "time": pa.array([3_723_000_000_001], pa.time64("ns")),
        "list": pa.array([[ns, ns]], pa.list_(pa.timestamp("ns"))),
        "struct": pa.array([{"x": ns}], pa.struct([("x", pa.timestamp("ns"))])),
    }
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    [item] = iter_source(str(tmp_path / "m.parquet"))
    assert isinstance(item, SourceItem)
    assert item.metadata == {
        "plain": "2023-11-14T22:13:20.123456",
        "zoned": "2023-11-14T22:13:20.123456Z",
        "time": "01:02:03",
        "list": ["2023-11-14T22:13:20.123456"] * 2,
        "struct": {"x": "2023-11-14T22:13:20.123456"},
    }


def test_a_time_that_python_cannot_express_is_one_bad_row(tmp_path: Path) -> None:
    far = pa.array([0, 400_000_000_000, 1], pa.timestamp("s"))
    pq.write_table(pa.table({"uri": ["a.png", "b.png", "c.png"], "at": far}), tmp_path / "m.parquet")
    first, second, third = iter_source(str(tmp_path / "m.parquet"))
    assert isinstance(first, SourceItem)
    assert isinstance(second, SourceProblem)
    assert second.detail.startswith("Line 2 of m.parquet cannot be used")
    assert isinstance(third, SourceItem)
    assert third.metadata == {"at": "1970-01-01T00:00:01"}


def test_what_breaks_a_manifest_is_said_in_words_of_our_own(tmp_path: Path) -> None:
    old = tmp_path / "old.csv"
    old.write_bytes(b"uri,id\ra.png,1\rb.png,2\r")
    with pytest.raises(SourceError, match="carriage return alone; save it with line feeds") as caught:
        list(csv_rows(str(old)))
    assert "universal" not in str(caught.value)
    whole = tmp_path / "whole.parquet"
    pq.write_table(pa.table({"uri": [f"{number}.png" for number in range(100)]}), whole)
    for length in (5, 50, whole.stat().st_size // 2, whole.stat().st_size - 3):
        cut = tmp_path / "cut.parquet"
        cut.write_bytes(whole.read_bytes()[:length])
        with pytest.raises(SourceError, match=r"[^.]\.$"):
            list(parquet_rows(str(cut)))


def test_what_is_kept_in_memory_is_no_store_that_a_manifest_may_name(tmp_path: Path) -> None:
    addresses = Addresses(str(tmp_path), lambda uri: b"", allow_remote=True)
    with pytest.raises(ValueError, match="not of a store of objects"):
        addresses.resolve("memory://a/b.png")
    assert addresses.resolve("s3://a/b.png").uri == "s3://a/b.png"
