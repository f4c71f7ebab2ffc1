"""What a job of kind ``index`` was asked to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sightline.errors import InputError
from sightline.indexer.sources.listing import address_of
from sightline.store.records import UNKNOWN, UPLOADED
from sightline.store.values import check_image_id

DEFAULT_PERCENT = 20.0
DEFAULT_COUNT = 100
NAMED = 10


@dataclass(frozen=True)
class Plan:
    """Lives in the job's request JSON; a plan of an earlier version lacks the later fields.

    ``prune_limit``: see `PruneLimit`. ``id_prefix`` stands before every id. ``moved_from``: the source is
    what was known under that address. ``roots``: nothing outside of them is read (None: everything may be).
    ``only``: names below the one source, a folder, that are listed and pruned; () is all of it.
    """

    sources: tuple[str, ...]
    copy: bool = False
    prune: bool = False
    prune_limit: str | None = None
    id_prefix: str = ""
    moved_from: str | None = None
    roots: tuple[str, ...] | None = None
    only: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {name: list(one) if isinstance(one, tuple) else one for name, one in asdict(self).items()}

    @classmethod
    def from_json(cls, request: Any) -> Plan:
        given = {field.name: request[field.name] for field in fields(cls) if field.name in request}
        lists = {name: tuple(one) for name, one in given.items() if isinstance(one, list)}
        return cls(**(given | lists))


@dataclass(frozen=True)
class PruneLimit:
    """How many images of a source one job may prune: a number, a share in percent, or the less of both."""

    count: int | None = DEFAULT_COUNT
    percent: float | None = DEFAULT_PERCENT

    @classmethod
    def parse(cls, text: str | None) -> PruneLimit:
        """``N`` or ``N%``; None is the default, both of them. Raises InputError."""
        if text is None:
            return cls()
        number, percent = text.strip().removesuffix("%").strip(), text.strip().endswith("%")
        if (
            len(number) > 18
            or not number.replace(".", "", 1 if percent else 0).isdecimal()
            or (percent and float(number) > 100)
        ):
            raise InputError(f"The prune limit {text!r:.40} is neither a number nor a share like 20%.")
        return cls(None, float(number)) if percent else cls(int(number), None)

    def most(self, images: int) -> int:
        """Of a source that has so many."""
        shares = [] if self.percent is None else [int(images * self.percent / 100)]
        return min(shares + ([] if self.count is None else [self.count]))

    @property
    def everything(self) -> bool:
        """Whether it was said that all of a source may go."""
        return self.percent == 100 and self.count is None


def moved_address(old: str) -> str:
    """The address of the source that ``moved_from`` names; uploads and the unknown have their own words."""
    return old if old in (UPLOADED, UNKNOWN) else address_of(old)


def check_plan(plan: Plan, collection: str, known: Sequence[str]) -> None:
    """Raises InputError for what cannot be; ``known`` are the sources that the collection has images of."""
    PruneLimit.parse(plan.prune_limit)
    if plan.id_prefix:
        check_image_id(f"{plan.id_prefix}x")
    if plan.only and len(plan.sources) != 1:
        raise InputError("Name one folder to index some of its names only.")
    if plan.moved_from is None:
        return
    if len(plan.sources) != 1:
        raise InputError("Say of one source at a time that it was moved.")
    if plan.moved_from not in (*known, UNKNOWN):
        named = ", ".join(known[:NAMED]) or "unknown"
        more = f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
        raise InputError(
            f"No image of {collection!r} came from {plan.moved_from}; its sources are {named}{more}."
        )
