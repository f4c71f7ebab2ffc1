"""A model folder that is renewed while it may be read or its writer killed.

New files are written in a folder aside, which is renamed when they are all there; then each is moved to its
place, the weights last. Who is killed before the renaming has changed nothing; what a kill leaves after it
is moved by the next ``finish``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from sightline.errors import NoRoomError
from sightline.store.durable import sync_folder
from sightline.store.storage import writing

ASIDE, WHOLE = ".model.new", ".model.whole"
WEIGHTS = "model.safetensors"
_FAILED_WRITES = ("StorageFull", "No space left", "PytorchStreamWriter", "inline_container", "iostream")
"""What safetensors and PyTorch say of a write that failed, which for a regular file is a full disk."""


@contextmanager
def publication(out: Path) -> Iterator[Path]:
    """A folder to write in; what lies in it at the end becomes part of ``out``, all of it or nothing.

    Raises:
        StorageError: the disk is full or refuses; ``out`` is as it was and nothing is left behind.
    """
    out.mkdir(parents=True, exist_ok=True)
    finish(out)
    aside = out / ASIDE
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with writing_tensors(out):
            aside.mkdir()
            yield aside
            for path in aside.iterdir():
                _sync(path)
            os.rename(aside, out / WHOLE)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    finish(out)


def finish(out: Path) -> None:
    """Move to its place what a publication that was killed had written whole."""
    whole = out / WHOLE
    if not whole.is_dir():
        return
    for path in sorted(whole.iterdir(), key=lambda path: path.name == WEIGHTS):
        os.replace(path, out / path.name)
    whole.rmdir()
    sync_folder(out)


@contextmanager
def writing_tensors(path: Path) -> Iterator[None]:
    """The block writes tensors at ``path``: what the disk refuses becomes a StorageError.

    safetensors and ``torch.save`` wrap the system's error in types of their own and keep its text alone.
    """
    try:
        with writing(path):
            yield
    except (SafetensorError, RuntimeError) as error:
        if not any(said in str(error) for said in _FAILED_WRITES):
            raise
        raise NoRoomError(f"The disk is full at {path}; free some room there.") from error


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
