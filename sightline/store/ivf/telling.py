"""What a generation's row tells people of it, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sightline.store.ivf.pruning import NEVER
from sightline.store.sample_texts import CAPTIONS, GENERAL, QUERIES

if TYPE_CHECKING:
    from sightline.store.index import BuildRequest
    from sightline.store.ivf.calibration import Calibration, Measured
    from sightline.store.ivf.search import IvfIndex
    from sightline.store.ivf.trained import Trained
    from sightline.store.sample_texts import SampleTexts

OUTGROWN: Final = 4
"""Cells that were learned for a quarter of the images are too large."""
UNEVEN: Final = 2.0
"""So much more uneven than when they were learned, cells fit other images."""
STRAINED: Final = 0.5
"""Reading so many of its cells, an index is hardly better than a flat one."""
_GROWN: Final = 1.5
"""Before it has grown so much, learning anew would find the same."""
GENERAL_ONLY: Final = "general"
_ORIGINS: Final = {CAPTIONS: "captions", QUERIES: "queries", GENERAL: GENERAL_ONLY}


def told_of(
    request: BuildRequest, trained: Trained, index: IvfIndex, found: Calibration, before: dict[str, Any]
) -> dict[str, Any]:
    """``retrain`` says why it should be built anew, without the serving one (None: no reason)."""
    best = found.chosen[0]
    texts = request.texts if not before else None
    kept = sum(part.lists.index.ntotal for part in index.held.parts)
    # Whose captions it learned from, nobody knows: after a purge all of that goes as soon as it can.
    purged = bool(before.get("purged")) or (request.strict and before.get("texts") != GENERAL_ONLY)
    uneven = unevenness(index)
    return {
        **before,
        "purged": purged,
        "uneven": round(uneven, 3),
        "uneven_at_first": before.get("uneven_at_first", round(uneven, 3)),
        "recall": best.recall100,
        "recall10": best.recall10,
        "recall_target": request.recall_target,
        "efforts": [_told(one) for one in found.chosen],
        **({} if found.curve is None else {"curve": [_told(one) for one in found.curve]}),
        **({} if texts is None else {"texts": _origin(texts), "text_set": texts.id}),
        "texts_learned": len(trained.texts),
        "tokens_kept_apart": trained.apart < NEVER,
        "tokens_per_image": round(kept / max(1, len(index.all_keys)), 2),
        "cells": len(trained.centroids),
        "trained_on": trained.images,
        "parts": len(index.held.parts),
        "hidden": len(index.all_keys) - len(index.keys),
        "retrain": _purged(purged) or _outgrown(trained, index) or _poor(request, trained, index, best)
        or _strained(trained, index, best) or _uneven(uneven, float(before.get("uneven_at_first", uneven))),
    }  # fmt: skip


def unevenness(index: IvfIndex) -> float:
    """How much longer a scan is than of equal cells: ``L Σ n² / (Σ n)²`` over L cells of n tokens."""
    sizes = np.zeros(index.held.trained.centroids.shape[0])
    for part in index.held.parts:
        lists = part.lists.index.invlists
        sizes += [lists.list_size(cell) for cell in range(len(sizes))]
    return float(len(sizes) * (sizes**2).sum() / max(1.0, sizes.sum()) ** 2)


def _purged(purged: bool) -> str | None:
    return "It may have learned from captions of pictures that were purged." if purged else None


def _uneven(now: float, at_first: float) -> str | None:
    if now > UNEVEN * at_first:
        return f"Its cells are {now / at_first:.1f} times as uneven as when they were learned."
    return None


def _outgrown(trained: Trained, index: IvfIndex) -> str | None:
    images = len(index.keys)
    if images >= OUTGROWN * trained.images:
        return f"It was learned from {trained.images} images and holds {images}."
    return None


def _poor(request: BuildRequest, trained: Trained, index: IvfIndex, best: Measured) -> str | None:
    if best.recall100 < request.recall_target and len(index.keys) != trained.images:
        return f"It finds {best.recall100:.3f} of the best 100, and {request.recall_target:g} are wanted."
    return None


def _strained(trained: Trained, index: IvfIndex, best: Measured) -> str | None:
    """Too few texts were learned from for what it holds now: it makes up for that by reading nearly all."""
    cells, grown = len(trained.centroids), len(index.keys) >= _GROWN * trained.images
    if grown and best.effort.probes >= STRAINED * cells:
        return f"It reads {best.effort.probes} of {cells} cells to find enough since it has grown."
    return None


def _origin(texts: SampleTexts) -> str:
    """Where most of what it learned from came from, the best first."""
    return "+".join(_ORIGINS[int(one)] for one in np.unique(texts.origins))


def _told(one: Measured) -> dict[str, float]:
    return {
        "share": one.effort.share,
        "probes": one.effort.probes,
        "fetch": one.effort.fetch,
        "recall10": round(one.recall10, 4),
        "recall100": round(one.recall100, 4),
        "ms": round(one.milliseconds, 2),
    }
