"""What may be stored of patches. Imports no NumPy: settings name these, and every command reads settings."""

from __future__ import annotations

from typing import Final, Literal

PatchLevel = Literal["none", "fp16", "int8", "latent", "auto"]
"""What is stored of patches, from nothing over everything to a fitted latent; ``auto`` chooses."""
NO_PATCHES: Final = "none"
FP16: Final = "fp16"
INT8: Final = "int8"
AUTO_CODEC: Final = "auto"
LATENT: Final = "latent"
"""The level; segments name the fitted codec by its id instead, ``latent-…``."""
