"""Which model writes: the one asked for, else the one that is set, else one that suits the collection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sightline.blip.checkpoint import DEMO, TOY
from sightline.serving.settings import AnswererSettings, CaptionerSettings, ModelSettings

if TYPE_CHECKING:
    from sightline.store.records import Collection

CAPTIONER: Final = "Salesforce/blip-image-captioning-large"
ANSWERER: Final = "Salesforce/instructblip-flan-t5-xl"


@dataclass(frozen=True)
class NamedModel:
    """A model by its name and, on the hub, its revision."""

    model: str
    revision: str | None


class WriterNames:
    """The one rule by which the command line, HTTP and jobs choose a model that writes."""

    def __init__(
        self, captioner: CaptionerSettings, answerer: AnswererSettings, default: ModelSettings
    ) -> None:
        """``default``: the model of new collections, which stands for a collection where there is none."""
        self._captioner = captioner
        self._answerer = answerer
        self._default = default

    def set_here(self) -> list[NamedModel]:
        """Those that the settings name."""
        both = (self._captioner, self._answerer)
        return [NamedModel(one.model, one.revision) for one in both if one.model]

    def captioner(
        self, collection: Collection | None, asked: str | None = None, revision: str | None = None
    ) -> NamedModel:
        """The captioner for a collection, or (None) for pictures of none."""
        set_here = NamedModel(self._captioner.model, self._captioner.revision)
        return self._resolve(collection, asked, revision, set_here, CAPTIONER)

    def answerer(
        self, collection: Collection | None, asked: str | None = None, revision: str | None = None
    ) -> NamedModel:
        """The model that answers questions about a collection's images, or (None) about others."""
        set_here = NamedModel(self._answerer.model, self._answerer.revision)
        return self._resolve(collection, asked, revision, set_here, ANSWERER)

    def _resolve(
        self,
        collection: Collection | None,
        asked: str | None,
        revision: str | None,
        set_here: NamedModel,
        otherwise: str,
    ) -> NamedModel:
        if asked:
            return NamedModel(asked, revision)
        if set_here.model:
            return NamedModel(set_here.model, revision or set_here.revision)
        beside = self._default.name if collection is None else collection.model
        return NamedModel(beside if beside in (DEMO, TOY) else otherwise, revision)
