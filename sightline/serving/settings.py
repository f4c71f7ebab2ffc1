"""How models are loaded, and the queue in front of them. Plain dataclasses: the roof nests them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelSettings:
    """The model of new collections, and how any model is loaded."""

    name: str = "Salesforce/blip2-itm-vit-g"
    """A folder, a hub id, or ``demo`` for the small model that ships with Sightline."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    device: str | None = None
    """``cpu``, ``cuda``, ``cuda:1``, ``mps``; chosen by what the machine has when not given."""
    dtype: str | None = None
    """Precision of the image encoder: ``float32``, ``bfloat16``, ``float16``, or on CPUs ``int8``; when not
    given, chosen by the device and the encoder's size, and int8 where a worker has compared it on 200
    pictures and it kept tokens and orders.
    """
    match_dtype: str = "auto"
    """Precision in which the Q-Former scores candidates: ``float32``, ``bfloat16``, ``int8`` (CPUs only), or
    ``auto``: the fastest that has kept the order in a check on 100 pictures of a collection
    (``sightline cache report``, or the server in the background); float32 before that.
    """
    device_map: str | None = None
    """``auto`` spreads a language model that does not fit one device over all that there are, which needs the
    package accelerate; on one device when not given.
    """
    cache_dir: Path | None = None
    """Where hub downloads are kept; the hub's own default when not given."""


@dataclass(frozen=True)
class CaptionerSettings:
    """The model that writes captions, where a command or a request names none."""

    model: str = ""
    """A folder, a hub id, or ``demo``; when empty ``demo`` for a collection that is bound to that model, else
    ``Salesforce/blip-image-captioning-large``.
    """
    revision: str | None = None
    """Branch, tag or commit of it on the hub."""
    batch: int | None = None
    """Pictures that a worker captions together; 8 on a CPU and 32 on an accelerator when not given. Halved
    for good when the memory does not hold them.
    """


@dataclass(frozen=True)
class AnswererSettings:
    """The model that answers questions, where a command or a request names none."""

    model: str = ""
    """A folder, a hub id, or ``demo``; when empty ``demo`` for a collection that is bound to that model, else
    ``Salesforce/instructblip-flan-t5-xl``.
    """
    revision: str | None = None
    """Branch, tag or commit of it on the hub."""


@dataclass(frozen=True)
class ServingSettings:
    """The queue in front of the model, in every process that answers searches."""

    max_waiting: int = 128
    """Requests that may be at the model or wait for it; one more is refused at once (HTTP 503). Each holds
    the patches of one batch in memory.
    """
    grace_seconds: float = 5.0
    """When the server is told to stop: how long requests for which something was computed already may take to
    end. The others are refused at once (HTTP 503).
    """
    text_batch: int = 32
    """Texts of different requests that are encoded together, at most."""
    max_judged: int = 10_000
    """Images that ITM judges for one answer that counts (``sort``, ``exact``), at most; beyond them the total
    is a lower bound.
    """
