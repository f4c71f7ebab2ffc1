"""Those who use an installation while it is being killed, each a thread with random numbers of its own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image as Pillow

from sightline.blip.toy import ToyEncoder
from sightline.imaging.decoding import decode
from tests.crash.client import PAGE, Client, Hit, Silence
from tests.crash.installation import ROOT, Installation
from tests.crash.ledger import Content, Entry, Ledger
from tests.indexer.world import picture

TEXTS = ("red", "blue left", "green bottom right", "a purple thing", "white")
SCORE_TOLERANCE = 2e-3
"""Tokens are kept in fp16."""
MOST_IMAGES = 400
"""Of one user: a search must be able to bring all."""
INDEX_SECONDS = 90.0


class Pictures:
    """Pictures that nobody has had before, and what the toy makes of them. Thread-safe."""

    def __init__(self) -> None:
        self._toy = ToyEncoder()
        self._texts = {text: self._toy.encode_text([text])[0] for text in TEXTS}
        self._next = 0
        self._lock = threading.Lock()
        self._scores: dict[str, dict[str, float]] = {}

    def new(self, enlarged: int = 1) -> tuple[str, bytes]:
        """SHA-256 and bytes; an enlarged one keeps a worker busy for longer."""
        with self._lock:
            number, self._next = self._next, self._next + 1
        data = picture(number)
        if enlarged > 1:
            data = _enlarged(data, enlarged)
        sha256 = hashlib.sha256(data).hexdigest()
        pixels = self._toy.preprocess([np.asarray(decode(data).rgb)])
        tokens = self._toy.encode_image(self._toy.encode_patches(pixels))[0].half().float()
        scores = {text: float((tokens @ vector).max()) for text, vector in self._texts.items()}
        with self._lock:
            self._scores[sha256] = scores
        return sha256, data

    def score(self, sha256: str, text: str) -> float:
        """The ITC score of a picture that ``new`` gave."""
        with self._lock:
            return self._scores[sha256][text]


def _enlarged(data: bytes, times: int) -> bytes:
    out = BytesIO()
    small = Pillow.open(BytesIO(data))
    large = small.resize((small.width * times, small.height * times), Pillow.Resampling.NEAREST)
    large.save(out, "PNG", compress_level=1)
    return out.getvalue()


@dataclass
class Notes:
    """What was seen that must not be, and how much was done. Thread-safe."""

    say: Callable[[str], None]
    lost: set[str] = field(default_factory=set)
    duplicated: set[str] = field(default_factory=set)
    phantom: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def complain(self, kind: str, name: str, sentence: str) -> None:
        """Once for each picture and kind."""
        with self._lock:
            found: set[str] = getattr(self, kind)
            if name in found:
                return
            found.add(name)
        self.say(f"{kind.upper()} {name}: {sentence}")


class Actor:
    """Does ``turn`` again and again in a thread until told to stop."""

    def __init__(self, name: str, seed: int, notes: Notes) -> None:
        self.name = name
        self.random = random.Random(f"{seed}-{name}")
        self.notes = notes
        self.ended = threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> None:
        if self._thread.ident is not None:
            self._thread.join(timeout=timeout)

    def turn(self) -> None:
        raise NotImplementedError

    def _run(self) -> None:
        try:
            while not self.ended.is_set():
                self.turn()
        except BaseException as error:
            self.error = error
            self.notes.say(f"BROKEN {self.name}: {type(error).__name__}: {error}")

    def pause(self, most: float) -> None:
        self.ended.wait(self.random.uniform(0, most))


class Uploader(Actor):
    """Adds, replaces and deletes over HTTP, under ids that nobody else uses."""

    def __init__(
        self,
        name: str,
        seed: int,
        notes: Notes,
        client: Client,
        ledger: Ledger,
        pictures: Pictures,
        pause: float,
    ) -> None:
        super().__init__(name, seed, notes)
        self._client, self._ledger, self._pictures, self._pause = client, ledger, pictures, pause
        self._given = 0

    def turn(self) -> None:
        sure = {
            name: one.content
            for name, one in self._ledger.now().items()
            if name.startswith(f"{self.name}/") and not one.doubts
        }
        alive = [name for name, content in sure.items() if content is not None]
        gone = [name for name, content in sure.items() if content is None]
        what = self.random.choices(["add", "replace", "delete"], [6, 3, 2])[0]
        if what == "add" and len(alive) < MOST_IMAGES:
            again = self.random.sample(gone, 1) if gone and self.random.random() < 0.3 else []
            self._upload([*again, *(self._fresh() for _ in range(self.random.randint(1, 5)))])
        elif what == "replace" and len(alive) > 3:
            self._upload(self.random.sample(alive, self.random.randint(1, 3)))
        elif len(alive) > 3:
            self._delete(self.random.choice(alive))
        self.pause(self._pause)

    def _fresh(self) -> str:
        self._given += 1
        return f"{self.name}/{self._given:05d}.png"

    def _upload(self, names: list[str]) -> None:
        files, changes = {}, {}
        for name in names:
            changes[name], files[name] = self._pictures.new()
        self._ledger.begin(changes)
        outcome = self._client.upload(files)
        self._note("upload", outcome, changes)

    def _delete(self, name: str) -> None:
        self._ledger.begin({name: None})
        outcome = self._client.delete(name)
        self._note("delete", outcome, {name: None})
        if outcome == "refused":
            self.notes.count("deletes that were refused")

    def _note(self, what: str, outcome: str, changes: dict[str, Any]) -> None:
        self.notes.count(f"{what} {outcome}")
        if outcome == "done":
            self._ledger.done(changes)
        elif outcome == "refused":
            self._ledger.refused(changes)


class FolderKeeper(Actor):
    """Changes the files of a folder and has ``sightline index --prune`` follow."""

    def __init__(
        self,
        name: str,
        seed: int,
        notes: Notes,
        installation: Installation,
        ledger: Ledger,
        pictures: Pictures,
    ) -> None:
        super().__init__(name, seed, notes)
        self._installation, self._ledger, self._pictures = installation, ledger, pictures
        self._folder = installation.folder / "pictures"
        self._folder.mkdir()
        self._contents: dict[str, Content] = {}
        self._given = 0
        self.process: subprocess.Popen[bytes] | None = None
        """The run that goes on now: it may be killed."""
        self.began = 0.0
        """When it was started (monotonic)."""
        for _ in range(20):
            self._write(self._fresh())

    def turn(self) -> None:
        here = [name for name, content in self._contents.items() if content is not None]
        for _ in range(self.random.randint(1, 6)):
            self._write(self._fresh() if len(here) < MOST_IMAGES else self.random.choice(here))
        for name in self.random.sample(here, 2):
            self._write(name)
        if self.random.random() < 0.5:
            doomed = self.random.choice(here)
            self._contents[doomed] = None
            (self._folder / doomed).unlink(missing_ok=True)
        self.index()
        self.pause(0.5)

    def index(self) -> bool:
        """One run to its end; whether everything that lies in the folder is acknowledged."""
        changes = {
            name: content
            for name, content in self._contents.items()
            if name not in self._ledger.entries or self._ledger.now()[name].allowed != {content}
        }
        self._ledger.begin(changes)
        words = self._installation.command("index", str(self._folder), "-c", "folder", "--prune", "--json")
        environment = self._installation.environment("index")
        with self._installation.log("index").open("ab") as log:
            self.began = time.monotonic()
            self.process = subprocess.Popen(
                words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log
            )
        try:
            said, _ = self.process.communicate(timeout=INDEX_SECONDS)
        except subprocess.TimeoutExpired:
            self.notes.say(f"slow index did not end in {INDEX_SECONDS:g} s; killed")
            self.process.kill()
            said, _ = self.process.communicate(timeout=20)
        done = self.process.returncode == 0 and _all_done(said)
        self.notes.count("index done" if done else f"index ended with {self.process.returncode}")
        if done:
            self._ledger.settle(self._contents)
        elif self.process.returncode >= 0:
            self.notes.say(f"index ended with {self.process.returncode}: {said.decode()[-600:]}")
        return done

    def _fresh(self) -> str:
        self._given += 1
        return f"{self._given:05d}.png"

    def _write(self, name: str) -> None:
        self._contents[name], data = self._pictures.new()
        aside = self._folder / f".{name}"
        aside.write_bytes(data)
        aside.rename(self._folder / name)


def _all_done(said: bytes) -> bool:
    with contextlib.suppress(ValueError, KeyError):
        answer = json.loads(said)
        return (answer["state"], answer["failed"], answer["pending"]) == ("done", 0, 0)
    return False


class Searcher(Actor):
    """Searches for everything, and holds every single answer against the ledger."""

    def __init__(
        self,
        name: str,
        seed: int,
        notes: Notes,
        client: Client,
        ledger: Ledger,
        pictures: Pictures,
        files: bool,
    ) -> None:
        super().__init__(name, seed, notes)
        self._client, self._ledger, self._pictures, self._files = client, ledger, pictures, files

    def turn(self) -> None:
        text = self.random.choice(TEXTS)
        steps, before = self._ledger.steps(), self._ledger.now()
        try:
            hits = self._client.search(text, self.random.random() < 0.3)
            if len(hits) < PAGE:  # else what is not in it may be on the next page
                self.check(text, hits, before, self._ledger.since(steps))
            self.notes.count("searches answered")
            if self._files:
                self._read_one()
        except Silence as silence:
            self.notes.count("searches without an answer")
            if " 500 " in str(silence):
                self.notes.count("searches with 500")
        self.pause(0.3)

    def check(
        self, text: str, hits: list[Hit], before: dict[str, Entry], meanwhile: dict[str, set[Content]]
    ) -> None:
        """Complain about what the answer has too much, twice, or not at all.

        An answer is of one instant since ``before``: of a picture that came and went ``meanwhile``, too.
        """
        after = self._ledger.now()
        seen: set[str] = set()
        sure: dict[str, Content] = {}
        for hit in hits:
            if hit.id in seen:
                self.notes.complain("duplicated", hit.id, "it is twice in one answer")
            seen.add(hit.id)
            may_be = _allowed(before, hit.id) | _allowed(after, hit.id) | meanwhile.get(hit.id, set())
            content = next((one for one in may_be if one and one.startswith(hit.sha256)), None)
            if content is None:
                self.notes.complain("phantom", hit.id, f"found with {hit.sha256}, which is none of {may_be}")
            elif abs(self._pictures.score(content, text) - hit.itc) > SCORE_TOLERANCE:
                expected = self._pictures.score(content, text)
                self.notes.complain("phantom", hit.id, f"scored {hit.itc:.4f} in place of {expected:.4f}")
            else:
                sure[hit.id] = content
        for name, entry in before.items():
            stayed = None not in meanwhile.get(name, set())
            if name not in seen and stayed and _must_be_found(entry) and _must_be_found(after[name]):
                replaced = (
                    ", while it is being replaced" if len(entry.meanwhile | after[name].meanwhile) > 1 else ""
                )
                self.notes.complain("lost", name, f"found before, and not by one for {text!r}{replaced}")
        self._ledger.confirm(sure)

    def _read_one(self) -> None:
        steps, before = self._ledger.steps(), self._ledger.now()
        names = [name for name, entry in before.items() if _must_be_found(entry)]
        if not names:
            return
        name = self.random.choice(names)
        with contextlib.suppress(ConnectionRefusedError):
            data = self._client.file(name)
            meanwhile = self._ledger.since(steps).get(name, set())
            after = self._ledger.now()
            may_be = _allowed(before, name) | _allowed(after, name) | meanwhile
            if data is None and None not in meanwhile and _must_be_found(after[name]):
                self.notes.complain("lost", name, "its original is gone")
            if data is not None and hashlib.sha256(data).hexdigest() not in may_be:
                self.notes.complain("phantom", name, "the server gives other bytes")


def _allowed(entries: dict[str, Entry], name: str) -> set[Content]:
    return entries[name].meanwhile if name in entries else {None}


def _must_be_found(entry: Entry) -> bool:
    return entry.confirmed and None not in entry.allowed
