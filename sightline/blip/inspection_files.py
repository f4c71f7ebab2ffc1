"""Which files a checkpoint has, here or on the hub, and the headers of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.blip.checkpoint import DEMO, FILES, TOY, Role, list_tensors, resolve, unreachable
from sightline.blip.headers import ITEM_BYTES, TensorEntry
from sightline.errors import CheckpointError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_NAMED = ("*.json", "*.safetensors", "*.txt", "*.model")
_CONFIGS = ["*config.json", "*vocab.txt", "*tokenizer.json", "*added_tokens.json", "*.index.json"]
"""What is fetched of a model that is not here: everything that tells about it, and no weights."""


@dataclass(frozen=True)
class FileFact:
    """One file of a checkpoint; ``here``: whether it is on this machine."""

    name: str
    bytes: int
    here: bool


@dataclass(frozen=True)
class Found:
    """A checkpoint's files. ``tensors`` is empty where the headers cannot be read: ``problems`` say why."""

    folder: Path
    files: tuple[FileFact, ...]
    tensors: dict[str, TensorEntry]
    problems: tuple[str, ...]

    @property
    def download_bytes(self) -> int:
        """What is not on this machine yet."""
        return sum(file.bytes for file in self.files if not file.here)


def found_files(model: str, revision: str | None, cache_dir: Path | None, role: Role) -> Found:
    """The files of a model by name; weights are neither downloaded nor read.

    Raises:
        ModelUnavailableError: neither a folder, nor in the cache, nor reachable on the hub.
    """
    folder = _local(model, revision, cache_dir, role)
    if folder is None:
        return _on_hub(model, revision, cache_dir)
    names = sorted({path for kind in _NAMED for path in (*folder.glob(kind), *folder.glob(f"*/{kind}"))})
    files = tuple(
        FileFact(path.relative_to(folder).as_posix(), path.stat().st_size, True)
        for path in names
        if path.is_file()
    )
    try:
        return Found(folder, files, list_tensors(folder), ())
    except CheckpointError as error:
        return Found(folder, files, {}, (str(error),))


def _local(model: str, revision: str | None, cache_dir: Path | None, role: Role) -> Path | None:
    """The folder, where all that is needed is here already."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import LocalEntryNotFoundError

    if model in (DEMO, TOY):
        return resolve(model, revision, cache_dir, role)
    if model.count("/") != 1 or model.startswith((".", "/", "~")) or Path(model).is_dir():
        return resolve(model, revision, cache_dir, role)
    cache = cache_dir or Path(HF_HUB_CACHE)
    try:
        found = snapshot_download(
            model, revision=revision, cache_dir=cache, allow_patterns=FILES, local_files_only=True
        )
    except LocalEntryNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise unreachable(model, cache, error) from error
    folder = Path(found)
    return folder if (folder / "config.json").exists() and any(folder.glob("*.safetensors")) else None


def _on_hub(model: str, revision: str | None, cache_dir: Path | None) -> Found:
    """Sizes and headers over the network; of the files only the configurations are fetched."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE

    api, cache = HfApi(), cache_dir or Path(HF_HUB_CACHE)
    try:
        info = api.model_info(model, revision=revision, files_metadata=True)
        folder = Path(snapshot_download(model, revision=info.sha, cache_dir=cache, allow_patterns=_CONFIGS))
        tensors, problems = _hub_tensors(api, model, info.sha, folder)
    except _unanswered() as error:
        raise unreachable(model, cache, error) from error
    sizes = {one.rfilename: one.size or 0 for one in info.siblings or []}
    wanted = {name: size for name, size in sizes.items() if any(Path(name).match(kind) for kind in _NAMED)}
    files = tuple(FileFact(name, size, (folder / name).exists()) for name, size in sorted(wanted.items()))
    return Found(folder, files, tensors, problems)


def _unanswered() -> tuple[type[Exception], ...]:
    """What the hub's client raises when there is no answer: errors of the library that it speaks HTTP with
    (which one depends on its version), OSError and ValueError."""
    from huggingface_hub.errors import HfHubHTTPError

    kinds = (*HfHubHTTPError.__mro__, ValueError)
    return tuple(one for one in kinds if issubclass(one, Exception) and one is not Exception)


def _hub_tensors(
    api: HfApi, model: str, commit: str | None, folder: Path
) -> tuple[dict[str, TensorEntry], tuple[str, ...]]:
    from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError

    try:
        found = api.get_safetensors_metadata(model, revision=commit)
    except (NotASafetensorsRepoError, SafetensorsParsingError):
        return {}, (f"{model} has no readable safetensors weights on the hub; others are not loaded.",)
    return {
        name: TensorEntry(name, folder / file, one.dtype, tuple(one.shape), *one.data_offsets)
        for file, held in found.files_metadata.items()
        for name, one in held.tensors.items()
        if one.dtype in ITEM_BYTES
    }, ()
