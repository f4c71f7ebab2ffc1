"""What a checkpoint is made of, as networks on the meta device: names and shapes of every tensor it needs.

Costs no memory for weights. Language models and BLIP's decoders are transformers' own classes, so that
package is imported for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from torch import nn

from sightline.blip.checkpoint import read_config_json
from sightline.blip.config import VisionConfig, read_config
from sightline.blip.config_blip import ANSWERING, BLIP, CAPTIONING, read_blip_config
from sightline.blip.config_language import read_writer_config
from sightline.blip.headers import TensorEntry
from sightline.blip.image_encoder import PREFIX
from sightline.blip.network import Blip2Network
from sightline.blip.network_blip import BlipNetwork
from sightline.blip.query_network import InstructedQueryNetwork, QueryNetwork
from sightline.blip.uninitialised import Uninitialised
from sightline.blip.vit import VisionModel

VISION: Final = "image encoder"
LANGUAGE: Final = "language model"
DECODER: Final = "text decoder"


@dataclass(frozen=True)
class Part:
    """One network of a checkpoint, on the meta device."""

    name: str
    module: nn.Module
    prefix: str = ""
    tied: Mapping[str, str] = field(default_factory=dict)
    """Names in the module that a file may leave out, each with the one that it equals."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Beginnings of the module's names, with what the files have in their place."""

    def needed(self) -> Iterator[tuple[tuple[str, ...], torch.Tensor]]:
        """The names by which a file may have each tensor, and its shape (on the meta device)."""
        for name, value in self.module.state_dict().items():
            same = (self.tied[name],) if name in self.tied else ()
            yield tuple(self._in_file(one) for one in (name, *same)), value

    def parameters(self, tensors: Mapping[str, TensorEntry]) -> int:
        """How many numbers it holds; what is tied counts once, unless the files have both (FlanT5's head)."""
        tied = sum(value.numel() for names, value in self.needed() if len(names) > 1 and names[0] in tensors)
        alone = sum(value.numel() for names, value in self.needed() if len(names) == 1)
        return alone + tied

    def _in_file(self, name: str) -> str:
        for ours, theirs in self.renamed.items():
            if name.startswith(ours):
                return self.prefix + theirs + name.removeprefix(ours)
        return self.prefix + name


def parts_of(folder: Path) -> list[Part]:
    """The networks that a checkpoint's configuration describes.

    Raises:
        CheckpointError: the configuration cannot be used. Its family is known (`registry.family_of`).
    """
    raw = read_config_json(folder)
    named = raw.get("architectures") or [""]
    with torch.device("meta"), Uninitialised():
        if raw["model_type"] == BLIP:
            return _blip(folder, named[0])
        if raw["model_type"] == "instructblip":
            return _writer(folder, instructed=True)
        if named[0] == "Blip2ForConditionalGeneration":
            return _writer(folder, instructed=False)
        config = read_config(folder)
        return [_vision(config.vision_config), Part("Q-Former", Blip2Network(config, with_vision=False))]


def _vision(config: VisionConfig) -> Part:
    return Part(VISION, VisionModel(config), PREFIX)


def _blip(folder: Path, architecture: str) -> list[Part]:
    from sightline.blip.blip_decoder import TIED, empty_decoder, empty_question_encoder

    config = read_blip_config(folder)
    vision, text = _vision(config.vision_config), config.text_config
    if architecture == CAPTIONING:
        decoder = empty_decoder(text, config.vision_config.hidden_size)
        return [vision, Part(DECODER, decoder, "text_decoder.", TIED)]
    if architecture == ANSWERING:
        decoder = empty_decoder(text, text.hidden_size)
        return [
            vision,
            Part("text encoder", empty_question_encoder(text), "text_encoder."),
            Part(DECODER, decoder, "text_decoder.", TIED),
        ]
    return [vision, Part("text encoder", BlipNetwork(config, with_vision=False))]


def _writer(folder: Path, *, instructed: bool) -> list[Part]:
    from sightline.blip.language_loading import PREFIX as LANGUAGE_PREFIX
    from sightline.blip.language_loading import empty_language_model, language_class

    config = read_writer_config(folder, reads_instruction=instructed)
    kind, text_config = language_class(folder, config)
    language = empty_language_model(kind, text_config)
    width = language.get_input_embeddings().weight.shape[1]
    make: Callable[..., nn.Module] = InstructedQueryNetwork if instructed else QueryNetwork
    renamed = {"qformer.layernorm.": "qformer.embeddings.layernorm.", "embeddings.": "qformer.embeddings."}
    return [
        _vision(config.vision_config),
        Part("Q-Former", make(config, width), renamed=renamed if instructed else {}),
        Part(LANGUAGE, language, LANGUAGE_PREFIX, dict(language.all_tied_weights_keys)),
    ]


def lacking(parts: list[Part], tensors: Mapping[str, TensorEntry]) -> tuple[list[str], list[str]]:
    """Names of tensors that a checkpoint lacks, and a sentence for each that has another shape."""
    missing, wrong = [], []
    for part in parts:
        for names, value in part.needed():
            entry = next((tensors[name] for name in names if name in tensors), None)
            if entry is None:
                missing.append(names[0])
            elif entry.shape != tuple(value.shape):
                said = f"its config.json says {list(value.shape)}"
                wrong.append(f"The tensor {entry.name} is {list(entry.shape)}, {said}.")
    return missing, wrong
