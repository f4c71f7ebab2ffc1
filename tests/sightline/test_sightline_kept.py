"""What is kept is computed once for each object, and nobody waits for another object's."""

from __future__ import annotations

import threading

from sightline.kept import kept


class Slow:
    def __init__(self, go: threading.Event) -> None:
        self.go, self.begun, self.count = go, threading.Event(), 0

    @kept
    def value(self) -> int:
        """A number."""
        self.begun.set()
        assert self.go.wait(30)
        self.count += 1
        return self.count


def test_an_object_that_waits_holds_up_no_other() -> None:
    go, ready = threading.Event(), threading.Event()
    ready.set()
    waiting, other = Slow(go), Slow(ready)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(waiting.value))
    thread.start()
    assert waiting.begun.wait(30)
    assert (other.value, other.value, other.count) == (1, 1, 1)
    go.set()
    thread.join(timeout=30)
    assert found == [1]
    assert Slow.value.__doc__ == "A number."
