"""An installation to be backed up, and what must be the same in what is restored from it."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from sightline.indexer.uploads import Upload
from sightline.records import SearchRequest
from sightline.settings import Settings
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import index, picture, save, toy_settings

COLOURS = ("red", "green", "blue", "white", "purple", "yellow")


def settings_of(data: Path, database: str = "") -> Settings:
    """An installation, on SQLite unless a database is named, whose builder merges and forgets soon."""
    eager = {"merge_at_least": 2, "retired_seconds": 0.0, "orphan_seconds": 0.0, "clean_seconds": 0.0}
    found = toy_settings(data).model_copy(update={"database_url": database})
    return found.model_copy(update={"builder": replace(found.builder, **eager)})


def png(*quarters: str) -> bytes:
    out = BytesIO()
    Pillow.fromarray(picture(*quarters)).save(out, "PNG")
    return out.getvalue()


def upload(services: Installation, name: str, *quarters: str) -> None:
    """Upload one picture and embed it in this process."""
    found = Upload(png(*quarters), name, caption=f"caption of {name}", metadata={"n": name})
    services.collections.create("pictures")
    job, _ = services.indexer.add("pictures", [found])
    services.indexer.wait(job.id, timeout=60)


def fill(services: Installation, folder: Path) -> None:
    """Referenced and uploaded pictures; one replaced, one deleted; a generation and a tail."""
    for number, name in enumerate("abc"):
        save(folder, name, COLOURS[number], "green")
    index(services, folder)
    upload(services, "up1", "red", "blue")
    upload(services, "up2", "white", "purple")
    services.builder.fold("pictures")
    save(folder, "a", "blue", "yellow")
    index(services, folder)
    upload(services, "up3", "yellow")
    services.catalog.delete_images(services.catalog.collection("pictures").id, ids=["b.png"])


def answers(services: Installation) -> dict[str, Any]:
    """All that a user can ask: two searches, and what is known of every picture."""
    requests = [SearchRequest("pictures", text, limit=20) for text in ("red left", "a blue one")]
    found = [services.search.find(request).results for request in requests]
    page = services.catalog.images("pictures", limit=1000).items
    return {
        "hits": [[(hit.id, hit.score, hit.itc) for hit in hits] for hits in found],
        "images": [
            (one.image_id, one.sha256, one.caption, dict(one.metadata), one.uri, one.key) for one in page
        ],
    }


def problems(settings: Settings) -> list[tuple[str, str]]:
    """What the doctor says against it."""
    with open_installation(settings) as services:
        return [(one.subject, one.detail) for one in services.doctor.examine() if one.status == "problem"]
