"""Where a checkpoint's files are, which checkpoint they are, and how large its arrays. Imports no torch.

Weights are safetensors only: a folder that holds nothing but pickles is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sightline.errors import CheckpointError, ModelUnavailableError

Role = Literal["retrieval", "captioning", "asking"]
"""What a model is wanted for; ``demo`` and ``toy`` are another model for each."""
DEMO = "demo"
"""The name of the models that ship with Sightline."""
DEMO_FOLDER = Path(__file__).parents[1] / "data" / "demo-model"
DEMO_ASKING_FOLDER = Path(__file__).parents[1] / "data" / "demo-asking"
TOY = "toy"
"""The name of the formulas of sightline/blip/toy.py and toy_words.py, which have no files."""
FILES = ["*.json", "*.safetensors", "vocab.txt", "*/vocab.txt", "merges.txt"]
_FINGERPRINTED = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "vocab.txt",
)


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
        folder = DEMO_FOLDER if role == "retrieval" else DEMO_ASKING_FOLDER
    else:
        folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelUnavailableError(
            f"There is no model folder {model}; give a folder, a hub id such as Salesforce/blip2-itm-vit-g, "
            "or --model demo for the model that ships with Sightline."
        )
    return _from_hub(model, revision, cache_dir)


def _from_hub(model: str, revision: str | None, cache_dir: Path | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    cache = cache_dir or Path(HF_HUB_CACHE)
    try:
        return Path(snapshot_download(model, revision=revision, cache_dir=cache, allow_patterns=FILES))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise ModelUnavailableError(
            f"The model {model} is neither in the cache folder {cache} nor reachable on the hub "
            f"({type(error).__name__}); connect to the internet, copy its files into a folder and give that "
            "folder, or use --model demo."
        ) from error


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
    try:
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(_no_config(folder)) from error
    if not isinstance(raw, dict):
        raise CheckpointError(_no_config(folder))
    return raw


def _no_config(folder: Path) -> str:
    return f"{folder} has no readable config.json; give the folder of a checkpoint in transformers' format."


def weight_files(folder: Path) -> list[Path]:
    """The model's safetensors files, sharded or single.

    Raises:
        CheckpointError: there are none (pickled weights are never loaded), or a shard is missing.
    """
    index = folder / "model.safetensors.index.json"
    if index.exists():
        files = [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
    else:
        files = [folder / "model.safetensors"]
    missing = [path.name for path in files if not path.exists()]
    if missing:
        hint = " Pickled weights are not loaded; convert them." if any(folder.glob("*.bin")) else ""
        raise CheckpointError(f"{folder} lacks {', '.join(missing)}.{hint}")
    return files


def fingerprint(folder: Path, digest: Callable[[Path], str] | None = None) -> str:
    """SHA-256 over config, processor, tokenizer and weights: equal fingerprints give equal tokens.

    ``digest`` gives the SHA-256 of one file, for those who remember it; None reads the file.
    """
    total = hashlib.sha256()
    present = [folder / name for name in _FINGERPRINTED if (folder / name).exists()]
    for path in [*present, *weight_files(folder)]:
        total.update(f"{path.name}\0{_named_digest(path) or (digest or file_digest)(path)}\n".encode())
    return total.hexdigest()


def _named_digest(path: Path) -> str | None:
    # The hub's cache names large files by their SHA-256 and links to them: no need to read gigabytes again.
    name = path.resolve().name
    if path.is_symlink() and len(name) == 64 and all(c in "0123456789abcdef" for c in name):
        return name
    return None


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensor_names(files: list[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Names of the tensors in each file."""
    for path in files:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
        yield path, [name for name in header if name != "__metadata__"]
