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
_ORIGINS: Final = {CAPTIONS: "captions", QUERIES: "queries", GENERAL: "general"}


def told_of(
    request: BuildRequest, trained: Trained, index: IvfIndex, found: Calibration, before: dict[str, Any]
) -> dict[str, Any]:
    """``retrain`` says why it should be built anew, without the serving one (None: no reason)."""
    best = found.chosen[0]
    texts = request.texts if not before else None
    kept = sum(part.lists.index.ntotal for part in index.held.parts)
    return {
        **before,
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
        "retrain": _reason(request, trained, index, best),
    }


def _reason(request: BuildRequest, trained: Trained, index: IvfIndex, best: Measured) -> str | None:
    images = len(index.keys)
    if images >= OUTGROWN * trained.images:
        return f"It was learned from {trained.images} images and holds {images}."
    if best.recall100 < request.recall_target and images != trained.images:
        return f"It finds {best.recall100:.3f} of the best 100, and {request.recall_target:g} are wanted."
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
