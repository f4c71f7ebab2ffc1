"""FAISS on the GPU against the CPU, as a part of benchmarks/gpu.py; benchmarks/gpu_search.py measures."""

from __future__ import annotations

from benchmarks.gpu_measuring import Plan, Report
from benchmarks.gpu_search import measure
from sightline.errors import UnavailableError
from sightline.store.flat import FaissGpu

IMAGES, CANDIDATES, QUERIES = 20_000, (10, 100), 30
SECONDS = 20.0
"""That drawing and building so many images takes, about."""


def run(plan: Plan, report: Report) -> None:
    """Seconds of a query on both, or the sentence why not."""
    gpu = FaissGpu()
    try:
        devices = gpu.count()
    except UnavailableError as error:
        report.note(str(error))
        return
    if not devices:
        report.note("The installed FAISS is faiss-cpu, or sees no GPU: searches run on the CPU here.")
        return
    if plan.left() < SECONDS:
        report.note("The time is up: searches were not measured.")
        return
    images = IMAGES if plan.full else 100
    for row in measure(images, CANDIDATES if plan.full else (5,), QUERIES if plan.full else 2, gpu):
        name = f"search_{row.candidates}"
        what = f"one query over {row.images:,} images for {row.candidates} candidates"
        report.times(f"{name}_gpu_ms", f"{what}, GPU", row.gpu)
        report.times(f"{name}_cpu_ms", f"{what}, CPU", row.cpu)
        report.figure(f"{name}_gpu_vs_cpu", what, row.cpu.median / row.gpu.median, "×")
