"""The benches of the catalog fill it with live images, and say what each question found."""

from __future__ import annotations

from pathlib import Path

from benchmarks import filters, registration
from benchmarks.catalog_images import COLLECTION
from sightline.store.catalog import open_catalog
from sightline.store.portable import sqlite_url


def test_every_filter_is_measured_at_first_known_and_after_a_change(tmp_path: Path) -> None:
    catalog = open_catalog(sqlite_url(tmp_path / "catalog.sqlite"))
    costs = filters.measure(catalog, 500)
    assert [cost.what for cost in costs] == [
        *(what for what in ("first", "known", "after 64 new") for _ in filters.FILTERS), "delete",
    ]  # fmt: skip
    first, known, after = (
        {cost.filter: cost.found for cost in costs if cost.what == what}
        for what in ("first", "known", "after 64 new")
    )
    # Masks are of the images that there were.
    assert first == known == after
    assert 100 < first["50 %"] < 400
    counts = catalog.collection_counts(COLLECTION)
    assert counts["trashed"] == costs[-1].found > 50
    assert counts["live"] == 564 - counts["trashed"]
    assert catalog.check() == []
    catalog.close()


def test_registration_leaves_every_image_pending_once(tmp_path: Path) -> None:
    catalog = open_catalog(sqlite_url(tmp_path / "catalog.sqlite"))
    rates = registration.measure(catalog, 600)
    assert len(rates) == 2
    assert min(rate.per_second for rate in rates) > 0
    assert catalog.collection_counts(COLLECTION)["pending"] == 600
    assert catalog.check() == []
    catalog.close()
