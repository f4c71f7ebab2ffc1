"""Helpers of the API tests: pictures whose scores can be computed by hand, uploads, problems."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from sightline.blip.toy import COLOURS

MakeClient = Callable[..., TestClient]
SHADES = {
    "red": ("red",),
    "blue": ("blue",),
    "half": ("red", "blue", "red", "blue"),
    "purple": ("purple",),
    "green": ("green",),
    "white": ("white",),
}


def png(*quarters: str, side: int = 8) -> bytes:
    """A PNG with up to four colours: top left, top right, bottom left, bottom right (cyclic)."""
    half = side // 2
    pixels = np.zeros((side, side, 3), np.uint8)
    for place in range(4):
        row, column = divmod(place, 2)
        colour = np.round(np.array(COLOURS[quarters[place % len(quarters)]]) * 255)
        pixels[row * half : (row + 1) * half, column * half : (column + 1) * half] = colour
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def upload(
    client: TestClient, files: Mapping[str, bytes], collection: str = "pictures", **items: Mapping[str, Any]
) -> Any:
    """Upload files under their names as ids; ``items`` by name add caption and metadata. The JSON."""
    told = [{"id": name} | dict(items.get(name, {})) for name in files]
    answer = client.post(
        f"/v1/collections/{collection}/images",
        files=[("files", (name, data)) for name, data in files.items()],
        data={"items": json.dumps(told)},
    )
    assert answer.status_code == 202, answer.text
    return answer.json()


def problem(answer: Any, status: int) -> dict[str, Any]:
    """The problem document of an error answer, checked for what all have in common."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["type"].startswith("urn:sightline:problem:")
    assert body["title"]
    assert body["detail"].endswith((".", "?", "…")), body["detail"]
    assert body["instance"].startswith("/")
    assert body["request_id"] == answer.headers["x-request-id"]
    return body
