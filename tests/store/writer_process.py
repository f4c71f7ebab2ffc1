"""A writer that writes the same file for ever; the crash tests kill it.

``python -m tests.store.writer_process KIND FOLDER`` says "ready", waits for a line on stdin, and then says
"FILE SHA256" for every file that is finished.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from sightline.store.flat import FlatBackend
from sightline.store.flat.faiss_scan import load_faiss
from sightline.store.index import BuildRequest
from sightline.store.segments import SegmentReader, write_segment
from tests.store.token_world import Published


def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys, tokens and patches of 3 MB: long enough to be killed within."""
    keys = np.arange(500)
    tokens = (np.arange(500 * 8 * 64) % 1999).astype(np.float16).reshape(500, 8, 64)
    patches = (np.arange(500 * 40 * 64) % 2003).astype(np.float16).reshape(500, 40, 64)
    return keys, tokens, patches


def say(*words: str) -> None:
    """One whole line in one system call: a kill leaves all of it or nothing."""
    os.write(sys.stdout.fileno(), f"{' '.join(words)}\n".encode())


def write_until_killed(kind: str, folder: Path) -> None:
    keys, tokens, patches = arrays()
    segments, generations = folder / "segments", folder / "generations"
    file = write_segment(segments, keys, tokens, None, "none").file if kind == "generation" else ""
    reader, parent = SegmentReader(segments), os.getppid()
    load_faiss()
    say("ready")
    sys.stdin.read(1)
    while os.getppid() == parent:
        if kind == "segment":
            written = write_segment(segments, keys, tokens, patches, "fp16")
            say(written.file, written.sha256)
        else:
            built = FlatBackend(generations).build(
                reader, BuildRequest([Published(1, file)], np.empty(0, np.int64))
            )
            say(built.file, built.sha256)


if __name__ == "__main__":
    write_until_killed(sys.argv[1], Path(sys.argv[2]))
