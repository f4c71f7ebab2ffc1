"""What the tests of the chain from pictures to words stand on: checkpoints, pictures, what must come of them.

The checkpoints are small and random and lie on a disk as the hub has them. `Alone` calls one directly, from
pixels, without the house.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sightline import blip
from sightline.blip.checkpoint import Role
from sightline.blip.protocols import Answerer, Captioner, RetrievalModel, answering, captioning, embedding
from sightline.blip.random_weights import write_random_checkpoint
from sightline.blip.random_weights_blip import (
    write_random_blip,
    write_random_blip_answerer,
    write_random_blip_captioner,
)
from sightline.blip.random_weights_language import write_random_blip2_writer, write_random_instructblip
from sightline.blip.sampling import Caption, SamplingName
from sightline.types import RGB

NAMES = ("Quolley", "Brimsk", "Zandover", "Hyffle", "Murx")
"""Image ids, each of which stands in the caption of its picture and nowhere else."""
RARE = "Murx"
"""Its picture is the last one by ITC for its name, with both models that retrieve here."""
CAPTIONS = {
    "Quolley": "Quolley on the beach",
    "Brimsk": "Brimsk and two blue dogs",
    "Zandover": "Zandover the red house",
    "Hyffle": "Hyffle in a tree",
    "Murx": "Murx with three cats on the left",
}


def write_checkpoints(folder: Path) -> dict[str, str]:
    """Their folders by short names, and the toy, which has none."""
    made = {
        "blip": write_random_blip(folder / "blip"),
        "blip2": write_random_checkpoint(folder / "blip2"),
        "blip-captions": write_random_blip_captioner(folder / "blip-captions", seed=1),
        "blip-answers": write_random_blip_answerer(folder / "blip-answers", seed=2),
        "blip2-opt": write_random_blip2_writer(folder / "blip2-opt", "opt", seed=3),
        "blip2-t5": write_random_blip2_writer(folder / "blip2-t5", "t5", seed=4),
        "instructblip-t5": write_random_instructblip(folder / "instructblip-t5", "t5", seed=5),
        "instructblip-llama": write_random_instructblip(folder / "instructblip-llama", "llama", seed=6),
        "instructblip-opt": write_random_instructblip(folder / "instructblip-opt", "opt", seed=7),
    }
    return {"toy": "toy", **{name: str(path) for name, path in made.items()}}


def write_captioner_answerer_and_retrieval(folder: Path) -> dict[str, str]:
    """One checkpoint for each role, by its name."""
    return {
        "retrieval": str(write_random_checkpoint(folder / "retrieval")),
        "captioner": str(write_random_blip_captioner(folder / "captioner", seed=1)),
        "answerer": str(write_random_instructblip(folder / "answerer", "t5", seed=5)),
    }


def drawn(number: int) -> RGB:
    """[32,32,3]: sixteen squares of random colours."""
    coarse = np.random.default_rng(30 + number).integers(0, 256, (4, 4, 3), np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)


PICTURES = [drawn(number) for number in range(len(NAMES))]


def png(picture: RGB) -> bytes:
    """The bytes of its file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def numbers() -> tuple[int, ...]:
    """By which each picture's texts are drawn: the first 60 bits of the SHA-256 of its file."""
    return tuple(int(hashlib.sha256(png(picture)).hexdigest(), 16) >> 196 for picture in PICTURES)


def write_pictures(folder: Path) -> Path:
    """The five pictures, and a manifest with their captions; the manifest."""
    folder.mkdir(parents=True)
    rows = []
    for name, picture in zip(NAMES, PICTURES, strict=True):
        (folder / f"{name}.png").write_bytes(png(picture))
        rows.append(json.dumps({"uri": f"{name}.png", "id": name, "caption": CAPTIONS[name]}))
    (folder / "pictures.jsonl").write_text("\n".join(rows))
    return folder / "pictures.jsonl"


@dataclass(frozen=True)
class Alone:
    """A checkpoint that is called directly. All about the five pictures, as fp16 keeps what is seen."""

    folder: str
    role: Role

    @cached_property
    def _model(self) -> blip.Vision:
        return blip.load(self.folder, device="cpu", role=self.role)

    @property
    def captioner(self) -> Captioner:
        """The same."""
        return captioning(self._model, self.folder)

    @property
    def answerer(self) -> Answerer:
        """The same."""
        return answering(self._model, self.folder)

    @property
    def retrieval(self) -> RetrievalModel:
        """The same."""
        return embedding(self._model, self.folder)

    @cached_property
    def patches(self) -> Tensor:
        """``[5,P,V]``."""
        return self._model.encode_patches(self._model.preprocess(PICTURES)).half().float()

    @cached_property
    def tokens(self) -> Tensor:
        """``[5,Q,D]`` of a model that retrieves."""
        return self.retrieval.encode_image(self.patches).half().double()

    def features(self, writer: Captioner | Answerer) -> Tensor:
        """``[5,F,W]`` of a model that writes."""
        return writer.features(writer.encode_patches(writer.preprocess(PICTURES))).half().float()

    def captions(self, n: int, sampling: SamplingName) -> dict[str, dict[str, float]]:
        """Of each picture: texts with their log-probabilities."""
        writer = self.captioner
        with torch.inference_mode():
            drawing = replace(writer.sampling(sampling), seed=0, images=numbers())
            found = writer.caption(self.features(writer), n, drawing)
        return {name: storable(some) for name, some in zip(NAMES, found, strict=True)}

    def probability(self, name: str, text: str) -> float:
        """That a text fits a picture: that of its worst line."""
        lines = [line for line in text.splitlines() if line.strip()]
        patches = self.patches[NAMES.index(name)].expand(len(lines), -1, -1)
        return float(self.retrieval.match(lines, patches, "exact").double().softmax(dim=1)[:, 1].min())

    def itc_order(self, text: str) -> list[str]:
        """Names of the pictures, the best first."""
        scores = (self.tokens @ self.retrieval.encode_text([text])[0].double()).amax(dim=1)
        return [NAMES[at] for at in scores.argsort(descending=True).tolist()]


def storable(captions: Sequence[Caption]) -> dict[str, float]:
    """Each text once. A random model of bytes writes what no database stores, and what says nothing."""
    first: dict[str, float] = {}
    for one in captions:
        if one.text.strip():
            first.setdefault(one.text.replace("\0", "\\x00"), one.log_probability)
    return first
