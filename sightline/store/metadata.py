"""All tables there are, whoever has asked for which of them."""

from __future__ import annotations

from typing import Final

from sightline.store import (
    schema,
    schema_access,
    schema_calibrations,
    schema_duplicates,
    schema_fields,
    schema_saved,
    schema_texts,
    schema_upkeep,
    schema_work,
)
from sightline.store.schema_base import Base

MODULES: Final = (
    schema,
    schema_work,
    schema_upkeep,
    schema_access,
    schema_texts,
    schema_fields,
    schema_calibrations,
    schema_duplicates,
    schema_saved,
)
METADATA: Final = Base.metadata
