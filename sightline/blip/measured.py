"""What was measured on this class of machine for a checkpoint: read at a start, written by workers.

Imports no torch before it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from sightline.blip.machine_class import machine_key
from sightline.blip.model_batch import Pace

if TYPE_CHECKING:
    from sightline.blip.vision_check import VisionVerdict


class Records(Protocol):
    """Small JSON objects by name that may be lost at any time."""

    def read(self, name: str) -> dict[str, Any] | None: ...

    def write(self, name: str, value: Mapping[str, Any]) -> None: ...


class Measured:
    """Verdicts on int8, and paces, by fingerprint; what cannot be read counts as not measured."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def verdict(self, fingerprint: str) -> VisionVerdict | None:
        """Of this checkpoint here."""
        from sightline.blip.vision_check import VisionVerdict

        found = self._records.read(_verdict_name(fingerprint))
        return None if found is None else VisionVerdict.read(found)

    def keep_verdict(self, fingerprint: str, verdict: VisionVerdict) -> None:
        """For the next start, here and on machines of this class that see the same folder."""
        self._records.write(_verdict_name(fingerprint), asdict(verdict))

    def pace(self, fingerprint: str, arithmetic: str, cores: int) -> Pace | None:
        """Of this checkpoint, in that arithmetic, with so many cores."""
        found = self._records.read(_pace_name(fingerprint, arithmetic, cores))
        return None if found is None else Pace.read(found)

    def keep_pace(self, fingerprint: str, arithmetic: str, cores: int, pace: Pace) -> None:
        """For the next start."""
        self._records.write(_pace_name(fingerprint, arithmetic, cores), asdict(pace))


def _verdict_name(fingerprint: str) -> str:
    return f"vision-{fingerprint}-{_here()}"


def _pace_name(fingerprint: str, arithmetic: str, cores: int) -> str:
    return f"pace-{fingerprint}-{arithmetic}-{cores}-{_here()}"


@cache
def _here() -> str:
    import torch

    return machine_key(torch.device("cpu"))
