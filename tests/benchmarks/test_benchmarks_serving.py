"""The benchmarks of serving, at toy size: a real server process, real clients, every figure there."""

from __future__ import annotations

import pytest

from benchmarks import http_overhead, serving


@pytest.mark.long
def test_serving_measures_every_number_of_clients_against_the_loop() -> None:
    figures = serving.run(full=False).figures
    for clients in (1, 8):
        assert figures[f"clients{clients}_vs_offline"] > 0
        assert figures[f"clients{clients}_p95_s"] >= figures[f"clients{clients}_p50_s"] > 0
    assert figures["serve_ready_s"] > 0


@pytest.mark.long
def test_what_lies_beside_the_model_is_measured_over_http() -> None:
    figures = http_overhead.run(full=False).figures
    assert figures["http_overhead_ms"] > 0
    assert figures["demo_serve_ready_s"] > 0
