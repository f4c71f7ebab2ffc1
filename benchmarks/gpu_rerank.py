"""Reranking from a latent cache in device memory: the product's scorer, the LAVIS loop, the stock forward.

Part ``rerank`` of benchmarks/gpu.py. Weights are random: speed does not depend on them. No cascade can be
learned on them either, so `auto` replays given shares of candidates through the staged scorer itself.
Shapes: K candidates · P patches · V vision width · R latent rank · L text length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_measuring import Goal, Plan, Report, free, in_turns, peak_note
from benchmarks.measuring import Timing
from benchmarks.rerank_stock import lavis_loop, stock_forward, stock_model
from sightline.blip.config import Blip2Config
from sightline.blip.latents import Basis, Latents
from sightline.blip.network import Blip2Network
from sightline.blip.pair_scoring import PairScorer
from sightline.blip.random_weights import full_config, randomise, small_config
from sightline.blip.recorded import Captured, CudaCapture, Recorder

LAVIS_LENGTH, TEXT, STOCK_IMAGES = 35, 10, 8
COMPILE_SECONDS = 60.0
"""What must be left before ``torch.compile`` is tried."""
AUTO, FULL, EAGER = "auto, graphs", "full, graphs", "full, kernel by kernel"
EXACT, COMPILED = "full, fp32", "full, compiled and graphs"
LAVIS, LAVIS_HALF, STOCK = "LAVIS loop, fp32", "LAVIS loop, bf16", "stock forward, fp32"


@dataclass(frozen=True)
class Candidates:
    """K of them, as the cache keeps them on the device and as LAVIS keeps them on the host."""

    latents: Latents
    features: Tensor
    """``[K,P,V]`` fp32, on the host."""
    ids: Tensor
    """``[1,L]``."""


class CompiledCapture:
    """Records what ``torch.compile`` makes of a pass."""

    def __init__(self, device: torch.device) -> None:
        self._record = CudaCapture(device)

    def __call__(self, run: Callable[[], Tensor]) -> Captured:
        return self._record(torch.compile(run, dynamic=False))


@torch.inference_mode()
def run(plan: Plan, report: Report) -> None:
    """All figures of reranking."""
    config = full_config() if plan.full else small_config()
    count = 1000 if plan.full else 6
    network = Blip2Network(config, with_vision=False)
    randomise(network)
    network.eval().requires_grad_(False)
    stock = stock_model(config, network, with_vision=False).to(plan.device)
    network.to(plan.device)
    some = drawn(config, count, 240 if plan.full else 24, plan.device)
    report.note(_tf32())
    found = _ours_and_lavis(plan.until(0.5), report, network, stock, some)
    stock = None  # gives its memory back
    free(plan.device)
    _stock(plan.until(0.5), report, config, network, found, count)
    free(plan.device)
    _compiled(plan, report, network, some, found)
    peak_note(plan, report)


def _ours_and_lavis(
    plan: Plan, report: Report, network: Blip2Network, stock: Any, some: Candidates
) -> dict[str, Timing]:
    fast, exact = (PairScorer(network, kind) for kind in (torch.bfloat16, torch.float32))
    eager = PairScorer(network, torch.bfloat16)
    eager.recorder = None
    _agreement(report, some, [fast, eager], exact, stock)
    programs: dict[str, Callable[[], object]] = {
        AUTO: lambda: staged(fast, some, plan.keep),
        FULL: lambda: fast(some.ids, some.latents),
        EAGER: lambda: eager(some.ids, some.latents),
        EXACT: lambda: exact(some.ids, some.latents),
        LAVIS: lambda: lavis_loop(stock, some.features, some.ids, LAVIS_LENGTH),
    }
    found = in_turns(programs, plan.until(0.7), report)
    if plan.on_gpu and not (fast.recorder and fast.recorder.recordings):
        report.note("No graph could be recorded: what is called graphs ran kernel by kernel.")
    _tell(report, found, len(some.latents), plan)
    stock.to(torch.bfloat16)
    half = in_turns({LAVIS_HALF: programs[LAVIS]}, plan, report)
    _against(report, found, half, FULL, LAVIS_HALF, "rerank_full_vs_lavis_bf16", None)
    return found


def drawn(config: Blip2Config, count: int, rank: int, device: torch.device) -> Candidates:
    """Codes as a fitted codec would leave them; their values change no time."""
    generator = torch.Generator().manual_seed(2)
    vision = config.vision_config
    shape = (count, vision.num_patches, rank)
    codes = torch.randint(-127, 128, shape, generator=generator, dtype=torch.int8)
    scales = (torch.rand(shape[:2], generator=generator) / 60 + 0.01).half()
    components = torch.linalg.qr(torch.randn(vision.hidden_size, rank, generator=generator))[0].T
    basis = Basis("benchmark", components.contiguous(), torch.zeros(vision.hidden_size))
    features = torch.randn(count, vision.num_patches, vision.hidden_size, generator=generator)
    ids = torch.randint(5, 50, (1, TEXT), generator=generator).to(device)
    return Candidates(Latents(codes, scales, basis).to(device), features, ids)


def staged(scorer: PairScorer, some: Candidates, shares: Sequence[float]) -> Tensor:
    """Logits ``[K',2]`` of what went through all layers, ``shares[s]`` of all K through stage s.

    The best go on, by what the head says of them half way, chosen on the host as the product does.
    """
    counts = [max(1, round(share * len(some.latents))) for share in shares]
    stops = [scorer.layers * (stage + 1) // len(shares) for stage in range(len(shares))]
    states, latents = scorer.look(some.ids, some.latents, stops[0]), some.latents
    for count, stop in zip(counts[1:], stops[1:], strict=True):
        if count < len(states):
            best = scorer.logits(states)[:, 1].cpu().argsort(descending=True)[:count].tolist()
            states = states.of(best)
            latents = Latents(latents.codes[best], latents.scales[best], latents.basis)
        states = scorer.look_on(states, latents, stop)
    return scorer.logits(states)


def _tell(report: Report, found: dict[str, Timing], count: int, plan: Plan) -> None:
    shares = ", ".join(f"{share:g}" for share in plan.keep)
    names = {AUTO: "rerank_auto_ms", FULL: "rerank_full_ms", EAGER: "rerank_full_eager_ms"}
    names |= {EXACT: "rerank_full_fp32_ms", LAVIS: "rerank_lavis_fp32_ms"}
    for what, name in names.items():
        if what in found:
            goal = Goal(50, at_most=True) if what == AUTO else None
            report.times(name, f"{count} candidates, {what}", found[what], goal)
    report.note(f"auto replays a cascade that lets {shares} of all candidates through its equal stages.")
    _against(report, found, found, AUTO, LAVIS, "rerank_vs_lavis_loop", Goal(20))
    _against(report, found, found, FULL, LAVIS, "rerank_full_vs_lavis_loop", Goal(5))
    _against(report, found, found, FULL, EAGER, "rerank_graphs_vs_eager", None)


def _against(
    report: Report,
    ours: dict[str, Timing],
    theirs: dict[str, Timing],
    mine: str,
    other: str,
    name: str,
    goal: Goal | None,
) -> None:
    if mine in ours and other in theirs:
        report.figure(name, f"{mine} against {other}", theirs[other].median / ours[mine].median, "×", goal)


def _stock(
    plan: Plan,
    report: Report,
    config: Blip2Config,
    network: Blip2Network,
    found: dict[str, Timing],
    count: int,
) -> None:
    """The forward of stock transformers, from pixels, on few pictures."""
    images = STOCK_IMAGES if plan.full else 2
    side = config.vision_config.image_size
    host = {name: value.cpu() for name, value in network.state_dict().items()}
    cpu = Blip2Network(config, with_vision=False)
    cpu.load_state_dict(host)
    stock: Any = stock_model(config, cpu, with_vision=True).to(plan.device)
    pixels = torch.randn(images, 3, side, side, device=plan.device)
    ids = torch.full((1, TEXT), 5, device=plan.device)
    times = in_turns({STOCK: lambda: stock_forward(stock, pixels, ids)}, plan, report)
    if STOCK in times and FULL in found:
        each = times[STOCK].median / images
        report.figure("rerank_stock_image_ms", f"{STOCK}, {images} pictures at once", 1e3 * each, "ms")
        whole = each * count / found[FULL].median
        report.figure(
            "rerank_full_vs_stock_forward", f"{FULL} against {STOCK}, scaled to {count}", whole, "×"
        )


def _compiled(
    plan: Plan, report: Report, network: Blip2Network, some: Candidates, found: dict[str, Timing]
) -> None:
    if not plan.on_gpu or plan.left() < COMPILE_SECONDS:
        report.note("torch.compile of the layers was not tried: it needs a GPU and a minute.")
        return
    scorer = PairScorer(network, torch.bfloat16)
    scorer.recorder = Recorder(CompiledCapture(plan.device))
    times = in_turns({COMPILED: lambda: scorer(some.ids, some.latents)}, plan, report)
    if not scorer.recorder.recordings:
        report.note("torch.compile of the layers gave nothing that could be recorded.")
        return
    if COMPILED in times:
        report.times("rerank_full_compiled_ms", COMPILED, times[COMPILED])
    _against(report, times, found, COMPILED, FULL, "rerank_compiled_vs_graphs", None)


def _agreement(
    report: Report, some: Candidates, fast: Sequence[PairScorer], exact: PairScorer, stock: Any
) -> None:
    """Whether all compute the same; scored often enough that the recorded pass is the one compared."""
    few = Latents(some.latents.codes[:8], some.latents.scales[:8], some.latents.basis)
    for _ in range(3):
        replayed, eager = (scorer(some.ids, few) for scorer in fast)
    features = some.features[:8]
    plain = exact(some.ids, features.to(some.ids.device))
    lavis = lavis_loop(stock, features, some.ids, LAVIS_LENGTH)
    report.note(
        f"Largest difference of a logit over 8 pairs: graphs to kernel by kernel "
        f"{_apart(replayed, eager)}, bf16 to fp32 {_apart(eager, exact(some.ids, few))}, uncompressed fp32 "
        f"to the LAVIS loop {_apart(plain, lavis)}; random weights."
    )


def _apart(first: Tensor, second: Tensor) -> str:
    return f"{float((first - second).abs().max()):.1e}"


def _tf32() -> str:
    allowed = torch.backends.cuda.matmul.allow_tf32
    return (
        f"fp32 products {'may use TF32' if allowed else 'are full fp32, not TF32'}, ours and LAVIS's alike."
    )
