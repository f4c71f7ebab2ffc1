"""``python -m sightline``: what the supervisor starts, also where no console script is installed."""

from __future__ import annotations

from sightline.cli import main

if __name__ == "__main__":
    main()
