"""``sightline doctor``: what is installed and reachable, and whether catalog, segments and index agree."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

from sightline.errors import SightlineError
from sightline.settings import Settings, unknown_variables
from sightline.upkeep.consistency import Consistency

if TYPE_CHECKING:
    from sightline.wiring import Services

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


def examine(settings: Settings, *, quick: bool = False) -> list[Finding]:
    """Look at everything. ``quick`` leaves out reading every file in full."""
    from sightline.wiring import build_services

    findings = [*_installed(settings), _device(), _disk(settings)]
    findings += [Finding(name, "note", "no setting reads this variable") for name in unknown_variables()]
    with build_services(settings) as services:
        catalog = _guarded("catalog", lambda: [_catalog(services)])
        findings += [*catalog, *_guarded("broker", lambda: [_broker(services)])]
        if all(finding.status == "ok" for finding in catalog):
            findings += _guarded("processes", lambda: [_worker(services)])
            findings += _guarded("models", lambda: list(_models(services)))
            findings += _guarded("collections", lambda: list(_collections(services, quick=quick)))
    return findings


def _guarded(subject: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """What the look found, or the one sentence of what prevented it."""
    try:
        return look()
    except (SightlineError, OSError) as error:
        return [Finding(subject, "problem", str(error))]


def _installed(settings: Settings) -> Iterator[Finding]:
    found = {name: _version(name) for name in PACKAGES}
    missing = [name for name, number in found.items() if number is None]
    listed = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    yield Finding("packages", "problem" if missing else "ok", f"Python {sys.version.split()[0]}, {listed}"
                  + (f"; missing: {', '.join(missing)}" if missing else ""))  # fmt: skip
    yield _faiss()
    needed = {"postgresql": "psycopg", "redis": "redis", "valkey": "redis"}
    for url in (settings.database_url, settings.broker.url):
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


def _disk(settings: Settings) -> Finding:
    folder = settings.data_folder
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    status: Status = "note" if free < LOW_BYTES else "ok"
    return Finding("data folder", status, f"{settings.data_folder}, {free / 1e9:.1f} GB free")


def _catalog(services: Services) -> Finding:
    problems = services.catalog.check()
    kind = services.settings.catalog_url.split(":")[0].split("+")[0]
    if problems:
        return Finding("catalog", "problem", " ".join(problems[:10]))
    return Finding(
        "catalog", "ok", f"{kind}, {len(services.catalog.collections())} collections, no broken invariant"
    )


def _broker(services: Services) -> Finding:
    kind = services.broker.url.split(":")[0]
    waiting = services.queue.depth()
    if waiting is None:
        return Finding("broker", "problem", f"{kind}: cannot be reached; new work starts when it is back")
    return Finding("broker", "ok", f"{kind}, {waiting} messages waiting")


def _worker(services: Services) -> Finding:
    from sightline.indexer.queue.presence import worker_is_alive

    if worker_is_alive(services.catalog):
        return Finding("worker", "ok", "at least one is running")
    return Finding("worker", "ok", "none is running; `sightline index` brings its own, the API needs one")


def _models(services: Services) -> Iterator[Finding]:
    bound = {(one.model, one.revision): one for one in services.catalog.collections()}
    chosen = services.settings.model
    for model, revision in {(chosen.name, chosen.revision): None} | bound:
        needed = bound.get((model, revision))
        try:
            identity = services.models.identify(model, revision)
        except SightlineError as error:
            yield Finding(f"model {model}", "problem" if needed else "note", str(error))
            continue
        if needed and needed.fingerprint != identity.fingerprint:
            yield Finding(
                f"model {model}", "problem", f"its files changed since {needed.name} was indexed with them"
            )
        else:
            yield Finding(f"model {model}", "ok", f"reachable, fingerprint {identity.fingerprint[:12]}")


class _PatchFormats:
    """The patch codecs of an installation, as `Consistency` asks for them."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def of(self, codec: str, fingerprint: str) -> object:
        from sightline.indexer.codecs import keeping

        return keeping(self._services.codecs, codec, fingerprint)


def consistency(services: Services) -> Consistency:
    """Compares the parts of this installation."""
    return Consistency(services.catalog, services.segments, services.indexes, _PatchFormats(services))


def _collections(services: Services, *, quick: bool) -> Iterator[Finding]:
    for collection in services.catalog.collections():
        counts = services.catalog.collection_counts(collection.name)
        said = consistency(services).disagreements(collection.name, quick=quick)
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
