"""What an installation has acknowledged, kept by those who asked: the oracle of the crash tests.

A change is begun, sent, and done once it was acknowledged. A change that was begun and never done is in
doubt: the picture may be as before or as asked, and nobody who wants to be sure changes it again.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Content = str | None
"""The SHA-256 of a picture's bytes; None: there is no such picture."""


@dataclass
class Entry:
    """One image id."""

    content: Content = None
    doubts: set[Content] = field(default_factory=set)
    earlier: set[Content] = field(default_factory=set)
    """What it was before: serves until the new one has been found, and not at the end."""
    confirmed: bool = False
    """Whether a search has found it, and nobody asked since to remove it: then every search must."""

    @property
    def allowed(self) -> set[Content]:
        """What it may be once nothing is left to do."""
        return {self.content} | self.doubts

    @property
    def meanwhile(self) -> set[Content]:
        """What it may be now."""
        return self.allowed | self.earlier


@dataclass(frozen=True)
class Verdict:
    """What was found, held against the ledger."""

    kept: int
    lost: tuple[str, ...]
    duplicated: tuple[str, ...]
    phantom: tuple[str, ...]

    @property
    def sound(self) -> bool:
        return not (self.lost or self.duplicated or self.phantom)

    def __str__(self) -> str:
        counts = (len(self.lost), len(self.duplicated), len(self.phantom))
        return "kept {} lost {} duplicated {} phantom {}".format(self.kept, *counts)


class Ledger:
    """Thread-safe. With a ``path`` every line is one system call, so that it outlives its writer."""

    def __init__(self, path: Path | None = None) -> None:
        self.entries: dict[str, Entry] = {}
        self._path = path
        self._lock = threading.Lock()
        self._steps: list[tuple[str, set[Content]]] = []
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                said = json.loads(line)
                self._note(said["step"], said["changes"])

    def begin(self, changes: Mapping[str, Content]) -> None:
        self._write("begin", changes)

    def done(self, changes: Mapping[str, Content]) -> None:
        self._write("done", changes)

    def refused(self, changes: Mapping[str, Content]) -> None:
        """It was answered that nothing happened: as before."""
        self._write("refused", changes)

    def settle(self, contents: Mapping[str, Content]) -> None:
        """Everything is known to be so by now, whatever was in doubt: a later answer covers it."""
        self._write("settle", contents)

    def confirm(self, found: Mapping[str, Content]) -> None:
        """A search has found them so. It does not count where somebody asked for something else meanwhile."""
        with self._lock:
            for name, content in found.items():
                entry = self.entries[name]
                if content != entry.content:
                    continue
                entry.confirmed = None not in entry.allowed
                entry.earlier.clear()

    def now(self) -> dict[str, Entry]:
        """A copy of all entries."""
        with self._lock:
            return {
                name: Entry(one.content, set(one.doubts), set(one.earlier), one.confirmed)
                for name, one in self.entries.items()
            }

    def steps(self) -> int:
        """How many changes were noted until now, for `since`."""
        return len(self._steps)

    def since(self, steps: int) -> dict[str, set[Content]]:
        """What was changed since then, with all that it may have been in between."""
        with self._lock:
            found: dict[str, set[Content]] = {}
            for name, contents in self._steps[steps:]:
                found.setdefault(name, set()).update(contents)
            return found

    def verdict(self, found: Iterable[tuple[str, str]]) -> Verdict:
        """``found``: (image id, SHA-256) of everything that is there, as often as it is there."""
        seen: dict[str, list[str]] = {}
        for name, sha256 in found:
            seen.setdefault(name, []).append(sha256)
        with self._lock:
            lost, kept = [], 0
            for name, entry in self.entries.items():
                good = [sha256 for sha256 in seen.get(name, []) if sha256 in entry.allowed]
                if good:
                    kept += 1
                elif None not in entry.allowed:
                    lost.append(name)
            phantom = [
                name
                for name, contents in seen.items()
                if any(one not in self.entries.get(name, Entry()).allowed for one in contents)
            ]
        duplicated = [name for name, contents in seen.items() if len(contents) > 1]
        return Verdict(kept, tuple(lost), tuple(duplicated), tuple(phantom))

    def _write(self, step: str, changes: Mapping[str, Content]) -> None:
        if self._path is not None:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, json.dumps({"step": step, "changes": changes}).encode() + b"\n")
            finally:
                os.close(descriptor)
        self._note(step, changes)

    def _note(self, step: str, changes: Mapping[str, Content]) -> None:
        with self._lock:
            for name, content in changes.items():
                entry = self.entries.setdefault(name, Entry())
                _change(entry, step, content)
                self._steps.append((name, entry.meanwhile))


def _change(entry: Entry, step: str, content: Content) -> None:
    if step == "begin":
        entry.doubts.add(content)
        entry.confirmed = entry.confirmed and content is not None
        return
    entry.doubts.discard(content)
    if step == "settle":
        entry.doubts.clear()
    if step == "refused" or content == entry.content:
        return
    if entry.content is not None and content is not None:
        entry.earlier.add(entry.content)
    if content is None:
        entry.earlier.clear()
    entry.content = content
