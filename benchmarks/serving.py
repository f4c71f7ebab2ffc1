"""Serving under load: BLIP-2 ViT-g geometry behind HTTP, 1, 8 and 64 clients, against a loop without HTTP.

``python -m benchmarks.serving``. Random Q-Former weights, random patches in the cache, 20 candidates for each
search; server and load generator are two processes of one machine. Of the ViT one layer is written: the
server answers without it.
"""

from __future__ import annotations

import math
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.http_client import Client, Server, running_server
from benchmarks.measuring import Budget, Row, Section
from sightline.settings import Settings
from sightline.store.segment_content import FP16
from sightline.store.segments import write_segment
from sightline.store.work_records import Registration
from sightline.wiring import Installation, open_installation

if TYPE_CHECKING:
    from sightline.blip.config import Blip2Config
    from sightline.store.records import Collection

COLLECTION = "benchmark"
CANDIDATES = 20
GOAL = 0.9
READY_GOAL_SECONDS = 6.0


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    config: Callable[[], Blip2Config]
    images: int
    clients: tuple[int, ...]
    seconds: float
    """Work given to each number of clients, in seconds of the offline loop."""


@dataclass(frozen=True)
class Load:
    """What so many clients got: seconds of each answer, and of all together."""

    clients: int
    latencies: tuple[float, ...]
    wall: float

    @property
    def throughput(self) -> float:
        """Searches per second."""
        return len(self.latencies) / self.wall


def run(full: bool) -> Section:
    """``full``: ViT-g geometry and 200 images; else a geometry that runs in milliseconds."""
    from sightline.blip.random_weights import full_config, small_config

    size = Size(full_config, 200, (1, 8, 64), 12.0) if full else Size(small_config, 24, (1, 8), 0.05)
    section = Section("Serving under load, ViT-g geometry, 20 cached candidates for each search")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        weights = write_qformer(folder / "model", size.config())
        settings = _settings(folder / "data", folder / "model")
        reading = _reading_seconds(weights)
        with open_installation(settings) as services:
            _fill(services, size.images)
            loop = _Loop(services)
            with _server(settings, folder) as server:
                _drive(server.port, 1, 1)  # the first search opens the index
                before = loop.seconds(3)
                loads = _loads(section, server.port, size, before)
                offline = median([before, loop.seconds(3)])
    _report(section, offline, loads, server.ready_seconds, reading)
    return section


def _loads(section: Section, port: int, size: Size, each: float) -> list[Load]:
    """Every number of clients for which there is time; ``each``: seconds of a rerank in the loop."""
    loads = []
    for clients in size.clients:
        needed = max(size.seconds, clients * each)
        if not Budget.given().enough_for(1.5 * needed):
            section.skip(f"{clients} clients: {needed:.0f} s of searches do not fit into the time.")
            continue
        load = _drive(port, clients, size.seconds / each)
        section.figures[f"clients{clients}_p50_s"] = round(median(load.latencies), 3)
        section.figures[f"clients{clients}_p95_s"] = round(_p95(load), 3)
        loads.append(load)
    return loads


def _p95(load: Load) -> float:
    return quantiles([*load.latencies] * 2, n=20)[-1]


def _report(section: Section, offline: float, loads: list[Load], ready: float, reading: float) -> None:
    for load in loads:
        p50, p95, ratio = median(load.latencies), _p95(load), load.throughput * offline
        section.figures[f"clients{load.clients}_vs_offline"] = round(ratio, 3)
        ours = f"{load.throughput:.3g} searches/s, p50 {p50:.3g} s, p95 {p95:.3g} s"
        section.rows.append(
            Row(
                f"{load.clients} clients, {len(load.latencies)} searches",
                ours,
                f"loop without HTTP: {1 / offline:.3g} reranks/s",
                f"{ratio:.0%}",
                f"≥ {GOAL:.0%}" if load.clients == max(each.clients for each in loads) else "",
            )
        )
    section.figures["serve_ready_s"] = round(ready - reading, 3)
    section.rows.append(
        Row(
            "start of serve until ready, beyond reading the weights",
            f"{ready - reading:.2f} s ({ready:.2f} with reading, {reading:.2f} s)",
            goal=f"≤ {READY_GOAL_SECONDS:g} s",
        )
    )
    section.notes.append(
        "The loop scores the same candidates with the same engine, in a process of its own and without "
        "encoding any text; the searches over HTTP also encode theirs and retrieve."
    )


# --- what is served


def write_qformer(folder: Path, config: Blip2Config) -> Path:
    """A checkpoint with one layer of the ViT, which nothing here needs; the path of its weights."""
    from sightline.blip.export import save_checkpoint
    from sightline.blip.network import Blip2Network
    from sightline.blip.pixels import PixelConfig
    from sightline.blip.random_weights import randomise, word_tokenizer

    config = replace(config, vision_config=replace(config.vision_config, num_hidden_layers=1))
    network = Blip2Network(config)
    randomise(network)
    tokenizer = word_tokenizer(config.qformer_config.vocab_size)
    save_checkpoint(folder, network, None, tokenizer, PixelConfig(config.vision_config.image_size))
    return folder / "model.safetensors"


def _settings(data: Path, model: Path) -> Settings:
    empty = Settings(data=data)
    return empty.model_copy(update={"model": replace(empty.model, name=str(model))})


def _fill(services: Installation, images: int) -> None:
    """Publish images that never were: random tokens and patches, in segments as a worker writes them."""
    collection = services.collections.create(COLLECTION)
    shape = services.models.patch_shape(collection)
    job = services.catalog.create_job(collection.id, "index", {})
    items = [Registration(f"picture-{n}", f"{n:064x}", f"/none/{n}", 1) for n in range(images)]
    tasks = services.catalog.register(job.id, items, batch_size=50).task_ids
    services.catalog.seal_job(job.id)
    random = np.random.default_rng(0)
    for task in tasks:
        lease = services.catalog.acquire(task, "benchmark", 600.0)
        if lease is None:
            raise RuntimeError("Somebody else works on the benchmark's catalog.")
        keys = np.array([image.key for image in lease.images], np.int64)
        tokens = random.standard_normal(
            (len(keys), collection.num_query_tokens, collection.joint_dim), np.float32
        )
        tokens /= np.linalg.norm(tokens, axis=2, keepdims=True)
        patches = random.standard_normal((len(keys), *shape), np.float32).astype(np.float16)
        written = write_segment(services.segments.folder, keys, tokens.astype(np.float16), patches, FP16)
        services.catalog.publish(lease, written, sizes={int(key): (224, 224) for key in keys})
    services.builder.fold(COLLECTION)


@contextmanager
def _server(settings: Settings, folder: Path) -> Iterator[Server]:
    with (folder / "log").open("wb") as log, running_server(settings, log) as server:
        yield server


def _reading_seconds(path: Path) -> float:
    """How long reading the file's bytes takes, which no start can go below (from the page cache here)."""
    buffer = bytearray(1 << 24)
    began = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - began


# --- who asks


class _Loop:
    """The same reranks, called one after the other in this process."""

    def __init__(self, services: Installation) -> None:
        from sightline.reranker import Reranker
        from sightline.searching.patches import CollectionPatches

        self._services = services
        collection: Collection = services.catalog.collection(COLLECTION)
        self._model = services.models.encoder(collection)
        self._reranker = Reranker(
            self._model, CollectionPatches(services.patches, collection, self._model), self._model
        )
        self._turn = 0

    def seconds(self, times: int) -> float:
        """Median of ``times`` reranks, after one that is not counted."""
        found = []
        for _ in range(times + 1):
            text = _text(self._turn)
            vector = self._model.encode_text([text])[0].float().cpu().numpy()
            candidates = self._services.retriever.retrieve(COLLECTION, vector, CANDIDATES).candidates
            began = time.perf_counter()
            self._reranker.rerank(text, candidates, CANDIDATES)
            found.append(time.perf_counter() - began)
            self._turn += 1
        return median(found[1:])


def _drive(port: int, clients: int, searches: float) -> Load:
    """Share about so many searches (at least one each) among clients that begin together."""
    each = max(1, math.ceil(searches / clients))
    ready = threading.Barrier(clients + 1)

    def ask(number: int) -> list[float]:
        client = Client(port, COLLECTION)
        try:
            ready.wait(60)
            texts = [_text(1000 + number * each + turn) for turn in range(each)]
            return [client.search(text, CANDIDATES).seconds for text in texts]
        finally:
            client.close()

    with ThreadPoolExecutor(clients) as pool:
        futures = [pool.submit(ask, number) for number in range(clients)]
        ready.wait(60)
        began = time.perf_counter()
        latencies = [seconds for future in futures for seconds in future.result()]
        wall = time.perf_counter() - began
    return Load(clients, tuple(latencies), wall)


def _text(number: int) -> str:
    """A sentence of eight words, another one for each number."""
    from sightline.blip.random_weights import WORDS

    words = WORDS.split()
    return " ".join(words[int(i)] for i in np.random.default_rng(number).integers(0, len(words), 8))


if __name__ == "__main__":
    from benchmarks.run import markdown

    print(markdown(run(full="--small" not in sys.argv)))
