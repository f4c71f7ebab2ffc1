"""The numbers of the fourth verb that are not a user's settings."""

from __future__ import annotations

from typing import Final

KEEP_ABOVE: Final = 0.3
"""CapFilt keeps a text whose match probability is at least this, when nobody says otherwise.

BLIP's filter drops what its matching head calls unmatched, so 0.5 (arXiv 2201.12086, section 3.3); on 600
pictures of the demo world's validation split this loses the fewest right texts and drops as many wrong ones.
"""
MOST_CAPTIONS: Final = 20
"""Captions that are asked for of one image, at most."""
TASK_IMAGES: Final = 32
"""Images in one task: one lease, and one segment of features where some had to be made."""
LISTED_AT_ONCE: Final = 5_000
"""Images that become tasks in one transaction."""
MOST_IDS: Final = 10_000
"""Image ids that a job may name."""
MOST_FIELDS: Final = 20
"""Metadata fields whose texts a job may judge."""
MOST_TEXTS: Final = 64
"""Own texts of one image that are judged; a list in its metadata may be longer."""
PAIRS_ON_CPU: Final = 32
"""Pairs of a text and an image that are judged at once …"""
PAIRS_ON_ACCELERATOR: Final = 256
"""… and on an accelerator."""
BINS: Final = 50
"""Bars of a histogram of match probabilities."""
EXAMPLES: Final = 5
"""Texts that a report shows of each verdict."""
