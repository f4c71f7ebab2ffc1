"""Which model a name means, and each model loaded once.

``demo`` is the model that ships with Sightline, ``toy`` the formulas of blip/toy.py; any other name is a
folder, else a repository on the hub. Telling a model's identity reads its files and imports no torch; loading
does.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sightline.blip import checkpoint
from sightline.blip.protocols import Encoder, Matcher
from sightline.errors import ModelMismatchError
from sightline.serving.digests import RememberedDigests
from sightline.serving.settings import ModelSettings
from sightline.store.records import Collection

DEMO = "demo"
TOY = "toy"
DEMO_FOLDER = Path(__file__).parents[1] / "data" / "demo-model"

_SNAPSHOT = re.compile(r"snapshots/([0-9a-f]{40})$")


class RetrievalModel(Encoder, Matcher, Protocol):
    """What a collection needs: a model that embeds and judges."""


@dataclass(frozen=True)
class Identity:
    """A model without its weights in memory. ``patch_shape`` is (P, V)."""

    model: str
    revision: str | None
    fingerprint: str
    num_query_tokens: int
    joint_dim: int
    patch_shape: tuple[int, int]


class Models(Protocol):
    """What the rest of the roof asks of models; tests may hand in their own."""

    def identify(self, model: str, revision: str | None = None) -> Identity: ...

    def encoder(self, collection: Collection) -> RetrievalModel: ...

    def load(self, model: str, revision: str | None = None) -> RetrievalModel: ...

    def patch_shape(self, collection: Collection) -> tuple[int, int]: ...

    def loaded(self) -> list[str]: ...


class ModelProvider:
    """Thread-safe; every fingerprint is loaded at most once in a process."""

    def __init__(self, settings: ModelSettings | None = None, memory: Path | None = None) -> None:
        """``memory``: a file in which digests of model files are remembered; None reads them each time."""
        self._settings = settings or ModelSettings()
        self._digest = checkpoint.file_digest if memory is None else RememberedDigests(memory).of
        self._lock = threading.RLock()
        self._identities: dict[tuple[str, str | None], Identity] = {}
        self._models: dict[str, RetrievalModel] = {}

    def identify(self, model: str, revision: str | None = None) -> Identity:
        """Fingerprint and dimensions of a model.

        Raises:
            ModelUnavailableError: neither a folder nor a reachable repository.
            CheckpointError: a folder that is no BLIP-2 retrieval checkpoint.
        """
        with self._lock:
            if (model, revision) not in self._identities:
                self._identities[model, revision] = self._identify(model, revision)
            return self._identities[model, revision]

    def encoder(self, collection: Collection) -> RetrievalModel:
        """The model that a collection is bound to.

        Raises:
            ModelMismatchError: the name means another model by now than the one that filled the collection.
        """
        identity = self.identify(collection.model, collection.revision)
        if identity.fingerprint != collection.fingerprint:
            raise ModelMismatchError(
                f"Collection {collection.name} was indexed with another version of {collection.model}: its "
                f"files have changed since. Put the old files back, or index into a new collection."
            )
        return self.load(collection.model, collection.revision)

    def load(self, model: str, revision: str | None = None) -> RetrievalModel:
        """A model ready to compute, by name."""
        identity = self.identify(model, revision)
        with self._lock:
            if identity.fingerprint not in self._models:
                self._models[identity.fingerprint] = self._load(identity)
            return self._models[identity.fingerprint]

    def patch_shape(self, collection: Collection) -> tuple[int, int]:
        """(P, V) of a collection's model, read from its configuration."""
        return self.identify(collection.model, collection.revision).patch_shape

    def loaded(self) -> list[str]:
        """Fingerprints of the models in memory."""
        with self._lock:
            return list(self._models)

    def folder(self, model: str, revision: str | None = None) -> Path:
        """Where the files of a model lie; downloads them when the name is a repository."""
        if model == DEMO:
            return checkpoint.resolve(str(DEMO_FOLDER), None, None)
        return checkpoint.resolve(model, revision, self._settings.cache_dir)

    def _identify(self, model: str, revision: str | None) -> Identity:
        if model == TOY:
            return _toy_identity()
        from sightline.blip.config import read_config

        folder = self.folder(model, revision)
        config = read_config(folder)
        vision = config.vision_config
        return Identity(
            model=_lasting_name(model),
            revision=_commit(folder) or revision,
            fingerprint=checkpoint.fingerprint(folder, self._digest),
            num_query_tokens=config.num_query_tokens,
            joint_dim=config.image_text_hidden_size,
            patch_shape=(vision.num_patches, vision.hidden_size),
        )

    def _load(self, identity: Identity) -> RetrievalModel:
        if identity.model == TOY:
            from sightline.blip.toy import ToyEncoder

            return ToyEncoder()
        from sightline.blip import load_blip2

        folder = self.folder(identity.model, identity.revision)
        chosen = self._settings
        return load_blip2(
            str(folder),
            device=chosen.device,
            dtype=chosen.dtype,
            match_dtype=chosen.match_dtype,
            fingerprint=identity.fingerprint,
        )


def _toy_identity() -> Identity:
    from sightline.blip.toy import ToyEncoder as Toy

    return Identity(TOY, None, Toy.fingerprint, Toy.num_query_tokens, Toy.joint_dim, Toy.patch_shape)


def _lasting_name(model: str) -> str:
    """A folder by its absolute path, so that the name means the same from another working directory."""
    if model in (DEMO, TOY):
        return model
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else model


def _commit(folder: Path) -> str | None:
    """The commit of a folder in the hub's cache: a collection stays with it when the repository moves on."""
    found = _SNAPSHOT.search(folder.as_posix())
    return found.group(1) if found else None
