"""Pairs through the layers on a GPU by replaying CUDA graphs.

A pass of 256 pairs is about 400 small kernels, which a GPU finishes about as fast as Python launches them. A
CUDA graph holds all launches of one pass, recorded once and replayed as one. It reads and writes fixed
memory, so a recording is for one form of pass: which layers, how long the sequence, which patches in which
basis, and how many pairs, rounded up. Rows do not see one another, so what lies in the rows beyond the pairs
changes nothing. A form is recorded when it comes for the second time; the first time it runs kernel by
kernel, and so does whatever cannot be recorded.

Shapes: J pairs, or 1 while all pairs share their states · K pairs · S positions · H width · P patches ·
V vision width · R latent rank.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from sightline.blip.latents import Latents
from sightline.blip.pair_states import PairStates

log = logging.getLogger(__name__)

_ROWS = 16
"""Pairs are rounded up to a multiple of this."""
_MOST_BYTES = 1 << 30
"""Fixed memory of all recordings; the one that was used longest ago goes first."""
_SHARE = 4
"""A pass whose inputs take more than this part of it is never recorded: it would drive out all others."""
_MOST_SEEN = 4096
"""Forms that are remembered as seen once."""


class Through(Protocol):
    """Pairs after ``layers`` layers in all, kernel by kernel."""

    def __call__(self, states: PairStates, patches: Tensor | Latents, layers: int) -> PairStates: ...


@dataclass(frozen=True, eq=False)
class Captured:
    """A computation that can be repeated."""

    replay: Callable[[], object]
    """Computes again from what the inputs' memory holds by now."""
    out: Tensor
    """Where the result lies, until the next replay of any recording."""


class Capture(Protocol):
    """Records what a function launches. Raises RuntimeError: it cannot."""

    def __call__(self, run: Callable[[], Tensor]) -> Captured: ...


class CudaCapture:
    """Records CUDA graphs of one device, which share the memory of what lies between input and result."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None

    def __call__(self, run: Callable[[], Tensor]) -> Captured:
        with torch.cuda.device(self._device):
            if self._pool is None:
                self._pool = torch.cuda.graph_pool_handle()
            aside, here = torch.cuda.Stream(), torch.cuda.current_stream()
            aside.wait_stream(here)
            with torch.cuda.stream(aside):
                run()  # at their first call libraries choose kernels and take memory: not to be recorded
            here.wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            # thread_local: the image encoder may be at work in another thread meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                out = run()
        return Captured(graph.replay, out)


class Recorder:
    """Replays the forms of pass that come again. Thread-safe; for one set of weights, which must not move."""

    def __init__(self, capture: Capture, most_bytes: int = _MOST_BYTES) -> None:
        self._capture = capture
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._recordings: OrderedDict[Hashable, _Recording] = OrderedDict()
        self._seen: set[Hashable] = set()
        self._refused = False

    def __call__(
        self, run: Through, states: PairStates, patches: Tensor | Latents, layers: int, keep: object
    ) -> PairStates:
        """What ``run`` gives.

        ``keep`` holds the weights that it reads, for as long as a recording may read them.
        """
        form = _form(states, patches, layers)
        with self._lock:
            if form not in self._recordings and form in self._seen and not self._refused:
                self._record(form, run, states, patches, layers, keep)
            self._remember(form)
            recording = self._recordings.get(form)
            if recording is not None:
                self._recordings.move_to_end(form)
                return replace(states, hidden=recording.replayed(states, patches), layers=layers)
        return run(states, patches, layers)

    @property
    def recordings(self) -> int:
        """How many forms can be replayed now."""
        return len(self._recordings)

    def _remember(self, form: Hashable) -> None:
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen.add(form)

    def _record(
        self,
        form: Hashable,
        run: Through,
        states: PairStates,
        patches: Tensor | Latents,
        layers: int,
        keep: object,
    ) -> None:
        rows = _rounded(len(patches))
        if rows * sum(one[0].nbytes for one in _tensors(patches)) > self._most_bytes // _SHARE:
            return
        try:
            fixed = replace(states, hidden=_fixed(states.hidden, 1 if len(states) == 1 else rows))
            fixed_patches = _fixed_patches(patches, rows)
            captured = self._capture(lambda: run(fixed, fixed_patches, layers).hidden)
        except RuntimeError as error:
            self._refused = True
            log.warning("pairs are scored without recorded graphs: %s", error)
            return
        self._recordings[form] = _Recording(fixed, fixed_patches, captured, keep)
        while sum(one.bytes for one in self._recordings.values()) > self._most_bytes:
            self._recordings.popitem(last=False)


@dataclass(frozen=True, eq=False)
class _Recording:
    """One form of pass with its fixed memory."""

    states: PairStates
    patches: Tensor | Latents
    captured: Captured
    keep: object

    @property
    def bytes(self) -> int:
        tensors = (self.states.hidden, self.captured.out, *_tensors(self.patches))
        return sum(one.nbytes for one in tensors)

    def replayed(self, states: PairStates, patches: Tensor | Latents) -> Tensor:
        """``[K,·,H]``: the pairs' states after the pass."""
        self.states.hidden[: len(states)].copy_(states.hidden)
        for fixed, given in zip(_tensors(self.patches), _tensors(patches), strict=True):
            fixed[: len(given)].copy_(given)
        self.captured.replay()
        return self.captured.out[: len(patches)].clone()


def recorder_for(device: torch.device) -> Recorder | None:
    """Where recording pays: on CUDA devices."""
    return Recorder(CudaCapture(device)) if device.type == "cuda" else None


def _form(states: PairStates, patches: Tensor | Latents, layers: int) -> Hashable:
    """Equal for passes that launch the same kernels on memory of the same shape."""
    shared = len(states) == 1
    basis = patches.basis.id if isinstance(patches, Latents) and patches.basis is not None else None
    shapes = tuple((tuple(one.shape[1:]), one.dtype) for one in (states.hidden, *_tensors(patches)))
    ends = (states.layers, layers, states.judged, states.looking)
    return (*ends, shared, _rounded(len(patches)), type(patches), basis, shapes)


def _rounded(count: int) -> int:
    return -(-count // _ROWS) * _ROWS


def _tensors(patches: Tensor | Latents) -> tuple[Tensor, ...]:
    return (patches.codes, patches.scales) if isinstance(patches, Latents) else (patches,)


def _fixed(given: Tensor, rows: int) -> Tensor:
    return given.new_zeros(rows, *given.shape[1:])


def _fixed_patches(patches: Tensor | Latents, rows: int) -> Tensor | Latents:
    if isinstance(patches, Latents):
        return Latents(_fixed(patches.codes, rows), _fixed(patches.scales, rows), patches.basis)
    return _fixed(patches, rows)
