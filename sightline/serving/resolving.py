"""Which model answers when none is named."""

from __future__ import annotations

from typing import Final

from sightline.blip.checkpoint import DEMO, TOY

ANSWERER: Final = "Salesforce/instructblip-flan-t5-xl"
"""The model that answers where the others are released ones too."""


def resolve_answerer(asked: str | None, configured: str, seeing: str) -> str:
    """The name of the model that answers: the one that was ``asked`` for, else the ``configured`` one, else
    what goes with the model of the collection, ``seeing``: those that ship answer beside themselves."""
    if asked or configured:
        return asked or configured
    return seeing if seeing in (DEMO, TOY) else ANSWERER
