"""Parquet manifests that are made to unpack to absurd sizes, beside those that merely repeat themselves."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sightline.errors import SourceError
from sightline.indexer.manifests.parquet import parquet_rows

ROWS = 1500


def repeated(text: str, rows: int = ROWS) -> pa.Array:
    """One text that all rows name, and that stands in the file once."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))


def written(folder: Path, **columns: object) -> str:
    path = folder / "m.parquet"
    rows = {"uri": [f"{number}.png" for number in range(len(next(iter(columns.values()))))]}  # type: ignore[arg-type]
    pq.write_table(pa.table({**rows, **columns}), path, compression="zstd", store_schema=False)
    return str(path)


def test_rows_that_share_a_large_text_are_never_all_in_memory(tmp_path: Path) -> None:
    text = "b" * (1 << 20)
    path = written(tmp_path, caption=repeated(text))
    tracemalloc.start()
    try:
        lines = []
        for row in parquet_rows(path):
            assert row.cells["caption"] == text
            lines.append(row.line)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    print(f"peak {peak / 2**20:.0f} MB for {ROWS} MB")
    assert lines == list(range(1, ROWS + 1))
    assert peak < 100 << 20


def test_a_row_that_names_a_large_text_many_times_is_a_fault_and_the_others_go_on(tmp_path: Path) -> None:
    offsets = [0, 1, 100, 101]
    column = pa.ListArray.from_arrays(offsets, repeated("b" * (1 << 20), 101))
    rows = list(parquet_rows(written(tmp_path, tags=column)))
    assert [row.line for row in rows] == [1, 2, 3]
    assert [row.fault == "" for row in rows] == [True, False, True]
    assert "more than" in rows[1].fault


def test_a_row_group_that_unpacks_to_absurd_sizes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    pool = pa.default_memory_pool()
    path = written(tmp_path, caption=repeated("b" * (70 << 20), 3))
    before = pool.bytes_allocated()
    with pytest.raises(SourceError, match=r"Row group 1 .* smaller row groups"):
        next(iter(parquet_rows(path)))
    assert pool.bytes_allocated() - before < 1 << 20


def test_texts_are_what_they_are_without_dictionaries(tmp_path: Path) -> None:
    captions = [None if n % 7 == 0 else f"ä{n % 50}" if n < 900 else f"{n}" * 300 for n in range(5000)]
    tags = [[f"t{number % 3}", None] if number % 5 else None for number in range(5000)]
    path = str(tmp_path / "m.parquet")
    table = pa.table({"uri": [f"{n}.png" for n in range(5000)], "caption": captions, "tags": tags})
    for use, rows in ((True, 700), (False, 700), (True, 5000)):  # the last outgrows its dictionary
        pq.write_table(table, path, row_group_size=rows, use_dictionary=use)
        for row, plain in zip(parquet_rows(path), table.to_pylist(), strict=True):
            assert row.cells == {name: cell for name, cell in plain.items() if cell is not None}
