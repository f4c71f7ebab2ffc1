"""Archives that are made to cost much, or to be mistaken: by their headers, contents and names."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import unicodedata
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sightline.errors import SourceError
from sightline.indexer.archives.tar import tar_members
from sightline.indexer.sources.listing import SourceItem, iter_source
from tests.indexer.world import COLLECTION, World, picture

GOOD = b"good"


def header(kind: bytes, content: bytes) -> bytes:
    """An extended header of a TAR archive with this content."""
    info = tarfile.TarInfo("././@Header")
    info.type, info.size = kind, len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def member(name: str, content: bytes = GOOD) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


END = bytes(2 * tarfile.BLOCKSIZE)
HEADERS: dict[str, bytes] = {
    "digits": header(tarfile.XHDTYPE, b"1" * 400_000),
    "digits for all": header(tarfile.XGLTYPE, b"0" * 400_000),
    "digits of another writer": header(tarfile.SOLARIS_XHDTYPE, b"1" * 400_000),
    "charsets": header(tarfile.XHDTYPE, b"1 hdrcharset=" * 40_000),
    "two megabytes": header(tarfile.XHDTYPE, b"x" * (2 << 20)),
    "a name of two megabytes": header(tarfile.GNUTYPE_LONGNAME, b"x" * (2 << 20)),
    "a link of two megabytes": header(tarfile.GNUTYPE_LONGLINK, b"x" * (2 << 20)),
    "a thousand names for one": header(tarfile.GNUTYPE_LONGNAME, b"name\0") * 3000,
}


def listed(path: Path) -> tuple[list[str], str]:
    """Ids of the pictures, and what then went wrong."""
    found: list[str] = []
    try:
        for one in iter_source(str(path)):
            assert isinstance(one, SourceItem)
            assert one.read() == GOOD
            found.append(one.image_id)
    except SourceError as error:
        return found, str(error)
    return found, ""


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_costs_more_than_its_length_explains_ends_the_archive_there(
    name: str, packed: bool, tmp_path: Path
) -> None:
    """Within the time that a test may take: the first would need minutes, and its square more."""
    data = member("first.png") + HEADERS[name] + member("second.png") + END
    path = tmp_path / ("a.tar.gz" if packed else "a.tar")
    if packed:
        path.write_bytes(gzip.compress(data, 1))
    else:
        path.write_bytes(data)
    found, said = listed(path)
    assert found == [f"{path.name}!/first.png"]
    assert "cannot be read to its end as a TAR archive" in said


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_long_and_numeric_names_are_no_reason_to_refuse(form: int, ending: str, tmp_path: Path) -> None:
    names = [f"{'folder/' * 30}{number:040}.png" for number in range(20)] + ["é" * 120 + ".png", "1" * 90]
    path = tmp_path / f"a.{ending}"
    with tarfile.open(path, "w:gz" if ending.endswith("gz") else "w", format=form) as archive:
        for name in names:
            content = GOOD * 128  # a whole block, so that the next header follows at once
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    found = [one for one in iter_source(str(path)) if isinstance(one, SourceItem)]
    assert [one.image_id for one in found] == [f"{path.name}!/{name}" for name in names]
    assert {one.read() for one in found} == {GOOD * 128}


# --- through the indexer ----------------------------------------------------------------------------------


def zip_of(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")  # of names that are there already
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def tar_of(*members: tuple[str, bytes]) -> bytes:
    return b"".join(member(name, data) for name, data in members) + END


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data")
    world.create()
    yield world
    world.close()


@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_archives_inside_of_archives_are_not_opened_and_counted(
    make: Callable[..., bytes], world: World, tmp_path: Path
) -> None:
    inner = zip_of(("secret.png", picture(1)))
    path = tmp_path / ("a.zip" if make is zip_of else "a.tar")
    other = tar_of(("x.png", picture(2)))
    path.write_bytes(make(("inner.zip", inner), ("inner.tar", other), ("a.png", picture(0))))
    job = world.indexer.index([str(path)], COLLECTION)
    world.indexer.run_pending()
    assert [image.image_id for image in world.live()] == [f"{path.name}!/a.png"]
    assert world.catalog.job_errors(job.id) == []
    assert world.catalog.job(job.id).skipped == {"archive": 2}


@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_names_that_only_some_systems_tell_apart_are_pictures_of_their_own(
    make: Callable[..., bytes], world: World, tmp_path: Path
) -> None:
    """Nothing is unpacked under its name, so nothing can overwrite anything."""
    forms = [unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")]
    names = ["A.png", "a.png", *forms, "a.png "]
    path = tmp_path / ("a.zip" if make is zip_of else "a.tar")
    path.write_bytes(make(*((name, picture(number)) for number, name in enumerate(names))))
    world.indexer.index([str(path)], COLLECTION)
    world.indexer.run_pending()
    found = {image.image_id: image.sha256 for image in world.live()}
    assert found == {
        f"{path.name}!/{name}": hashlib.sha256(picture(number)).hexdigest()
        for number, name in enumerate(names)
    }


@pytest.mark.parametrize("numbers", ["x,1", "1,x", "1"])
def test_a_sparse_header_without_numbers_is_said_in_words_of_our_own(tmp_path: Path, numbers: str) -> None:
    path = tmp_path / "sparse.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a.png")
        info.pax_headers = {"GNU.sparse.map": numbers, "GNU.sparse.size": "x"}
        archive.addfile(info)
    with pytest.raises(SourceError, match="a header with numbers that make no sense"):
        list(tar_members(str(path), 1 << 20))
