"""Which addresses are meant for the web."""

from __future__ import annotations

import re
from typing import Final

_WEB: Final = re.compile(r"https?://", re.IGNORECASE)


def is_web(address: str) -> bool:
    """Whether an address is one of the web; whether it is a good one is for the client to say."""
    return _WEB.match(address) is not None
