"""Manifests as sources: rows become pictures with captions and metadata, bad rows become problems."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sightline.errors import ImageRejected, SourceError
from sightline.indexer.sources.listing import SourceItem, SourceProblem, iter_source, read_uri

ROOT = Path(__file__).parents[2]
Table = list[dict[str, Any]]


def listed(path: Path) -> list[SourceItem | SourceProblem]:
    return list(iter_source(str(path)))


def items(path: Path) -> list[SourceItem]:
    found = listed(path)
    assert all(isinstance(item, SourceItem) for item in found), found
    return [item for item in found if isinstance(item, SourceItem)]


def jsonl(folder: Path, *lines: object, name: str = "m.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), "utf-8")
    return path


def text(folder: Path, content: str | bytes, name: str = "m.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def parquet(folder: Path, columns: dict[str, Any], name: str = "m.parquet") -> Path:
    path = folder / name
    pq.write_table(pa.table(columns), path)
    return path


def make(kind: str, folder: Path) -> Path:
    """The same two pictures in each format."""
    if kind == "jsonl":
        first = {"uri": "a.jpg", "id": "A", "caption": "a cat, sleeping", "year": 2020, "tag": "x"}
        return jsonl(folder, first, {"uri": "sub/b.jpg", "year": None, "tag": "y"})
    if kind == "csv":
        return text(
            folder, 'uri,id,caption,year,tag\r\na.jpg,A,"a cat, sleeping",2020,x\r\nsub/b.jpg,,,,y\r\n'
        )
    columns = {"uri": ["a.jpg", "sub/b.jpg"], "id": ["A", None], "caption": ["a cat, sleeping", None]}
    return parquet(folder, {**columns, "year": [2020, None], "tag": ["x", "y"]})


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_every_format_says_the_same(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"bytes of a")
    first, second = items(make(kind, tmp_path))
    assert (first.image_id, first.uri, first.caption) == ("A", str(tmp_path / "a.jpg"), "a cat, sleeping")
    assert first.metadata == {"year": 2020, "tag": "x"}
    assert first.read() == read_uri(first.uri) == b"bytes of a"
    assert (second.image_id, second.uri, second.caption) == ("sub/b.jpg", str(tmp_path / "sub/b.jpg"), None)
    assert second.metadata == {"tag": "y"}
    with pytest.raises(ImageRejected, match="unreadable"):
        second.read()


def test_addresses_are_resolved_against_the_manifest(tmp_path: Path) -> None:
    here, beside = tmp_path / "here", tmp_path / "beside"
    here.mkdir()
    beside.mkdir()
    for name in ("c d.jpg", "c e.jpg"):
        (beside / name).write_bytes(b"c")
    with zipfile.ZipFile(here / "z.zip", "w") as archive:
        archive.writestr("in/m.jpg", b"member")
    relative = ["./x/../a.jpg", "../beside/c d.jpg", "z.zip!/in/m.jpg"]
    rows = [*relative, f"{here}/b.jpg", f"{beside}/c d.jpg", f"file://{beside}/c%20e.jpg"]
    found = items(jsonl(here, *({"uri": uri} for uri in rows)))
    assert [(item.image_id, item.uri) for item in found] == [
        ("a.jpg", f"{here}/a.jpg"),
        ("beside/c d.jpg", f"{beside}/c d.jpg"),
        ("z.zip!/in/m.jpg", f"{here}/z.zip!/in/m.jpg"),
        ("b.jpg", f"{here}/b.jpg"),
        (f"{beside}/c d.jpg", f"{beside}/c d.jpg"),
        (f"{beside}/c e.jpg", f"{beside}/c e.jpg"),
    ]
    assert [found[index].read() for index in (1, 2, 4, 5)] == [b"c", b"member", b"c", b"c"]


def test_a_folder_with_the_mark_of_archives_in_its_name_is_found(tmp_path: Path) -> None:
    (tmp_path / "wow!").mkdir()
    (tmp_path / "wow!" / "a.jpg").write_bytes(b"a")
    (item,) = items(jsonl(tmp_path, {"uri": "wow!/a.jpg"}))
    assert item.image_id == "wow!/a.jpg"
    assert item.read() == read_uri(item.uri) == b"a"


def test_climbing_out_of_a_linked_folder_leads_where_the_system_says(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "a.jpg").write_bytes(b"deep")
    (tmp_path / "a.jpg").write_bytes(b"shallow")
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er")
    (item,) = items(jsonl(tmp_path, {"uri": "link/../a.jpg"}))
    assert item.read() == read_uri(item.uri) == (tmp_path / "link/../a.jpg").read_bytes() == b"deep"


BAD_ROWS = [
    ("{", True),
    ("[1]", True),
    ('"a.jpg"', True),
    ("{}", True),
    ('{"uri": 5}', True),
    ('{"uri": ""}', True),
    ('{"uri": "http://example.org/a.jpg"}', True),
    ('{"uri": "s3://bucket/a.jpg"}', True),
    ('{"uri": "blob:abc"}', True),
    ('{"uri": "a\\u0000.jpg"}', True),
    ('{"uri": "a.jpg", "score": NaN}', True),
    ('{"uri": "a.jpg", "id": [1]}', True),
    ('{"uri": "a.jpg", "id": true}', True),
    ('{"uri": "a.jpg", "id": "mine", "caption": ["two", "captions"]}', False),
    ('{"id": "mine"}', False),
    ("[" * 100_000, True),
]


@pytest.mark.parametrize(("line", "hides_more"), BAD_ROWS, ids=[line[:40] for line, _ in BAD_ROWS])
def test_a_bad_row_is_a_problem_with_its_line_and_the_next_row_counts(
    line: str, hides_more: bool, tmp_path: Path
) -> None:
    first, problem, last = listed(jsonl(tmp_path, {"uri": "a.jpg"}, line, {"uri": "b.jpg"}))
    assert isinstance(problem, SourceProblem)
    assert (problem.reason, problem.hides_more) == ("bad_row", hides_more)
    assert problem.image_id == ("m.jsonl:2" if hides_more else "mine")
    assert problem.detail.startswith("Line 2 of m.jsonl cannot be used: ")
    assert [first.image_id, last.image_id] == ["a.jpg", "b.jpg"]


def test_jsonl_takes_empty_lines_byte_order_marks_and_any_unicode(tmp_path: Path) -> None:
    content = (
        "\ufeff" + '{"uri": "å.jpg", "caption": "猫", "n": {"deep": [1, null]}}\r\n\n  \n{"uri": "b.jpg"}\n'
    )
    first, second = items(text(tmp_path, content, "m.ndjson"))
    assert (first.image_id, first.caption, first.metadata) == ("å.jpg", "猫", {"n": {"deep": [1, None]}})
    assert second.image_id == "b.jpg"


def test_bytes_that_are_no_utf8_spoil_their_row_only(tmp_path: Path) -> None:
    first, second = listed(text(tmp_path, b'{"uri": "\xff.jpg"}\n{"uri": "b.jpg"}', "m.jsonl"))
    assert isinstance(first, SourceProblem)
    assert second.image_id == "b.jpg"
    first, second = listed(text(tmp_path, b"uri\n\xff.jpg\nb.jpg\n"))
    assert isinstance(first, SourceProblem)
    assert "UTF-8" in first.detail
    assert second.image_id == "b.jpg"


def test_csv_cells_become_what_they_look_like(tmp_path: Path) -> None:
    numbers = {"2020": 2020, "-3": -3, "0": 0, "2.50": 2.5, "-0.5": -0.5, "true": True, "False": False}
    words = ("007", "1e5", "+1", "1,5", " 1", "nan", "1" * 30, "yes")
    cells = numbers | {word: word for word in words}
    rows = "".join(f'a.jpg,{number},10,"{cell}"\n' for number, cell in enumerate(cells, 5))
    found = items(text(tmp_path, "uri,id,caption,value\n" + rows))
    assert [item.metadata["value"] for item in found] == list(cells.values())
    assert [type(item.metadata["value"]) for item in found] == [type(value) for value in cells.values()]
    assert (found[0].image_id, found[0].caption) == ("5", "10")


def test_csv_rows_may_span_lines_be_short_or_broken(tmp_path: Path) -> None:
    rows = [
        '"a.jpg","two\nlines",1',
        "",
        "b.jpg",
        "c.jpg,too,many,cells",
        '"d.jpg"d,,',
        'e.jpg,"say ""hi""",2',
    ]
    content = "\ufeffuri,caption,x\n" + "\n".join(rows)
    found = listed(text(tmp_path, content))
    assert [item.image_id for item in found] == ["a.jpg", "b.jpg", "m.csv:6", "m.csv:7", "e.jpg"]
    assert [isinstance(item, SourceProblem) for item in found] == [False, False, True, True, False]
    assert isinstance(found[0], SourceItem)
    assert found[0].caption == "two\nlines"
    assert isinstance(found[4], SourceItem)
    assert found[4].caption == 'say "hi"'


def test_parquet_values_become_json(tmp_path: Path) -> None:
    columns = {
        "uri": ["a.jpg", "b.jpg"],
        "id": [7, 8],
        "when": [datetime(2020, 1, 2, 3, 4), None],
        "price": [Decimal("1.50"), None],
        "score": [float("nan"), 0.5],
        "tags": [["x", "y"], []],
        "box": [{"w": 3, "h": None}, None],
        "ok": [True, None],
    }
    first, second = items(parquet(tmp_path, columns))
    assert (first.image_id, second.image_id) == ("7", "8")
    assert first.metadata == {
        "when": "2020-01-02T03:04:00",
        "price": 1.5,
        "tags": ["x", "y"],
        "box": {"w": 3, "h": None},
        "ok": True,
    }
    assert second.metadata == {"score": 0.5, "tags": []}
    assert json.loads(json.dumps(first.metadata)) == first.metadata


def test_parquet_is_read_in_batches_and_counts_its_rows(tmp_path: Path) -> None:
    uris = [f"{number}.jpg" for number in range(2500)]
    uris[2100] = ""
    found = listed(parquet(tmp_path, {"uri": uris}))
    assert len(found) == 2500
    assert found[2100].image_id == "m.parquet:2101"
    assert isinstance(found[2100], SourceProblem)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.csv", b"", "uri"),
        ("m.csv", b"url,caption\na.jpg,x\n", "uri"),
        ("m.csv", b"uri;caption\na.jpg;x\n", "uri"),
        ("m.csv", b"uri,x,x\na.jpg,1,2\n", "same name"),
        ("m.parquet", b"", "Parquet"),
        ("m.parquet", b"PAR1 and nothing else PAR1", "Parquet"),
        ("m.jsonl", b"x" * (17 << 20), "16 MB"),
        ("m.csv", b"uri\n" + b"x" * (17 << 20), "16 MB"),
    ],
)
def test_what_is_no_manifest_is_one_sentence(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        listed(text(tmp_path, content, name))
    assert "\n" not in str(caught.value)


def test_parquet_columns_of_bytes_are_refused_by_name_before_any_row(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match='"embedding"'):
        listed(parquet(tmp_path, {"uri": ["a.jpg"], "embedding": [b"\xff\xd8"]}))
    with pytest.raises(SourceError, match="uri"):
        listed(parquet(tmp_path, {"url": ["a.jpg"]}))


def test_without_pyarrow_a_parquet_manifest_says_what_to_do(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"uri": ["a.jpg"]})
    hidden = tmp_path / "hidden" / "pyarrow"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('not installed')")
    script = f"from sightline.indexer.sources.listing import iter_source\nlist(iter_source({str(path)!r}))"
    environment = {**os.environ, "PYTHONPATH": f"{hidden.parent}{os.pathsep}{ROOT}"}
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "pip install pyarrow" in run.stderr.splitlines()[-1]


def test_listing_a_jsonl_manifest_is_lazy(tmp_path: Path) -> None:
    path = jsonl(tmp_path, *({"uri": f"{number}.jpg"} for number in range(20_000)))
    listing = iter_source(str(path))
    assert next(listing).image_id == "0.jpg"
    path.write_bytes(b"")
    assert sum(1 for _ in listing) < 15_000  # what was buffered, and no more


def test_a_csv_that_is_cut_off_in_its_last_row_invents_no_picture(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.png").touch()
    whole = "uri,id,caption\na.png,first,one\nb.png,second,two\n"
    for cut in range(whole.index("b.png,") + 1, whole.index("second,") + len("second")):
        first, last = listed(text(tmp_path, whole[:cut]))
        assert isinstance(first, SourceItem)
        assert first.image_id == "first"
        assert isinstance(last, SourceProblem)
        assert last.hides_more, whole[:cut]
    assert len(items(text(tmp_path, "uri,id,caption\na.png,first\n"))) == 1
