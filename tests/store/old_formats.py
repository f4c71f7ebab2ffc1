"""Segments and generations as version 0.1 wrote them: without checksums of their own."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

import numpy as np

from sightline.store.flat.faiss_scan import index_header
from sightline.store.tensorfile import ALIGNMENT, TensorSpec, encode_header, raw


def write_old_segment(
    folder: Path, keys: np.ndarray, tokens: np.ndarray, patches: np.ndarray
) -> tuple[str, str]:
    """File and SHA-256 of an fp16 segment."""
    digest = hashlib.sha256(raw(keys))
    digest.update(raw(tokens))
    told = {
        "format": "sightline-segment",
        "version": "1",
        "codec": "fp16",
        "tokens_sha256": digest.hexdigest(),
    }
    arrays = {"keys": keys, "tokens": tokens, "patches": patches}
    specs = [TensorSpec(name, array.dtype.type, array.shape) for name, array in arrays.items()]
    content = encode_header(told, specs) + b"".join(raw(array) for array in arrays.values())
    return _write(folder, f"{uuid.uuid4().hex}.segment.safetensors", content)


def write_old_generation(folder: Path, keys: np.ndarray, tokens: np.ndarray) -> tuple[str, str]:
    """File and SHA-256 of a flat generation."""
    queries, dim = tokens.shape[1:]
    header = index_header(len(keys) * queries, dim)
    padded = np.frombuffer(bytes(-(len(header) + keys.nbytes) % ALIGNMENT) + header, np.uint8)
    told = {"format": "sightline-generation", "version": "1", "faiss_bytes": str(len(header))}
    arrays = {"keys": keys, "faiss": padded, "tokens": tokens}
    specs = [TensorSpec(name, array.dtype.type, array.shape) for name, array in arrays.items()]
    content = encode_header(told, specs) + b"".join(raw(array) for array in arrays.values())
    return _write(folder, f"{uuid.uuid4().hex}.generation.safetensors", content)


def _write(folder: Path, file: str, content: bytes) -> tuple[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(content)
    return file, hashlib.sha256(content).hexdigest()
