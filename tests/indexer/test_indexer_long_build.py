"""What becomes of a build beside the builder's passes that goes wrong in a way that nobody foresaw."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.indexer.growing import Growing
from tests.indexer.test_indexer_growth import ids, put_elsewhere
from tests.indexer.world import until
from tests.retriever.living_collection import Living, living_collection


@pytest.mark.parametrize("error", [MemoryError("std::bad_alloc"), RuntimeError("FAISS says no")])
def test_one_that_goes_wrong_is_not_begun_again_at_once_and_holds_up_nobody(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    tried = []

    def fail() -> None:
        tried.append(1)
        raise error

    with living_collection(tmp_path, 1) as living:
        growing = Growing(living)
        growing.sq8.before = fail
        living.put(ids(100))
        with running(growing):
            until("it is tried", lambda: bool(tried), 60)
            for name in ("first", "second", "zebras"):  # each needs passes that go to their end
                put_elsewhere(living, name, 40)
                until(name, partial(is_folded, living, name), 60)
        assert len(tried) == 1, "it rests"
        assert "the builder's pass went wrong" not in caplog.messages
        assert "a collection could not be tended" in caplog.messages
        living.check(50)
        growing.sq8.before = lambda: None
        growing.later += 100.0
        with running(growing):
            until("it serves", partial(is_folded, living, "pictures"), 60)
        assert growing.serving.kind == "ivf-sq8"


def test_who_is_told_to_stop_does_not_wait_and_the_next_begins_it_again(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        go_on.wait(120)

    with living_collection(tmp_path, 1) as living:
        growing = Growing(living)
        growing.sq8.before = hang
        living.put(ids(100))
        stop = threading.Event()
        ended: list[bool] = []
        builder = growing.another_builder(interval_seconds=0.01)
        thread = threading.Thread(target=lambda: ended.append(builder.run(stop, patience=0.05)))
        thread.start()
        assert begun.wait(60)
        stop.set()
        thread.join(60)
        go_on.set()
        assert ended == [False]
        growing.sq8.before = lambda: None
        with running(growing):
            until("it serves", partial(is_folded, living, "pictures"), 60)
        living.check(50)


def is_folded(living: Living, name: str) -> bool:
    """Whether a generation of it serves."""
    return living.catalog.snapshot(name).generation is not None


@contextmanager
def running(growing: Growing) -> Iterator[None]:
    """A builder that goes on, pass after pass."""
    stop = threading.Event()
    builder = growing.another_builder(interval_seconds=0.01)
    thread = threading.Thread(target=builder.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
