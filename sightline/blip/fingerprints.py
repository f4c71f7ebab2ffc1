"""Which checkpoint a folder holds: a fingerprint of its tensors and of what its other files mean.

The layout says nothing: the same tensors in one file or in many shards, JSON with other spaces or in another
order, and files that nobody reads, give the same fingerprint. Another number in a tensor, another value in a
configuration, another word in a tokenizer give another one. Imports no torch.
(docs/decisions/130-fingerprints-of-meaning.md)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from sightline.blip.checkpoint import list_tensors, weight_files
from sightline.blip.checkpoint_files import read_json
from sightline.blip.headers import TensorEntry, read_header
from sightline.errors import CheckpointError

_CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json")
_TOKENIZERS = ("", "qformer_tokenizer/")
"""Where tokenizers lie: at the top, and the second one of an InstructBLIP."""
_OLD_VOCABULARIES = ("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "tokenizer.model")
_OLD_TOKENIZER_JSON = ("added_tokens.json", "tokenizer_config.json", "special_tokens_map.json")
"""What is read in place of a tokenizer.json where there is none."""
ITG_HEAD: Final = "itg_head.safetensors"
_SAYS_NOTHING = frozenset(
    ("transformers_version", "_name_or_path", "_commit_hash", "torch_dtype", "dtype", "_from_model_config")
)
"""Keys of a configuration that change no number: which program wrote it, and from where."""
_FORMER = ("config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json", "vocab.txt")
_BUFFER_BYTES = 1 << 20


class Digests(Protocol):
    """Gives digests of files, and may remember them."""

    def of(self, file: Path) -> str:
        """SHA-256 of the file's bytes."""
        ...

    def of_tensors(self, file: Path) -> dict[str, str]:
        """`tensor_digests` of the file."""
        ...


class ReadDigests:
    """Reads every file every time."""

    def of(self, file: Path) -> str:
        """SHA-256 of the file's bytes."""
        return file_digest(file)

    def of_tensors(self, file: Path) -> dict[str, str]:
        """`tensor_digests` of the file."""
        return tensor_digests(file)


def fingerprint(folder: Path, digests: Digests | None = None) -> str:
    """SHA-256, in hexadecimal, over what a checkpoint's files mean: equal ones give equal patches and tokens.

    Every tensor counts with its name, type, shape and bytes; those of the ITG head, too.

    Raises:
        CheckpointError: the files cannot be read, are damaged, or are not all there.
    """
    chosen = digests or ReadDigests()
    lines = [*_meanings(folder), *_weights(folder, chosen)]
    return hashlib.sha256("\n".join(["sightline 2", *sorted(lines)]).encode()).hexdigest()


def former_fingerprint(folder: Path, digests: Digests | None = None) -> str:
    """The fingerprint of version 0.1: SHA-256 over the bytes of the files of config, tokenizer and weights.

    Collections that were bound by it stay bound: `sightline.serving.models` compares with both.
    """
    chosen, total = digests or ReadDigests(), hashlib.sha256()
    present = [folder / name for name in _FORMER if (folder / name).exists()]
    for path in [*present, *weight_files(folder)]:
        total.update(f"{path.name}\0{_named_digest(path) or chosen.of(path)}\n".encode())
    return total.hexdigest()


def _named_digest(path: Path) -> str | None:
    # The hub's cache names large files by their SHA-256 and links to them: no need to read gigabytes again.
    name = path.resolve().name
    if path.is_symlink() and len(name) == 64 and all(c in "0123456789abcdef" for c in name):
        return name
    return None


def _meanings(folder: Path) -> Iterator[str]:
    """A line for each file that says something and is no weights."""
    for name in _CONFIGS:
        if (folder / name).exists():
            yield f"{name}\0{_canonical(_without_origin(read_json(folder / name)))}"
    for place in _TOKENIZERS:
        if (folder / place / "tokenizer.json").exists():
            yield f"{place}tokenizer.json\0{_canonical(read_json(folder / place / 'tokenizer.json'))}"
            continue
        for name in _OLD_VOCABULARIES:
            if (folder / place / name).exists():
                yield f"{place}{name}\0{file_digest(folder / place / name)}"
        for name in _OLD_TOKENIZER_JSON:
            if (folder / place / name).exists():
                yield f"{place}{name}\0{_canonical(_without_origin(read_json(folder / place / name)))}"


def _weights(folder: Path, digests: Digests) -> Iterator[str]:
    tensors = list_tensors(folder)
    for path in sorted({entry.path for entry in tensors.values()}):
        known = digests.of_tensors(path)
        yield from (f"{name}\0{known.get(name)}" for name, one in tensors.items() if one.path == path)
    if (folder / ITG_HEAD).exists():
        for name, digest in digests.of_tensors(folder / ITG_HEAD).items():
            yield f"{ITG_HEAD}\0{name}\0{digest}"


def tensor_digests(path: Path) -> dict[str, str]:
    """SHA-256 of each tensor in a safetensors file, over its type, its shape and its bytes.

    Raises:
        CheckpointError: the file cannot be read, or is damaged.
    """
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    try:
        with path.open("rb", buffering=0) as file:
            return {name: _tensor_digest(file, entry, buffer) for name, entry in read_header(path).items()}
    except OSError as error:
        raise CheckpointError(f"The weights {path} cannot be read ({error.strerror}).") from error


class _Readable(Protocol):
    def seek(self, offset: int, /) -> int: ...
    def readinto(self, buffer: memoryview, /) -> int | None: ...


def _tensor_digest(file: _Readable, entry: TensorEntry, buffer: memoryview) -> str:
    total, left = hashlib.sha256(f"{entry.dtype} {list(entry.shape)}\n".encode()), entry.end - entry.start
    file.seek(entry.start)
    while left:
        read = file.readinto(buffer[: min(left, len(buffer))])
        if not read:
            raise CheckpointError(f"The weights {entry.path} were cut off while they were read; try again.")
        total.update(buffer[:read])
        left -= read
    return total.hexdigest()


def _canonical(value: object) -> str:
    """JSON in one form, whatever the order of its keys and its spaces were."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _without_origin(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_origin(one) for name, one in value.items() if name not in _SAYS_NOTHING}
    return [_without_origin(one) for one in value] if isinstance(value, list) else value


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
