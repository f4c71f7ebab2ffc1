"""The application behind a real socket with the model that ships, and pictures that it tells apart."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

import sightline
from sightline import Reranker
from sightline.api.app import create_app
from sightline.api.server import running
from sightline.imaging import IsolatedDecoder
from sightline.store.issuing import issue
from tests.api.conftest import installation, settings_for

QUERY = "a red car"
PICTURES = ("picture-106.webp", "picture-096.webp", "picture-012.webp")
"""Of the demo collection: two show one, and the model is surer of the last."""


def data_uri(data: bytes) -> str:
    """As most clients write it, of whatever type it is."""
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


@dataclass(frozen=True)
class Live:
    """A server that asks for a key, three pictures, and what the library says of them."""

    url: str
    key: str
    pictures: Sequence[bytes]
    probabilities: Mapping[int, float]
    logits: Mapping[int, float]

    @property
    def uris(self) -> list[str]:
        """The pictures as data URIs."""
        return [data_uri(one) for one in self.pictures]

    @property
    def order(self) -> list[int]:
        """The pictures by falling probability."""
        return sorted(self.probabilities, key=lambda index: -self.probabilities[index])

    def post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """With the key, as `requests` and curl send it."""
        headers = {"Authorization": f"Bearer {self.key}", "accept": "application/json"}
        return httpx.post(f"{self.url}{path}", json=body, headers=headers, timeout=30)


@contextmanager
def live(folder: Path, decoder: IsolatedDecoder) -> Iterator[Live]:
    """Serve until the block ends, on an empty data folder."""
    settings = settings_for(folder)
    model = replace(settings.model, name="demo")
    services = installation(settings.model_copy(update={"model": model}), decoder)
    demo = Path(sightline.__file__).parent / "data" / "demo-collection" / "images"
    pictures = [(demo / name).read_bytes() for name in PICTURES]
    ranked = Reranker.from_pretrained("demo").rank(QUERY, pictures)
    probabilities = {one.index: one.match_probability for one in ranked}
    logits = {one.index: one.itm_logit for one in ranked}
    _, key = issue(services.catalog, "reader", "read")
    with running(create_app(services.api_parts)) as url:
        yield Live(url, key, pictures, probabilities, logits)
    services.catalog.close()
