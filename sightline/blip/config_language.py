"""Dimensions of a checkpoint that writes with a language model, read from its ``config.json``: BLIP-2 of
stage 2 and InstructBLIP. Imports neither torch nor transformers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.blip.checkpoint import Dimensions, read_config_json
from sightline.blip.config import QFormerConfig, VisionConfig
from sightline.blip.config_values import check_language_values, count, pick, section
from sightline.errors import CheckpointError

DECODERS = ("opt", "llama")
"""Language models that continue a text; the others read it with an encoder and then answer."""
LANGUAGE_MODELS = (*DECODERS, "t5")
COCO_SIDE = 364
"""Pixels along a side of the BLIP-2 checkpoints that were tuned for captions of COCO; the others have 224."""


@dataclass(frozen=True)
class WriterConfig:
    """A ViT, a Q-Former and a language model."""

    vision_config: VisionConfig
    qformer_config: QFormerConfig
    text_config: dict[str, Any]
    """Of the language model, as the file has it: transformers' own classes read it."""
    num_query_tokens: int
    image_token_index: int | None

    @property
    def dimensions(self) -> Dimensions:
        """P and V; it embeds nothing."""
        return Dimensions((self.vision_config.num_patches, self.vision_config.hidden_size))

    @property
    def decoder_only(self) -> bool:
        """Whether the language model continues the prompt, and does not answer what an encoder read."""
        return self.text_config["model_type"] in DECODERS

    @property
    def tuned_on_coco(self) -> bool:
        """Whether captions begin with "a photo of": nothing in the file says so, but only those checkpoints
        take pictures of 364 pixels (docs/decisions/127)."""
        return self.vision_config.image_size == COCO_SIDE


def read_writer_config(folder: Path, *, reads_instruction: bool) -> WriterConfig:
    """Read ``config.json``.

    Args:
        reads_instruction: whether the Q-Former has weights for text (InstructBLIP), whatever the file says.

    Raises:
        CheckpointError: the file is missing, or names a language model that is not known here.
    """
    raw = read_config_json(folder)
    vision = pick(VisionConfig, section(raw, "vision_config"))
    said = {"encoder_hidden_size": vision.hidden_size, "use_qformer_text_input": reads_instruction}
    qformer = pick(QFormerConfig, {**section(raw, "qformer_config"), **said})
    text = section(raw, "text_config")
    if text.get("model_type") not in LANGUAGE_MODELS:
        raise CheckpointError(
            f"{folder} has a language model of type {text.get('model_type')!r}; the types that Sightline "
            f"loads are {', '.join(LANGUAGE_MODELS)}."
        )
    check_language_values(text)
    image = None if raw.get("image_token_index") is None else count(raw, "image_token_index", 0)
    queries = count(raw, "num_query_tokens", 32)
    return WriterConfig(vision, qformer, text, queries, image)


def writer_dimensions(folder: Path) -> Dimensions:
    """P and V of a checkpoint that writes; raises as `read_writer_config`."""
    return read_writer_config(folder, reads_instruction=True).dimensions
