"""``sightline doctor``: what is installed and reachable, and whether what is stored is what was written."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sightline.errors import SightlineError
from sightline.indexer.queue.presence import unattended, worker_is_alive
from sightline.store.records import choice_of
from sightline.upkeep.findings import Finding as Finding
from sightline.upkeep.findings import guarded
from sightline.upkeep.stored_findings import bytes_findings, lost_findings

if TYPE_CHECKING:
    from sightline.serving.models import Models
    from sightline.serving.settings import ModelSettings
    from sightline.store.catalog import Catalog
    from sightline.store.codec_verdicts import CodecVerdicts
    from sightline.store.index import Device
    from sightline.store.records import Collection
    from sightline.types import OnProgress
    from sightline.upkeep.consistency import Consistency
    from sightline.upkeep.findings import Status
    from sightline.upkeep.folders import Folders
    from sightline.upkeep.stored_bytes import Depth, StoredBytes

PACKAGES = ("torch", "transformers", "sqlalchemy", "celery", "fastapi", "pillow", "numpy")
FAISS_PACKAGES = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12")
LOW_BYTES = 1 << 30


class BrokerPart(Protocol):
    """Of the broker's settings."""

    @property
    def url(self) -> str: ...


class SearchPart(Protocol):
    """Of the retriever's settings."""

    @property
    def device(self) -> Device: ...


class IndexerPart(Protocol):
    """Of the indexer's settings."""

    @property
    def waiting_seconds(self) -> float: ...


class Facts(Protocol):
    """What the settings say (`sightline.settings.Settings`)."""

    @property
    def data_folder(self) -> Path: ...
    @property
    def catalog_url(self) -> str: ...
    @property
    def model(self) -> ModelSettings: ...
    @property
    def broker(self) -> BrokerPart: ...
    @property
    def retriever(self) -> SearchPart: ...
    @property
    def indexer(self) -> IndexerPart: ...


class Queue(Protocol):
    """How many messages wait."""

    def depth(self) -> int | None: ...


class Examined(Protocol):
    """What is looked at. Each may be out of reach: then asking for it raises."""

    @property
    def catalog(self) -> Catalog: ...
    @property
    def queue(self) -> Queue: ...
    @property
    def models(self) -> Models: ...
    @property
    def consistency(self) -> Consistency: ...
    @property
    def folders(self) -> Folders: ...
    @property
    def stored_bytes(self) -> StoredBytes: ...
    @property
    def codec_verdicts(self) -> CodecVerdicts: ...


class Doctor:
    """Looks at everything, one after the other, whatever the one before it found."""

    def __init__(self, facts: Facts, parts: Examined, unknown_variables: Sequence[str] = ()) -> None:
        """``unknown_variables``: of ours by their name, though no setting reads them."""
        self._facts = facts
        self._parts = parts
        self._unknown = unknown_variables

    def examine(
        self, *, quick: bool = False, originals: bool = False, show: OnProgress | None = None
    ) -> list[Finding]:
        """Everything that was found.

        ``quick`` leaves out reading every file in full; ``originals`` reads those that lie elsewhere, too.
        """
        findings = [*_installed(self._facts), _device(self._facts), _disk(self._facts.data_folder)]
        findings += guarded("index device", lambda: list(_index_device(self._facts)))
        findings += [Finding(name, "note", "no setting reads this variable") for name in self._unknown]
        catalog = guarded("catalog", lambda: self._catalog(quick=quick))
        closed = guarded("catalog", lambda: list(self._opened()))
        findings += catalog
        if not any(one.status == "note" for one in closed):  # else there is none yet, nor work
            findings += guarded("broker", lambda: [self._broker()])
        if not closed:
            depth: Depth = "quick" if quick else "all" if originals else "stored"
            findings += guarded("processes", lambda: [self._worker(), self._work()])
            findings += guarded("folders", lambda: list(self._folders()))
            findings += guarded("models", lambda: list(self._models()))
            findings += guarded("collections", lambda: list(self._collections(quick=quick)))
            findings += guarded("patches", lambda: list(self._patches()))
            findings += guarded("lost images", lambda: lost_findings(self._parts.catalog))
            findings += guarded("originals", lambda: bytes_findings(self._parts.stored_bytes, depth, show))
        return findings

    def _opened(self) -> Iterator[Finding]:
        """Nothing, when the catalog can be read at all."""
        self._parts.catalog.collections()
        yield from ()

    def _catalog(self, *, quick: bool) -> list[Finding]:
        """The database's own look at its file first: what it finds explains whatever else is strange."""
        catalog = self._parts.catalog
        found = [Finding("catalog", "problem", _with_help(text)) for text in catalog.damages(quick)]
        found += guarded("catalog", lambda: _invariants(catalog))
        if found:
            return found
        kind = self._facts.catalog_url.split(":")[0].split("+")[0]
        collections = len(catalog.collections())
        return [Finding("catalog", "ok", f"{kind}, {collections} collections, no broken invariant")]

    def _broker(self) -> Finding:
        kind = self._facts.broker.url.split(":")[0]
        waiting = self._parts.queue.depth()
        if waiting is None:
            return Finding("broker", "problem", f"{kind}: cannot be reached; new work starts when it is back")
        return Finding("broker", "ok", f"{kind}, {waiting} messages waiting")

    def _worker(self) -> Finding:
        if worker_is_alive(self._parts.catalog):
            return Finding("worker", "ok", "at least one is running")
        return Finding("worker", "ok", "none is running; `sightline index` brings its own, the API needs one")

    def _work(self) -> Finding:
        trouble = unattended(self._parts.catalog, self._facts.indexer.waiting_seconds)
        if trouble is not None:
            return Finding("work", "problem", trouble)
        return Finding("work", "ok", "nothing waits for long")

    def _folders(self) -> Iterator[Finding]:
        for one in self._parts.folders.look():
            yield Finding(f"folder of {one.holds}", one.status, one.detail)

    def _models(self) -> Iterator[Finding]:
        models, chosen = self._parts.models, self._facts.model
        bound = {(one.model, one.revision): one for one in self._parts.catalog.collections()}
        for model, revision in {(chosen.name, chosen.revision): None} | bound:
            needed = bound.get((model, revision))
            try:
                identity = models.identify(model, revision)
            except SightlineError as error:
                yield Finding(f"model {model}", "problem" if needed else "note", str(error))
                continue
            if needed and not models.means(identity, needed.fingerprint):
                detail = f"its files changed since {needed.name} was indexed with them"
                yield Finding(f"model {model}", "problem", detail)
            else:
                yield Finding(f"model {model}", "ok", f"reachable, fingerprint {identity.fingerprint[:12]}")

    def _patches(self) -> Iterator[Finding]:
        """What was chosen by ``auto``."""
        for collection in self._parts.catalog.collections(trashed=True):
            verdict = self._parts.codec_verdicts.find(collection)
            if verdict is not None:
                yield Finding(f"patches of {collection.name}", "ok", verdict.sentence)

    def _collections(self, *, quick: bool) -> Iterator[Finding]:
        catalog, consistency = self._parts.catalog, self._parts.consistency
        for collection in catalog.collections(trashed=True):
            counts = catalog.collection_counts_of(collection.id)
            said = consistency.disagreements(collection, quick=quick)
            subject = f"collection {collection.name}"
            if said:
                more = f" … and {len(said) - 10} more" if len(said) > 10 else ""
                yield Finding(subject, "problem", " ".join(said[:10]) + more)
                continue
            rest = "".join(f", {counts[name]} {name}" for name in ("pending", "failed") if counts[name])
            yield Finding(
                subject,
                "ok",
                f"{counts['live']} images{rest}; catalog, {counts['segments']} segments and index agree",
            )
            yield from self._index_kind(collection)

    def _index_kind(self, collection: Collection) -> Iterator[Finding]:
        """Which kind of index serves, what it finds, and why it is of this kind."""
        snapshot = self._parts.catalog.snapshot_of(collection.id)
        serving = None if snapshot is None else snapshot.generation
        why = choice_of(serving).get("why")
        if serving is not None and why:
            recall = serving.parameters.get("recall")
            finds = "" if recall is None else f", which finds {recall:.1%} of the best 100"
            yield Finding(f"index of {collection.name}", "ok", f"{serving.kind}{finds}. {why}")


def _invariants(catalog: Catalog) -> list[Finding]:
    problems = catalog.check()
    return [Finding("catalog", "problem", " ".join(problems[:10]))] if problems else []


def _with_help(damage: str) -> str:
    return f"{damage} Put a backup in its place with `sightline restore`."


def _installed(facts: Facts) -> Iterator[Finding]:
    found = {name: _version(name) for name in PACKAGES}
    missing = [name for name, number in found.items() if number is None]
    listed = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    yield Finding("packages", "problem" if missing else "ok", f"Python {sys.version.split()[0]}, {listed}"
                  + (f"; missing: {', '.join(missing)}" if missing else ""))  # fmt: skip
    yield _faiss()
    needed = {"postgresql": "psycopg", "redis": "redis", "valkey": "redis"}
    for url in (facts.catalog_url, facts.broker.url):
        package = needed.get(url.split("://")[0].split("+")[0].removesuffix("s"))
        if package and _version(package) is None:
            extra = "postgres" if package == "psycopg" else package
            yield Finding(
                package, "problem", f"needed by the settings, not installed: pip install 'sightline[{extra}]'"
            )


def _faiss() -> Finding:
    found = [f"{name} {_version(name)}" for name in FAISS_PACKAGES if _version(name)]
    if len(found) == 1:
        return Finding("faiss", "ok", found[0])
    if found:
        return Finding(
            "faiss", "problem", f"{' and '.join(found)} overwrite one another: uninstall all, install one"
        )
    return Finding(
        "faiss", "problem", "not installed: pip install 'sightline[faiss-cpu]' or 'sightline[faiss-gpu]'"
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device(facts: Facts) -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding("device", "problem", f"torch cannot be imported: {error}")
    wanted = facts.model.device or ""
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        return Finding("device", "problem", f"SIGHTLINE_MODEL__DEVICE={wanted}, and torch sees no such GPU")
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
        return Finding("device", "ok", f"cuda: {names}")
    if torch.backends.mps.is_available():
        return Finding("device", "ok", "mps")
    return Finding("device", "ok", f"cpu, {torch.get_num_threads()} threads")


def _index_device(facts: Facts) -> Iterator[Finding]:
    """Whether there is the GPU that searches ask for."""
    if facts.retriever.device == "cuda":
        from sightline.store.backends import gpus

        if gpus() == 0:
            told = "SIGHTLINE_RETRIEVER__DEVICE=cuda, and FAISS sees no GPU: every search fails; use auto"
            yield Finding("index device", "problem", told)


def _disk(data: Path) -> Finding:
    folder = data
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    status: Status = "note" if free < LOW_BYTES else "ok"
    return Finding("data folder", status, f"{data}, {free / 1e9:.1f} GB free")
