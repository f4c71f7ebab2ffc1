"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from tests.services import (
    SERVICE_FIXTURES,
    _postgres_shared,
    _redis_server,
    catalog_url,
    module_catalog_url,
    postgres_server,
    postgres_url,
    queue_name,
    rabbitmq_url,
    redis_url,
)

__all__ = [
    "_postgres_shared",
    "_redis_server",
    "catalog_url",
    "module_catalog_url",
    "postgres_server",
    "postgres_url",
    "queue_name",
    "rabbitmq_url",
    "redis_url",
]


BEGUN_FIRST = (
    "test_deploy_services",
    "test_deploy_foreign_folder",
    "test_crash_failing_disk",
    "test_crash_run",
    "test_training_run",
    "test_upgrade_back",
    "test_upgrade_folder",
    "test_indexer_crash",
    "test_store_lease_races",
    "test_indexer_services",
    "test_api_schema",
    "test_soak",
    "test_crash_clocks",
    "test_crash_fault_points",
    "test_sightline_demo",
    "test_benchmarks_embed",
    "test_sightline_cli",
)
"""Modules that take long, the longest first. With several processes nobody shall wait at the end for one that
began last."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported for all tests lives as long as they do: the garbage collector need not walk through it
    again and again, which is a tenth of what the short tests cost.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long modules come first; whoever uses a service's fixture is marked ``services``."""
    places = {name: place for place, name in enumerate(BEGUN_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
    for item in items:
        if SERVICE_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.services)


@pytest.fixture(scope="session", autouse=True)
def _no_data_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test, and nothing that it starts, finds or leaves something in the user's own data folder."""
    own = tmp_path_factory.mktemp("user-data")
    before = os.environ.get("XDG_DATA_HOME")
    os.environ["XDG_DATA_HOME"] = str(own)
    yield
    if before is None:
        del os.environ["XDG_DATA_HOME"]
    else:
        os.environ["XDG_DATA_HOME"] = before
    assert not list(own.iterdir()), "a test used the data folder of whoever runs it"
