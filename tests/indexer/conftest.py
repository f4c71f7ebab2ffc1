"""Fixtures that several modules of the indexer share."""

from __future__ import annotations

from tests.fetching.conftest import witness

__all__ = ["witness"]
