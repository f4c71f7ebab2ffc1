"""Everything around the model, as a real worker does it: message, lease, originals, segment, publishing.

``python -m benchmarks.pipeline`` prints it. The model is a null one: it emits 64 KB of patches and 16 KB of
query tokens for a picture, in batches of 256, and computes nothing; decoding and thumbnails are left out. All
else is the product's: a Celery worker on the filesystem broker, the catalog in SQLite (synchronous=FULL),
originals read and their SHA-256 checked, segments written, hashed and fsynced, the publishing transaction.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from celery import Celery
from torch import Tensor

from benchmarks.measuring import Row, Section
from benchmarks.overlapping import add_overlap
from sightline.blip.patch_formats import PatchFormats
from sightline.blip.toy import ToyEncoder
from sightline.imaging.decoded import Decoded
from sightline.indexer.indexer import Indexer
from sightline.indexer.originals import Originals
from sightline.indexer.parts import IndexerParts
from sightline.indexer.queue.app import TaskSender, make_app
from sightline.indexer.queue.stopping import told_to_stop
from sightline.indexer.queue.work import Work
from sightline.indexer.settings import BrokerSettings, IndexerSettings
from sightline.store.blobs import BlobStore
from sightline.store.catalog import Catalog, open_catalog
from sightline.store.codec_files import CodecFiles
from sightline.store.records import Collection
from sightline.store.segments import SegmentReader
from sightline.types import RGB

BATCH = 256
PATCHES, TOKENS = (256, 128), (32, 256)
BYTES = 80 * 1024
"""Of one image in fp16: 64 KB of patches, 16 KB of tokens."""
COLLECTION, FINGERPRINT = "pictures", "null"
GOAL = 2000


class NullEncoder(ToyEncoder):
    """Emits numbers that were drawn once."""

    fingerprint = FINGERPRINT

    def __init__(self) -> None:
        drawn = np.random.default_rng(0).standard_normal
        self._patches = torch.from_numpy(drawn((BATCH, *PATCHES), np.float32)).half()
        tokens = torch.from_numpy(drawn((BATCH, *TOKENS), np.float32))
        self._tokens = torch.nn.functional.normalize(tokens, dim=-1).half()

    def preprocess(self, images: Sequence[RGB]) -> Tensor:
        return torch.zeros(len(images), 3, 1, 1)

    def encode_patches(self, pixels: Tensor) -> Tensor:
        return self._patches[: len(pixels)]

    def encode_image(self, patches: Tensor) -> Tensor:
        return self._tokens[: len(patches)]


class NullModels:
    """The one model."""

    def __init__(self) -> None:
        self._encoder = NullEncoder()

    def encoder(self, collection: Collection) -> NullEncoder:
        return self._encoder


class NullDecoder:
    """One grey pixel for whatever comes."""

    _grey = Decoded(np.zeros((1, 1, 3), np.uint8), 1, 1, "PNG", b"")

    def decode_many(self, data: Sequence[bytes]) -> list[Decoded]:
        return [self._grey for _ in data]


class NoThumbnails(BlobStore):
    """Keeps none."""

    def put_thumbnail(self, sha256: str, data: bytes) -> None:
        return None


class Installation:
    """Below one folder, for the parent that registers and for the worker."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.broker = BrokerSettings("filesystem://", data / "broker")

    @cached_property
    def catalog(self) -> Catalog:
        return open_catalog(f"sqlite:///{self.data / 'catalog.sqlite'}")

    @cached_property
    def indexer(self) -> Indexer:
        settings = IndexerSettings(
            batch_size=BATCH, register_batch=BATCH, encode_batch=BATCH, decode_chunk_images=64
        )
        blobs, segments = NoThumbnails(str(self.data / "blobs")), SegmentReader(self.data / "segments")
        return Indexer(
            IndexerParts(
                catalog=self.catalog,
                blobs=blobs,
                originals=Originals(blobs),
                segments=segments,
                formats=PatchFormats(CodecFiles(segments.folder)),
                decoder=NullDecoder(),
                models=NullModels(),
                settings=settings,
                send=TaskSender(self.app, self.catalog, self.broker),
            )
        )

    @cached_property
    def app(self) -> Celery:
        return make_app(self.broker, lambda task_id: self.work.message(task_id))

    @cached_property
    def work(self) -> Work:
        return Work(self.catalog, self.indexer.tasks, IndexerSettings().look_seconds, told_to_stop)

    def register(self, images: int) -> str:
        """Files of 200 bytes as a job; its messages are sent."""
        pictures = self.data / "pictures"
        pictures.mkdir(parents=True)
        for number in range(images):
            (pictures / f"{number:06d}.png").write_bytes(b"%06d" % number + b"." * 194)
        self.catalog.create_collection(
            COLLECTION,
            model="null",
            revision=None,
            fingerprint=FINGERPRINT,
            num_query_tokens=32,
            joint_dim=256,
        )
        return self.indexer.index([str(pictures)], COLLECTION).id

    def published_at(self) -> list[float]:
        """When each segment was published."""
        times: dict[int, float] = {}
        cursor: str | None = None
        while True:
            page = self.catalog.images(COLLECTION, cursor=cursor, limit=1000)
            places = self.catalog.locations([image.key for image in page.items])
            times |= {places[one.key].segment_id: one.published_at or 0.0 for one in page.items}
            cursor = page.next_cursor
            if cursor is None:
                return sorted(times.values())


def run(full: bool) -> Section:
    """5,120 images for the figure; two batches for a smoke test."""
    section = Section("Pipeline around a null model")
    rates, disk = [], []
    for _ in range(5 if full else 1):
        with TemporaryDirectory() as folder:
            rates.append(_rate(Path(folder), 20 * BATCH if full else 2 * BATCH))
            disk.append(_disk_rate(Path(folder)))
    disk_rate = statistics.median(disk)
    section.figures["pipeline_images_per_s"] = statistics.median(rates)
    section.figures["pipeline_disk_mb_per_s"] = disk_rate / 1e6
    section.rows.append(
        Row(
            f"images per second, one worker, batches of {BATCH}, 80 KB written for each",
            f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
            goal=f"≥ {GOAL:,}",
        )
    )
    section.notes.append(
        f"the disk alone writes and fsyncs files of the segments' size at {disk_rate / 1e6:,.0f} MB/s, "
        f"which bounds the rate at {disk_rate / BYTES:,.0f} images/s"
    )
    add_overlap(section, full)
    return section


def _rate(data: Path, images: int) -> float:
    """Images per second from the first segment's publishing to the last's."""
    installation = Installation(data)
    job_id = installation.register(images)
    worker = subprocess.Popen([sys.executable, "-m", "benchmarks.pipeline", "--worker", str(data)])
    try:
        while installation.catalog.job(job_id).state != "done":
            if worker.poll() is not None:
                raise RuntimeError("the worker of the benchmark ended early")
            time.sleep(0.2)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait()
    progress = installation.catalog.job_progress(job_id)
    if (progress.indexed, progress.failed) != (images, 0):
        raise RuntimeError(f"{progress.indexed} of {images} images were indexed, {progress.failed} failed")
    times = installation.published_at()
    installation.catalog.close()
    return BATCH * (len(times) - 1) / (times[-1] - times[0])


def _disk_rate(folder: Path) -> float:
    """Bytes per second of files as large as a segment, written and fsynced."""
    content = os.urandom(BATCH * BYTES)
    seconds = []
    for number in range(5):
        began = time.perf_counter()
        with (folder / f"{number}.bytes").open("xb") as file:
            file.write(content)
            os.fsync(file.fileno())
        seconds.append(time.perf_counter() - began)
    return len(content) / statistics.median(seconds)


def work(data: Path) -> int:
    """The worker process."""
    from sightline.indexer.queue.worker import run_worker

    torch.set_num_threads(1)
    logging.getLogger().setLevel(logging.WARNING)
    here = Installation(data)
    stall = IndexerSettings().stall_seconds
    return run_worker(here.app, here.indexer.tasks, here.work, stall_seconds=stall, log_level="WARNING")


def main() -> int:
    """Print the section alone, or be its worker."""
    if sys.argv[1:2] == ["--worker"]:
        return work(Path(sys.argv[2]))
    section = run(full=True)
    print(json.dumps(section.figures))
    for row in section.rows:
        print(f"{row.what}: {row.ours} | {row.theirs} | {row.ratio} (goal {row.goal or '-'})")
    print("\n".join(section.notes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
