"""What decoding a JPEG at a fraction of its size (Pillow's ``Image.draft``) does to the model's pixels.

``python -m benchmarks.scaled_decoding [FOLDER]``. Behind docs/decisions/042: why pictures are decoded whole.
The decoder scales by 1/2, 1/4 or 1/8 as long as both sides stay at least ``margin`` × S; the reference is the
bicubic resize of the whole picture to S × S. Differences are in steps of 1/255.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measuring import Row, Section

MARGINS = (1, 2, 4)
PHOTOS = Path("../shared/data/openstax/images")
"""Real photographs, short side 256: with S at a thirtieth to a quarter of that they stand for large ones."""


def run(full: bool, folder: Path = PHOTOS) -> Section:
    """Real photos when they are there, else soft shapes with grain."""
    section = Section("JPEG files decoded at a fraction of their size")
    files = list(islice(_files(folder), 60 if full else 4))
    section.notes.append(f"{len(files)} JPEG files, {'photos' if folder.is_dir() else 'synthetic'}")
    for side in (30, 60):
        for margin in MARGINS:
            found = [one for data in files if (one := _difference(data, side, margin)) is not None]
            if not found:
                continue
            mean, most, share = np.array(found).T
            name = f"scaled_{side}_{margin}"
            section.figures |= {f"{name}_mean": float(mean.max()), f"{name}_max": float(most.max())}
            section.rows.append(
                Row(
                    f"S = {side}, both sides ≥ {margin} S after scaling ({len(found)} pictures)",
                    f"mean {mean.mean():.2f}, worst picture {mean.max():.2f}, largest {most.max():.0f}",
                    ratio=f"{np.median(share):.2f} of the time",
                    goal="mean ≤ 1, largest ≤ 16",
                )
            )
    return section


def _difference(data: bytes, side: int, margin: int) -> tuple[float, float, float] | None:
    """Mean and largest difference, and the share of the time; None when nothing is scaled."""
    began = time.perf_counter()
    whole = Image.open(BytesIO(data)).convert("RGB")
    middle = time.perf_counter()
    scaled = Image.open(BytesIO(data))
    scaled.draft(None, (side * margin, side * margin))
    if scaled.size == whole.size:
        return None
    few = scaled.convert("RGB")
    ended = time.perf_counter()
    reference, found = (
        np.asarray(one.resize((side, side), Image.Resampling.BICUBIC)).astype(int) for one in (whole, few)
    )
    distance = np.abs(found - reference)
    return float(distance.mean()), float(distance.max()), (ended - middle) / (middle - began)


def _files(folder: Path) -> Iterator[bytes]:
    """The bytes of RGB JPEG files."""
    if not folder.is_dir():
        yield from (_synthetic(number) for number in range(60))
        return
    for path in sorted(folder.glob("*.jp*g")):
        data = path.read_bytes()
        opened = Image.open(BytesIO(data))
        if opened.format == "JPEG" and opened.mode == "RGB":
            yield data


def _synthetic(number: int) -> bytes:
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    pixels = np.asarray(coarse.resize((512, 384), Image.Resampling.BICUBIC)) + rng.normal(0, 6, (384, 512, 1))
    out = BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def main() -> None:
    """Print the section alone."""
    section = run(True, *(Path(name) for name in sys.argv[1:2]))
    print(*section.notes, sep="\n")
    for row in section.rows:
        print(f"{row.what}: {row.ours}; {row.ratio} (to be kept within: {row.goal})")


if __name__ == "__main__":
    main()
