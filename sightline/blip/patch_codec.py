"""The patch codec: a linear latent of the patches, fitted in the metric that the cross-attention sees.

Cross-attention looks at patches p only through linear maps: what queries see of keys, W_qᵀ W_k for each head,
and what becomes of values, W_o W_v (sightline/blip/patch_metric.py). So what counts in a reconstruction p̂ is
‖W(p − p̂)‖, W [M,V] being all these stacked over the layers, and not ‖p − p̂‖. With G = WᵀW = A Aᵀ, keys and
values weighted to see as much, and the covariance C of the patches, the best rank R keeps the leading
eigenvectors U of Aᵀ C A (the Eckart–Young theorem for y = Aᵀ(p − mean), as long as W(p − mean)):

    z = Uᵀ Aᵀ (p − mean)          p̂ = mean + A⁺ᵀ U z

Kept is z in int8 with an fp16 scale for each patch. Any rotation of z gives the same p̂; one at random
spreads the variance evenly, so that one scale for all of a patch's R numbers wastes no bits. Where the
spectrum falls too slowly for that, four times the rank is kept in the same bytes by transform coding over the
patches of an image (blip/patch_grid.py); the model sees int8 latents of that rank. What was measured:
docs/decisions/030-patch-codec.md.

Shapes: K images · P patches · V vision width · R latent rank · C bytes of codes · M rows of the stacked
maps · S parts of a metric.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from sightline.blip.latents import Basis, Latents
from sightline.blip.patch_grid import PatchGrid, fit_grid
from sightline.blip.patch_moments import PatchMoments
from sightline.blip.patch_size import default_rank
from sightline.errors import CorruptionError, InputError, ModelMismatchError

FORMAT: Final = {"format": "sightline-patch-codec", "version": "1"}
_TENSORS: Final = ("encoder", "components", "mean")
_GRID_TENSORS: Final = ("grid.mean", "grid.axes", "grid.deviations", "grid.bits")
_RMS: Final = 32.0
"""Root mean square of the latent's numbers: a patch's scale is then about 1, far from both ends of fp16."""
_MOST_LOST: Final = 0.05
"""Share of what is seen that int8 latents of the default rank may leave out."""
_GRID_RANKS: Final = 4
"""How many times the rank a grid keeps in the same bytes."""
_RATIO: Final = 11.05
"""Times that a grid is smaller than fp16 when no rank is given: 65,494 bytes for ViT-g at 224 px."""
_LEAST_HALF: Final = 2.0**-24
_EIGENVALUE_FLOOR: Final = 1e-10


Sample = Callable[[], Iterable[Tensor]]
"""Gives patches ``[n,P,V]`` of other images each, the same ones at every call."""


@runtime_checkable
class PatchMetric(Protocol):
    """A model that can say how its cross-attention weighs errors of the patches."""

    def patch_metric(self) -> Tensor:
        """Parts ``[S,V,V]`` fp64, each symmetric: an error e of one patch costs eᵀ G e."""
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
    grid: PatchGrid | None = None
    """How the latents of an image are coded together; None: each patch by itself, in int8."""

    @property
    def id(self) -> str:
        """``latent-`` and twelve hex digits of the SHA-256 of everything in it."""
        return self.basis.id

    def encode(self, patches_KPV: Tensor) -> Latents:
        """Compress, on the device of the patches: what the cache will give back."""
        return self.unpack(*self.pack(patches_KPV))

    def pack(self, patches_KPV: Tensor) -> tuple[Tensor, Tensor]:
        """What is stored: int8 ``[K,P,C]`` and fp16 scales ``[K,P]``, with a grid ``[K,1,C]``, ``[K,1]``."""
        device = patches_KPV.device
        mean, encoder = self.basis.mean.to(device), self.encoder.to(device)
        latent_KPR = (patches_KPV.to(torch.float32) - mean) @ encoder
        if self.grid is not None:
            return self.grid.encode(latent_KPR)
        latents = quantise(latent_KPR, self.basis)
        return latents.codes, latents.scales

    def unpack(self, codes: Tensor, scales: Tensor) -> Latents:
        """Latents of what `pack` made, for the model."""
        if self.grid is not None:
            return quantise(self.grid.decode(codes, scales), self.basis)
        return Latents(codes, scales, self.basis)

    def image_bytes(self, patches: int) -> int:
        """Bytes of an image of so many patches in the cache."""
        return self.grid.bytes + 2 if self.grid is not None else patches * (self.basis.rank + 2)


def quantise(latent_KPR: Tensor, basis: Basis | None) -> Latents:
    """int8 codes with the smallest fp16 scale for each patch that loses no peak: error ≤ scale / 2.

    With ``basis`` None the latent is the patches themselves. A value beyond 127 · 65504 or not finite makes
    the scale of its patch infinite.
    """
    latent_KPR = latent_KPR.to(torch.float32)
    peak_KP = latent_KPR.abs().amax(dim=2).nan_to_num(nan=float("inf"))
    scale_KP = _half_not_below(peak_KP / 127.0)
    codes_KPR = (latent_KPR / scale_KP.to(torch.float32).clamp_min(_LEAST_HALF)[:, :, None]).round_()
    return Latents(codes_KPR.nan_to_num_().clamp_(-127, 127).to(torch.int8), scale_KP, basis)


def fit(
    sample: Sample, metric: Tensor, fingerprint: str, rank: int | None = None, grid: bool | None = None
) -> PatchCodec:
    """The best codec for these patches ``[n,P,V]``, in fp64 (formulas: see the module).

    ``metric``: ``[V,V]``, or parts ``[S,V,V]`` that are weighted to see as much of the patches each.
    ``rank``: bytes of a patch beside its scale; None: `default_rank`. ``grid``: code the patches of an image
    together, at four times the rank in the same bytes; None: where no rank is given and more than a twentieth
    of what the cross-attention sees lies beyond the default. A grid reads the sample three times more.

    Raises:
        InputError: the rank is not between 1 and V, or there are no patches.
    """
    width = metric.shape[-1]
    size = default_rank(width) if rank is None else rank
    if not 1 <= size <= width:
        raise InputError(f"The rank of a patch codec must be from 1 to {width}, not {size}.")
    moments = PatchMoments(width)
    for patches_nPV in sample():
        moments.add(patches_nPV)
    axes = _axes(moments, metric)
    if grid is None:
        grid = rank is None and axes.lost(size) > _MOST_LOST
    if not grid:
        return axes.codec(size, _rotation, fingerprint)
    linear = axes.codec(min(_GRID_RANKS * size, width), _no_rotation, fingerprint)
    mean_V, encoder_VR = linear.basis.mean, linear.encoder

    def latents() -> Iterator[Tensor]:
        for patches_nPV in sample():
            yield (patches_nPV.to("cpu", torch.float32) - mean_V) @ encoder_VR

    count = next(iter(sample())).shape[1]
    total = count * (size + 2) if rank is not None else int(2 * count * width / _RATIO)
    return _identified(replace(linear, grid=fit_grid(latents, total - 2)))


@dataclass(frozen=True)
class _Axes:
    """Eigenvectors ``[A,A]`` of what is seen of the patches, falling, and the way to and from there."""

    moments: PatchMoments
    variances: Tensor
    vectors: Tensor
    root: Tensor
    inverse: Tensor

    def lost(self, rank: int) -> float:
        """Share of the variance beyond this rank."""
        total = float(self.variances.sum())
        return float(self.variances[rank:].sum()) / total if total > 0 else 0.0

    def codec(self, rank: int, rotation: Callable[[int], Tensor], fingerprint: str) -> PatchCodec:
        rank = min(rank, len(self.variances))
        leading_AR = self.vectors[:, :rank] @ rotation(rank)
        power = self.variances[:rank].mean().sqrt().item()
        scale = _RMS / power if power > 0 else 1.0
        encoder_VR = (self.root @ leading_AR * scale).to(torch.float32).contiguous()
        components_RV = ((self.inverse @ leading_AR).T / scale).to(torch.float32).contiguous()
        basis = Basis("", components_RV, self.moments.mean.to(torch.float32))
        return _identified(PatchCodec(encoder_VR, basis, fingerprint, self.moments.images))


def _axes(moments: PatchMoments, metric: Tensor) -> _Axes:
    covariance_VV = moments.covariance
    parts_SVV = metric.to("cpu", torch.float64).reshape(-1, *covariance_VV.shape)
    seen_S = (parts_SVV * covariance_VV).sum(dim=(1, 2)).clamp_min(torch.finfo(torch.float64).tiny)
    root_VA, inverse_VA = _root((parts_SVV / seen_S[:, None, None]).sum(dim=0))
    values_A, vectors_AA = torch.linalg.eigh(root_VA.T @ covariance_VV @ root_VA)  # ascending
    return _Axes(moments, values_A.clamp_min(0).flip(0), vectors_AA.flip(1), root_VA, inverse_VA)


def to_bytes(codec: PatchCodec) -> bytes:
    """The codec's file: safetensors."""
    told = {"id": codec.id, "fingerprint": codec.fingerprint, "images": str(codec.images)}
    content: bytes = save(_tensors(codec), {**FORMAT, **told, "rank": str(codec.basis.rank)})
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
        dtypes = {t.dtype for name, t in tensors.items() if name != "grid.bits"}
        if fits and told.items() >= FORMAT.items() and dtypes == {torch.float32}:
            grid = PatchGrid(*(tensors[name] for name in _GRID_TENSORS)) if "grid.bits" in tensors else None
            basis = Basis("", components_RV, mean_V)
            return _identified(PatchCodec(encoder_VR, basis, told["fingerprint"], int(told["images"]), grid))
    except (SafetensorError, KeyError, ValueError, TypeError, IndexError) as error:
        raise CorruptionError(f"The file of the patch codec {id} cannot be read: {error}.") from error
    raise CorruptionError(f"The file of the patch codec {id} holds something else.")


def _metadata(content: bytes) -> dict[str, str]:
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return {str(name): str(value) for name, value in header["__metadata__"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _tensors(codec: PatchCodec) -> dict[str, Tensor]:
    found = dict(zip(_TENSORS, (codec.encoder, codec.basis.components, codec.basis.mean), strict=True))
    if codec.grid is not None:
        grid = codec.grid
        parts = (grid.mean, grid.axes, grid.deviations, grid.bits)
        found.update(zip(_GRID_TENSORS, parts, strict=True))
    return {name: tensor.contiguous() for name, tensor in found.items()}


def _identified(codec: PatchCodec) -> PatchCodec:
    """The same under the id that its content gives it."""
    digest = hashlib.sha256(f"{FORMAT['version']}\0{codec.fingerprint}\0{codec.images}\0".encode())
    for name, tensor in _tensors(codec).items():
        digest.update(f"{name}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.numpy().tobytes())
    return replace(codec, basis=replace(codec.basis, id=f"latent-{digest.hexdigest()[:12]}"))


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


def _no_rotation(rank: int) -> Tensor:
    return torch.eye(rank, dtype=torch.float64)


def _half_not_below(values: Tensor) -> Tensor:
    """The smallest fp16 numbers that are not below ``values`` (≥ 0)."""
    half = values.to(torch.float16)
    below = half.to(torch.float32) < values
    return (half.view(torch.int16) + below.to(torch.int16)).view(torch.float16)
