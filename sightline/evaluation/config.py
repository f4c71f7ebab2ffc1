"""What ``sightline eval`` can be told. Plain values: the command line builds its options from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

TextHandling = Literal["lavis", "transformers"]
"""``lavis`` lower-cases, strips punctuation and cuts at 50 words before tokenising, as the paper's numbers
were made; ``transformers`` leaves the sentence to the tokenizer, as search does (docs/scoring.md, trap 8).
"""
HANDLINGS: tuple[TextHandling, ...] = ("lavis", "transformers")

PatchDtype = Literal["float16", "float32"]
"""In which precision patches wait on disk."""
PATCH_DTYPES: tuple[PatchDtype, ...] = ("float16", "float32")

DEFAULT_KS = (16, 64, 128, 256)


@dataclass(frozen=True)
class EvalConfig:
    """One evaluation.

    ``data`` is Karpathy's JSON or our captions.jsonl, ``images`` the folder that its file names start from,
    ``ks`` how many ITC candidates ITM judges (none: ITC alone). ``split`` None takes ``test`` where the data
    has one, else ``val``, else everything. ``limit`` keeps the first so many pictures. ``cache`` keeps their
    patches for another evaluation.
    """

    data: Path
    images: Path
    model: str
    ks: tuple[int, ...] = DEFAULT_KS
    out: Path | None = None
    split: str | None = None
    text: TextHandling = "lavis"
    limit: int | None = None
    batch_size: int = 32
    patches: PatchDtype = "float16"
    cache: Path | None = None
    revision: str | None = None
    device: str | None = None
    cache_dir: Path | None = None
