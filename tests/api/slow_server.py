"""``python -m tests.api.slow_server``: ``sightline serve`` with a toy that judges only once a file is there.

The file is ``DATA/go``; without it every call of the model waits, for a minute at most.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sightline.blip.toy import ToyEncoder
from sightline.processes.logs import log_json_lines
from sightline.processes.serve import listen, serve_on
from sightline.serving.models import ModelProvider
from sightline.settings import load_settings
from sightline.wiring import open_installation


class HeldToy(ToyEncoder):
    """Waits for the file before it judges more than one pair: the warm-up passes."""

    def __init__(self, go: Path) -> None:
        self.__dict__["look"] = None  # it judges whole pairs only
        self._go = go

    def match(self, texts: Any, patches: Any, precision: Any = "fast") -> Any:
        deadline = time.monotonic() + 60
        while len(patches) > 1 and not self._go.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return super().match(texts, patches, precision)


class HeldModels(ModelProvider):
    """The held toy under every name."""

    def __init__(self, go: Path) -> None:
        super().__init__()
        self._held = HeldToy(go)

    def load(self, model: str, revision: str | None = None) -> Any:
        return self._held


def main() -> None:
    settings = load_settings()
    log_json_lines(settings.log.level)
    listener = listen("127.0.0.1", 0)
    models = HeldModels(settings.data_folder / "go")
    with open_installation(settings, models=models) as services, listener:
        print(listener.getsockname()[1], flush=True)
        serve_on(listener, services)


if __name__ == "__main__":
    main()
