"""The patch codec: a linear latent of the patches, fitted in the metric that the cross-attention sees.

Cross-attention looks at patches p only through its key and value projections, W [M,V] stacked over all
layers. So what counts in a reconstruction p̂ is ‖W(p − p̂)‖, not ‖p − p̂‖. With G = WᵀW = A Aᵀ and the
covariance C of the patches, the best rank R keeps the leading eigenvectors U of Aᵀ C A (the
Eckart–Young theorem for y = Aᵀ(p − mean), of which ‖W(p − mean)‖ is the length):

    z = Uᵀ Aᵀ (p − mean)          p̂ = mean + A⁺ᵀ U z

Any rotation of z gives the same p̂. One at random spreads the variance evenly, so that one int8 scale for
all of a patch's R numbers wastes no bits (docs/decisions/030-patch-codec.md).

Shapes: K images · P patches · V vision width · R latent rank · M rows of the stacked projections.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from base.errors import CorruptionError, InputError, ModelMismatchError
from blip.latents import Basis, Latents
from blip.network import Blip2Network

INT8: Final = "int8"
"""Id of the codec without a latent: the codes are those of the patches themselves."""
FORMAT: Final = {"format": "sightline-patch-codec", "version": "1"}
_TENSORS: Final = ("encoder", "components", "mean")
_PROJECTIONS: Final = ("crossattention.attention.key.weight", "crossattention.attention.value.weight")
_RMS: Final = 32.0
"""Root mean square of the latent's numbers: a patch's scale is then about 1, far from both ends of fp16."""
_EIGENVALUE_FLOOR: Final = 1e-10
_IMAGES_AT_ONCE: Final = 32


@runtime_checkable
class PatchMetric(Protocol):
    """A model that can say how its cross-attention weighs errors of the patches."""

    def patch_metric(self) -> Tensor:
        """G ``[V,V]`` fp64: an error e of one patch costs eᵀ G e."""
        ...


@dataclass(frozen=True, eq=False)
class PatchCodec:
    """A fitted latent; immutable. Equal ids mean equal numbers."""

    encoder: Tensor
    """``[V,R]`` fp32: latent = (patch − mean) @ encoder."""
    basis: Basis
    fingerprint: str
    """Of the model whose patches it was fitted on, and is for."""
    images: int
    """How many it was fitted on."""

    @property
    def id(self) -> str:
        """``latent-`` and twelve hex digits of the SHA-256 of everything in it."""
        return self.basis.id

    def encode(self, patches_KPV: Tensor) -> Latents:
        """Compress, on the device of the patches."""
        device = patches_KPV.device
        mean, encoder = self.basis.mean.to(device), self.encoder.to(device)
        latent_KPR = (patches_KPV.to(torch.float32) - mean) @ encoder
        return quantise(latent_KPR, self.basis)


def quantise(latent_KPR: Tensor, basis: Basis | None) -> Latents:
    """int8 codes with the smallest fp16 scale for each patch that loses no peak: error ≤ scale / 2.

    With ``basis`` None the latent is the patches themselves. A value beyond 127 · 65504 or not finite makes
    the scale of its patch infinite.
    """
    latent_KPR = latent_KPR.to(torch.float32)
    peak_KP = latent_KPR.abs().amax(dim=2).nan_to_num(nan=float("inf"))
    scale_KP = _half_not_below(peak_KP / 127.0)
    divisor_KP = scale_KP.to(torch.float32).clamp_min(torch.finfo(torch.float16).tiny * 2**-10)
    codes_KPR = (latent_KPR / divisor_KP[:, :, None]).round_().clamp_(-127, 127)
    return Latents(codes_KPR.nan_to_num_().to(torch.int8), scale_KP, basis)


def default_rank(width: int) -> int:
    """R for which int8 codes and a scale take at most a 1/11 of fp16 patches of this width.

    ``2V / (R + 2) ≥ 11``, and a multiple of 16 where there are that many: 240 for ViT-g (62,194 bytes an
    image at 224 px, 163,834 at 364 px), 32 for a width of 192.
    """
    rank = max(2 * width // 11 - 2, 1)
    return rank if rank < 16 else rank // 16 * 16


class PatchMoments:
    """Mean and covariance of patches, added up image by image: what a fit needs, in ``V²`` numbers."""

    def __init__(self, width: int) -> None:
        self.images = 0
        self._patches = 0
        self._sum_V = torch.zeros(width, dtype=torch.float64)
        self._products_VV = torch.zeros(width, width, dtype=torch.float64)
        self._origin_V: Tensor | None = None

    def add(self, patches_KPV: Tensor) -> None:
        """Count ``[K,P,V]`` in. Sums are in fp64, the products of a few images at a time in fp32."""
        for part_KPV in patches_KPV.split(_IMAGES_AT_ONCE):
            rows_NV = part_KPV.to("cpu", torch.float32).flatten(0, 1)
            if self._origin_V is None:  # near the mean, so that squares of a large mean cancel nothing
                self._origin_V = rows_NV.mean(dim=0)
            rows_NV = rows_NV - self._origin_V
            self._sum_V += rows_NV.sum(dim=0, dtype=torch.float64)
            self._products_VV += (rows_NV.T @ rows_NV).to(torch.float64)
            self._patches += len(rows_NV)
        self.images += len(patches_KPV)

    @property
    def mean(self) -> Tensor:
        """``[V]`` fp64."""
        if self._origin_V is None:
            raise InputError("There are no patches to fit a codec to; index some images first.")
        return self._origin_V.to(torch.float64) + self._sum_V / self._patches

    @property
    def covariance(self) -> Tensor:
        """``[V,V]`` fp64, about the mean."""
        shift_V = self.mean - self._origin_V  # type: ignore[operator]
        return self._products_VV / self._patches - torch.outer(shift_V, shift_V)


def cross_attention_metric(network: Blip2Network) -> Tensor:
    """G = WᵀW ``[V,V]`` fp64 of the key and value projections of every cross-attention layer, stacked."""
    width = network.config.qformer_config.encoder_hidden_size
    metric_VV = torch.zeros(width, width, dtype=torch.float64)
    for name, parameter in network.qformer.named_parameters():
        if name.endswith(_PROJECTIONS):
            weight_HV = parameter.detach().to("cpu", torch.float64)
            metric_VV += weight_HV.T @ weight_HV
    return metric_VV


def fit(moments: PatchMoments, metric_VV: Tensor, rank: int, fingerprint: str) -> PatchCodec:
    """The best codec of this rank for patches with these moments, in fp64 (formulas: see the module).

    Raises:
        InputError: the rank is not between 1 and V, or there are no patches.
    """
    width = len(metric_VV)
    if not 1 <= rank <= width:
        raise InputError(f"The rank of a patch codec must be from 1 to {width}, not {rank}.")
    root_VA, inverse_VA = _root(metric_VV.to("cpu", torch.float64))
    values_A, vectors_AA = torch.linalg.eigh(root_VA.T @ moments.covariance @ root_VA)  # ascending
    rank = min(rank, root_VA.shape[1])
    leading_AR = vectors_AA[:, -rank:] @ _rotation(rank)
    power = values_A[-rank:].clamp_min(0).mean().sqrt().item()
    scale = _RMS / power if power > 0 else 1.0
    encoder_VR = (root_VA @ leading_AR * scale).to(torch.float32).contiguous()
    components_RV = ((inverse_VA @ leading_AR).T / scale).to(torch.float32).contiguous()
    return _codec(encoder_VR, components_RV, moments.mean.to(torch.float32), fingerprint, moments.images)


def to_bytes(codec: PatchCodec) -> bytes:
    """The codec's file: safetensors."""
    tensors = {"encoder": codec.encoder, "components": codec.basis.components, "mean": codec.basis.mean}
    told = {"id": codec.id, "fingerprint": codec.fingerprint, "images": str(codec.images)}
    content: bytes = save(tensors, {**FORMAT, **told, "rank": str(codec.basis.rank)})
    return content


def from_bytes(content: bytes, *, id: str, fingerprint: str) -> PatchCodec:
    """Read a codec's file.

    Raises:
        CorruptionError: it is no codec, or not the one with this id.
        ModelMismatchError: it is for another model.
    """
    codec = _parsed(content, id)
    if codec.id != id:
        raise CorruptionError(f"The file of the patch codec {id} is not what was written; restore it.")
    if codec.fingerprint != fingerprint:
        raise ModelMismatchError(f"The patch codec {id} was fitted for another model than this one.")
    return codec


def _parsed(content: bytes, id: str) -> PatchCodec:
    try:
        tensors, told = load(content), _metadata(content)
        encoder_VR, components_RV, mean_V = (tensors[name] for name in _TENSORS)
        fits = encoder_VR.T.shape == components_RV.shape == (len(components_RV), len(mean_V))
        if fits and told.items() >= FORMAT.items() and {t.dtype for t in tensors.values()} == {torch.float32}:
            return _codec(encoder_VR, components_RV, mean_V, told["fingerprint"], int(told["images"]))
    except (SafetensorError, KeyError, ValueError, TypeError, IndexError) as error:
        raise CorruptionError(f"The file of the patch codec {id} cannot be read: {error}.") from error
    raise CorruptionError(f"The file of the patch codec {id} holds something else.")


def _metadata(content: bytes) -> dict[str, str]:
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return {str(name): str(value) for name, value in header["__metadata__"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _codec(
    encoder_VR: Tensor, components_RV: Tensor, mean_V: Tensor, fingerprint: str, images: int
) -> PatchCodec:
    digest = hashlib.sha256(f"{FORMAT['version']}\0{fingerprint}\0{images}\0".encode())
    for tensor in (encoder_VR, components_RV, mean_V):
        digest.update(f"{list(tensor.shape)}\0".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return PatchCodec(
        encoder_VR, Basis(f"latent-{digest.hexdigest()[:12]}", components_RV, mean_V), fingerprint, images
    )


def _root(metric_VV: Tensor) -> tuple[Tensor, Tensor]:
    """A with A Aᵀ = G and (A⁺)ᵀ, both ``[V,A]``; directions that G does not see are left out."""
    values_V, vectors_VV = torch.linalg.eigh(metric_VV)
    seen = values_V > _EIGENVALUE_FLOOR * values_V[-1]
    roots_A, vectors_VA = values_V[seen].sqrt(), vectors_VV[:, seen]
    return vectors_VA * roots_A, vectors_VA / roots_A


def _rotation(rank: int) -> Tensor:
    """An orthogonal matrix ``[R,R]`` fp64 drawn at random, always the same one."""
    drawn = torch.randn(rank, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(rank))
    rotation: Tensor = torch.linalg.qr(drawn)[0]
    return rotation


def _half_not_below(values: Tensor) -> Tensor:
    """The smallest fp16 numbers that are not below ``values`` (≥ 0)."""
    half = values.to(torch.float16)
    below = half.to(torch.float32) < values
    return (half.view(torch.int16) + below.to(torch.int16)).view(torch.float16)
