"""``sightline index URL``: the real command, with the system's resolver and the settings of an operator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sightline.settings import Settings
from sightline.wiring import open_installation
from tests.fetching.web import GOOD, Web, small_web
from tests.sightline.conftest import Run


@pytest.fixture
def web() -> Iterator[Web]:
    """A small web."""
    with small_web() as web:
        yield web


def test_urls_are_indexed_when_the_operator_says_so_and_only_then(
    sightline: Run, settings: Settings, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, inner = web.url(host=GOOD), web.url(host="127.0.0.1")
    done = sightline("index", url, "-c", "pictures", "--no-wait")
    assert done.code == 2, done
    assert "SIGHTLINE_FETCH__ENABLED=true" in done.stderr
    assert web.good.connections == 0

    for name, value in (("ENABLED", "true"), ("HTTP", "true"), ("PORTS", str(web.port)),
                        ("ALLOWED_NETWORKS", f"{GOOD}/32")):  # fmt: skip
        monkeypatch.setenv(f"SIGHTLINE_FETCH__{name}", value)
    done = sightline("index", url, inner, "-c", "pictures", "--no-wait", "--json")
    assert (done.answer["pending"], done.answer["failed"]) == (1, 1), done
    assert [error["reason"] for error in done.answer["errors"]] == ["unreachable"]
    with open_installation(settings) as services:
        image = services.catalog.image("pictures", url)
        assert image.uri == f"blob:{image.sha256}"
        assert services.originals.read(image).startswith(b"\x89PNG")
    assert (web.good.connections, web.trapped) == (1, 0)
