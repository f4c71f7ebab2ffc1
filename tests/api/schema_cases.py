"""Requests made from the OpenAPI document, right ones and wrong ones, and answers checked against it.

``python -m tests.api.schema_cases [--cases 5000] [--seed 0]``: the whole document on a toy installation.
Every answer is held to all checks of schemathesis that apply (see ``LEFT_OUT``).
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, CheckFunction, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import AcceptedNegativeData, FailureGroup

from sightline.api.app import create_app
from sightline.wiring import Installation, open_installation
from tests.api.conftest import nowhere, settings_for
from tests.api.installation import SHADES, png, upload

LEFT_OUT = frozenset(
    {
        "positive_data_acceptance",  # a document says what a body looks like, not what is stored
        "not_a_server_error",  # counts a documented 503 too: see Asker.ask
        "ignored_auth",  # this installation has no key; the tests of keys ask every route
        "object_level_authorization",
    }
)
ANSWERS = frozenset({"400", "401", "403", "408", "413", "421", "429", "431", "503"})
"""What every address may answer, whatever it is for."""
KEYED = {"Authorization": "Bearer the key of whoever runs it"}
"""An admin's, so that a key that a case makes shuts nobody out."""
NAME, KNOWN = "pictures", 0.6
"""The collection that is there, and the share of cases that ask for what is there."""


@dataclass
class Findings:
    """What came of the cases: how many, their statuses, and what was wrong with the answers."""

    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: dict[str, str] = field(default_factory=dict)
    """By operation and kind of failure, the first of its kind in words."""


@dataclass
class Asker:
    """Sends cases to the app, and looks at the answers."""

    app: FastAPI
    known: Mapping[str, list[str]]
    random: random.Random
    checks: list[CheckFunction]
    found: Findings = field(default_factory=Findings)

    def ask(self, case: Case) -> None:
        """One case; half of them at addresses where there is something."""
        keep = case.method == "DELETE" and case.path.endswith("{name}")
        if case.path_parameters and not keep and self.random.random() < KNOWN:
            names = [name for name in case.path_parameters if name in self.known]
            there = {name: self.random.choice(self.known[name]) for name in names}
            case.path_parameters.update(there)
        answer = case.call(headers=KEYED)
        self.found.cases += 1
        self.found.statuses[answer.status_code] += 1
        where = f"{case.method} {case.path}"
        if answer.status_code >= 500 and answer.status_code != 503:
            self._note(f"{where}: {answer.status_code}", f"{case.as_curl_command()}\n{answer.text:.2000}")
        try:
            case.validate_response(answer, checks=self.checks)
        except FailureGroup as group:
            for one in group.exceptions:
                if not (isinstance(one, AcceptedNegativeData) and _is_text(case, str(one))):
                    self._note(f"{where}: {type(one).__name__}", f"{one}\n{case.as_curl_command():.2000}")

    def _note(self, kind: str, words: str) -> None:
        self.found.wrong.setdefault(kind, words)


def _is_text(case: Case, said: str) -> bool:
    """What was wrong was made right on its way: in a form and in an address all is text, also a number."""
    return (case.media_type or "").startswith("multipart/") or "parameter `id` in query" in said


def ask_everything(app: FastAPI, known: Mapping[str, list[str]], cases: int, number: int) -> Findings:
    """So many cases at least, spread evenly over the operations, half of them against the document.

    ``known`` are the names of what is there, by parameter of the path; ``number`` seeds the generator.
    """
    load_all_checks()
    checks = [CHECKS.get_one(name) for name in CHECKS.get_all_names() if name not in LEFT_OUT]
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=KEYED)
    asker = Asker(app, known, random.Random(number), checks)
    operations = [one.ok() for one in schema.get_all_operations()]
    operations.sort(key=lambda one: (one.method == "delete", one.path))  # what is deleted is not there later
    each = -(-cases * 3 // (4 * len(operations)))  # more than half: not every address can be asked so often
    while asker.found.cases < cases:
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                _draw(operation.as_strategy(generation_mode=mode), asker.ask, each, number)
        each, number = max(each // 4, 1), number + 1
    return asker.found


def _draw(strategy: Any, ask: Callable[[Case], None], count: int, number: int) -> None:
    quiet = settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    def send(case: Case) -> None:
        ask(case)

    with suppress(Unsatisfiable):  # an address without parameters cannot be asked for wrongly
        quiet(seed(number)(given(case=strategy)(send)))()


def keyed_app(services: Installation) -> FastAPI:
    """The application of an installation whose settings have a key."""
    parts = services.api_parts
    key = KEYED["Authorization"].removeprefix("Bearer ")
    return create_app(replace(parts, settings=replace(parts.settings, key=key)))


def known_names(client: TestClient) -> dict[str, list[str]]:
    """Names of what is there, by parameter of a path: a filled collection, one in the trash, an ended job."""
    client.post("/v1/collections", json={"name": "old"})
    client.delete("/v1/collections/old")
    jobs = [job["id"] for job in client.get("/v1/jobs").json()["items"]]
    return {"name": [NAME], "image_id": list(SHADES), "job_id": jobs, "collection": ["old"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    given_ = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as place,
        open_installation(settings_for(Path(place) / "data"), send=nowhere) as services,
    ):
        app = keyed_app(services)
        with TestClient(app, headers=KEYED) as client:
            client.post("/v1/collections", json={"name": NAME})
            upload(client, {name: png(*quarters) for name, quarters in SHADES.items()})
            services.indexer.run_pending()
            found = ask_everything(app, known_names(client), given_.cases, given_.seed)
    print(f"{found.cases:,} cases: {dict(sorted(found.statuses.items()))}")
    for kind, words in found.wrong.items():
        print(f"\n{kind}\n{words}")
    raise SystemExit(1 if found.wrong else 0)


if __name__ == "__main__":
    main()
