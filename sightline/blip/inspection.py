"""What a checkpoint is and what it needs, told before a byte of its weights is loaded.

Reads configurations and the headers of safetensors files; networks are built on the meta device. For a model
of the hub that is not in its cache yet, the headers are read over the network, and nothing else is fetched
but the configurations.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from sightline.blip.checkpoint import Role, read_config_json
from sightline.blip.config_values import section
from sightline.blip.headers import TensorEntry
from sightline.blip.inspection_files import FileFact, found_files
from sightline.blip.inspection_parts import VISION, Part, lacking, parts_of
from sightline.blip.pixel_config import read_pixel_config
from sightline.blip.precision import best_device, vision_dtype, writer_dtype
from sightline.blip.registry import architecture_of, family_of, roles_of
from sightline.blip.tokenizer import load_tokenizer
from sightline.errors import CheckpointError

_MEMORY = Path("/proc/meminfo")


@dataclass(frozen=True)
class PartFact:
    """One network: how many numbers, and the bytes that they take in two types and as they are loaded."""

    name: str
    parameters: int
    float32_bytes: int
    bfloat16_bytes: int
    loaded_dtype: str
    loaded_bytes: int


@dataclass(frozen=True)
class Inspection:
    """A checkpoint, looked at. ``patch_shape`` is (P, V); ``image_size`` in pixels along a side."""

    model: str
    folder: str
    model_type: str
    architecture: str
    roles: tuple[str, ...]
    image_size: int
    patch_shape: tuple[int, int]
    num_query_tokens: int | None
    joint_dim: int | None
    language_model: str | None
    stored_types: tuple[str, ...]
    files: tuple[FileFact, ...]
    parts: tuple[PartFact, ...]
    device: str
    memory_needed: int
    """Bytes of all parts as they are loaded; the image encoder's only once pictures come."""
    memory_free: int | None
    download_bytes: int
    """What is not on this machine yet."""
    disk_free: int
    missing: tuple[str, ...]
    """Names of tensors that the model needs and the files lack."""
    problems: tuple[str, ...]
    """What keeps it from being loaded, a sentence each."""

    @property
    def loads(self) -> bool:
        """Whether nothing was found that keeps it from being loaded."""
        return not self.problems


def inspect(
    model: str,
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    role: Role = "retrieval",
    device: str | None = None,
) -> Inspection:
    """Look at a model by name, as ``sightline.blip.load`` takes it.

    Raises:
        ModelUnavailableError: neither a folder, nor in the cache, nor reachable on the hub.
        CheckpointError: no configuration of a family that is known here.
    """
    found = found_files(model, revision, cache_dir, role)
    folder = found.folder
    raw, dimensions = read_config_json(folder), family_of(folder).dimensions(folder)
    parts, where = parts_of(folder), torch.device(device or best_device())
    missing, wrong = lacking(parts, found.tensors) if found.tensors else ([], [])
    facts = tuple(_fact(part, found.tensors, where) for part in parts)
    image_size = _image_size(parts)
    problems = [*found.problems, *_about(missing), *wrong, *_other_problems(folder, image_size)]
    architecture = architecture_of(raw)
    return Inspection(
        model=model,
        folder=str(folder),
        model_type=str(raw["model_type"]),
        architecture=architecture,
        roles=roles_of(folder),
        image_size=image_size,
        patch_shape=dimensions.patch_shape,
        num_query_tokens=dimensions.num_query_tokens,
        joint_dim=dimensions.joint_dim,
        language_model=_language(section(raw, "text_config"), architecture),
        stored_types=_types(found.tensors),
        files=found.files,
        parts=facts,
        device=str(where),
        memory_needed=sum(fact.loaded_bytes for fact in facts),
        memory_free=_memory_free(where),
        download_bytes=found.download_bytes,
        disk_free=shutil.disk_usage(folder).free,
        missing=tuple(missing),
        problems=tuple(problems),
    )


def _language(text: dict[str, object], architecture: str) -> str | None:
    if architecture not in ("Blip2ForConditionalGeneration", "InstructBlipForConditionalGeneration"):
        return None
    layers = text.get("num_hidden_layers", text.get("num_layers", "?"))
    width = text.get("hidden_size", text.get("d_model", "?"))
    return f"{text.get('model_type')}, {layers} layers of width {width}"


def _image_size(parts: list[Part]) -> int:
    """Pixels along a side, of the ViT that stands first."""
    vision = next(part.module for part in parts if part.name == VISION)
    shapes = {name: value.shape for name, value in vision.state_dict().items()}
    cells = shapes["embeddings.position_embedding"][1] - 1
    return int(round(cells**0.5) * shapes["embeddings.patch_embedding.weight"][-1])


def _fact(part: Part, tensors: dict[str, TensorEntry], device: torch.device) -> PartFact:
    count = part.parameters(tensors)
    if part.name == VISION:
        dtype = vision_dtype(None, device, part.module.state_dict()["post_layernorm.weight"].shape[0])
    else:
        writes = part.name in ("language model", "text decoder")
        dtype = writer_dtype(None, device) if writes else torch.float32
    named = str(dtype).removeprefix("torch.")
    return PartFact(part.name, count, 4 * count, 2 * count, named, dtype.itemsize * count)


def _types(tensors: dict[str, TensorEntry]) -> tuple[str, ...]:
    return tuple(sorted({entry.dtype for entry in tensors.values()}))


def _about(missing: list[str]) -> list[str]:
    if not missing:
        return []
    return [f"The files lack {len(missing)} tensors that the model needs; the first is {missing[0]}."]


def _other_problems(folder: Path, image_size: int) -> list[str]:
    """What the processor's and tokenizers' files keep from being loaded."""
    found = []
    for look in (lambda: read_pixel_config(folder, image_size), lambda: _tokenizers(folder)):
        try:
            look()
        except CheckpointError as error:
            found.append(str(error))
    return found


def _tokenizers(folder: Path) -> None:
    raw = read_config_json(folder)
    if raw["model_type"] == "instructblip":
        load_tokenizer(folder / "qformer_tokenizer")
    elif _language({}, architecture_of(raw)) is None:
        load_tokenizer(folder)


def _memory_free(device: torch.device) -> int | None:
    """Bytes that are free where it would be loaded; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError, IndexError):
        return None
