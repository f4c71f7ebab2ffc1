"""The pictures of a run: which train, which measure, and the batches made of them.

``N`` pictures · ``B`` pairs · ``P`` patches · ``V`` vision width · ``S`` pixels a side · ``L`` text length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from sightline.blip.pixels import PixelConfig, normalise
from sightline.blip.tokenizer import TextTokenizer
from sightline.errors import InputError
from sightline.evaluation.data import DataProblem, Picture, prepare_text, read_pictures
from sightline.evaluation.tables import WRITTEN, PictureTable, TableView
from sightline.training.augment import augment
from sightline.training.config import TrainConfig
from sightline.training.learner import Batch
from sightline.training.order import Order
from sightline.training.validation import Sample

HELD_OUT = 0.1
"""Share of the pictures that measures when the data names no validation split."""


@dataclass(frozen=True)
class Split:
    """Pictures that train and pictures that measure; ``measured`` says which those are."""

    name: str
    train: tuple[Picture, ...]
    val: tuple[Picture, ...]
    measured: str
    problems: tuple[DataProblem, ...]


def read_split(config: TrainConfig) -> Split:
    """Train on ``train`` or what has no split; measure on ``val``, else ``test``, else a tenth held out.

    Raises:
        InputError: the data cannot be read or holds no usable picture.
    """
    data = read_pictures(config.data, config.images)
    train = tuple(picture for picture in data.pictures if picture.split in ("train", ""))
    for name in ("val", "test"):
        val = tuple(picture for picture in data.pictures if picture.split == name)
        if val:
            return Split(data.name, train, val[: config.eval_pictures], name, data.problems)
    order = np.random.default_rng([config.seed, 2]).permutation(len(train))
    held = {int(row) for row in order[: min(config.eval_pictures, max(1, round(HELD_OUT * len(train))))]}
    val = tuple(picture for row, picture in enumerate(train) if row in held)
    rest = tuple(picture for row, picture in enumerate(train) if row not in held)
    return Split(data.name, rest, val, "held out", data.problems)


def sample_of(
    pictures: Sequence[Picture], table: PictureTable, config: TrainConfig, pixels: PixelConfig | None
) -> Sample:
    """Some of the pictures that measure, with a caption each; the same ones in every run with this seed.

    Raises:
        InputError: none of them can be decoded.
    """
    rows = table.rows(WRITTEN)
    if not rows:
        raise InputError(f"None of the {len(table)} pictures that measure could be decoded.")
    drawn = np.random.default_rng([config.seed, 4])
    chosen = sorted(drawn.permutation(rows)[: config.validation_pictures].tolist())
    texts = []
    for row in chosen:
        captions = pictures[row].captions
        texts.append(prepare_text(captions[int(drawn.integers(len(captions)))], config.text))
    view = table.view(chosen)
    every = range(len(chosen))
    images = view.read(every) if pixels is None else normalise(view.values(every), pixels.mean, pixels.std)
    return Sample(images, texts)


class Batches:
    """Batches of one rank by step number; the next one is made ready while the current one trains."""

    def __init__(
        self,
        pictures: Sequence[Picture],
        table: TableView,
        tokenizer: TextTokenizer,
        order: Order,
        config: TrainConfig,
        pixels: PixelConfig | None,
    ) -> None:
        self._table = table
        self._texts = [[prepare_text(text, config.text) for text in p.captions] for p in pictures]
        self._tokenizer = tokenizer
        self._order = order
        self._pixels = pixels
        self._config = config
        sentences = sorted({text.lower() for texts in self._texts for text in texts})
        self._sentence_ids = {text: number for number, text in enumerate(sentences)}
        names: dict[str, int] = {}
        self._picture_ids = [names.setdefault(str(picture.path), len(names)) for picture in pictures]

    def make(self, step: int, rank: int = 0) -> Batch:
        """One batch on the CPU: patches ``[B,P,V]``, or pixels ``[B,3,S,S]`` if the image encoder trains."""
        pairs = self._order.batch(step, rank)
        texts = [self._texts[picture][caption] for picture, caption in pairs]
        ids, valid = self._tokenizer.batch(texts)
        rows = [picture for picture, _ in pairs]
        return Batch(
            images=self._table.read(rows)
            if self._pixels is None
            else self._see(rows, self._pixels, (step, rank)),
            ids=ids,
            valid=valid,
            image_ids=torch.tensor([self._picture_ids[row] for row in rows]),
            text_ids=torch.tensor([self._sentence_ids[text.lower()] for text in texts]),
        )

    def stream(self, start: int, stop: int, rank: int = 0) -> Iterator[Batch]:
        """Batches of the steps from ``start`` to ``stop``."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            coming = pool.submit(self.make, start, rank) if start < stop else None
            for step in range(start, stop):
                assert coming is not None
                batch = coming.result()
                coming = pool.submit(self.make, step + 1, rank) if step + 1 < stop else None
                yield batch

    def _see(self, rows: Sequence[int], pixels: PixelConfig, place: tuple[int, int]) -> torch.Tensor:
        seen = normalise(self._table.values(rows), pixels.mean, pixels.std, pixels.rescale)
        return augment(seen, (self._config.seed, 5, *place)) if self._config.augment else seen
