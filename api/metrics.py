"""Prometheus metrics in base units, prefix ``sightline_``: one registry per app, never the global one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from sightline.records import Timings
from sightline.serving.queue import WAIT_SECONDS, QueueFigures

if TYPE_CHECKING:
    from sightline.api.lacking import Lacking
    from sightline.store.catalog import Catalog

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
RATIOS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
log = logging.getLogger("sightline.http")


class Metrics:
    """What the API counts."""

    def __init__(
        self,
        catalog: Catalog,
        queue: Callable[[], QueueFigures],
        lacking: Lacking,
        workers: Callable[[], Mapping[str, Mapping[str, float]]],
    ) -> None:
        """``workers``: what workers counted, by their names."""
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "sightline_http_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self.refused = Counter(
            "sightline_connections_refused",
            "Requests answered before they reached the application (400, 408, 431, and 503 without room).",
            ["status"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "sightline_http_request_duration_seconds",
            "From the first byte of a request to the last byte of its answer.",
            ["method", "route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.in_progress = Gauge(
            "sightline_http_requests_in_progress", "Requests being answered.", registry=registry
        )
        self.stage_seconds = Histogram(
            "sightline_search_stage_duration_seconds",
            "Time of one search by stage: encode, retrieve, rerank, total.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self.pairs = Counter(
            "sightline_reranked_pairs", "Text-image pairs scored by ITM for searches.", registry=registry
        )
        self.best_match = Histogram(
            "sightline_search_best_match_ratio",
            "Match probability of the best hit of a reranked search.",
            buckets=RATIOS,
            registry=registry,
        )
        self.upload_bytes = Counter("sightline_upload_bytes", "Bytes of uploaded files.", registry=registry)
        self.uploaded = Counter(
            "sightline_uploaded_files", "Uploaded files by outcome.", ["outcome"], registry=registry
        )
        ProcessCollector(namespace="sightline", registry=registry)
        registry.register(CatalogCollector(catalog, lacking))
        registry.register(QueueCollector(queue))
        registry.register(WorkerCollector(workers))

    def count_refusal(self, status: int) -> None:
        """Count one answer that a connection gave by itself."""
        self.refused.labels(str(status)).inc()

    def observe_search(self, timings: Timings, scored: int, best: float | None) -> None:
        """Count one search; ``best`` is the highest match probability that was seen."""
        for stage in ("encode", "retrieve", "rerank", "total"):
            self.stage_seconds.labels(stage).observe(getattr(timings, f"{stage}_ms") / 1000)
        self.pairs.inc(scored)
        if best is not None:
            self.best_match.observe(best)


class CatalogCollector(Collector):
    """Reads the catalog when scraped; a database that is away is reported, and costs no other metric."""

    def __init__(self, catalog: Catalog, lacking: Lacking) -> None:
        self._catalog = catalog
        self._lacking = lacking

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance: registering must not touch the database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Gauges of every collection."""
        up = GaugeMetricFamily("sightline_catalog_up", "1 when the catalog answered this scrape.")
        try:
            found = list(self._gauges())
        except Exception:
            log.warning("The catalog did not answer a scrape.", exc_info=True)
            found = []
        up.add_metric([], 1.0 if found else 0.0)
        yield up
        yield from found

    def _gauges(self) -> Iterator[Metric]:
        images = GaugeMetricFamily("sightline_images", "Images by state.", labels=["collection", "state"])
        gauges = {
            "segments": _gauge("sightline_segments", "Published segments."),
            "bytes": _gauge("sightline_segment_bytes", "Size of the published segments."),
            "number": _gauge("sightline_generation", "Number of the current index generation; 0 for none."),
            "covered": _gauge("sightline_generation_images", "Images in the current index generation."),
        }
        overview = self._catalog.overview()
        for one in overview:
            name, counts = one.collection.name, one.counts
            for state in ("live", "pending", "failed", "trashed", "buried"):
                images.add_metric([name, state], counts[state])
            gauges["segments"].add_metric([name], counts["segments"])
            gauges["bytes"].add_metric([name], counts["bytes"])
            gauges["number"].add_metric([name], one.generation)
            gauges["covered"].add_metric([name], one.generation_images)
        lacking = len(self._lacking([one.collection for one in overview]))
        what = "Collections whose answers lack something, because files are lost or damaged."
        degraded = GaugeMetricFamily("sightline_degraded_collections", what, value=lacking)
        oldest = GaugeMetricFamily(
            "sightline_oldest_pending_seconds",
            "Age of the oldest work that is not done, by the database's clock; 0 when nothing waits.",
            value=self._catalog.backlog().pending_seconds,
        )
        return iter((images, degraded, *gauges.values(), oldest))


class QueueCollector(Collector):
    """Asks for the queue in front of the model when scraped."""

    def __init__(self, queue: Callable[[], QueueFigures]) -> None:
        self._queue = queue

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance: registering must not make a queue."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Its length, and how long requests waited."""
        figures = self._queue()
        for name, value, what in (
            ("sightline_model_requests", figures.requests, "Requests at the model or waiting for it."),
            ("sightline_model_queue_length", figures.turns, "Batches and texts that wait for the model."),
        ):
            yield GaugeMetricFamily(name, what, value=value)
        for name, amount, what in (
            ("sightline_model_requests_refused", figures.refused, "Requests that found the queue full."),
            ("sightline_model_busy_seconds", figures.busy_seconds, "Time in which the model computed."),
            ("sightline_text_batches", figures.text_batches, "Batches in which texts were encoded."),
        ):
            yield CounterMetricFamily(name, what, value=amount)
        bounds = [*map(str, WAIT_SECONDS), "+Inf"]
        waits = HistogramMetricFamily("sightline_model_wait_duration_seconds", "Time that a request waited.")
        waits.add_metric(
            [], list(zip(bounds, accumulate(figures.waits), strict=True)), figures.waited_seconds
        )
        yield waits


class WorkerCollector(Collector):
    """Reads what workers counted, of those whose data folder this server sees, when scraped."""

    def __init__(self, workers: Callable[[], Mapping[str, Mapping[str, float]]]) -> None:
        self._workers = workers

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance: registering must not read files."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Two counters for each worker that runs."""
        found = self._workers()
        for name, what in (
            (
                "embed_wait_seconds",
                "Time in which a worker's model waited for pictures to be read and decoded.",
            ),
            ("embed_busy_seconds", "Time in which a worker's model embedded."),
        ):
            family = CounterMetricFamily(f"sightline_{name}", what, labels=["worker"])
            for worker, counted in found.items():
                family.add_metric([worker], counted.get(name, 0.0))
            yield family


def _gauge(name: str, what: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, labels=["collection"])
