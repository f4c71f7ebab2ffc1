"""URLs as sources: fetched once, copied, known by their URL, and never past the guarded client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

from sightline.errors import ImageRejected, SourceError
from sightline.indexer.indexer import Indexer
from sightline.indexer.sources.listing import SourceItem, iter_source, read_uri
from tests.fetching.web import Web, Witness, answer, small_web
from tests.indexer.world import COLLECTION, World, picture


@pytest.fixture(scope="module")
def witness() -> Witness:
    """Hears of every connection."""
    return Witness()


@pytest.fixture(scope="module")
def _web() -> Iterator[Web]:
    with small_web() as web:
        yield web


@pytest.fixture
def web(_web: Web) -> Web:
    """A small web with numbered pictures."""
    _web.forget()
    for number in range(3):
        _web.good.pages[f"/{number}.png"] = answer(picture(number))
    return _web


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data")
    world.create()
    yield world
    world.close()


def run(world: World, web: Web | None, *sources: str, **options: Any) -> Any:
    """Index and embed; the job's progress."""
    fetcher = None if web is None else web.client()
    indexer = Indexer(replace(world.parts, fetcher=fetcher))
    job = indexer.index(sources, COLLECTION, **options)
    indexer.run_pending()
    return world.catalog.job_progress(job.id)


def listed(tmp_path: Path, web: Web, *numbers: int) -> str:
    """A manifest of numbered pictures on the web."""
    path = tmp_path / "urls.csv"
    path.write_text(
        "\n".join(["uri,caption", *(f"{web.url(f'/{one}.png')},number {one}" for one in numbers)]) + "\n"
    )
    return str(path)


def test_urls_and_manifests_of_urls_are_fetched_copied_and_known_by_their_url(
    world: World, web: Web, tmp_path: Path
) -> None:
    progress = run(world, web, listed(tmp_path, web, 0, 1), web.url("/2.png"))
    assert (progress.indexed, progress.failed) == (3, 0)
    images = {image.image_id: image for image in world.live()}
    assert sorted(images) == [web.url(f"/{number}.png") for number in range(3)]
    for number in range(3):
        image = images[web.url(f"/{number}.png")]
        assert image.uri == f"blob:{image.sha256}"
        assert world.parts.originals.read(image) == picture(number)
    assert images[web.url("/1.png")].caption == "number 1"
    assert web.good.connections == 3


def test_a_later_run_embeds_only_what_has_other_bytes(world: World, web: Web, tmp_path: Path) -> None:
    run(world, web, listed(tmp_path, web, 0, 1, 2))
    web.good.pages["/1.png"] = answer(picture(77))
    seen = world.models.toy.seen
    progress = run(world, web, listed(tmp_path, web, 0, 1, 2))
    assert (progress.unchanged, progress.replaced, progress.failed) == (2, 1, 0)
    assert world.models.toy.seen == seen + 1
    changed = {image.image_id: image for image in world.live()}[web.url("/1.png")]
    assert world.parts.originals.read(changed) == picture(77)


def test_what_cannot_be_fetched_fails_alone_and_is_not_pruned(world: World, web: Web, tmp_path: Path) -> None:
    run(world, web, listed(tmp_path, web, 0, 1, 2))
    web.good.pages["/1.png"] = answer(b"", "500 Internal Server Error")
    progress = run(world, web, listed(tmp_path, web, 0, 1), prune=True, prune_limit="100%")
    assert (progress.unchanged, progress.failed, progress.deleted) == (1, 1, 1)
    assert sorted(image.image_id for image in world.live()) == [web.url("/0.png"), web.url("/1.png")]


def test_a_manifest_of_inner_addresses_is_a_list_of_failures(
    world: World, web: Web, witness: Witness, tmp_path: Path
) -> None:
    inner = [
        f"http://127.0.0.1:{web.port}/a.png", f"http://[::1]:{web.port}/", "http://169.254.169.254/latest/",
        f"http://2130706433:{web.port}/", f"http://inner.test:{web.port}/a.png",
    ]  # fmt: skip
    web.names.known["inner.test"] = [["127.0.0.1"]]
    path = tmp_path / "urls.jsonl"
    path.write_text("".join(f'{{"uri": "{one}"}}\n' for one in [*inner, web.url("/0.png")]))
    progress = run(world, web, str(path))
    assert (progress.indexed, progress.failed) == (1, len(inner))
    assert (web.good.connections, web.trapped) == (1, 0)


@pytest.mark.parametrize("source", ["manifest", "url"])
def test_nothing_is_fetched_unless_it_was_turned_on(
    world: World, web: Web, tmp_path: Path, source: str
) -> None:
    if source == "url":
        with pytest.raises(SourceError, match="SIGHTLINE_FETCH__ENABLED=true"):
            run(world, None, web.url("/0.png"))
    else:
        progress = run(world, None, listed(tmp_path, web, 0))
        assert (progress.indexed, progress.failed) == (0, 1)
    assert (web.good.connections, web.names.asked) == (0, [])


def schemes() -> list[str]:
    """Every scheme that some driver of this fsspec answers to, but for files and what is kept in memory."""
    known = set(fsspec.available_protocols()) | {"HTTP", "hTTps", "http+sync", "sync-http"}
    return sorted(known - {"file", "local", "memory"})


@pytest.mark.parametrize("scheme", schemes())
def test_no_driver_of_fsspec_is_a_way_around_the_guarded_client(
    web: Web, witness: Witness, tmp_path: Path, scheme: str
) -> None:
    """As a source, in a manifest and as a stored address, also inside of another driver's address."""
    place = f"127.0.0.1:{web.port}/a.png"
    addresses = [f"{scheme}://{place}", f"{scheme}://http://{place}", f"{scheme}::http://{place}"]
    path = tmp_path / "urls.jsonl"
    named = [one for one in addresses if scheme not in BUCKETS]
    path.write_text("".join(f'{{"uri": "{one}"}}\n' for one in named))
    with witness.watching() as seen:
        for item in iter_source(str(path), allow_remote=True):
            if isinstance(item, SourceItem):  # a path, though an odd one
                assert item.uri.startswith(f"{tmp_path}/")
                with pytest.raises(ImageRejected, match="No such file"):
                    item.read()
        for address in addresses:
            if scheme in OPERATORS and "::" not in address:
                continue  # named by the operator alone: a host of theirs
            with pytest.raises((SourceError, ImageRejected)):
                list(iter_source(address, allow_remote=True))
            with pytest.raises(ImageRejected):
                read_uri(address, allow_remote=True)
    assert (seen, web.trapped, web.good.connections) == ([], 0, 0)


BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci"}
OPERATORS = BUCKETS | {"sftp", "ssh", "smb", "hdfs"}


def test_the_drivers_that_would_fetch_are_among_those_tried() -> None:
    assert {"http", "https", "ftp", "generic", "github", "webhdfs", "reference"} <= set(schemes())
