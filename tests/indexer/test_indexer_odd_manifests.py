"""Manifests as other programs write them: read, or refused with a sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sightline.errors import SourceError
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
