"""What a job of this verb is to do, as its row in the catalog says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sightline.blip.sampling import SAMPLINGS, SamplingName
from sightline.captioner.settings import MOST_CAPTIONS, MOST_FIELDS, MOST_IDS
from sightline.captioner.thresholds import Threshold
from sightline.errors import InputError

CAPTION: Final = "caption"
"""The kind of jobs and tasks that write captions."""
CAPFILT: Final = "capfilt"
"""The kind of jobs and tasks that write captions and judge them with an image's own texts."""


@dataclass(frozen=True)
class Writing:
    """Which model writes, how many texts of an image, and how; ``n`` 0: none."""

    model: str
    revision: str | None
    fingerprint: str
    n: int
    sampling: SamplingName
    prompt: str | None = None
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Writing:
        """What `to_json` gave."""
        return cls(**{name: raw[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Choice:
    """Which live images a job is about: all, those that a filter fits, or those with these ids."""

    filter: Mapping[str, Any] | None = None
    ids: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        ids = None if self.ids is None else list(self.ids)
        return {"filter": None if self.filter is None else dict(self.filter), "ids": ids}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Choice:
        """What `to_json` gave."""
        ids = raw.get("ids")
        return cls(raw.get("filter"), None if ids is None else tuple(ids))


@dataclass(frozen=True)
class CaptionPlan:
    """A job of kind ``caption``."""

    writing: Writing
    choice: Choice = Choice()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**self.writing.to_json(), **self.choice.to_json()}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> CaptionPlan:
        """What `to_json` gave."""
        return cls(Writing.from_json(raw), Choice.from_json(raw))


@dataclass(frozen=True)
class CapFiltPlan:
    """A job of kind ``capfilt``. ``writing`` None: only own texts are judged. ``fields``: of the metadata, by
    dotted names. ``threshold.keep_above`` decides."""

    writing: Writing | None
    threshold: Threshold
    fields: tuple[str, ...] = ()
    choice: Choice = Choice()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "writing": None if self.writing is None else self.writing.to_json(),
            "threshold": self.threshold.to_json(),
            "text_fields": list(self.fields),
            **self.choice.to_json(),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> CapFiltPlan:
        """What `to_json` gave."""
        writing = raw["writing"]
        return cls(
            None if writing is None else Writing.from_json(writing),
            Threshold.from_json(raw["threshold"]),
            tuple(raw["text_fields"]),
            Choice.from_json(raw),
        )


def check_count(n: int, sampling: str, *, least: int = 1) -> None:
    """Raises InputError: so many captions cannot be asked for in this way."""
    if sampling not in SAMPLINGS:
        raise InputError(f"The sampling is one of {', '.join(SAMPLINGS)}, not {sampling!r}.")
    if not least <= n <= MOST_CAPTIONS:
        raise InputError(f"Ask for {least} to {MOST_CAPTIONS} captions of an image, not {n}.")
    if n > 1 and sampling == "greedy":
        raise InputError("Greedy sampling gives one caption; take beam or nucleus for more.")


def check_fields(fields: Sequence[str]) -> tuple[str, ...]:
    """The metadata fields, each once. InputError: too many, or one without a name."""
    named = tuple(dict.fromkeys(field.removeprefix("metadata.") for field in fields))
    if len(named) > MOST_FIELDS:
        raise InputError(f"At most {MOST_FIELDS} metadata fields can be judged, not {len(named)}.")
    if any(not all(field.split(".")) for field in named):
        raise InputError("A metadata field has an empty name; write it as alt, or place.name.")
    return named


def check_choice(filter: Mapping[str, Any] | None, ids: Sequence[str] | None) -> Choice:
    """The choice of images. InputError for both at once, too many ids, or an unreadable filter."""
    from sightline.store.filters import parse_filter

    if filter is not None and ids is not None:
        raise InputError("Choose the images by a filter or by their ids, not by both.")
    if ids is not None and not 1 <= len(ids) <= MOST_IDS:
        raise InputError(f"Name 1 to {MOST_IDS:,} image ids, or use a filter; not {len(ids):,} ids.")
    if filter is not None:
        parse_filter(filter)
    return Choice(filter, None if ids is None else tuple(dict.fromkeys(ids)))
