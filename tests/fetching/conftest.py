"""One small web for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fetching.web import Web, Witness, small_web


@pytest.fixture(scope="session")
def witness() -> Witness:
    """Hooks of the interpreter cannot be taken back: there is one."""
    return Witness()


@pytest.fixture(scope="session")
def _web() -> Iterator[Web]:
    with small_web() as web:
        yield web


@pytest.fixture
def web(_web: Web) -> Web:
    """The small web, as it began."""
    _web.forget()
    return _web
