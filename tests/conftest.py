"""Fixtures that every test may use."""

from __future__ import annotations

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever uses a service's fixture is marked ``services``."""
    for item in items:
        if SERVICE_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.services)
