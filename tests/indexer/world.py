"""A whole installation in a folder, with the toy encoder: what the tests of the indexer run in.

``python -m tests.indexer.world ROLE DATA`` runs one process of it: ``worker``, ``builder``, ``index``,
``register`` or ``pending``; its knobs are in ``DATA/world.json``.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from celery import Celery
from PIL import Image as Pillow

from sightline.blip.patch_formats import PatchFormats
from sightline.blip.toy import ToyEncoder
from sightline.errors import NotFoundError
from sightline.imaging import IsolatedDecoder
from sightline.indexer.building.builder import Builder
from sightline.indexer.embedding.text_sampling import TextSampling
from sightline.indexer.indexer import Indexer
from sightline.indexer.originals import Originals
from sightline.indexer.parts import IndexerParts
from sightline.indexer.queue.app import TaskSender, make_app
from sightline.indexer.queue.stopping import told_to_stop
from sightline.indexer.queue.work import Work
from sightline.indexer.settings import BrokerSettings, BuilderSettings, IndexerSettings
from sightline.processes.logs import log_json_lines
from sightline.retriever.retriever import Retriever
from sightline.store.backends import open_indexes
from sightline.store.blobs import BlobStore
from sightline.store.catalog import Catalog, open_catalog
from sightline.store.codec_files import CodecFiles
from sightline.store.index import Indexes
from sightline.store.records import Collection, Image, Task
from sightline.store.sample_text_files import SampleTextFiles
from sightline.store.segments import SegmentReader
from sightline.types import PatchLevel
from tests.forked import Forked

COLLECTION = "pictures"
SHORT = {"batch_size": 4, "lease_seconds": 2.0, "heartbeat_seconds": 0.5, "max_deaths": 1000}
"""Settings under which a dead worker is noticed soon."""
QUICK = {"retry_pause_seconds": 0.0, "poll_seconds": 0.05}
Processes = list[subprocess.Popen[bytes] | Forked]


class CountingToy(ToyEncoder):
    """The toy, which takes its time when told to and counts the pictures that it saw.

    ``before`` is called with every batch: what a test wants to happen while the model is at work.
    """

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.seen = 0
        self.before: Callable[[], None] = lambda: None
        self.at: dict[int, Callable[[], object]] = {}
        """Number of a picture → what happens at its sight."""

    def preprocess(self, images: Sequence[Any]) -> Any:
        for number, happens in self.at.items():
            if any(picture_number(rgb) == number for rgb in images):
                happens()
        return super().preprocess(images)

    def encode_patches(self, pixels: Any) -> Any:
        self.before()
        self.seen += len(pixels)
        time.sleep(self.delay * len(pixels))
        return super().encode_patches(pixels)


@dataclass
class ToyModels:
    """The one model; ``loads`` says how often somebody asked for it."""

    toy: CountingToy = field(default_factory=CountingToy)
    loads: int = 0

    def encoder(self, collection: Collection) -> CountingToy:
        self.loads += 1
        return self.toy

    def patch_shape(self, collection: Collection) -> tuple[int, int]:
        return ToyEncoder.patch_shape


@dataclass
class Knobs:
    """What a world is made of; travels to its processes as JSON."""

    catalog: str = ""
    broker: str = "filesystem://"
    queue: str = "sightline"
    delay: float = 0.0
    """Seconds that the model takes for a picture."""
    sends: bool = False
    """Whether registering tells a queue (else the work waits for ``run_pending``)."""
    kills: int = -1
    """The number of a picture at which the process dies."""
    hangs: int = -1
    """The number of a picture at which the process hangs, the first time."""
    ahead: float = 0.0
    """Seconds by which the clock of the processes' host is wrong."""
    indexer: dict[str, Any] = field(default_factory=dict)
    builder: dict[str, Any] = field(default_factory=dict)


class World:
    """Catalog, blobs, segments, generations, broker and pictures below one folder."""

    def __init__(
        self, data: Path, knobs: Knobs | None = None, now: Callable[[], float] | None = None
    ) -> None:
        """``now`` replaces the clock of the database, and the one by which the builder measures intervals."""
        self.data = data
        self.now = now
        data.mkdir(parents=True, exist_ok=True)
        saved = data / "world.json"
        if knobs is not None or not saved.exists():
            saved.write_text(json.dumps(asdict(knobs or Knobs())))
        self.knobs = Knobs(**json.loads(saved.read_text()))
        self.pictures = data / "pictures"
        self.generations = data / "generations"
        toy = CountingToy(self.knobs.delay)
        toy.at[self.knobs.kills] = lambda: os.kill(os.getpid(), signal.SIGKILL)
        toy.at[self.knobs.hangs] = self._hang_once
        self.models = ToyModels(toy)

    def _hang_once(self) -> None:
        try:
            (self.data / "hung").touch(exist_ok=False)
        except FileExistsError:
            return
        threading.Event().wait(600.0)

    @cached_property
    def catalog(self) -> Catalog:
        if self.knobs.catalog:
            return open_catalog(self.knobs.catalog, now=self.now)
        file = self.data / "catalog.sqlite"
        if not file.exists():
            file.write_bytes(empty_catalog())
        return open_catalog(f"sqlite:///{file}", now=self.now)

    @cached_property
    def blobs(self) -> BlobStore:
        return BlobStore(str(self.data / "blobs"))

    @cached_property
    def segments(self) -> SegmentReader:
        return SegmentReader(self.data / "segments")

    @cached_property
    def indexes(self) -> Indexes:
        return open_indexes(self.generations)

    @property
    def decoder(self) -> IsolatedDecoder:
        return shared_decoder()

    @property
    def broker(self) -> BrokerSettings:
        return BrokerSettings(self.knobs.broker, self.data / "broker", self.knobs.queue, connect_seconds=1.0)

    @cached_property
    def send(self) -> TaskSender:
        return TaskSender(self.app, self.catalog, self.broker)

    @cached_property
    def app(self) -> Celery:
        return make_app(self.broker, lambda task_id: self.work.message(task_id))

    @cached_property
    def work(self) -> Work:
        return Work(self.catalog, self.indexer.tasks, self.parts.settings.look_seconds, told_to_stop)

    @cached_property
    def formats(self) -> PatchFormats:
        return PatchFormats(CodecFiles(self.segments.folder))

    @cached_property
    def parts(self) -> IndexerParts:
        return IndexerParts(
            catalog=self.catalog,
            blobs=self.blobs,
            originals=Originals(self.blobs),
            segments=self.segments,
            formats=self.formats,
            decoder=self.decoder,
            models=self.models,
            settings=IndexerSettings(**(QUICK | self.knobs.indexer)),
            send=self.send if self.knobs.sends else None,
        )

    @cached_property
    def indexer(self) -> Indexer:
        sampling = TextSampling(self.parts, self.texts, monotonic=self.now or time.monotonic)
        return Indexer(self.parts, sampling=sampling)

    @cached_property
    def texts(self) -> SampleTextFiles:
        return SampleTextFiles(self.segments.folder)

    def builder(self, patch_codec: PatchLevel = "fp16", **changes: Any) -> Builder:
        settings = BuilderSettings(**(self.knobs.builder | changes))
        queue = self.send if self.knobs.sends else None
        return Builder(
            self.catalog,
            self.blobs,
            self.segments,
            self.indexes,
            self.formats,
            settings,
            queue,
            self.now or time.monotonic,
            patch_codec,
        )

    def create(self) -> Collection:
        """The collection, bound to the toy."""
        toy = ToyEncoder()
        return self.catalog.create_collection(
            COLLECTION,
            model="toy",
            revision=None,
            fingerprint=toy.fingerprint,
            num_query_tokens=toy.num_query_tokens,
            joint_dim=toy.joint_dim,
        )

    def close(self) -> None:
        self.catalog.close()

    # --- pictures ----------------------------------------------------------------------------------

    def draw(self, count: int, first: int = 0) -> list[str]:
        """That many distinct pictures as files; their image ids."""
        self.pictures.mkdir(exist_ok=True)
        names = [f"{number:05d}.png" for number in range(first, first + count)]
        for number, name in enumerate(names, first):
            (self.pictures / name).write_bytes(picture(number))
        return names

    def index(self, **options: Any) -> Any:
        return self.indexer.index([str(self.pictures)], COLLECTION, **options)

    def live(self) -> list[Image]:
        images: list[Image] = []
        cursor: str | None = None
        for _ in range(1000):
            page = self.catalog.images(COLLECTION, cursor=cursor, limit=500)
            images += page.items
            cursor = page.next_cursor
            if cursor is None:
                return images
        raise AssertionError("the list never ended")

    # --- processes ---------------------------------------------------------------------------------

    def start(self, role: str) -> subprocess.Popen[bytes]:
        """One process of this world; its output goes to ``DATA/<role>-<n>.log``."""
        number = len(list(self.data.glob(f"{role}-*.log")))
        with (self.data / f"{role}-{number}.log").open("wb") as log:
            command = [
                sys.executable,
                "-X",
                "faulthandler",
                "-m",
                "tests.indexer.world",
                role,
                str(self.data),
            ]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

    def begin(self, role: str) -> Forked:
        """As ``start``, in a process that begins at once."""
        number = len(list(self.data.glob(f"{role}-*.log")))
        log = self.data / f"{role}-{number}.log"
        log.touch()
        return Forked(log, main, role, str(self.data))

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-4000:]}" for path in self.data.glob("*.log"))


@cache
def shared_decoder() -> IsolatedDecoder:
    """One decode process for all worlds of this process."""
    decoder = IsolatedDecoder()
    atexit.register(decoder.close)
    return decoder


@cache
def empty_catalog() -> bytes:
    """A migrated SQLite file: migrating once saves a second per test."""
    with TemporaryDirectory() as folder:
        open_catalog(f"sqlite:///{folder}/empty.sqlite").close()
        return Path(folder, "empty.sqlite").read_bytes()


def picture(number: int) -> bytes:
    """A PNG of 8 × 8 whose quadrants' colours say the number; distinct numbers, distinct bytes."""
    colours = [[(number >> shift) % 16 * 16 for shift in (0, 4, 8)], [number % 7 * 36, 0, number % 5 * 60]]
    rgb = np.zeros((8, 8, 3), np.uint8)
    rgb[:4, :4] = colours[0]
    rgb[4:, 4:] = colours[1]
    rgb[0, 7] = [number % 256, number // 256 % 256, 255]
    out = BytesIO()
    Pillow.fromarray(rgb).save(out, "PNG")
    return out.getvalue()


def picture_number(rgb: Any) -> int:
    """Which ``picture`` this is."""
    return int(rgb[0, 7, 0]) + 256 * int(rgb[0, 7, 1])


def kill(process: subprocess.Popen[bytes] | Forked, how: int = signal.SIGKILL) -> int:
    """Signal and wait; the exit status."""
    process.send_signal(how)
    return process.wait(timeout=20)


def stop_all(processes: Sequence[subprocess.Popen[bytes] | Forked]) -> None:
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait(timeout=20)


def until(what: str, true: Any, seconds: float = 120.0) -> None:
    """Wait for a condition; AssertionError with ``what`` when it takes too long."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def problems(world: World, expected: Sequence[str]) -> list[str]:
    """What is wrong with the stored collection, looked at from outside.

    Every expected picture is live exactly once and has one living row, which holds its own tokens; and the
    catalog's own invariants.
    """
    found = list(world.catalog.check())
    live = world.live()
    ids = sorted(image.image_id for image in live)
    if ids != sorted(expected):
        missing, extra = set(expected) - set(ids), set(ids) - set(expected)
        found.append(f"live: {len(ids)} instead of {len(expected)}; missing {missing}, extra {extra}")
    snapshot = world.catalog.snapshot(COLLECTION)
    dead = set(snapshot.dead.tolist())
    rows: list[int] = []
    tokens = {}
    for segment in snapshot.segments:
        keys, vectors = world.segments.tokens(segment.file)
        rows += [key for key in keys.tolist() if key not in dead]
        tokens |= dict(zip(keys.tolist(), vectors, strict=True))
    if sorted(rows) != sorted(image.key for image in live):
        found.append("the living rows of the segments are not the live keys, each once")
    for image in live:
        if image.key in tokens and not np.array_equal(tokens[image.key], own_tokens(world, image)):
            found.append(f"{image.image_id} has the tokens of another picture")
    return found


def own_tokens(world: World, image: Image) -> Any:
    """Tokens fp16 ``[4,8]`` computed from the picture itself, without the indexer."""
    from sightline.indexer.sources.listing import read_uri

    rgb = np.asarray(Pillow.open(BytesIO(read_uri(image.uri, world.blobs))).convert("RGB"))
    toy = ToyEncoder()
    return toy.encode_image(toy.encode_patches(toy.preprocess([rgb])))[0].half().numpy()


@contextmanager
def tended(world: World, **changes: Any) -> Iterator[None]:
    """A builder of this world runs meanwhile, in a thread."""
    stop = threading.Event()
    own = World(world.data)
    builder = own.builder(**({"interval_seconds": 0.05, "resend_seconds": 1.0} | changes))
    thread = threading.Thread(target=builder.run, args=(stop,), name="builder")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=20)
        own.close()


def any_leased(world: World, job_id: str) -> bool:
    """Whether a worker holds a batch of this job now."""
    return any(task.state == "leased" for task in tasks_of(world, job_id))


def tasks_of(world: World, job_id: str) -> list[Task]:
    """All tasks of a job; the tests' collections are small."""
    found = []
    for task_id in range(1, 2000):
        try:
            task = world.catalog.task(task_id)
        except NotFoundError:
            break
        if task.job_id == job_id:
            found.append(task)
    return found


def assert_done_once(world: World, job_id: str, names: Sequence[str]) -> None:
    """The job is over, no picture of the world failed, and a search finds each of them once."""
    until("the job to end", lambda: world.catalog.job(job_id).state == "done")
    progress = world.catalog.job_progress(job_id)
    assert (progress.failed, progress.pending) == (0, 0), world.logs()
    assert problems(world, names) == [], world.logs()
    assert sorted(search_all(world)) == sorted(image.key for image in world.live())


def search_all(world: World) -> list[int]:
    """Keys of everything that a search can find."""
    retriever = Retriever(world.catalog, world.segments, world.indexes)
    return [
        hit.key for hit in retriever.retrieve(COLLECTION, np.eye(8, dtype=np.float32)[0], 10_000).candidates
    ]


def main(role: str, data: str) -> int:
    log_json_lines()
    right, ahead = time.time, float(json.loads(Path(data, "world.json").read_text())["ahead"])
    time.time = lambda: right() + ahead  # this process believes another time than the database
    world = World(Path(data))
    try:
        if role == "worker":
            from sightline.indexer.queue.worker import run_worker

            stall = world.parts.settings.stall_seconds
            return run_worker(world.app, world.indexer.tasks, world.work, stall_seconds=stall)
        if role == "pending":
            world.indexer.run_pending()
            return 0
        if role == "register":  # the one job there is
            world.indexer.register(world.catalog.jobs()[0].id)
            return 0
        if role == "index":
            world.indexer.wait(world.index().id)
            return 0
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        world.builder().run(stop)
        return 0
    finally:
        world.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
