"""The models of collections, each loaded once (``sightline.blip.load`` says what a name means).

Telling a model's identity reads its files and imports no torch; loading does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sightline import blip
from sightline.blip.arithmetics import SeveralArithmetics
from sightline.blip.checkpoint import TOY, Role, lasting_name, resolve
from sightline.blip.fingerprints import ReadDigests, former_fingerprint
from sightline.blip.protocols import (
    Answerer,
    Captioner,
    RetrievalModel,
    SeveralNames,
    Vision,
    answering,
    cannot_caption,
    cannot_embed,
    captioning,
    embedding,
)
from sightline.blip.registry import Description, describe, roles_of
from sightline.errors import ModelMismatchError
from sightline.serving.digests import RememberedDigests
from sightline.serving.flights import Flights
from sightline.serving.settings import ModelSettings
from sightline.serving.verdicts import EXACT, VerdictFiles
from sightline.store.records import Collection

if TYPE_CHECKING:
    from sightline.blip.measured import Measured

_SNAPSHOT = re.compile(r"snapshots/([0-9a-f]{40})$")


@dataclass(frozen=True)
class Identity:
    """A model without its weights in memory. ``patch_shape`` is (P, V)."""

    model: str
    revision: str | None
    fingerprint: str
    num_query_tokens: int
    joint_dim: int
    patch_shape: tuple[int, int]


@dataclass(frozen=True)
class WriterIdentity:
    """A model that is wanted for what it writes, without its weights in memory. ``patch_shape`` is (P, V)."""

    model: str
    revision: str | None
    fingerprint: str
    patch_shape: tuple[int, int]


class Models(Protocol):
    """What the rest of the roof asks of models; tests may hand in their own."""

    def identify(self, model: str, revision: str | None = None) -> Identity: ...

    def means(self, identity: Identity, fingerprint: str) -> bool: ...

    def encoder(self, collection: Collection) -> RetrievalModel: ...

    def load(self, model: str, revision: str | None = None) -> RetrievalModel: ...

    def identify_writer(self, model: str, role: Role, revision: str | None = None) -> WriterIdentity: ...

    def captioner(self, model: str, revision: str | None = None) -> Captioner: ...

    def answerer(self, model: str, revision: str | None = None) -> Answerer: ...

    def patch_shape(self, collection: Collection) -> tuple[int, int]: ...

    def loaded(self) -> list[str]: ...


class ModelProvider:
    """Thread-safe; every fingerprint is loaded at most once in a process.

    Nothing is locked meanwhile: whoever asks for a model that is there never waits for one that is being
    looked for on the hub, or read from a disk.
    """

    def __init__(
        self,
        settings: ModelSettings | None = None,
        memory: Path | None = None,
        verdicts: VerdictFiles | None = None,
        measured: Measured | None = None,
    ) -> None:
        """``memory``: a file in which digests of model files are remembered; None reads them each time.
        ``verdicts``: by which models score pairs in more than float32. ``measured``: says for which models
        the image encoder's int8 holds here; None: for none.
        """
        self._measured = measured
        self._settings = settings or ModelSettings()
        self._verdicts = verdicts
        self._digests = ReadDigests() if memory is None else RememberedDigests(memory)
        self._described = Flights[tuple[str, str | None, Role], Description]("the files of this model")
        self._formers = Flights[tuple[str, str | None], str]("the files of this model")
        self._models = Flights[str, Vision]("loading this model")

    def identify(self, model: str, revision: str | None = None) -> Identity:
        """Fingerprint and dimensions of a model that embeds.

        Raises:
            ModelUnavailableError: neither a folder nor a reachable repository.
            CheckpointError: the folder holds no model that embeds.
            UnavailableError, OverloadedError: others wait for the same already, and it takes long.
        """
        found = self._describe(model, revision, "retrieval")
        dimensions = found.dimensions
        if dimensions.num_query_tokens is None or dimensions.joint_dim is None:
            raise cannot_embed(model)
        known = _identity(model, revision, found)
        return Identity(
            model=known.model,
            revision=known.revision,
            fingerprint=known.fingerprint,
            num_query_tokens=dimensions.num_query_tokens,
            joint_dim=dimensions.joint_dim,
            patch_shape=known.patch_shape,
        )

    def identify_writer(self, model: str, role: Role, revision: str | None = None) -> WriterIdentity:
        """Fingerprint and patches of a model in a role; whether it answers or judges, loading it tells.

        Raises:
            ModelUnavailableError, UnavailableError, OverloadedError: as of `identify`.
            CheckpointError: as of `identify`, or it is to caption and does not.
        """
        found = self._describe(model, revision, role)
        if role == "captioning" and found.folder is not None and "captions" not in roles_of(found.folder):
            raise cannot_caption(model)
        return _identity(model, revision, found)

    def means(self, identity: Identity, fingerprint: str) -> bool:
        """Whether a collection's fingerprint, of today's kind or of version 0.1, is that of a model."""
        if fingerprint == identity.fingerprint or identity.model == TOY:
            return fingerprint == identity.fingerprint
        named = (identity.model, identity.revision)
        return fingerprint == self._formers.get(named, lambda: self._former(identity))

    def encoder(self, collection: Collection) -> RetrievalModel:
        """The model that a collection is bound to, under the fingerprint that it is bound by.

        Raises:
            ModelMismatchError: the name means another model by now than the one that filled the collection.
        """
        identity = self.identify(collection.model, collection.revision)
        if not self.means(identity, collection.fingerprint):
            raise ModelMismatchError(
                f"Collection {collection.name} was indexed with another version of {collection.model}: its "
                f"files have changed since. Put the old files back, or index into a new collection."
            )
        loaded = self.load(collection.model, collection.revision)
        if loaded.fingerprint == collection.fingerprint or not isinstance(loaded, SeveralNames):
            return loaded
        return loaded.known_as(collection.fingerprint)

    def load(self, model: str, revision: str | None = None) -> RetrievalModel:
        """A model that embeds and judges, ready to compute, by name."""
        self.identify(model, revision)  # before its weights are read: that it embeds
        return embedding(self._loaded(model, revision, "retrieval"), model)

    def captioner(self, model: str, revision: str | None = None) -> Captioner:
        """A model that captions, by name.

        Raises:
            CheckpointError: it writes no captions; errors of `identify_writer` besides.
        """
        return captioning(self._loaded(model, revision, "captioning"), model)

    def answerer(self, model: str, revision: str | None = None) -> Answerer:
        """A model that answers, by name.

        Raises:
            CheckpointError: it answers no questions; errors of `identify_writer` besides.
        """
        return answering(self._loaded(model, revision, "asking"), model)

    def patch_shape(self, collection: Collection) -> tuple[int, int]:
        """(P, V) of a collection's model, read from its configuration."""
        return self.identify(collection.model, collection.revision).patch_shape

    def loaded(self) -> list[str]:
        """Fingerprints of the models in memory."""
        return self._models.made()

    def _former(self, identity: Identity) -> str:
        folder = resolve(identity.model, identity.revision, self._settings.cache_dir)
        return former_fingerprint(folder, self._digests)

    def _describe(self, model: str, revision: str | None, role: Role) -> Description:
        cache = self._settings.cache_dir

        def look() -> Description:
            return describe(model, revision=revision, cache_dir=cache, digests=self._digests, role=role)

        return self._described.get((model, revision, role), look)

    def _loaded(self, model: str, revision: str | None, role: Role) -> Vision:
        """The model itself: one object for each fingerprint, whatever it is wanted for."""
        identity = self.identify_writer(model, role, revision)
        return self._models.get(identity.fingerprint, lambda: self._load(identity, role))

    def _load(self, identity: WriterIdentity, role: Role) -> Vision:
        chosen = self._settings
        model = blip.load(
            identity.model,
            revision=identity.revision,
            device=chosen.device,
            dtype=self._dtype(identity.fingerprint),
            match_dtype=chosen.match_dtype,
            cache_dir=chosen.cache_dir,
            fingerprint=identity.fingerprint,
            role=role,
            device_map=chosen.device_map,
        )
        if self._verdicts is not None and isinstance(model, SeveralArithmetics):
            found = self._verdicts.find(identity.fingerprint, model.device)
            model.scorers.adopt(EXACT if found is None else found.arithmetic)
        return model

    def _dtype(self, fingerprint: str) -> str | None:
        """As set; else int8 where a worker has found that it holds, on a CPU."""
        chosen = self._settings
        if chosen.dtype is not None or self._measured is None or not _has_int8(chosen.device):
            return chosen.dtype
        verdict = self._measured.verdict(fingerprint)
        return "int8" if verdict is not None and verdict.holds else None


def _has_int8(device: str | None) -> bool:
    """Whether a model that goes to this device can compute in int8; asked before its weights are read."""
    from sightline.blip.int8_linear import weight_top
    from sightline.blip.precision import best_device

    return (device or best_device()) == "cpu" and weight_top() is not None


def _identity(model: str, revision: str | None, found: Description) -> WriterIdentity:
    return WriterIdentity(
        model=lasting_name(model),
        revision=None if found.folder is None else _commit(found.folder) or revision,
        fingerprint=found.fingerprint,
        patch_shape=found.dimensions.patch_shape,
    )


def _commit(folder: Path) -> str | None:
    """The commit of a folder in the hub's cache: a collection stays with it when the repository moves on."""
    found = _SNAPSHOT.search(folder.as_posix())
    return found.group(1) if found else None
