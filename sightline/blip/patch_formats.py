"""The forms in which patches are stored, by the codec id that segments name.

``none`` keeps nothing, ``fp16`` everything, ``int8`` codes with a scale for each patch, ``latent-…`` (the id
of a fitted codec) codes of a linear latent. Importing this imports no torch.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from sightline.errors import CorruptionError, ModelMismatchError, NotFoundError
from sightline.types import FP16, INT8, NO_PATCHES, Codes, Half

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sightline.blip.latents import Latents
    from sightline.blip.patch_codec import PatchCodec

log = logging.getLogger(__name__)


class PackedPatches(NamedTuple):
    """Patches of N images as a segment holds them.

    Nothing, fp16 ``[N,P,V]``, or int8 codes ``[N,P,C]`` with scales ``[N,P]``.
    """

    patches: Half | Codes | None
    scales: Half | None

    @classmethod
    def joined(cls, parts: Sequence[PackedPatches]) -> PackedPatches:
        """The images of all parts, which are of one form, one after another."""
        patches: list[Half | Codes] = [part.patches for part in parts if part.patches is not None]
        scales = [part.scales for part in parts if part.scales is not None]
        joined: Half | Codes | None = np.concatenate(patches) if patches else None  # type: ignore[assignment]
        return cls(joined, np.concatenate(scales) if scales else None)


@dataclass(frozen=True)
class PatchFormat:
    """One form. ``codec`` is what segments say: none, fp16, int8 or the id of ``latent``."""

    codec: str
    latent: PatchCodec | None = None

    def pack(self, patches: Tensor) -> PackedPatches:
        """Patches ``[N,P,V]`` in any float format, on any device, as they are to be stored."""
        import torch

        from sightline.blip.patch_codec import quantise

        if self.codec == NO_PATCHES:
            return PackedPatches(None, None)
        if self.codec == FP16:
            return PackedPatches(patches.to("cpu", torch.float16).numpy(), None)
        with torch.inference_mode():
            if self.latent is not None:
                codes, scales = self.latent.pack(patches)
            else:
                latents = quantise(patches, None)
                codes, scales = latents.codes, latents.scales
        return PackedPatches(codes.cpu().numpy(), scales.cpu().numpy())

    def unpack(
        self, patches: Half | Codes, scales: Half | None, device: str | torch.device
    ) -> Tensor | Latents:
        """What `pack` stored, for the model, on ``device``: ``[N,P,V]``, or compressed as it is."""
        import torch

        from sightline.blip.latents import Latents

        values = torch.from_numpy(patches).to(device)
        if scales is None:
            return values
        scale = torch.from_numpy(scales).to(device)
        return self.latent.unpack(values, scale) if self.latent is not None else Latents(values, scale, None)


class CodecStore(Protocol):
    """Where fitted codecs lie as bytes (``store.codec_files.CodecFiles`` is one)."""

    def read(self, fingerprint: str, codec: str) -> bytes:
        """Raises FileMissingError."""
        ...

    def write(self, fingerprint: str, codec: str, content: bytes) -> None: ...

    def codecs(self, fingerprint: str) -> Sequence[str]:
        """Ids of the codecs of one model, the latest first."""
        ...


class PatchFormats:
    """The forms of one installation; each fitted codec is read once. Thread-safe."""

    def __init__(self, store: CodecStore) -> None:
        self._store = store
        self._known: dict[str, PatchCodec] = {}

    def of(self, codec: str, fingerprint: str) -> PatchFormat:
        """The form that a segment's codec names.

        Raises:
            FileMissingError: the fitted codec's file is gone.
            CorruptionError: its file is not what was written.
            ModelMismatchError: it is for another model.
        """
        if codec in (NO_PATCHES, FP16, INT8):
            return PatchFormat(codec)
        from sightline.blip.patch_codec import from_bytes

        known = self._known.get(codec)
        if known is None or known.fingerprint != fingerprint:
            content = self._store.read(fingerprint, codec)
            known = self._known[codec] = from_bytes(content, id=codec, fingerprint=fingerprint)
        return PatchFormat(codec, known)

    def newest(self, fingerprint: str) -> PatchFormat | None:
        """The form whose codec was fitted last for a model; None when there is no readable one."""
        for codec in self._store.codecs(fingerprint):
            try:
                return self.of(codec, fingerprint)
            except (NotFoundError, CorruptionError, ModelMismatchError) as error:
                log.warning("%s", error)
        return None

    def add(self, codec: PatchCodec) -> PatchFormat:
        """Write a fitted codec down; afterwards segments may name it."""
        from sightline.blip.patch_codec import to_bytes

        self._store.write(codec.fingerprint, codec.id, to_bytes(codec))
        self._known[codec.id] = codec
        return PatchFormat(codec.id, codec)
