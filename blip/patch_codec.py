"""The patch codec: a linear latent of the patches, fitted in the metric that the cross-attention sees.

Cross-attention looks at patches p only through its key and value projections, W [M,V] stacked over all
layers. So what counts in a reconstruction p̂ is ‖W(p − p̂)‖, not ‖p − p̂‖. With G = WᵀW = A Aᵀ and the
covariance C of the patches, the best rank R keeps the leading eigenvectors U of Aᵀ C A (the
Eckart–Young theorem for y = Aᵀ(p − mean), of which ‖W(p − mean)‖ is the length):

    z = Uᵀ Aᵀ (p − mean)          p̂ = mean + A⁺ᵀ U z

Any rotation of z gives the same p̂. One at random spreads the variance evenly, so that one int8 scale for
all of a patch's R numbers wastes no bits (docs/decisions/030-patch-codec.md).

Codes are of 8 bits, or of 4, two to a byte: as many bytes then hold twice the rank, which pays where the
spectrum of the patches falls slowly.

Shapes: K images · P patches · V vision width · R latent rank · C bytes of codes · M rows of the stacked
projections.
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
from blip.patch_size import default_rank

FORMAT: Final = {"format": "sightline-patch-codec", "version": "1"}
_TENSORS: Final = ("encoder", "components", "mean")
_PROJECTIONS: Final = ("crossattention.attention.key.weight", "crossattention.attention.value.weight")
_RMS: Final = 32.0
"""Root mean square of the latent's numbers: a patch's scale is then about 1, far from both ends of fp16."""
_MOST_LOST: Final = 0.05
"""Share of the seen variance that 8-bit codes may leave out before 4-bit codes are considered."""
_NOISE_4: Final = 0.015
"""Rounding to 16 levels, as a share of the variance: measured on normal numbers, 0.010 for a rank of 64 and
0.016 for 480.
"""
_LEAST_HALF: Final = 2.0**-24
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
    bits: int
    """Of one code: 8 or 4."""

    @property
    def id(self) -> str:
        """``latent-`` and twelve hex digits of the SHA-256 of everything in it."""
        return self.basis.id

    def encode(self, patches_KPV: Tensor) -> Latents:
        """Compress, on the device of the patches."""
        device = patches_KPV.device
        mean, encoder = self.basis.mean.to(device), self.encoder.to(device)
        latent_KPR = (patches_KPV.to(torch.float32) - mean) @ encoder
        return quantise(latent_KPR, self.basis, self.bits)

    @property
    def patch_bytes(self) -> int:
        """Bytes of one patch in the cache: codes and scale."""
        return self.basis.rank * self.bits // 8 + 2

    def pack(self, codes_KPR: Tensor) -> Tensor:
        """Codes as they are stored, int8 ``[K,P,C]``; 4-bit ones two to a byte, the first in the low half."""
        if self.bits == 8:
            return codes_KPR
        halves = (codes_KPR + 15) >> 1  # the odd numbers from -15 to 15, as 0 to 15
        return halves[..., 0::2] | (halves[..., 1::2] << 4)

    def unpack(self, stored_KPC: Tensor) -> Tensor:
        """Codes ``[K,P,R]`` int8 of what `pack` made of them."""
        if self.bits == 8:
            return stored_KPC
        halves = torch.stack([stored_KPC & 15, (stored_KPC >> 4) & 15], dim=-1).flatten(-2)
        return halves * 2 - 15


def quantise(latent_KPR: Tensor, basis: Basis | None, bits: int = 8) -> Latents:
    """Codes with the smallest fp16 scale for each patch that loses no peak.

    8 bits: the whole numbers from −127 to 127, error ≤ scale / 2. 4 bits: the 16 odd numbers from −15 to
    15, error ≤ scale. With ``basis`` None the latent is the patches themselves. A value beyond 65504 scales
    or not finite makes the scale of its patch infinite.
    """
    latent_KPR = latent_KPR.to(torch.float32)
    most = 127 if bits == 8 else 15
    peak_KP = latent_KPR.abs().amax(dim=2).nan_to_num(nan=float("inf"))
    scale_KP = _half_not_below(peak_KP / most)
    steps_KPR = latent_KPR / scale_KP.to(torch.float32).clamp_min(_LEAST_HALF)[:, :, None]
    codes_KPR = steps_KPR.round_() if bits == 8 else (steps_KPR / 2).floor_() * 2 + 1
    return Latents(codes_KPR.nan_to_num_().clamp_(-most, most).to(torch.int8), scale_KP, basis)


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


def fit(
    moments: PatchMoments,
    metric_VV: Tensor,
    fingerprint: str,
    rank: int | None = None,
    bits: int | None = None,
) -> PatchCodec:
    """The best codec for patches with these moments, in fp64 (formulas: see the module).

    ``rank`` None: as many bytes as `default_rank` stands for. ``bits`` None: 8, which are cheaper to score
    with; but when no rank is given, more than a twentieth of what the cross-attention sees lies beyond it,
    and 4 bits lose less in the same bytes, then these.

    Raises:
        InputError: the rank is not between 1 and V, or odd with 4 bits; or there are no patches.
    """
    width = len(metric_VV)
    root_VA, inverse_VA = _root(metric_VV.to("cpu", torch.float64))
    values_A, vectors_AA = torch.linalg.eigh(root_VA.T @ moments.covariance @ root_VA)  # ascending
    values_A, vectors_AA = values_A.clamp_min(0).flip(0), vectors_AA.flip(1)
    bits = bits or (_better_bits(values_A, default_rank(width)) if rank is None else 8)
    rank = _checked_rank(
        default_rank(width) * 8 // bits if rank is None else rank, bits, width, root_VA.shape[1]
    )
    leading_AR = vectors_AA[:, :rank] @ _rotation(rank)
    power = values_A[:rank].mean().sqrt().item()
    scale = _RMS / power if power > 0 else 1.0
    encoder_VR = (root_VA @ leading_AR * scale).to(torch.float32).contiguous()
    components_RV = ((inverse_VA @ leading_AR).T / scale).to(torch.float32).contiguous()
    mean_V = moments.mean.to(torch.float32)
    return _codec(encoder_VR, components_RV, mean_V, fingerprint, moments.images, bits)


def _better_bits(values_A: Tensor, rank: int) -> int:
    """8, or 4 where twice as many of these variances (falling) are worth more than fine codes."""
    total = float(values_A.sum())
    if total <= 0 or 2 * rank > len(values_A):
        return 8
    lost_8 = 1 - float(values_A[:rank].sum()) / total
    kept_4 = float(values_A[: 2 * rank].sum()) / total
    return 4 if lost_8 > _MOST_LOST and 1 - kept_4 * (1 - _NOISE_4) < lost_8 else 8


def _checked_rank(rank: int, bits: int, width: int, seen: int) -> int:
    """The rank, at most the number of directions that are seen."""
    if not 1 <= rank <= width:
        raise InputError(f"The rank of a patch codec must be from 1 to {width}, not {rank}.")
    if bits not in (4, 8) or (bits == 4 and rank % 2):
        raise InputError(
            f"A patch codec has codes of 8 bits, or of 4 and an even rank; not {bits} and {rank}."
        )
    return min(rank, seen // (8 // bits) * (8 // bits))


def to_bytes(codec: PatchCodec) -> bytes:
    """The codec's file: safetensors."""
    tensors = {"encoder": codec.encoder, "components": codec.basis.components, "mean": codec.basis.mean}
    told = {"id": codec.id, "fingerprint": codec.fingerprint, "images": str(codec.images)}
    told["bits"] = str(codec.bits)
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
            images, bits = int(told["images"]), int(told["bits"])
            return _codec(encoder_VR, components_RV, mean_V, told["fingerprint"], images, bits)
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
    encoder_VR: Tensor, components_RV: Tensor, mean_V: Tensor, fingerprint: str, images: int, bits: int
) -> PatchCodec:
    digest = hashlib.sha256(f"{FORMAT['version']}\0{fingerprint}\0{images}\0{bits}\0".encode())
    for tensor in (encoder_VR, components_RV, mean_V):
        digest.update(f"{list(tensor.shape)}\0".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    basis = Basis(f"latent-{digest.hexdigest()[:12]}", components_RV, mean_V)
    return PatchCodec(encoder_VR, basis, fingerprint, images, bits)


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
