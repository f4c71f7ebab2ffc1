"""Which models a request may name: no stranger makes a server ask a hub, or look into a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sightline.serving.settings import ModelSettings
    from sightline.serving.writers import NamedModel
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection

ALWAYS_SERVED: Final = "demo"
"""The model that ships; it answers in every installation."""


@dataclass(frozen=True)
class ServedModel:
    """One that may be named. ``bound``: a collection that it fills already, whose facts hold for it."""

    model: str
    revision: str | None
    bound: Collection | None = None


class ServedModels:
    """The default model, the shipped one, ``more``, those set as ``writers``, and every model that some
    collection is bound to.

    ``more`` are names, or ``name@revision``.
    """

    def __init__(
        self,
        catalog: Catalog,
        default: ModelSettings,
        more: Sequence[str] = (),
        writers: Sequence[NamedModel] = (),
    ) -> None:
        self._catalog = catalog
        self._default = default
        self._more = more
        self._writers = writers

    def find(self, model: str | None, revision: str | None = None) -> ServedModel | None:
        """What is served under this name (None: the default one) in this revision (None: the first that is);
        None when nothing is.
        """
        name = self._default.name if model is None else model
        for served in self._all():
            if served.model == name and revision in (None, served.revision):
                return served
        return None

    def here(self) -> dict[str, bool]:
        """The default model and the shipped one, and whether each is the default: those whose files lie on
        this machine, so that a collection can have them at once. No hub is asked.
        """
        from sightline.blip.checkpoint import is_here

        default, found = self._default, {}
        if is_here(default.name, default.revision, default.cache_dir):
            found[default.name] = True
        if default.name != ALWAYS_SERVED and is_here(ALWAYS_SERVED):
            found[ALWAYS_SERVED] = False
        return found

    def _all(self) -> Iterator[ServedModel]:
        yield ServedModel(self._default.name, self._default.revision)
        yield ServedModel(ALWAYS_SERVED, None)
        for one in self._more:
            name, _, revision = one.partition("@")
            yield ServedModel(name, revision or None)
        for writer in self._writers:
            yield ServedModel(writer.model, writer.revision)
        for collection in self._catalog.collections():
            yield ServedModel(collection.model, collection.revision, collection)
