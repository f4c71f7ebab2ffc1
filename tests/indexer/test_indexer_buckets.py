"""Stores of objects as sources, against a server that speaks S3 on this machine."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import s3fs
from fsspec.config import conf
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from sightline.errors import ImageRejected, SourceError
from sightline.indexer.roots import ANYWHERE, Roots
from sightline.indexer.sources.listing import SourceItem, SourceProblem, iter_source
from sightline.indexer.sources.remote import missing_driver, trouble
from tests.indexer.world import COLLECTION, Knobs, World, picture

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """The driver that the product uses, set up as an operator would: by fsspec's own settings."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    conf["s3"] = {"endpoint_url": f"http://{host}:{port}", "key": "key", "secret": "secret"}
    try:
        yield s3fs.S3FileSystem()
    finally:
        del conf["s3"]
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data", Knobs(indexer={"batch_size": 4, "register_batch": 3}))
    world.create()
    yield world
    world.close()


def put(s3: Any, objects: dict[str, bytes]) -> None:
    for name, data in objects.items():
        bucket = name.partition("/")[0]
        if not s3.exists(bucket):
            s3.mkdir(bucket)
        s3.pipe_file(name, data)


def stored(name: str) -> Any:
    """The object inside of the server, whose times and bytes nobody can set from outside."""
    bucket, _, key = name.partition("/")
    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].keys[key]


def run(world: World, source: str, **options: Any) -> Any:
    job = world.indexer.index([source], COLLECTION, **options)
    world.indexer.run_pending()
    return world.catalog.job_progress(job.id)


def listed(source: str, **how: Any) -> tuple[dict[str, SourceItem], list[SourceProblem]]:
    found = list(iter_source(source, allow_remote=True, **how))
    items = {one.image_id: one for one in found if isinstance(one, SourceItem)}
    return items, [one for one in found if isinstance(one, SourceProblem)]


def packed(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def test_what_was_not_written_since_is_not_read_again_and_what_was_is(s3: Any, world: World) -> None:
    names = [f"again/in/{number}.png" for number in range(4)]
    put(s3, {name: picture(number) for number, name in enumerate(names)})
    for name in names:
        stored(name).last_modified = datetime.now(UTC).replace(tzinfo=None) - HOUR
    assert run(world, "s3://again/in").indexed == 4
    # Other bytes of the same length that no request wrote: had they been read, they would be noticed.
    there = stored(names[0]).value
    stored(names[0]).value = bytes(len(there))
    assert run(world, "s3://again/in").unchanged == 4
    put(s3, {names[1]: picture(77), "again/in/new.png": picture(5)})
    s3.rm_file(names[2])
    progress = run(world, "s3://again/in", prune=True, prune_limit="50%")
    assert (progress.unchanged, progress.replaced, progress.indexed, progress.deleted) == (2, 1, 1, 1)
    stored(names[0]).value = there
    assert run(world, "s3://again/in", copy=True).unchanged == 4
    assert {image.uri[:5] for image in world.live()} == {"blob:"}


def test_what_was_written_a_moment_ago_is_read_again(s3: Any, world: World) -> None:
    put(s3, {"fresh/a.png": picture(1)})
    assert run(world, "s3://fresh").indexed == 1
    stored("fresh/a.png").value = picture(2)[: len(picture(1))].ljust(len(picture(1)), b"\0")
    assert run(world, "s3://fresh").unchanged == 0


def test_shards_sidecars_and_archives_in_a_bucket_are_entered_from_copies(s3: Any) -> None:
    facts = json.dumps({"year": 2020}).encode()
    tar = packed({"a.png": picture(1), "a.txt": b"words", "a.json": facts})
    put(
        s3,
        {
            "many/s/x-0000.tar": tar,
            "many/s/x-0001.tar": tar,
            "many/f/b.png": picture(2),
            "many/f/b.txt": b"beside",
        },
    )
    items, problems = listed("s3://many")
    assert problems == []
    said = {name: (one.caption, dict(one.metadata), one.read()) for name, one in items.items()}
    assert said == {
        "f/b.png": ("beside", {}, picture(2)),
        "s/x-0000.tar!/a.png": ("words", {"year": 2020}, picture(1)),
        "s/x-0001.tar!/a.png": ("words", {"year": 2020}, picture(1)),
    }
    assert items["s/x-0001.tar!/a.png"].uri == "s3://many/s/x-0001.tar!/a.png"
    items, problems = listed("s3://many/s/x-{0000..0002}.tar")
    assert [one.read() for one in items.values()] == [picture(1)] * 2
    assert [one.hides_more for one in problems] == [True]
    put(s3, {"many/s/x-0001.tar": tar[:700]})
    items, problems = listed("s3://many/s")
    assert len(items) == 2
    assert ["s3://many/s/x-0001.tar" in one.detail for one in problems] == [True]


def test_a_server_reads_what_lies_below_its_roots_only(s3: Any) -> None:
    put(s3, {"ours/in/a.png": picture(1), "theirs/b.png": picture(2)})
    roots = Roots(["s3://ours/in"])
    assert list(listed("s3://ours/in", roots=roots)[0]) == ["a.png"]
    for outside in ("s3://theirs", "s3://ours", "s3://ours/in/{.,.}{.,.}/b.png"):
        with pytest.raises(SourceError, match="outside of what this server may read"):
            listed(outside, roots=roots)
    with pytest.raises(SourceError, match="remote sources are not read"):
        list(iter_source("s3://ours/in"))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "s3://no-such-bucket/x",
            "There is nothing at s3://no-such-bucket/x: no such bucket, or no such folder in it.",
        ),
        (
            "oss://bucket/x",
            "oss://bucket/x needs a driver that is not installed. Install the package of fsspec for it",
        ),
    ],
)
def test_trouble_with_a_store_is_one_sentence(s3: Any, source: str, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        list(iter_source(source, allow_remote=True))
    assert said in str(caught.value)
    assert str(caught.value).endswith(".")


def test_refused_and_missing_credentials_are_told_apart() -> None:
    from botocore.exceptions import NoCredentialsError

    assert "Install sightline[gcs] to read it." in missing_driver("gs://b")
    assert "no credentials are at hand" in trouble("s3://b", NoCredentialsError(), "listed")
    assert "may not be listed with the credentials" in trouble(
        "s3://b", PermissionError("Forbidden"), "listed"
    )


def test_a_table_in_a_bucket_reads_no_file_of_this_machine(s3: Any, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture(1))
    climbing = "../" * 12 + str(tmp_path / "secret.png").lstrip("/")
    cells = [{"bytes": None, "path": str(tmp_path / "secret.png")}, {"bytes": None, "path": climbing}]
    rows = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"image": [*cells, {"bytes": picture(2), "path": "x"}]}), rows)
    put(s3, {"tables/in/t.parquet": rows.getvalue()})
    for roots in (Roots(["s3://tables/in"]), ANYWHERE):
        *named, held = listed("s3://tables/in", roots=roots)[0].values()
        for item in named:
            with pytest.raises(ImageRejected, match="outside of what this server may read"):
                item.read()
        assert held.read() == picture(2)


def test_an_object_beside_a_folder_of_its_name_counts_and_a_folder_without_a_name_is_told(s3: Any) -> None:
    put(s3, {name: picture(1) for name in ("odd/a.png", "odd/a.png/b.png", "odd/f/")})
    s3.call_s3("put_object", Bucket="odd", Key="g//c.png", Body=picture(1))
    items, problems = listed("s3://odd")
    assert sorted(items) == ["a.png", "a.png/b.png"]
    assert [("s3://odd/g//" in one.detail, one.hides_more) for one in problems] == [(True, True)]
