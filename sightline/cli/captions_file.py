"""``--captions`` of training and evaluation, which was ``--data`` once."""

from __future__ import annotations

from pathlib import Path

from sightline.console import remarks
from sightline.errors import InputError


def captions_of(captions: Path | None, data: Path | None) -> tuple[Path, Path | None]:
    """The file of captions, and the data folder if one was named. ``data`` may be a file, as it was once.

    Raises:
        InputError: no captions were named.
    """
    if captions is not None:
        return captions, data
    if data is None or data.is_dir():
        raise InputError("Name the file with the captions: --captions FILE.")
    remarks().print(
        f"The option --data names the data folder; say --captions {data}.", markup=False, soft_wrap=True
    )
    return data, None
