"""Where a checkpoint's files are, and which tensors are in them. Imports no torch.

Weights are safetensors only: a folder that holds nothing but pickles is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sightline.blip.checkpoint_files import read_json
from sightline.blip.headers import TensorEntry, read_header, shown
from sightline.errors import CheckpointError, ModelUnavailableError

Role = Literal["retrieval", "captioning", "asking"]
"""What a model is wanted for; ``demo`` and ``toy`` are another model for each."""
DEMO = "demo"
"""The name of the models that ship with Sightline."""
DEMO_FOLDER = Path(__file__).parents[1] / "data" / "demo-model"
DEMO_ASKING_FOLDER = Path(__file__).parents[1] / "data" / "demo-asking"
TOY = "toy"
"""The name of the formulas of sightline/blip/toy.py and toy_words.py, which have no files."""
FILES = ["*.json", "*.safetensors", "note.txt", "vocab.txt", "*/vocab.txt", "merges.txt"]
_INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"[^/\\\0]+\.safetensors")
"""A plain name: nothing in an index leads out of the folder."""


@dataclass(frozen=True)
class Dimensions:
    """Of a model's arrays: ``patch_shape`` is (P, V); Q and D are None where it does not embed."""

    patch_shape: tuple[int, int]
    num_query_tokens: int | None = None
    joint_dim: int | None = None


def resolve(
    model: str, revision: str | None = None, cache_dir: Path | None = None, role: Role = "retrieval"
) -> Path:
    """The folder of a checkpoint: that of ``demo`` in its role, a local one, a hub id's in its cache.

    ``demo`` and ``toy`` are never folders of the working directory: what a collection is bound to must not
    depend on where a command was started. ``./demo`` is the folder.

    Raises:
        ModelUnavailableError: no such folder, and the hub has no such model or cannot be reached.
        CheckpointError: ``toy``, which has no files.
    """
    if model == TOY:
        raise CheckpointError("The model toy is formulas without files; give a folder, a hub id, or demo.")
    if model == DEMO:
        # The one that searches captions too, by its ITG head, and better than the one that answers.
        folder = DEMO_ASKING_FOLDER if role == "asking" else DEMO_FOLDER
    else:
        folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if model == DEMO:
        raise ModelUnavailableError(
            f"The demo model for {role} does not lie in this installation ({folder}); install Sightline "
            "again, or name another model."
        )
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelUnavailableError(
            f"There is no model folder {model}; give a folder, a hub id such as Salesforce/blip2-itm-vit-g, "
            "or, to try Sightline with drawn pictures, --model demo, which knows no photos."
        )
    return _from_hub(model, revision, cache_dir)


def is_here(model: str, revision: str | None = None, cache_dir: Path | None = None) -> bool:
    """Whether a checkpoint's files lie on this machine, as `resolve` would find them; asks no hub."""
    if model == TOY:
        return True
    if model == DEMO:
        return DEMO_FOLDER.is_dir()
    if Path(model).expanduser().is_dir():
        return True
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        return False
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(model, "config.json", cache_dir, revision), str)
    except HFValidationError:
        return False


def _from_hub(model: str, revision: str | None, cache_dir: Path | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    cache = cache_dir or Path(HF_HUB_CACHE)
    try:
        return Path(snapshot_download(model, revision=revision, cache_dir=cache, allow_patterns=FILES))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise unreachable(model, cache, error) from error


def unreachable(model: str, cache: Path, error: Exception) -> ModelUnavailableError:
    """For a hub id that is not in the cache when the hub gives no answer, or no such model."""
    return ModelUnavailableError(
        f"The model {model} is neither in the cache folder {cache} nor reachable on the hub "
        f"({type(error).__name__}); connect to the internet, copy its files into a folder and give that "
        "folder. To try Sightline with its own drawn pictures, use --model demo; it knows no photos."
    )


def lasting_name(model: str) -> str:
    """The name that means the same from another working directory: a folder by its absolute path."""
    if model in (DEMO, TOY):
        return model
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else model


def read_config_json(folder: Path) -> dict[str, Any]:
    """What ``config.json`` says.

    Raises:
        CheckpointError: the file is missing, or holds no JSON object.
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder} has no readable config.json; give the folder of a checkpoint in transformers' format."
        )
    return read_json(folder / "config.json")


def weight_files(folder: Path) -> list[Path]:
    """The model's safetensors files, sharded or single.

    Raises:
        CheckpointError: there are none (pickled weights are never loaded), a shard is missing, or the
            index of the shards is unusable.
    """
    placed = _weight_map(folder)
    files = (
        [folder / "model.safetensors"] if placed is None else [folder / n for n in sorted({*placed.values()})]
    )
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        hint = " Pickled weights are not loaded; convert them." if any(folder.glob("*.bin")) else ""
        more = f" and {len(missing) - 3} more files" if len(missing) > 3 else ""
        raise CheckpointError(f"{folder} lacks {', '.join(missing[:3])}{more}.{hint}")
    return files


def list_tensors(folder: Path) -> dict[str, TensorEntry]:
    """All tensors of a checkpoint by name, from the headers of its files; the index says which file counts.

    Raises:
        CheckpointError: no weights, or files that are cut off, lie about themselves, or are not all there.
    """
    placed, found = _weight_map(folder) or {}, dict[str, TensorEntry]()
    for path in weight_files(folder):
        for name, entry in read_header(path).items():
            if placed.get(name, path.name) == path.name:
                found[name] = entry
    lost = next((name for name in placed if name not in found), None)
    if lost is not None:
        raise CheckpointError(
            f"{folder}: {_INDEX} says that {shown(lost)} is in {placed[lost]}, where it is not; download the "
            "weights again."
        )
    return found


def _weight_map(folder: Path) -> dict[str, str] | None:
    """Names of files by names of tensors; None where the weights are one file."""
    if not (folder / _INDEX).exists():
        return None
    placed = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise CheckpointError(f"{folder / _INDEX} names no files of weights; download it again.")
    for name in placed.values():
        if not isinstance(name, str) or not _SHARD.fullmatch(name):
            raise CheckpointError(
                f"{folder / _INDEX} names {shown(name)} as a file of weights; only safetensors files of "
                "the same folder are read."
            )
    return placed
