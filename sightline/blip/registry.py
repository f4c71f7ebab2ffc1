"""Which kinds of checkpoint there are: one entry each, by what their ``config.json`` says.

A new family is one entry here and the two things that it names: what reads its configuration, without torch,
and the class that its weights become.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sightline.blip import checkpoint
from sightline.blip.checkpoint import Dimensions, Role
from sightline.blip.config import MODEL_TYPES, read_config
from sightline.blip.config_blip import ANSWERING, BLIP, CAPTIONING, RETRIEVAL, read_blip_config
from sightline.blip.config_language import writer_dimensions
from sightline.blip.fingerprints import ITG_HEAD, Digests, fingerprint
from sightline.errors import CheckpointError

if TYPE_CHECKING:
    from sightline.blip.protocols import Vision


class Loader(Protocol):
    """Makes a model of a folder's files; ``sightline.blip.load`` says what the arguments mean."""

    def __call__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        match_dtype: str = "float32",
        fingerprint: str | None = None,
    ) -> Vision: ...


class LanguageLoader(Protocol):
    """The same for a model with a language model, which may be spread over several devices."""

    def __call__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        match_dtype: str = "float32",
        fingerprint: str | None = None,
        device_map: str | None = None,
    ) -> Vision: ...


@dataclass(frozen=True)
class Family:
    """One kind of checkpoint."""

    dimensions: Callable[[Path], Dimensions]
    """Reads the configuration in a folder; imports no torch."""
    loader: Callable[[], Loader]
    """Imports the code that loads the weights, and torch with it."""
    language_loader: Callable[[], LanguageLoader] | None = None
    """The same loader, where there is a language model."""


def _blip2_dimensions(folder: Path) -> Dimensions:
    return read_config(folder).dimensions


def _blip2() -> Loader:
    from sightline.blip.blip2_captioner import load_blip2

    return load_blip2


def _blip2_writer() -> LanguageLoader:
    from sightline.blip.blip2_writer import Blip2Writer

    return Blip2Writer


def _instructblip() -> LanguageLoader:
    from sightline.blip.instructblip import InstructBlip

    return InstructBlip


def _blip_dimensions(folder: Path) -> Dimensions:
    return read_blip_config(folder).dimensions


def _blip() -> Loader:
    from sightline.blip.blip import Blip

    return Blip


def _blip_captioner() -> Loader:
    from sightline.blip.blip_writers import BlipCaptioner

    return BlipCaptioner


def _blip_answerer() -> Loader:
    from sightline.blip.blip_writers import BlipAnswerer

    return BlipAnswerer


BLIP2_RETRIEVAL = Family(_blip2_dimensions, _blip2)
BLIP2_WRITER = Family(writer_dimensions, _blip2_writer, _blip2_writer)
INSTRUCTBLIP = Family(writer_dimensions, _instructblip, _instructblip)
FAMILIES: dict[str, dict[str, Family]] = {
    name: {"Blip2ForImageTextRetrieval": BLIP2_RETRIEVAL, "Blip2ForConditionalGeneration": BLIP2_WRITER}
    for name in MODEL_TYPES
} | {
    BLIP: {
        RETRIEVAL: Family(_blip_dimensions, _blip),
        CAPTIONING: Family(_blip_dimensions, _blip_captioner),
        ANSWERING: Family(_blip_dimensions, _blip_answerer),
    },
    "instructblip": {"InstructBlipForConditionalGeneration": INSTRUCTBLIP},
}
"""By ``model_type``, then by architecture; a checkpoint that names none is of the first."""

_ROLES = {
    "BlipForImageTextRetrieval": ("embeds", "judges"),
    "BlipForConditionalGeneration": ("captions",),
    "BlipForQuestionAnswering": ("answers",),
    "Blip2ForImageTextRetrieval": ("embeds", "judges"),
    "Blip2ForConditionalGeneration": ("captions", "answers"),
    "InstructBlipForConditionalGeneration": ("captions", "answers", "judges"),
}
"""What models of an architecture can do."""


@dataclass(frozen=True)
class Description:
    """A model without its weights in memory. ``folder`` is None for the toy, which has no files."""

    fingerprint: str
    dimensions: Dimensions
    folder: Path | None


def family_of(folder: Path) -> Family:
    """The family of a checkpoint.

    Raises:
        CheckpointError: no readable ``config.json``, or one of a family that is not known here.
    """
    raw = checkpoint.read_config_json(folder)
    found = raw.get("model_type")
    if not isinstance(found, str) or found not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise CheckpointError(
            f"{folder} holds a model of type {found!r}; the types that Sightline loads are {known}."
        )
    families, named = FAMILIES[found], raw.get("architectures")
    if not isinstance(named, list) or not named:
        return next(iter(families.values()))
    if not isinstance(named[0], str) or named[0] not in families:
        known = ", ".join(families)
        raise CheckpointError(f"{folder} holds a {named[0]}; of the type {found} Sightline loads {known}.")
    return families[named[0]]


def architecture_of(raw: Mapping[str, object]) -> str:
    """The architecture that a ``config.json`` names, or the one that its type is of without a name."""
    named = raw.get("architectures")
    if isinstance(named, list) and named:
        return str(named[0])
    return RETRIEVAL if raw.get("model_type") == BLIP else "Blip2ForImageTextRetrieval"


def roles_of(folder: Path) -> tuple[str, ...]:
    """What a checkpoint can do: ``embeds``, ``judges``, ``captions``, ``answers``; reads no weights.

    Raises:
        CheckpointError: no readable ``config.json``.
    """
    architecture = architecture_of(checkpoint.read_config_json(folder))
    roles = _ROLES.get(architecture, ())
    heads = architecture == "Blip2ForImageTextRetrieval" and (folder / ITG_HEAD).exists()
    return (*roles, "captions") if heads else roles


def describe(
    model: str,
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    digests: Digests | None = None,
    role: Role = "retrieval",
) -> Description:
    """Fingerprint and dimensions of a model by name, from its files; imports no torch (the toy does: it is
    code and no files).

    ``digests``: of files, for those who remember them; None reads the files.

    Raises:
        ModelUnavailableError: neither a folder nor reachable on the hub.
        CheckpointError: the folder holds no usable checkpoint of a known family.
    """
    if model == checkpoint.TOY:
        return _toy(role)
    folder = checkpoint.resolve(model, revision, cache_dir, role)
    dimensions = family_of(folder).dimensions(folder)
    return Description(fingerprint(folder, digests), dimensions, folder)


def _toy(role: Role) -> Description:
    if role != "retrieval":
        from sightline.blip.toy_words import ToyWriter as Writer

        return Description(Writer.fingerprint, Dimensions(Writer.patch_shape), None)
    from sightline.blip.toy import ToyEncoder as Toy

    return Description(
        Toy.fingerprint, Dimensions(Toy.patch_shape, Toy.num_query_tokens, Toy.joint_dim), None
    )
