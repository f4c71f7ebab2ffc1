"""What a checkpoint says of itself beside its weights, in two files that are part of no fingerprint.

``calibration.json`` holds what makes its match probabilities believable::

    {"calibration": {"kind": "platt", "temperature": 1.3, "bias": -0.6, "unknown": -5.0},
     "known_words": {"least_norm": 0.8, "most_like_nonsense": 0.87},
     "fitted": {…}}

Each part may be missing: without a calibration the softmax is the probability, without ``known_words`` only
what the tokenizer cannot represent is unknown. Of the two signs of words that were never learned
(`sightline.blip.known_words`) the first one that is given counts. ``fitted`` says how it was made, and is
read by nobody.
``note.txt`` holds one sentence for whoever uses the model. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sightline.blip.calibration import PLAIN, Calibration, parse
from sightline.blip.checkpoint import DEMO, DEMO_FOLDER, TOY
from sightline.blip.checkpoint_files import read_json
from sightline.blip.headers import shown
from sightline.errors import CheckpointError

CALIBRATION: Final = "calibration.json"
NOTE: Final = "note.txt"
_MOST_NOTE: Final = 500
_PARTS: Final = frozenset({"calibration", "known_words", "fitted"})


@dataclass(frozen=True)
class Believable:
    """The bounds of `sightline.blip.known_words`; None: the checkpoint has none."""

    calibration: Calibration = PLAIN
    least_norm: float | None = None
    most_like_nonsense: float | None = None


def read_calibration(folder: Path) -> Believable:
    """What ``calibration.json`` says; the plain softmax where there is none.

    Raises:
        CheckpointError: the file cannot be used.
    """
    path = folder / CALIBRATION
    if not path.exists():
        return Believable()
    content = read_json(path)
    if strange := sorted(content.keys() - _PARTS):
        raise _unusable(path, f"has a part {shown(strange[0])}, which this version does not know")
    raw = content.get("calibration", {"kind": "identity"})
    try:
        found = parse(raw if isinstance(raw, dict) else {})
    except ValueError as error:
        raise _unusable(path, str(error)) from error
    return Believable(found, *_bounds(path, content.get("known_words", {})))


def _bounds(path: Path, raw: Any) -> tuple[float | None, float | None]:
    """The two signs' bounds."""
    if not isinstance(raw, dict) or raw.keys() - {"least_norm", "most_like_nonsense"}:
        raise _unusable(path, "has known_words that are no object of least_norm and most_like_nonsense")
    for name, most in (("least_norm", 1e6), ("most_like_nonsense", 1.0)):
        found = raw.get(name)
        is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
        if found is not None and not (is_number and 0 < found <= most):
            raise _unusable(path, f"has a {name} that is no number above 0 and at most {most:,.0f}")
    least, likeness = raw.get("least_norm"), raw.get("most_like_nonsense")
    return None if least is None else float(least), None if likeness is None else float(likeness)


def _unusable(path: Path, clause: str) -> CheckpointError:
    return CheckpointError(f"The file {path} {clause}; fit it again, or remove it to do without.")


def note_on_disk(model: str) -> str | None:
    """The note of a model by name, where its folder lies here: nothing is looked up on the hub.

    Raises:
        CheckpointError: the note cannot be read.
    """
    folder = _folder_here(model)
    return None if folder is None else read_note(folder)


def calibration_on_disk(model: str) -> Calibration:
    """That of a model by name, where its folder lies here; the plain softmax where it does not.

    Raises:
        CheckpointError: the file cannot be used.
    """
    folder = _folder_here(model)
    return PLAIN if folder is None else read_calibration(folder).calibration


def _folder_here(model: str) -> Path | None:
    folder = DEMO_FOLDER if model == DEMO else Path(model).expanduser()
    return folder if model != TOY and folder.is_dir() else None


def read_note(folder: Path) -> str | None:
    """What a model asks to be said of it, on one line; None where it asks for nothing.

    Raises:
        CheckpointError: the file is no short UTF-8 text.
    """
    path = folder / NOTE
    try:
        with path.open("rb") as file:
            content = file.read(4 * _MOST_NOTE + 1).decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"The file {path} is not readable as UTF-8 text; remove it.") from error
    told = " ".join(content.split())
    if len(told) > _MOST_NOTE or not told.isprintable():
        raise CheckpointError(
            f"The file {path} has more than {_MOST_NOTE} characters, or odd ones; shorten it."
        )
    return told or None
