"""Every answer is as the OpenAPI document says, to requests made from it and against it."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from sightline.api.app import create_app
from sightline.wiring import Installation
from tests.api.schema_cases import ANSWERS, KEYED, Findings, ask_everything, keyed_app, known_names


def findings(services: Installation, cases: int, seed: int) -> Findings:
    app = keyed_app(services)
    with TestClient(app, headers=KEYED) as client:
        return ask_everything(app, known_names(client), cases, seed)


@pytest.mark.usefixtures("filled")
def test_every_answer_is_as_documented(services: Installation) -> None:
    found = findings(services, 100, 0)
    assert not found.wrong, "\n\n".join(found.wrong.values())
    assert found.cases >= 100
    assert found.statuses.keys() >= {200, 404, 422}, found.statuses


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("filled")
def test_every_answer_of_thousands_is_as_documented(services: Installation) -> None:
    found = findings(services, 5000, 1)
    assert not found.wrong, "\n\n".join(found.wrong.values())
    assert found.cases >= 5000


def test_every_operation_documents_what_every_address_may_answer(services: Installation) -> None:
    document = create_app(services.api_parts).openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["responses"].keys() >= ANSWERS, (method, path)
            for status, answer in operation["responses"].items():
                if int(status) >= 400 and (path, status) != ("/readyz", "503"):
                    assert "application/problem+json" in answer["content"], (method, path, status)
