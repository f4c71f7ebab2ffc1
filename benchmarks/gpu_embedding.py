"""From JPEG files to published segments on a GPU, by the product's own workers, and by stock in fp16.

Part ``embed`` of benchmarks/gpu.py. The checkpoint has random weights and the real geometry, and is loaded as
any other. Several worker processes share the GPU: while one publishes or waits for pictures, another
computes.
Shapes: B images · S side.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.gpu_files import photo, write_checkpoint, write_pictures
from benchmarks.gpu_measuring import Goal, Plan, Report, free, in_turns, peak_note, seconds_of
from sightline.blip import load
from sightline.blip.blip2 import Blip2
from sightline.blip.patch_codec import fit
from sightline.blip.patch_formats import PatchFormat
from sightline.blip.random_weights import full_config, small_config
from sightline.imaging import IsolatedDecoder
from sightline.indexer.embedding.encoding import encode
from sightline.indexer.settings import IndexerSettings
from sightline.pillars import Pillars
from sightline.serving.settings import ModelSettings
from sightline.settings import DecodingSettings, Settings
from sightline.types import FP16
from sightline.wiring import open_installation

COLLECTION, TASK, STOCK_BATCH = "pictures", 128, 32
SIZES = ((1600, 1200, 2048), (640, 480, 4096))
"""Width, height and number: camera pictures made smaller for the web, and those of COCO."""
SMALL_SIZES = ((160, 120, 6),)
A_RUN = 90.0
"""Seconds that one size takes at most on a GPU, its files and its workers' start included."""


@dataclass(frozen=True)
class Crew:
    """Worker processes and what each has."""

    workers: int
    decoders: int
    batch: int
    device: str

    @classmethod
    def of(cls, plan: Plan) -> Crew:
        """Four cores a worker: three decode, one prepares, launches and publishes."""
        if not plan.full:
            return cls(1, 1, 4, str(plan.device))
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = max(1, min(6, cores // 4))
        return cls(workers, max(1, cores // workers - 1), 64, str(plan.device))


def run(plan: Plan, report: Report) -> None:
    """All figures of embedding."""
    crew = Crew.of(plan)
    with TemporaryDirectory(prefix="sightline-bench-") as name:
        folder = Path(name)
        config = full_config() if plan.full else small_config()
        checkpoint = write_checkpoint(folder / "model", config)
        model, fitted = _model_alone(plan, report, checkpoint, config.vision_config.image_size)
        del model
        free(plan.device)
        report.note(
            f"{crew.workers} workers with {crew.decoders} decode processes each, {crew.batch} pictures in a "
            f"pass, {TASK} in one segment; patches in the latent codec."
        )
        for width, height, count in SIZES if plan.full else SMALL_SIZES:
            if plan.full and plan.left() < A_RUN / 2:
                report.note(f"Pictures of {width} × {height} were not embedded: the time is up.")
                continue
            files = write_pictures(folder / f"{width}", width, height, count)
            ours = _ours(report, crew, folder, checkpoint, fitted, files, plan)
            _stock(plan, report, checkpoint, files, ours)
    peak_note(plan, report)


def _model_alone(plan: Plan, report: Report, checkpoint: Path, side: int) -> tuple[Blip2, PatchFormat]:
    """Pixels on the host to tokens and packed patches on the host, as a worker does it."""
    model = load(str(checkpoint), device=str(plan.device))
    assert isinstance(model, Blip2)
    sample = model.encode_patches(torch.randn(8, 3, side, side)).float().cpu()
    codec = fit(lambda: [sample], model.patch_metric().cpu(), model.fingerprint, grid=False)
    fitted = PatchFormat(codec.id, codec)
    programs: dict[str, Callable[[], object]] = {}
    for batch in (32, 64, 128) if plan.full else (2,):
        pixels = list(torch.randn(batch, 3, side, side).split(1))
        programs[f"{batch}, latent"] = _encoding(model, pixels, fitted)
        programs[f"{batch}, fp16"] = _encoding(model, pixels, PatchFormat(FP16))
        programs[f"{batch}, ViT alone"] = _seeing(model, torch.cat(pixels).to(plan.device))
    for name, timing in in_turns(programs, plan.until(0.25), report).items():
        batch = int(name.split(",")[0])
        kind = name.split(", ")[1].replace(" ", "_")
        report.figure(
            f"embed_model_{batch}_{kind}", f"the model, batch {name}", batch / timing.median, "images/s"
        )
    return model, fitted


def _encoding(model: Blip2, pixels: Sequence[Tensor], form: PatchFormat) -> Callable[[], object]:
    return lambda: encode(model, pixels, form)


def _seeing(model: Blip2, pixels: Tensor) -> Callable[[], object]:
    return lambda: model.encode_patches(pixels)


def settings_of(data: Path, checkpoint: Path, crew: Crew) -> Settings:
    """An installation as its workers have it."""
    return Settings(
        data=data,
        model=ModelSettings(name=str(checkpoint), device=crew.device),
        decoding=DecodingSettings(processes=crew.decoders),
        indexer=IndexerSettings(
            batch_size=TASK,
            encode_batch=crew.batch,
            decode_chunk_images=4 * crew.decoders,
            hash_threads=4,
            patch_codec="latent",
        ),
    )


def _ours(
    report: Report,
    crew: Crew,
    folder: Path,
    checkpoint: Path,
    fitted: PatchFormat,
    files: list[Path],
    plan: Plan,
) -> float:
    """Images a second, from the word to begin until the last segment is published."""
    pictures = files[0].parent
    data = folder / f"data-{pictures.name}"
    settings = settings_of(data, checkpoint, crew)
    name = f"embed_{pictures.name}px"
    with open_installation(settings, inline=True) as services:
        services.collections.create(COLLECTION, str(checkpoint))
        assert fitted.latent is not None
        services.formats.add(fitted.latent)
        began = time.perf_counter()
        job = services.indexer.index([str(pictures)], COLLECTION)
        registered = len(files) / (time.perf_counter() - began)
        report.figure(f"{name}_registered", "listed, hashed and registered", registered, "images/s")
        decoded = _decoding_rate(services, files[: 8 * crew.decoders])
        what = f"decoding and thumbnails alone, {crew.decoders} processes"
        report.figure(f"{name}_decoded", what, decoded, "images/s")
        seconds = _worked(plan, data, checkpoint, crew)
        progress = services.catalog.job_progress(job.id)
    if progress.indexed != len(files):
        raise RuntimeError(f"Of {len(files)} pictures {progress.indexed} were indexed in {seconds:.0f} s.")
    rate = len(files) / seconds
    goal = Goal(1000) if (files[0].parent.name, plan.full) == ("1600", True) else None
    report.figure(
        f"{name}_images_per_s", f"{len(files)} JPEG files to published segments", rate, "images/s", goal
    )
    limit = "decoding" if decoded * crew.workers < 1.5 * rate else "not decoding alone"
    report.note(f"{name}: {crew.workers} × {decoded:.0f} images/s could be decoded; the limit is {limit}.")
    return rate


def _decoding_rate(services: Pillars, files: Sequence[Path]) -> float:
    data = [file.read_bytes() for file in files]
    processes = services.settings.decoding.processes
    with IsolatedDecoder(services.settings.imaging, processes) as decoder:
        list(decoder.decode_many(data[: 2 * processes]))  # the processes start
        return len(data) / seconds_of(lambda: list(decoder.decode_many(data)), torch.device("cpu"))


def _worked(plan: Plan, data: Path, checkpoint: Path, crew: Crew) -> float:
    """Seconds that the workers took, from the word that all are given once their models are in memory."""
    if not plan.full:
        return seconds_of(lambda: work(data, checkpoint, crew, lambda: None), torch.device("cpu"))
    numbers = [str(one) for one in (crew.workers, crew.decoders, crew.batch, crew.device)]
    command = [sys.executable, "-m", "benchmarks.gpu_embedding", str(data), str(checkpoint), *numbers]
    threads = {"OMP_NUM_THREADS": "1"}  # the GPU computes; more would only spin
    started = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | threads
        )
        for _ in range(crew.workers)
    ]
    try:
        for worker in started:
            assert worker.stdout is not None
            if worker.stdout.readline().strip() != "ready":
                raise RuntimeError("A worker of the benchmark ended before it began.")
        began = time.perf_counter()
        for worker in started:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        for worker in started:
            worker.wait(timeout=max(1.0, plan.left()))
        return time.perf_counter() - began
    finally:
        for worker in started:
            worker.kill()
            worker.wait()


def work(data: Path, checkpoint: Path, crew: Crew, begin: Callable[[], None]) -> None:
    """One worker: loads and warms up, waits for the word, then does open tasks until none is left."""
    with open_installation(settings_of(data, checkpoint, crew), inline=True) as services:
        collection = services.catalog.collection(COLLECTION)
        encoder = services.models.encoder(collection)
        side = int(read_side(encoder))
        form = services.formats.newest(encoder.fingerprint) or PatchFormat(FP16)
        for _ in range(2):
            encode(encoder, list(torch.zeros(crew.batch, 3, side, side).split(1)), form)
        list(services.decoder.decode_many([photo(0, 64, 64)] * 2 * crew.decoders))
        begin()
        services.indexer.run_pending()


def read_side(encoder: Any) -> int:
    """S of a BLIP-2."""
    side: int = encoder.config.vision_config.image_size
    return side


@torch.inference_mode()
def _stock(plan: Plan, report: Report, checkpoint: Path, files: list[Path], ours: float) -> None:
    """One process with stock's processor and model in fp16, as its documentation has it."""
    from transformers import AutoImageProcessor, Blip2ForImageTextRetrieval

    kind = torch.float16 if plan.on_gpu else torch.float32
    processor: Any = AutoImageProcessor.from_pretrained(checkpoint)
    model: Any = Blip2ForImageTextRetrieval.from_pretrained(checkpoint, dtype=kind).to(plan.device).eval()
    batches = [files[start : start + STOCK_BATCH] for start in range(0, len(files), STOCK_BATCH)]
    _stock_tokens(model, processor, batches[0], plan.device)
    done, began = 0, time.perf_counter()
    for batch in batches:
        done += len(_stock_tokens(model, processor, batch, plan.device))
        if time.perf_counter() - began > min(10.0, plan.left() / 4):
            break
    theirs = done / (time.perf_counter() - began)
    name = f"embed_{files[0].parent.name}px"
    what = (
        f"stock transformers, {'fp16' if plan.on_gpu else 'fp32'}, batches of {STOCK_BATCH}, {done} pictures"
    )
    report.figure(f"{name}_stock_images_per_s", what, theirs, "images/s")
    report.figure(f"{name}_vs_stock", "ours against stock", ours / theirs, "×", Goal(3))
    del model
    free(plan.device)


def _stock_tokens(model: Any, processor: Any, files: Sequence[Path], device: torch.device) -> Tensor:
    """``[B,32,256]`` on the host."""
    images = [Image.open(file).convert("RGB") for file in files]
    pixels = processor(images=images, return_tensors="pt")["pixel_values"].to(device, model.dtype)
    patches = model.vision_model(pixel_values=pixels).last_hidden_state
    queries = model.query_tokens.expand(len(patches), -1, -1)
    out = model.qformer(query_embeds=queries, encoder_hidden_states=patches.to(queries.dtype))
    projected = model.vision_projection(out.last_hidden_state.to(model.vision_projection.weight.dtype))
    return torch.nn.functional.normalize(projected, dim=-1).float().cpu()


def main() -> None:
    """One worker process: says when it is ready, begins when it is told."""
    data, checkpoint, *numbers, device = sys.argv[1:]
    workers, decoders, batch = (int(number) for number in numbers)

    def begin() -> None:
        print("ready", flush=True)
        sys.stdin.readline()

    work(Path(data), Path(checkpoint), Crew(workers, decoders, batch, device), begin)


if __name__ == "__main__":
    main()
