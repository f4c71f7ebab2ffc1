"""What the adapters ask of Sightline, in this process or beyond a network, and the extras that they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from sightline.errors import InputError

if TYPE_CHECKING:
    from sightline.records import ScoreName
    from sightline.reranker.forms import ImageInput

Errors = Literal["raise", "skip"]
"""Of what has no picture, or one that cannot be read: a sentence ends the run, or it is left out."""


class Hit(Protocol):
    """What the adapters read of a hit; `sightline.records.SearchHit` says what each is."""

    @property
    def id(self) -> str: ...
    @property
    def uri(self) -> str: ...
    @property
    def rank(self) -> int: ...
    @property
    def score(self) -> float: ...
    @property
    def itc(self) -> float: ...
    @property
    def match_probability(self) -> float | None: ...
    @property
    def caption(self) -> str | None: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...


@runtime_checkable
class SearchesPictures(Protocol):
    """One collection that can be searched, as `sightline.Collection` can. Thread-safe."""

    def search(
        self, text: str, /, *, k: int, filter: Mapping[str, Any] | None, min_probability: float | None
    ) -> Iterable[Hit]:
        """The best ``k`` pictures for a text, best first."""


class RankedPicture(Protocol):
    """``index`` points into what was ranked."""

    @property
    def index(self) -> int: ...
    @property
    def match_probability(self) -> float: ...


@runtime_checkable
class RanksPictures(Protocol):
    """Orders pictures by a text, as `sightline.Reranker` does. Thread-safe."""

    def rank(
        self, query: str, documents: Sequence[ImageInput], /, *, score: ScoreName, errors: Errors
    ) -> Iterable[RankedPicture]:
        """All of them, or with ``errors="skip"`` those that can be read, best first."""


def lacking(extra: str, package: str) -> InputError:
    """What is raised where the package of an extra is not installed."""
    return InputError(
        f"This adapter needs {package}, which is not installed: pip install 'sightline[{extra}]'."
    )
