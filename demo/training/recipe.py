"""Every number of the demo model's making in one place."""

from __future__ import annotations

from dataclasses import dataclass, field

from sightline.blip.config import Blip2Config, QFormerConfig, VisionConfig


def architecture(vocab_size: int) -> Blip2Config:
    """The demo geometry: real heads (32 query tokens, 256-d joint space), everything else small."""
    vision = VisionConfig(
        hidden_size=192,
        intermediate_size=576,
        num_hidden_layers=6,
        num_attention_heads=6,
        image_size=128,
        patch_size=16,
    )
    qformer = QFormerConfig(
        vocab_size=vocab_size,
        hidden_size=192,
        num_hidden_layers=4,
        num_attention_heads=6,
        intermediate_size=512,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=64,
        cross_attention_frequency=1,
        encoder_hidden_size=192,
        use_qformer_text_input=True,
    )
    return Blip2Config(vision, qformer, num_query_tokens=32, image_text_hidden_size=256)


@dataclass(frozen=True)
class VisionStage:
    """Stage 1: the image encoder learns what each patch shows and what stands around it."""

    steps: int = 1500
    batch_size: int = 96
    patches_kept: int = 26
    """Cells that a step looks at, things first, until ``all_patches_from`` of the run."""
    all_patches_from: float = 0.88
    lr: float = 2e-3
    weight_decay: float = 0.02


@dataclass(frozen=True)
class QFormerStage:
    """Stage 2: ITC, ITM and ITG on frozen patches."""

    steps: int = 2600
    families_per_batch: int = 14
    pictures_per_family: int = 4
    random_per_batch: int = 8
    lr: float = 1.5e-3
    weight_decay: float = 0.02
    itm_queries: int = 10
    """Query tokens drawn at random for each ITM step, until ``full_queries_after``."""
    full_queries_after: float = 0.85
    """From this share of the run on ITM sees all query tokens."""
    itc_weight: float = 1.0
    itm_weight: float = 1.5
    itm_every: int = 1
    """ITM is learned at every so many-th step: three pairs for each picture make most of a step's work."""
    random_negatives_until: float = 0.10
    """Until this share of the run ITM sees random negatives only; hard ones at once keep it at chance."""
    hard_negatives_from: float = 0.22
    """From here on negatives are drawn by the ITC softmax; half of the texts are near misses by design."""


SETTLING = QFormerStage(
    steps=700,
    families_per_batch=10,
    pictures_per_family=8,
    lr=6e-4,
    itm_every=3,
    itc_weight=3.0,
    full_queries_after=0.0,
    random_negatives_until=-1.0,
    hard_negatives_from=0.0,
)
"""Stage 3: ITC, which the stage before leaves short of its plateau, on whole families; ITM only refreshed."""


@dataclass(frozen=True)
class Recipe:
    """The whole run."""

    seed: int = 7
    families: int = 3000
    random_scenes: int = 8000
    max_text_tokens: int = 40
    vocab_size: int = 3600
    vision: VisionStage = field(default_factory=VisionStage)
    qformer: QFormerStage = field(default_factory=QFormerStage)
    settling: QFormerStage = SETTLING
