"""Filters on the command line: JSON text to the object that sightline.store.filters gives meaning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sightline.errors import FilterError


def read_filter(text: str | None) -> Mapping[str, Any] | None:
    """The filter object, or None when none was given.

    Raises:
        FilterError: no JSON, or JSON that is no object.
    """
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise FilterError(
            f"The filter is no JSON ({error}); quote it for the shell, see docs/cli.md."
        ) from error
    if not isinstance(found, dict):
        raise FilterError(
            'The filter must be an object such as {"must": [{"field": "metadata.year", "equals": 2020}]}.'
        )
    return found
