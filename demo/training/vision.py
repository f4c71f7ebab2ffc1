"""Stage 1: the image encoder learns from labels per patch.

Every patch is asked what it shows (kind, colour, size, how many of the same) and what lies left, right, above
and below of it; the class patch is asked for the setting. The heads are thrown away, the encoder is frozen.
Shapes: B pictures · G grid side (P = G·G + 1 patches) · V width · T things per picture.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from demo.training.optimiser import build_optimisers, load_state, save_state, set_rate
from demo.training.pictures import NEIGHBOUR_WIDTH, Pictures, neighbours
from demo.training.recipe import VisionStage
from demo.world.things import COLOURS, KINDS, SETTINGS, SIZES
from sightline.blip.config import Blip2Config, VisionConfig
from sightline.blip.pixels import normalise
from sightline.blip.vit import VisionModel

log = logging.getLogger(__name__)
MAX_THINGS = 8


@dataclass
class Labels:
    """Everything that is asked of N pictures."""

    kind: NDArray[np.uint8]  # [N,G,G]
    colour: NDArray[np.uint8]  # [N,G,G]
    size: NDArray[np.uint8]  # [N,G,G]
    thing: NDArray[np.int8]  # [N,G,G], -1 where background
    around: NDArray[np.uint8]  # [N,T,NEIGHBOUR_WIDTH]
    same: NDArray[np.uint8]  # [N,T] how many things of this kind and colour, minus one
    setting: NDArray[np.uint8]  # [N]


def read_labels(pictures: Pictures, grid: int) -> Labels:
    """Labels of every picture."""
    count = len(pictures.scenes)
    cells = (count, grid, grid)
    labels = Labels(
        np.zeros(cells, np.uint8),
        np.zeros(cells, np.uint8),
        np.zeros(cells, np.uint8),
        np.zeros(cells, np.int8),
        np.zeros((count, MAX_THINGS, NEIGHBOUR_WIDTH), np.uint8),
        np.zeros((count, MAX_THINGS), np.uint8),
        np.zeros(count, np.uint8),
    )
    for index, scene in enumerate(pictures.scenes):
        found = pictures.labels(index, grid)
        labels.kind[index], labels.colour[index] = found["kind"], found["colour"]
        labels.size[index], labels.thing[index] = found["size"], found["thing"]
        labels.around[index, : len(scene.things)] = neighbours(scene)
        looks = [(thing.kind, thing.colour) for thing in scene.things]
        labels.same[index, : len(looks)] = [min(looks.count(look), 3) - 1 for look in looks]
        labels.setting[index] = SETTINGS.index(scene.setting)
    return labels


class PatchHeads(nn.Module):
    """One linear head per question."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kind = nn.Linear(width, len(KINDS) + 1)
        self.colour = nn.Linear(width, len(COLOURS) + 1)
        self.size = nn.Linear(width, len(SIZES) + 1)
        self.same = nn.Linear(width, 3)
        self.around = nn.Linear(width, NEIGHBOUR_WIDTH)
        self.setting = nn.Linear(width, len(SETTINGS))

    def forward(self, patches: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of the questions and the share of thing patches whose kind and colour are both right.

        ``patches`` ``[B,1+C,V]`` are the class patch and C cells; ``kind``, ``colour``, ``size`` and
        ``thing`` are ``[B,C]``.
        """
        cells = patches[:, 1:].flatten(0, 1)  # [B·C,V]
        shown = batch["thing"].flatten() >= 0
        kind, colour = self.kind(cells), self.colour(cells)
        right = (kind.argmax(1) == batch["kind"].flatten()) & (colour.argmax(1) == batch["colour"].flatten())
        rows = torch.arange(len(patches)).repeat_interleave(batch["thing"][0].numel())[shown]
        thing = batch["thing"].flatten()[shown]
        around = self.around(cells[shown])
        return {
            "kind": F.cross_entropy(kind, batch["kind"].flatten()),
            "colour": F.cross_entropy(colour, batch["colour"].flatten()),
            "size": F.cross_entropy(self.size(cells), batch["size"].flatten()),
            "same": F.cross_entropy(self.same(cells[shown]), batch["same"][rows, thing]),
            "around": F.binary_cross_entropy_with_logits(around, batch["around"][rows, thing]) * 8,
            "setting": F.cross_entropy(self.setting(patches[:, 0]), batch["setting"]) * 0.3,
            "right": right[shown].float().mean().detach(),
        }


def take(
    pictures: Pictures, labels: Labels, rows: NDArray[np.int64], flip: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Pixels and labels of one batch, mirrored left to right if asked."""
    side = slice(None, None, -1) if flip else slice(None)
    pixels = normalise(np.ascontiguousarray(pictures.pixels[rows][:, :, side]))
    around = labels.around[rows].reshape(len(rows), MAX_THINGS, 4, -1)
    if flip:
        around = around[:, :, [1, 0, 2, 3]]
    batch = {
        name: getattr(labels, name)[rows][:, :, side].astype(np.int64)
        for name in ("kind", "colour", "size", "thing")
    }
    out = {name: torch.from_numpy(np.ascontiguousarray(value)).flatten(1) for name, value in batch.items()}
    out["around"] = torch.from_numpy(around.reshape(len(rows), MAX_THINGS, -1).astype(np.float32))
    out["same"] = torch.from_numpy(labels.same[rows].astype(np.int64))
    out["setting"] = torch.from_numpy(labels.setting[rows].astype(np.int64))
    return pixels, out


def interesting(thing: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """``[B,count]`` cells to look at: those that show things first, then background at random.

    Most of a picture is background; leaving it out, as masked autoencoders do, halves a step's time and more.
    """
    order = torch.from_numpy(rng.random(thing.shape)) + (thing >= 0)
    return order.topk(count, dim=1).indices


def run_some(model: VisionModel, pixels: Tensor, keep: Tensor | None) -> Tensor:
    """The encoder on the class patch and cells ``keep`` ``[B,C]`` alone: ``[B,1+C,V]``; None keeps all."""
    if keep is None:
        return model(pixels)  # type: ignore[no-any-return]
    embedded = model.embeddings(pixels)
    index = torch.cat([torch.zeros_like(keep[:, :1]), keep + 1], dim=1)[:, :, None].expand(
        -1, -1, embedded.shape[2]
    )
    x = embedded.gather(1, index)
    for layer in model.encoder.layers:
        x = layer(x)
    return model.post_layernorm(x)  # type: ignore[no-any-return]


def only(batch: dict[str, Tensor], keep: Tensor | None) -> dict[str, Tensor]:
    """The labels of the cells that were kept."""
    if keep is None:
        return batch
    return {
        name: value.gather(1, keep) if name in ("kind", "colour", "size", "thing") else value
        for name, value in batch.items()
    }


def train_vision(
    config: VisionConfig, stage: VisionStage, pictures: Pictures, held_out: Pictures, work: Path, seed: int
) -> VisionModel:
    """Train, or continue from the last checkpoint; returns the encoder alone, frozen."""
    torch.manual_seed(seed)
    model, heads = VisionModel(config), PatchHeads(config.hidden_size)
    init_vision(model)
    optimisers = build_optimisers([model, heads], stage.lr, stage.weight_decay)
    state = load_state(work / "vision.pt")
    start = 0
    if state is not None:
        start = state["step"]
        model.load_state_dict(state["model"])
        heads.load_state_dict(state["heads"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
    if start < stage.steps:
        grid = config.image_size // config.patch_size
        labels = read_labels(pictures, grid)
        _run(model, heads, optimisers, stage, pictures, labels, work, seed, start)
        measure(model, heads, held_out, read_labels(held_out, grid))
    return model.eval().requires_grad_(False)


def _run(
    model: VisionModel, heads: PatchHeads, optimisers: list[torch.optim.Optimizer], stage: VisionStage,
    pictures: Pictures, labels: Labels, work: Path, seed: int, start: int,
) -> None:  # fmt: skip
    began = time.monotonic()
    for step in range(start, stage.steps):
        rng = np.random.default_rng((seed, 1, step))
        rows = rng.integers(0, len(pictures.scenes), stage.batch_size)
        pixels, batch = take(pictures, labels, rows, bool(rng.random() < 0.5))
        keep = (
            interesting(batch["thing"], stage.patches_kept, rng)
            if step < stage.steps * stage.all_patches_from
            else None
        )
        losses = heads(run_some(model, pixels, keep), only(batch, keep))
        right = losses.pop("right")
        torch.stack(list(losses.values())).sum().backward()
        set_rate(optimisers, stage.lr, step, stage.steps)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        if step % 25 == 0:
            shown = " ".join(f"{name} {loss.item():.3f}" for name, loss in losses.items())
            log.info("vision %d %.0fs right %.3f %s", step, time.monotonic() - began, right.item(), shown)
        if (step + 1) % 50 == 0 or step + 1 == stage.steps:
            saved = [optimiser.state_dict() for optimiser in optimisers]
            state = {
                "step": step + 1,
                "model": model.state_dict(),
                "heads": heads.state_dict(),
                "optimisers": saved,
            }
            save_state(work / "vision.pt", state)


@torch.no_grad()
def measure(model: VisionModel, heads: PatchHeads, pictures: Pictures, labels: Labels) -> float:
    """Share of thing patches of held-out pictures whose kind and colour are both right."""
    found = []
    for start in range(0, len(pictures.scenes), 100):
        pixels, batch = take(
            pictures, labels, np.arange(start, min(start + 100, len(pictures.scenes))), False
        )
        losses = heads(model(pixels), batch)
        found.append({name: value.item() for name, value in losses.items()})
    mean = {name: float(np.mean([row[name] for row in found])) for name in found[0]}
    log.info("vision held out: %s", " ".join(f"{name} {value:.3f}" for name, value in mean.items()))
    return mean["right"]


@torch.no_grad()
def centre_patches(model: VisionModel, pictures: Pictures, sample: int = 512) -> None:
    """Fold a per-dimension mean 0 and deviation 1 of the patches into the encoder's last LayerNorm.

    Trained encoders put most of a patch's length into one direction that all patches share. Cross-attention
    carries it into every query, where it drowns what the patches differ in, and the Q-Former learns several
    times slower.
    """
    pixels = normalise(np.array(pictures.pixels[:: max(1, len(pictures.scenes) // sample)]))
    patches = torch.cat([model(part) for part in pixels.split(128)]).flatten(0, 1)
    mean, deviation = patches.mean(dim=0), patches.std(dim=0)
    model.post_layernorm.bias.sub_(mean).div_(deviation)
    model.post_layernorm.weight.div_(deviation)


@torch.inference_mode()
def encode_pictures(
    model: VisionModel, pictures: Pictures, config: Blip2Config, path: Path
) -> NDArray[np.float16]:
    """Patches ``[N,P,V]`` of every picture, fp16 on disk."""
    shape = (len(pictures.scenes), config.vision_config.num_patches, config.vision_config.hidden_size)
    if not path.exists():
        aside = path.with_suffix(".tmp")
        out = np.memmap(aside, np.float16, "w+", shape=shape)
        for start in range(0, len(out), 128):
            out[start : start + 128] = (
                model(normalise(np.array(pictures.pixels[start : start + 128]))).half().numpy()
            )
        out.flush()
        aside.rename(path)
    return np.memmap(path, np.float16, "r", shape=shape)


def init_vision(model: VisionModel) -> None:
    """Truncated normals, zero biases, small residual outputs."""
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2:
            nn.init.trunc_normal_(parameter, std=0.02)
            if name.endswith(("projection.weight", "fc2.weight")):
                parameter.data.mul_(0.4)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
