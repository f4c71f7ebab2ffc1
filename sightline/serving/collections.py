"""Collections and the models that they are bound to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sightline.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from sightline.serving.models import Identity, Models
    from sightline.serving.served import ServedModel
    from sightline.serving.settings import ModelSettings
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection


class Collections:
    """Makes collections. ``default``: the model of those that name none. Loads no weights."""

    def __init__(self, catalog: Catalog, models: Models, default: ModelSettings) -> None:
        self._catalog = catalog
        self._models = models
        self._default = default

    def create(self, name: str, model: str | None = None, revision: str | None = None) -> Collection:
        """Bind ``name`` to a model, or find that it is bound to this one already.

        Without a model an existing collection is returned as it is, and a new one gets the default.

        Raises:
            InputError: a name that no collection may have.
            ModelMismatchError: the collection exists and is bound to another model.
            ModelUnavailableError: the model's files cannot be reached.
        """
        if model is None and revision is None:
            try:
                return self._catalog.collection(name)
            except NotFoundError:
                pass
        if model is None:
            model, revision = self._default.name, revision or self._default.revision
        return self._bind(name, self._as_bound(name, self._models.identify(model, revision)))

    def create_served(self, name: str, served: ServedModel) -> Collection:
        """As `create`, with a model that is served; for one that fills a collection, nothing is looked up."""
        if served.bound is None:
            return self.create(name, served.model, served.revision)
        return self._bind(name, served.bound)

    def _as_bound(self, name: str, identity: Identity) -> Identity:
        """The model under the fingerprint by which a collection is bound to these files already."""
        try:
            bound = self._catalog.collection(name).fingerprint
        except (NotFoundError, InputError):
            return identity
        return replace(identity, fingerprint=bound) if self._models.means(identity, bound) else identity

    def _bind(self, name: str, facts: Identity | Collection) -> Collection:
        return self._catalog.create_collection(
            name,
            model=facts.model,
            revision=facts.revision,
            fingerprint=facts.fingerprint,
            num_query_tokens=facts.num_query_tokens,
            joint_dim=facts.joint_dim,
        )
