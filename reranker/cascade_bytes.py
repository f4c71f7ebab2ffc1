"""A cascade as a safetensors file: probes and tails as tensors, plans and what they are for in its header."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from safetensors.numpy import load, save

from sightline.errors import CorruptionError, ModelMismatchError
from sightline.reranker.cascade import TOPS, Cascade, Floats, Plan, Probe, Stage, Tails, stops_of
from sightline.reranker.samples import metadata

FORMAT: Final = {"format": "sightline-cascade", "version": "2"}
_NAMES: Final = ("mean", "axes", "weights", "centres", "range", "above")


def to_bytes(cascade: Cascade) -> bytes:
    """The file."""
    tensors = {
        f"{stage.layers}.{name}": np.ascontiguousarray(tensor, np.float64)
        for stage in cascade.stages
        for name, tensor in zip(_NAMES, _parts(stage), strict=True)
    }
    told = {
        **FORMAT,
        "fingerprint": cascade.fingerprint,
        "layers": str(cascade.layers),
        "queries": str(cascade.queries),
        "plans": json.dumps([asdict(plan) for plan in cascade.plans]),
    }
    content: bytes = save(tensors, {**told, "sha256": _digest(told, tensors)})
    return content


def from_bytes(content: bytes, fingerprint: str) -> Cascade:
    """Read a cascade's file.

    Raises:
        CorruptionError: it is none, is damaged, or is of another version.
        ModelMismatchError: it was learned for another model.
    """
    try:
        told, tensors = metadata(content), load(content)
        digest = told.pop("sha256")
        if not told.items() >= FORMAT.items() or digest != _digest(told, tensors):
            raise CorruptionError("The file of a cascade is not what was written.")
        layers = int(told["layers"])
        stages = tuple(_stage(tensors, stop) for stop in (0, *stops_of(layers)))
        if len({len(one.probe.mean) for one in stages[1:]}) > 1:
            raise ValueError("its probes are of different widths")
        plans = tuple(_plan(one, layers) for one in json.loads(told["plans"]))
        found = Cascade(told["fingerprint"], layers, int(told["queries"]), stages, plans)
    except CorruptionError:
        raise
    except Exception as error:  # whatever is in a file, a search must not fail by it
        raise CorruptionError(f"The file of a cascade cannot be read: {error}.") from error
    if found.fingerprint != fingerprint:
        raise ModelMismatchError("The cascade was learned for another model than this one.")
    return found


def _parts(stage: Stage) -> tuple[Floats, ...]:
    probe, tails = stage.probe, stage.tails
    edges = np.array([tails.least, tails.most])
    return probe.mean, probe.axes, probe.weights, tails.centres, edges, tails.above


def _stage(tensors: dict[str, Floats], layers: int) -> Stage:
    mean, axes, weights, centres, edges, above = (tensors[f"{layers}.{name}"] for name in _NAMES)
    components = axes.shape[1]
    wanted = (len(mean) + components * (components + 1) // 2 + 2,)
    shapes = [mean.ndim, axes.ndim, centres.ndim, above.ndim, edges.shape, weights.shape]
    fitting = shapes == [1, 2, 1, 2, (2,), wanted] and len(axes) == len(mean) * bool(layers)
    if not fitting or len(above) != len(centres) or not len(centres) or above.shape[1] < 2:
        raise ValueError(f"the probe after {layers} layers has impossible shapes")
    every = (mean, axes, weights, centres, edges, above)
    if not all(one.dtype == np.float64 and np.isfinite(one).all() for one in every):
        raise ValueError(f"the probe after {layers} layers has numbers that are none")
    if edges[0] >= edges[1] or (np.diff(centres) < 0).any() or above.min() < 0 or above.max() > 1:
        raise ValueError(f"the errors after {layers} layers are none")
    return Stage(layers, Probe(mean, axes, weights), Tails(centres, float(edges[0]), float(edges[1]), above))


def _plan(told: dict[str, Any], layers: int) -> Plan:
    lists = {name: tuple(told[name]) for name in ("stops", "epsilons", "rates")}
    plan = Plan(**{**told, **lists})
    known = plan.effort in ("auto", "quick") and type(plan.top) is int and plan.top in TOPS
    if not known or type(plan.passed) is not bool:
        raise ValueError("a plan is for nothing that is asked for")
    if any(type(stop) is not int for stop in plan.stops) or not _ascending(plan.stops, layers):
        raise ValueError("a plan has stops that do not exist")
    if len(plan.epsilons) != len(plan.stops) + 1 or len(plan.rates) != len(plan.epsilons):
        raise ValueError("a plan has more or fewer bounds than stops")
    numbers = (*plan.epsilons, *plan.rates, plan.overlap, plan.first, plan.work)
    if not all(type(one) in (int, float) and math.isfinite(one) and one >= 0 for one in numbers):
        raise ValueError("a plan has a number that is none")
    return plan


def _ascending(stops: tuple[int, ...], layers: int) -> bool:
    """Whether they are stops of a model with so many layers, in order and none twice."""
    return list(stops) == sorted({*stops} & {*stops_of(layers)})


def _digest(told: dict[str, str], tensors: dict[str, Floats]) -> str:
    """Over the header and every tensor: what is damaged must not decide what people see."""
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name}\0{tensors[name].shape}\0{tensors[name].dtype}\0".encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()
