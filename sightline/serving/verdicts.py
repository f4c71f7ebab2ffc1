"""Which arithmetic scores pairs with a model on a kind of machine: what checks found, one small file each.

``sightline.upkeep.precision_check`` writes them; whoever loads a model reads them. A file that is damaged, or
of another version of Sightline's check or of PyTorch, counts as none: pairs are scored in float32 then.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sightline.blip.machine_class import machine_class, machine_key
from sightline.store.machine_files import MachineFiles

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

EXACT: Final = "float32"
KNOWN: Final = ("bfloat16", "int8")
LEAST: Final = 0.98
"""Kendall τ and overlap of the best ten that an arithmetic must keep, in the mean over the texts."""
_NEARLY: Final = 1.1
"""Of those that take at most so many times the fastest one's time the closest is chosen: times vary."""
_ROUNDING: Final = 1e-6
"""By which a mean of ones may be above 1."""
CHECK_VERSION: Final = 1
"""Raised when scoring or its check changes so that older verdicts say nothing any more."""


@dataclass(frozen=True)
class Trial:
    """One arithmetic against float32 on the same patches. ``tau`` and ``top10``: means over the texts."""

    arithmetic: str
    tau: float
    top10: float
    milliseconds: float
    """Of one pair."""
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """The fastest arithmetic that keeps the order, with all that it was chosen by."""

    fingerprint: str
    arithmetic: str
    trials: list[Trial]
    float32_milliseconds: float
    """Of one pair."""
    pictures: int
    texts: int
    machine: list[str]
    """`machine_class` where it was measured."""
    check: int = CHECK_VERSION


class VerdictFiles:
    """The verdicts of an installation, for machines of this kind."""

    def __init__(self, folder: Path) -> None:
        self._files = MachineFiles(folder)

    def find(self, fingerprint: str, device: torch.device) -> Verdict | None:
        """The verdict that holds for a model here; None where there is none, with a line in the log where
        there is one that cannot be used."""
        path = self.path(fingerprint, device)
        try:
            found = _parsed(self._files.load(_name(fingerprint, device)))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning(
                "The precision verdict %s cannot be read; pairs are scored in float32: %s", path, error
            )
            return None
        if (found.fingerprint, found.machine, found.check) != (
            fingerprint,
            machine_class(device),
            CHECK_VERSION,
        ):
            log.warning("The precision verdict %s says nothing here; pairs are scored in float32.", path)
            return None
        return found

    def write(self, verdict: Verdict, device: torch.device) -> None:
        """Keep one, in place of an earlier one; where the disk refuses, this process alone knows it."""
        self._files.write(_name(verdict.fingerprint, device), asdict(verdict))

    def path(self, fingerprint: str, device: torch.device) -> Path:
        """Where the verdict of a model on such a machine is, or would be."""
        return self._files.path(_name(fingerprint, device))


def _name(fingerprint: str, device: torch.device) -> str:
    return f"pairs-{fingerprint}-{machine_key(device)}"


def verdict(
    fingerprint: str, trials: list[Trial], exact_ms: float, pictures: int, texts: int, device: torch.device
) -> Verdict:
    """The fastest that passed, or a closer one that is nearly as fast; float32 where none is faster."""
    faster = [one for one in trials if one.passed and one.milliseconds < exact_ms]
    least = min((one.milliseconds for one in faster), default=0.0)
    nearly = [one for one in faster if one.milliseconds <= _NEARLY * least]
    chosen = max(nearly, key=lambda one: one.tau).arithmetic if nearly else EXACT
    machine = machine_class(device)
    return Verdict(fingerprint, chosen, trials, exact_ms, pictures, texts, machine)


def _parsed(raw: Any) -> Verdict:
    """Raises TypeError, KeyError or ValueError: it is no verdict."""
    trials = [Trial(**one) for one in raw["trials"]]
    found = Verdict(**{**raw, "trials": trials})
    passed = [one.arithmetic for one in trials if one.passed is True and _keeps_order(one)]
    if found.arithmetic not in (EXACT, *KNOWN) or found.arithmetic not in (EXACT, *passed):
        raise ValueError(f"{found.arithmetic!r} has passed no check")
    if not all(type(one) is int and one > 0 for one in (found.pictures, found.texts, found.check)):
        raise ValueError("it compared nothing")
    return found


def _keeps_order(trial: Trial) -> bool:
    """Of shares, which are numbers up to 1."""
    shares = (trial.tau, trial.top10)
    return all(type(one) in (int, float) and LEAST <= one <= 1 + _ROUNDING for one in shares)
