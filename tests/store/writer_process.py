"""Forks writers on request, which write the same files for ever; the crash tests kill them.

For each line "KIND FOLDER" on stdin it prints the writer's process id, then the writer prints "FILE SHA256"
for every file that is finished, and when it was killed this prints "end". One process that has imported
everything forks them all: twenty interpreters would take a minute to start.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from sightline.store.flat import FlatBackend
from sightline.store.flat.faiss_scan import load_faiss
from sightline.store.segments import SegmentReader, write_segment
from tests.store.token_world import Published


def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys, tokens and patches of 3 MB: long enough to be killed within."""
    keys = np.arange(500)
    tokens = (np.arange(500 * 8 * 64) % 1999).astype(np.float16).reshape(500, 8, 64)
    patches = (np.arange(500 * 40 * 64) % 2003).astype(np.float16).reshape(500, 40, 64)
    return keys, tokens, patches


def write_for_ever(kind: str, folder: Path) -> None:
    keys, tokens, patches = arrays()
    segments, generations = folder / "segments", folder / "generations"
    file = write_segment(segments, keys, tokens, None, "none").file if kind == "generation" else ""
    reader = SegmentReader(segments)
    while True:
        if kind == "segment":
            written = write_segment(segments, keys, tokens, patches, "fp16")
            print(written.file, written.sha256, flush=True)
        else:
            built = FlatBackend(generations).build(reader, [Published(1, file)], np.empty(0, np.int64))
            print(built.file, built.sha256, flush=True)


def main() -> None:
    load_faiss()
    for line in sys.stdin:
        kind, folder = line.split()
        process = os.fork()
        if process == 0:
            write_for_ever(kind, Path(folder))
        print(process, flush=True)
        os.waitpid(process, 0)
        print("end", flush=True)


if __name__ == "__main__":
    main()
