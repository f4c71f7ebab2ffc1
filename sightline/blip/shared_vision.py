"""Patches of one checkpoint made those of another that has the same ViT.

The reference freezes the ViT but not the norm behind it (LAVIS ``blip2.py`` ``ln_vision``), so that several
BLIP-2 and InstructBLIP checkpoints differ in ``post_layernorm`` alone. That norm is undone and applied anew:
y' = (y − b) / w · w' + b', with w, b of the one and w', b' of the other (docs/scoring.md, "The family").
Shapes: B images · P patches · V vision width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sightline.blip.checkpoint import list_tensors, read_config_json
from sightline.blip.config import VisionConfig, pick
from sightline.blip.config_blip import BLIP, BlipVisionConfig
from sightline.blip.config_values import section
from sightline.blip.fingerprints import Digests, ReadDigests
from sightline.blip.headers import TensorEntry
from sightline.blip.image_encoder import PREFIX
from sightline.blip.pixel_config import read_pixel_config
from sightline.blip.weights import folder_of, read_tensors
from sightline.errors import CheckpointError

_NORM = "post_layernorm."
_NARROWEST = 1e-4
"""A channel that the first norm all but removed cannot be brought back from fp16."""


@dataclass(frozen=True)
class PatchTransfer:
    """``y' = y · scale + shift`` for each of the V channels; computed in float32."""

    scale: Tensor
    shift: Tensor
    is_identity: bool
    """Whether nothing changes: the norms are equal, too."""

    def apply(self, patches: Tensor) -> Tensor:
        """``[…,V]`` of the one checkpoint to ``[…,V]`` float32 of the other."""
        if self.is_identity:
            return patches.float()
        return patches.float() * self.scale.to(patches.device) + self.shift.to(patches.device)


def patch_transfer(
    from_folder: Path, to_folder: Path, digests: Digests | None = None
) -> PatchTransfer | None:
    """How patches of one checkpoint become those of another; None where they cannot.

    They can where both take the same pixels and have the same ViT: its configuration, and all tensors but
    those of ``post_layernorm``, type and bytes (`sightline.blip.fingerprints.tensor_digests`).

    Args:
        digests: of files, for those who remember them; None reads the files.

    Raises:
        CheckpointError: a folder holds no readable checkpoint.
    """
    one, other = _described(from_folder), _described(to_folder)
    if one != other:
        return None
    chosen = digests or ReadDigests()
    first, second = list_tensors(from_folder), list_tensors(to_folder)
    if _digests(first, chosen) != _digests(second, chosen):
        return None
    return _transfer(*_norm(first), *_norm(second))


def _described(folder: Path) -> tuple[object, object]:
    """The ViT's configuration and the pixels that it is given."""
    raw = read_config_json(folder)
    vision = pick(
        BlipVisionConfig if raw.get("model_type") == BLIP else VisionConfig, section(raw, "vision_config")
    )
    return vars(vision), read_pixel_config(folder, vision.image_size)


def _digests(tensors: dict[str, TensorEntry], digests: Digests) -> dict[str, str]:
    wanted = [one for name, one in tensors.items() if name.startswith(PREFIX) and _NORM not in name]
    files = {path: digests.of_tensors(path) for path in {one.path for one in wanted}}
    return {one.name: files[one.path][one.name] for one in wanted if not one.name.endswith("position_ids")}


def _norm(tensors: dict[str, TensorEntry]) -> tuple[Tensor, Tensor]:
    """Weight and bias ``[V]`` of the norm behind the ViT, in float64."""
    weight, bias = (f"{PREFIX}{_NORM}{part}" for part in ("weight", "bias"))
    missing = [name for name in (weight, bias) if name not in tensors]
    if missing:
        raise CheckpointError(f"{folder_of(tensors)} lacks {missing[0]}; it is no checkpoint of the family.")
    found = dict(read_tensors(tensors[name] for name in (weight, bias)))
    return found[weight].double(), found[bias].double()


def _transfer(weight_V: Tensor, bias_V: Tensor, weight2_V: Tensor, bias2_V: Tensor) -> PatchTransfer | None:
    same = torch.equal(weight_V, weight2_V) and torch.equal(bias_V, bias2_V)
    if not same and bool((weight_V.abs() < _NARROWEST).any()):
        return None
    scale_V = torch.ones_like(weight_V) if same else weight2_V / weight_V
    return PatchTransfer(scale_V.float(), (bias2_V - bias_V * scale_V).float(), same)
