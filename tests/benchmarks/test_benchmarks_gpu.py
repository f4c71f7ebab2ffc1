"""The GPU benchmark runs whole on a CPU at toy size, compares like with like, and outlives its parts."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import SHARES, Options, in_time, kept_shares, main, markdown, run_all, run_here
from benchmarks.gpu_files import write_pictures
from benchmarks.gpu_measuring import Goal, Plan, Report, in_turns, read_report
from benchmarks.gpu_rerank import drawn as drawn_candidates
from benchmarks.gpu_rerank import staged
from benchmarks.gpu_training import drawn, learners
from sightline.blip.network import Blip2Network
from sightline.blip.pair_scoring import PairScorer
from sightline.blip.random_weights import randomise, small_config
from sightline.imaging.decoding import decode

CPU = torch.device("cpu")


def options(folder: Path, full: bool = False) -> Options:
    return Options("cpu", full, (1.0, 0.5, 0.25), folder / "gpu.json")


def test_all_parts_run_on_a_cpu_and_give_every_figure(tmp_path: Path) -> None:
    parts = run_all(options(tmp_path), tuple(SHARES), 5, run_here)
    assert [(part.name, part.failed) for part in parts] == [(name, None) for name in SHARES]
    whole = json.loads((tmp_path / "gpu.json").read_text())
    assert {
        "rerank_auto_ms", "rerank_full_ms", "rerank_full_eager_ms", "rerank_vs_lavis_loop",
        "rerank_full_vs_lavis_loop", "rerank_full_vs_stock_forward", "embed_160px_images_per_s",
        "embed_160px_vs_stock", "train_steps_per_s", "train_vs_stock", "train_vs_stock_from_pixels",
    } <= whole.keys()  # fmt: skip
    assert (whole["card"], whole["full_size"], whole["weights"]) == ("none", False, "random")
    figures = [figure for part in parts for figure in part.figures]
    assert all(figure.value > 0 and figure.unit for figure in figures)
    assert all(figure.met is None for figure in figures), "toy figures meet and miss no goal"
    assert "toy size" in markdown(options(tmp_path), parts)


def test_stock_modules_train_on_the_same_losses() -> None:
    ours, stock = learners(small_config(), CPU)
    batch = drawn(small_config(), 4)
    mine, theirs = ours.eval()(batch, 1.0, 7), stock.eval()(batch, 1.0, 7)
    assert mine.keys() == theirs.keys()
    for name in mine:
        torch.testing.assert_close(mine[name], theirs[name], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_replayed_cascade_lets_its_shares_through_and_all_is_full() -> None:
    network = Blip2Network(small_config(), with_vision=False)
    randomise(network)
    scorer, some = PairScorer(network.eval(), torch.float32), drawn_candidates(small_config(), 8, 24, CPU)
    assert torch.allclose(staged(scorer, some, (1.0, 1.0)), scorer(some.ids, some.latents), atol=1e-5)
    assert len(staged(scorer, some, (1.0, 0.5, 0.25))) == 2


def test_what_fails_is_a_sentence_and_the_rest_is_measured(tmp_path: Path) -> None:
    report = Report(full=True, file=tmp_path / "part.jsonl")

    def broken() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nMore lines.")

    plan = Plan(CPU, True, time.monotonic() + 60)
    found = in_turns({"broken": broken, "sound": lambda: torch.ones(2)}, plan, report)
    assert found.keys() == {"sound"}
    assert report.notes == [
        "broken was not measured: OutOfMemoryError: CUDA out of memory. Tried to allocate 9 GiB."
    ]


def test_a_part_that_fails_keeps_its_figures_and_the_next_one_runs(tmp_path: Path) -> None:
    def run_part(name: str, told: Options, seconds: float) -> str | None:
        Report(told.full, told.file(name)).figure(f"{name}_ms", "something", 5, "ms", Goal(9, at_most=True))
        return in_time([sys.executable, "-c", "raise SystemExit(3)"], 60) if name == "rerank" else None

    parts = run_all(options(tmp_path, full=True), ("rerank", "train"), 5, run_part)
    assert [part.failed for part in parts] == ["Its process ended with status 3.", None]
    whole = json.loads((tmp_path / "gpu.json").read_text())
    assert (whole["rerank_ms"], whole["train_ms"]) == (5, 5)
    assert [figure.met for part in parts for figure in part.figures] == [True, True]


def test_without_time_nothing_is_begun_and_who_stays_too_long_is_ended(tmp_path: Path) -> None:
    (part,) = run_all(options(tmp_path, full=True), ("rerank",), 0.1, run_here)
    assert part.failed == "The time was up before it began."
    ended = in_time([sys.executable, "-c", "import time; time.sleep(600)"], 0.3)
    assert ended is not None
    assert ended.startswith("It was ended after")


def test_a_report_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    file = tmp_path / "part.jsonl"
    report = Report(True, file)
    report.figure("a_ms", "first", 1, "ms", Goal(2))
    report.note("A remark.")
    with file.open("a") as open_file:
        open_file.write('{"figure": {"name": "b')
    figures, notes = read_report(file)
    assert [(one.name, one.met, one.goal) for one in figures] == [("a_ms", False, "≥ 2")]
    assert notes == ["A remark."]


def test_keep_rates_are_those_given_those_measured_or_the_default(tmp_path: Path) -> None:
    measured = tmp_path / "bench-cascade.json"
    assert kept_shares(None, measured) == (1.0, 0.5, 0.25)
    measured.write_text('{"figures": {"cascade_kept_1": 1, "cascade_kept_2": 0.6, "cascade_work": 0.5}}')
    assert kept_shares(None, measured) == (1.0, 0.6)
    assert kept_shares("0.4", measured) == (1.0, 0.4)


def test_written_pictures_differ_in_bytes_and_are_the_drawn_ones(tmp_path: Path) -> None:
    files = write_pictures(tmp_path / "pictures", 40, 30, 18)
    data = [file.read_bytes() for file in files]
    assert len(set(data)) == 18
    assert (decode(data[0]).rgb == decode(data[16]).rgb).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert "PyTorch sees no GPU here; --device cpu" in capsys.readouterr().err
