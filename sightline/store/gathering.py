"""Rows of several segments put in the order that somebody asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sightline.store.segment_content import SegmentContent
    from sightline.types import Codes, Half


class GatheredPatches(NamedTuple):
    """Images whose patches one codec keeps. Image i is the one at ``positions[i]`` of those asked for."""

    positions: list[int]
    """Ascending."""
    codec: str
    patches: Half | Codes
    """fp16 ``[K,P,V]``, or int8 codes ``[K,P,C]``."""
    scales: Half | None
    """fp16 ``[K,P]`` of codes."""


class WantedRows(NamedTuple):
    """What is wanted of one segment, and for which places of the answer."""

    positions: list[int]
    content: SegmentContent
    rows: NDArray[np.intp]


def gathered(codec: str, parts: Sequence[WantedRows]) -> GatheredPatches:
    """The rows of all parts in the order of their positions."""
    if len({part.content.layout for part in parts}) > 1:
        raise InputError("Patches of different models cannot be read together.")
    positions = np.concatenate([np.array(part.positions, np.intp) for part in parts])
    order = np.argsort(positions)
    joined = [_joined([(part.content.kept()[which][1], part.rows) for part in parts], order)
              for which in range(len(parts[0].content.kept()))]  # fmt: skip
    return GatheredPatches(
        positions[order].tolist(), codec, joined[0], joined[1] if len(joined) > 1 else None
    )


def _joined(parts: Sequence[tuple[NDArray[Any], NDArray[np.intp]]], order: NDArray[np.intp]) -> NDArray[Any]:
    """Rows of one tensor of several files, each file gathered once; result i is the row at ``order[i]``."""
    if len(parts) == 1:
        array, rows = parts[0]
        return np.asarray(array[rows[order]])
    places = np.empty(len(order), np.intp)
    places[order] = np.arange(len(order))
    out = np.empty((len(order), *parts[0][0].shape[1:]), parts[0][0].dtype)
    done = 0
    for array, rows in parts:
        out[places[done : done + len(rows)]] = array[rows]
        done += len(rows)
    return out
