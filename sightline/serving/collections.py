"""Collections and the models they are bound to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.errors import NotFoundError

if TYPE_CHECKING:
    from sightline.store.records import Collection
    from sightline.wiring import Services


def create_collection(services: Services, name: str, model: str | None, revision: str | None) -> Collection:
    """Bind ``name`` to a model, or find that it is bound to this one already. Loads no weights.

    Without a model an existing collection is returned as it is, and a new one gets the installation's model.
    """
    if model is None and revision is None:
        try:
            return services.catalog.collection(name)
        except NotFoundError:
            pass
    chosen = services.settings.model
    if model is None:
        model, revision = chosen.name, revision or chosen.revision
    identity = services.models.identify(model, revision)
    return services.catalog.create_collection(
        name,
        model=identity.model,
        revision=identity.revision,
        fingerprint=identity.fingerprint,
        num_query_tokens=identity.num_query_tokens,
        joint_dim=identity.joint_dim,
    )
