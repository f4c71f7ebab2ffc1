"""What it gains that the next pictures are decoded while the model works.

The model here is a stand-in for an accelerator: it takes its time for every picture and leaves the processor
alone. Decoding, thumbnails, segments and publishing are the product's own. Without overlap the whole task is
decoded before the model sees the first picture.
"""

from __future__ import annotations

import time
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from torch import Tensor

from benchmarks.measuring import Row, Section
from sightline.blip.patch_formats import PatchFormats
from sightline.blip.toy import ToyEncoder
from sightline.imaging import IsolatedDecoder
from sightline.indexer.indexer import Indexer
from sightline.indexer.originals import Originals
from sightline.indexer.parts import IndexerParts
from sightline.indexer.settings import IndexerSettings
from sightline.store.blobs import BlobStore
from sightline.store.catalog import open_catalog
from sightline.store.codec_files import CodecFiles
from sightline.store.records import Collection
from sightline.store.segments import SegmentReader

BATCH, CHUNK = 32, 8
SIZE = (1600, 1200)
SECONDS_A_PICTURE = 0.04
"""Of the stand-in: about what decoding one such picture and its thumbnail takes on one core."""


class SlowToy(ToyEncoder):
    """The toy, which takes its time."""

    def encode_patches(self, pixels: Tensor) -> Tensor:
        time.sleep(SECONDS_A_PICTURE * len(pixels))
        return super().encode_patches(pixels)


class OneModel:
    """The model of every collection."""

    def encoder(self, collection: Collection) -> SlowToy:
        return SlowToy()

    def patch_shape(self, collection: Collection) -> tuple[int, int]:
        return ToyEncoder.patch_shape


def add_overlap(section: Section, full: bool) -> None:
    """A row with both ways, and the figure ``overlap_gain``."""
    images = 3 * BATCH if full else 4
    with IsolatedDecoder() as decoder:
        decoder.decode(_photo(0))  # the decode process starts outside of the time
        overlapped = _seconds(decoder, images, CHUNK if full else 2)
        apart = _seconds(decoder, images, BATCH)
    section.figures["overlap_gain"] = apart / overlapped
    section.rows.append(
        Row(
            f"{images} JPEG files of {SIZE[0]} × {SIZE[1]}, tasks of {BATCH}, a model that takes "
            f"{SECONDS_A_PICTURE * 1000:.0f} ms for each; instead: decode a task, then encode it",
            f"{overlapped:.2f} s",
            f"{apart:.2f} s",
            f"{apart / overlapped:.2f}×",
        )
    )


def _seconds(decoder: IsolatedDecoder, images: int, chunk: int) -> float:
    with TemporaryDirectory() as folder:
        data = Path(folder)
        (data / "pictures").mkdir()
        for number in range(images):
            (data / "pictures" / f"{number:04d}.jpg").write_bytes(_photo(number))
        catalog = open_catalog(f"sqlite:///{data / 'catalog.sqlite'}")
        toy = ToyEncoder()
        catalog.create_collection(
            "pictures",
            model="toy",
            revision=None,
            fingerprint=toy.fingerprint,
            num_query_tokens=toy.num_query_tokens,
            joint_dim=toy.joint_dim,
        )
        settings = IndexerSettings(batch_size=BATCH, decode_chunk_images=chunk, encode_batch=chunk)
        blobs, segments = BlobStore(str(data / "blobs")), SegmentReader(data / "segments")
        parts = IndexerParts(
            catalog=catalog,
            blobs=blobs,
            originals=Originals(blobs),
            segments=segments,
            formats=PatchFormats(CodecFiles(segments.folder)),
            decoder=decoder,
            models=OneModel(),
            settings=settings,
        )
        indexer = Indexer(parts)
        job = indexer.index([str(data / "pictures")], "pictures")
        began = time.perf_counter()
        indexer.run_pending()
        seconds = time.perf_counter() - began
        if catalog.job_progress(job.id).indexed != images:
            raise RuntimeError("not all pictures of the benchmark were indexed")
        catalog.close()
    return seconds


def _photo(number: int) -> bytes:
    """Soft shapes with a little noise, as large a file as a photo of this size has."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize(
        SIZE, Image.Resampling.BICUBIC
    )
    grain = rng.normal(0, 6, (SIZE[1], SIZE[0], 1))
    out = BytesIO()
    pixels = np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(out, "JPEG", quality=85)
    return out.getvalue()
