"""``sightline doctor``: what is installed and reachable, and whether catalog, segments and index agree."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sightline.errors import SightlineError
from sightline.indexer.queue.presence import worker_is_alive

if TYPE_CHECKING:
    from sightline.serving.models import Models
    from sightline.serving.settings import ModelSettings
    from sightline.store.catalog import Catalog
    from sightline.upkeep.consistency import Consistency
    from sightline.upkeep.folders import Folders

Status = Literal["ok", "note", "problem"]
PACKAGES = ("torch", "transformers", "sqlalchemy", "celery", "fastapi", "pillow", "numpy")
FAISS_PACKAGES = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12")
LOW_BYTES = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    status: Status
    detail: str


@dataclass(frozen=True)
class Facts:
    """What the settings say. ``unknown_variables``: of ours by their name, though no setting reads them."""

    data_folder: Path
    catalog_url: str
    broker_url: str
    model: ModelSettings
    unknown_variables: Sequence[str] = ()


class Doctor:
    """Looks at everything. Parts that may be out of reach come as functions that open them."""

    def __init__(
        self,
        facts: Facts,
        catalog: Callable[[], Catalog],
        waiting: Callable[[], int | None],
        models: Callable[[], Models],
        consistency: Callable[[], Consistency],
        folders: Callable[[], Folders],
    ) -> None:
        self._facts = facts
        self._open_catalog = catalog
        self._waiting = waiting
        self._open_models = models
        self._open_consistency = consistency
        self._open_folders = folders

    def examine(self, *, quick: bool = False) -> list[Finding]:
        """Everything that was found. ``quick`` leaves out reading every file in full."""
        findings = [*_installed(self._facts), _device(), _disk(self._facts.data_folder)]
        findings += [
            Finding(name, "note", "no setting reads this variable") for name in self._facts.unknown_variables
        ]
        catalog = _guarded("catalog", lambda: [self._catalog()])
        findings += [*catalog, *_guarded("broker", lambda: [self._broker()])]
        if all(finding.status == "ok" for finding in catalog):
            findings += _guarded("processes", lambda: [self._worker()])
            findings += _guarded("folders", lambda: list(self._folders()))
            findings += _guarded("models", lambda: list(self._models()))
            findings += _guarded("collections", lambda: list(self._collections(quick=quick)))
        return findings

    def _catalog(self) -> Finding:
        catalog = self._open_catalog()
        problems = catalog.check()
        if problems:
            return Finding("catalog", "problem", " ".join(problems[:10]))
        kind = self._facts.catalog_url.split(":")[0].split("+")[0]
        return Finding(
            "catalog", "ok", f"{kind}, {len(catalog.collections())} collections, no broken invariant"
        )

    def _broker(self) -> Finding:
        kind = self._facts.broker_url.split(":")[0]
        waiting = self._waiting()
        if waiting is None:
            return Finding("broker", "problem", f"{kind}: cannot be reached; new work starts when it is back")
        return Finding("broker", "ok", f"{kind}, {waiting} messages waiting")

    def _worker(self) -> Finding:
        if worker_is_alive(self._open_catalog()):
            return Finding("worker", "ok", "at least one is running")
        return Finding("worker", "ok", "none is running; `sightline index` brings its own, the API needs one")

    def _folders(self) -> Iterator[Finding]:
        for one in self._open_folders().look():
            yield Finding(f"folder of {one.holds}", one.status, one.detail)

    def _models(self) -> Iterator[Finding]:
        models, chosen = self._open_models(), self._facts.model
        bound = {(one.model, one.revision): one for one in self._open_catalog().collections()}
        for model, revision in {(chosen.name, chosen.revision): None} | bound:
            needed = bound.get((model, revision))
            try:
                identity = models.identify(model, revision)
            except SightlineError as error:
                yield Finding(f"model {model}", "problem" if needed else "note", str(error))
                continue
            if needed and needed.fingerprint != identity.fingerprint:
                detail = f"its files changed since {needed.name} was indexed with them"
                yield Finding(f"model {model}", "problem", detail)
            else:
                yield Finding(f"model {model}", "ok", f"reachable, fingerprint {identity.fingerprint[:12]}")

    def _collections(self, *, quick: bool) -> Iterator[Finding]:
        catalog, consistency = self._open_catalog(), self._open_consistency()
        for collection in catalog.collections():
            counts = catalog.collection_counts(collection.name)
            said = consistency.disagreements(collection.name, quick=quick)
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


def _guarded(subject: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """What the look found, or the one sentence of what prevented it."""
    try:
        return look()
    except (SightlineError, OSError) as error:
        return [Finding(subject, "problem", str(error))]


def _installed(facts: Facts) -> Iterator[Finding]:
    found = {name: _version(name) for name in PACKAGES}
    missing = [name for name, number in found.items() if number is None]
    listed = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    yield Finding("packages", "problem" if missing else "ok", f"Python {sys.version.split()[0]}, {listed}"
                  + (f"; missing: {', '.join(missing)}" if missing else ""))  # fmt: skip
    yield _faiss()
    needed = {"postgresql": "psycopg", "redis": "redis", "valkey": "redis"}
    for url in (facts.catalog_url, facts.broker_url):
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


def _device() -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding("device", "problem", f"torch cannot be imported: {error}")
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
        return Finding("device", "ok", f"cuda: {names}")
    if torch.backends.mps.is_available():
        return Finding("device", "ok", "mps")
    return Finding("device", "ok", f"cpu, {torch.get_num_threads()} threads")


def _disk(data: Path) -> Finding:
    folder = data
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    status: Status = "note" if free < LOW_BYTES else "ok"
    return Finding("data folder", status, f"{data}, {free / 1e9:.1f} GB free")
