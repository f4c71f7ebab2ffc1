"""Captioned pictures from Karpathy's JSON (`dataset_flickr8k.json` and its like) or our captions.jsonl.

``N`` pictures · ``T`` texts. What cannot be used is listed as a problem and left out, never silently.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InputError
from sightline.evaluation.config import TextHandling

LAVIS_MAX_WORDS = 50


@dataclass(frozen=True)
class DataProblem:
    """Something of the data that was left out: where, a short code, and a sentence."""

    where: str
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}: {self.detail}"


@dataclass(frozen=True)
class Picture:
    """One picture as the data names it, with its usable captions and its split (empty: none given)."""

    name: str
    path: Path
    captions: tuple[str, ...]
    split: str = ""


@dataclass(frozen=True)
class Pictures:
    """A whole data file: name (``coco``, ``flickr30k``, or the folder's), pictures, what was left out."""

    name: str
    pictures: tuple[Picture, ...]
    problems: tuple[DataProblem, ...]

    def of_split(self, split: str | None) -> tuple[str, tuple[Picture, ...]]:
        """The split that was asked for (None: test, else val, else all) and its pictures.

        Raises:
            InputError: the data has no such split.
        """
        present = {picture.split for picture in self.pictures}
        chosen = split or next((name for name in ("test", "val") if name in present), "all")
        if chosen == "all":
            return chosen, self.pictures
        if chosen not in present:
            names = ", ".join(sorted(filter(None, present))) or "none"
            raise InputError(f"The data has no pictures of the split {chosen!r}; its splits are: {names}.")
        return chosen, tuple(picture for picture in self.pictures if picture.split == chosen)


@dataclass(frozen=True)
class RetrievalSet:
    """N pictures and T texts, each text belonging to one picture: ``image_of_text`` ``[T]``."""

    name: str
    split: str
    pictures: tuple[Picture, ...]
    texts: tuple[str, ...]
    image_of_text: NDArray[np.int64]

    def keep(self, rows: Sequence[int]) -> RetrievalSet:
        """The same set with only these pictures, in this order."""
        pictures = tuple(self.pictures[row] for row in rows)
        new_row = {row: position for position, row in enumerate(rows)}
        kept = [t for t, row in enumerate(self.image_of_text) if int(row) in new_row]
        texts = tuple(self.texts[t] for t in kept)
        image_of_text = np.array([new_row[int(self.image_of_text[t])] for t in kept], dtype=np.int64)
        return RetrievalSet(self.name, self.split, pictures, texts, image_of_text)


def retrieval_set(
    name: str, split: str, pictures: Sequence[Picture], text: TextHandling = "lavis"
) -> RetrievalSet:
    """Every caption of every picture becomes one text."""
    texts = [prepare_text(caption, text) for picture in pictures for caption in picture.captions]
    rows = [row for row, picture in enumerate(pictures) for _ in picture.captions]
    return RetrievalSet(name, split, tuple(pictures), tuple(texts), np.array(rows, dtype=np.int64))


def prepare_text(caption: str, handling: TextHandling) -> str:
    """The sentence that the tokenizer gets; ``lavis`` is LAVIS' ``BlipCaptionProcessor.pre_caption``."""
    if handling == "transformers":
        return caption
    text = re.sub(r"([.!\"()*#:;~])", " ", caption.lower())
    text = re.sub(r"\s{2,}", " ", text).rstrip("\n").strip(" ")
    return " ".join(text.split(" ")[:LAVIS_MAX_WORDS])


def read_pictures(data: Path, images: Path) -> Pictures:
    """Read either format; the file's content decides which.

    Raises:
        InputError: the file cannot be read, or holds no usable picture.
    """
    try:
        raw = data.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{data} cannot be read as text: {said}.") from error
    name, rows = _karpathy(raw) or (data.resolve().parent.name, _json_lines(raw))
    found: list[Picture] = []
    problems: list[DataProblem] = []
    for row in rows:
        _collect(row, images, found, problems)
    if not found:
        first = f" The first problem: {problems[0]}." if problems else ""
        raise InputError(f"{data} holds no picture with a caption whose file is below {images}.{first}")
    return Pictures(name, tuple(found), tuple(problems))


@dataclass(frozen=True)
class _Row:
    where: str
    image: str
    captions: list[Any]
    split: str


def _karpathy(raw: str) -> tuple[str, Iterator[_Row | DataProblem]] | None:
    try:
        document = json.loads(raw)
    except ValueError:
        return None  # several lines of JSON, or broken: read line by line
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        return None
    return str(document.get("dataset", "karpathy")), _karpathy_rows(document["images"])


def _karpathy_rows(images: list[Any]) -> Iterator[_Row | DataProblem]:
    for number, entry in enumerate(images):
        try:
            image = str(Path(entry.get("filepath", ""), entry["filename"]))
            captions = [sentence["raw"] for sentence in entry["sentences"]]
        except (AttributeError, KeyError, TypeError):
            yield DataProblem(f"images[{number}]", "row", "It needs a filename, and sentences with raw text.")
            continue
        split = str(entry.get("split", ""))
        # The 30,504 pictures that COCO's validation set gave back to training (Karpathy & Fei-Fei 2015).
        yield _Row(image, image, captions, "train" if split == "restval" else split)


def _json_lines(raw: str) -> Iterator[_Row | DataProblem]:
    # Lines of JSON end with "\n" alone: U+2028, which Python takes for an end too, may stand in a text.
    for number, line in enumerate(raw.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            captions = entry["captions"] if "captions" in entry else [entry["caption"]]
            row = _Row(f"line {number}", str(entry["image"]), list(captions), str(entry.get("split") or ""))
        except (ValueError, KeyError, TypeError):
            yield DataProblem(f"line {number}", "row", 'It needs {"image": …, "captions": […]}.')
            continue
        yield row


def _collect(
    row: _Row | DataProblem, images: Path, found: list[Picture], problems: list[DataProblem]
) -> None:
    if isinstance(row, DataProblem):
        problems.append(row)
        return
    path = locate(images, row.image)
    if path is None:
        problems.append(DataProblem(row.image, "missing", f"There is no such file below {images}."))
        return
    captions = [" ".join(text.split()) for text in row.captions if _says_something(text)]
    for _ in range(len(row.captions) - len(captions)):
        problems.append(DataProblem(row.image, "caption", f"A caption is empty ({row.where})."))
    if captions:
        found.append(Picture(row.image, path, tuple(captions), row.split))
    elif not row.captions:
        problems.append(DataProblem(row.image, "caption", f"There is no caption ({row.where})."))


def _says_something(caption: object) -> bool:
    # Punctuation alone would be an empty text after LAVIS' handling.
    return isinstance(caption, str) and bool(prepare_text(caption, "lavis"))


def locate(images: Path, name: str) -> Path | None:
    """The file below the folder by its full name, or by its last part (folders are often flattened)."""
    for candidate in (images / name, images / Path(name).name):
        if candidate.is_file():
            return candidate
    return None
