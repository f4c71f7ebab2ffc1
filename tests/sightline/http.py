"""Talking to a server that runs as a process of its own, with nothing but the standard library."""

from __future__ import annotations

import io
import json
import time
import urllib.error
import urllib.request
from typing import Any

from PIL import Image

from tests.sightline.conftest import picture


def request(url: str, body: object | None = None) -> Any:
    """JSON from the API."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=20) as response:
        return json.load(response)


def upload(url: str, name: str, *quarters: str) -> Any:
    """One picture as multipart."""
    png = io.BytesIO()
    Image.fromarray(picture(*quarters)).save(png, "PNG")
    disposition = f'Content-Disposition: form-data; name="files"; filename="{name}"'
    head = f"--x\r\n{disposition}\r\nContent-Type: image/png\r\n\r\n"
    body = head.encode() + png.getvalue() + b"\r\n--x--\r\n"
    asked = urllib.request.Request(url, body, {"Content-Type": "multipart/form-data; boundary=x"})
    with urllib.request.urlopen(asked, timeout=20) as response:
        return json.load(response)


def wait(url: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            request(url)
            return
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, f"{url} never answered"
            time.sleep(0.2)


def finished(url: str, job_id: str, seconds: float = 120.0) -> Any:
    """The job once it is done."""
    deadline = time.monotonic() + seconds
    while (job := request(f"{url}/v1/jobs/{job_id}"))["state"] != "done":
        assert time.monotonic() < deadline, f"the job never ended: {job}"
        time.sleep(0.2)
    return job
