"""A cascade as a safetensors file: probes and tails as tensors, plans and what they are for in its header."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sightline.errors import CorruptionError, ModelMismatchError
from sightline.reranker.cascade import Cascade, Floats, Plan, Probe, Stage, Tails, stops_of
from sightline.reranker.samples import metadata

FORMAT: Final = {"format": "sightline-cascade", "version": "1"}
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
        "sha256": _digest(tensors),
    }
    content: bytes = save(tensors, told)
    return content


def from_bytes(content: bytes, fingerprint: str) -> Cascade:
    """Read a cascade's file.

    Raises:
        CorruptionError: it is none, is damaged, or is of another version.
        ModelMismatchError: it was learned for another model.
    """
    try:
        told, tensors = metadata(content), load(content)
        if not told.items() >= FORMAT.items() or told["sha256"] != _digest(tensors):
            raise CorruptionError("The file of a cascade is not what was written.")
        layers = int(told["layers"])
        stages = tuple(_stage(tensors, stop) for stop in (0, *stops_of(layers)))
        plans = tuple(_plan(one, stages) for one in json.loads(told["plans"]))
        found = Cascade(told["fingerprint"], layers, int(told["queries"]), stages, plans)
    except (SafetensorError, KeyError, ValueError, TypeError, IndexError) as error:
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
    if weights.shape != wanted or axes.shape[0] != len(mean) or above.shape[0] != len(centres):
        raise ValueError(f"the probe after {layers} layers has impossible shapes")
    return Stage(layers, Probe(mean, axes, weights), Tails(centres, float(edges[0]), float(edges[1]), above))


def _plan(told: dict[str, Any], stages: tuple[Stage, ...]) -> Plan:
    lists = {name: tuple(told[name]) for name in ("stops", "epsilons", "rates")}
    plan = Plan(**{**told, **lists})
    if len(plan.epsilons) != len(plan.stops) + 1 or not {*plan.stops} <= {one.layers for one in stages}:
        raise ValueError("a plan has stops that do not exist")
    return plan


def _digest(tensors: dict[str, Floats]) -> str:
    """Over every tensor: what is damaged must not decide what people see."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}\0{tensors[name].shape}\0".encode())
        digest.update(np.ascontiguousarray(tensors[name], np.float64).tobytes())
    return digest.hexdigest()
