"""``python -m tests.api.bare_server FILES``: our server with an empty application and few open files."""

from __future__ import annotations

import logging
import resource
import sys
from types import SimpleNamespace

from fastapi import FastAPI

from sightline.api.server import running
from sightline.api.settings import ApiSettings


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    limit = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    app = FastAPI()
    settings = ApiSettings(max_connections=1000, max_connections_per_address=1000, header_seconds=1000.0)
    app.state.parts = SimpleNamespace(settings=settings)
    app.state.metrics = SimpleNamespace(count_refusal=lambda status: None)
    app.add_api_route("/livez", lambda: "well")
    with running(app) as url:
        print(url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
