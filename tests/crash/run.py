"""One run: an installation, its users, its killers; then peace, and what is there against the ledgers."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sightline.wiring import open_installation
from tests.crash.actors import TEXTS, Actor, FolderKeeper, Notes, Pictures, Searcher, Uploader
from tests.crash.client import Client, Silence
from tests.crash.installation import LEASE_SECONDS, Installation, wait_until
from tests.crash.ledger import Ledger, Verdict
from tests.crash.violence import Killer, ServerKiller

READY_SECONDS = 240.0
SETTLE_SECONDS = 120.0
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is to be done to whom."""

    setup: str
    seconds: float
    seed: int
    every: float = 3.0
    """Seconds between two kills, on the average."""
    kills: int = 100_000
    services: bool = False
    """Whether the servers are killed too."""
    faults: bool = False
    """Whether disks fail and clocks jump too."""
    pause: float = 0.25
    """An uploader rests so long between two requests, at most."""
    uploaders: int = 2


@dataclass(frozen=True)
class Result:
    """What came of it."""

    verdict: Verdict
    kills: int
    late: int = 0
    problems: tuple[str, ...] = ()
    """What catalog, doctor or an actor of ours complained about."""

    @property
    def sound(self) -> bool:
        return self.verdict.sound and not self.late and not self.problems


class Users:
    """The collections, their ledgers and those who work on them."""

    def __init__(self, plan: Plan, installation: Installation, notes: Notes) -> None:
        self.installation, self.notes = installation, notes
        self.pictures = Pictures()
        self.ledgers = {"uploads": Ledger(), "folder": Ledger()}
        self.clients = {name: Client(installation.port, name) for name in self.ledgers}
        seed, pictures = plan.seed, self.pictures
        uploads, into = self.clients["uploads"], self.ledgers["uploads"]
        self.keeper = FolderKeeper("index", seed, notes, installation, self.ledgers["folder"], pictures)
        self.searchers = {
            name: Searcher(
                f"search-{name}", seed, notes, self.clients[name], ledger, pictures, name == "uploads"
            )
            for name, ledger in self.ledgers.items()
        }
        self.writers: list[Actor] = [
            Uploader(f"user-{number}", seed, notes, uploads, into, pictures, plan.pause)
            for number in range(plan.uploaders)
        ]
        self.writers.append(self.keeper)

    def start(self) -> None:
        for client in self.clients.values():
            client.create()
        for actor in [*self.writers, *self.searchers.values()]:
            actor.start()

    def stop(self, actors: list[Actor]) -> None:
        for actor in actors:
            actor.ended.set()
        for actor in actors:
            actor.join(timeout=200)

    def found_within(self, seconds: float) -> float | None:
        """How long it took until everything that is accepted now is listed; None when it took longer."""
        wanted = {
            collection: {
                name: entry.allowed
                for name, entry in ledger.now().items()
                if None not in entry.allowed
            }
            for collection, ledger in self.ledgers.items()
        }  # fmt: skip

        def there() -> bool:
            for collection, names in wanted.items():
                if not names:
                    continue
                now = self.ledgers[collection].now()
                same = {name for name, allowed in names.items() if now[name].allowed == allowed}
                try:
                    listed = dict(self.clients[collection].images())
                except Silence:
                    return False
                if any(listed.get(name) not in now[name].allowed for name in same):
                    return False
            return True

        return wait_until(there, seconds)


def run(plan: Plan, folder: Path, say: Say) -> Result:
    """Do it in an empty folder; ``say`` is given every line."""
    began = time.monotonic()

    def tell(line: str) -> None:
        say(f"{time.monotonic() - began:7.1f} {line}")

    tell(f"setup {plan.setup} seed {plan.seed} seconds {plan.seconds:g} folder {folder}")
    notes = Notes(tell)
    installation = Installation(plan.setup, folder, tell)
    if plan.faults:
        installation.shimmed()
    with installation:
        users = Users(plan, installation, notes)
        ready = wait_until(lambda: answers(users.clients["uploads"]), READY_SECONDS)
        assert ready is not None, "the installation never answered"
        users.start()
        killer = Killer(plan.seed, notes, installation, users.keeper, plan.every, plan.kills, ready)
        killers: list[Actor] = [killer]
        servers = ServerKiller(
            plan.seed, notes, installation.servers, killer, users.found_within, 4 * plan.every
        )
        if plan.services and installation.servers:
            killers.append(servers)
        for each in killers:
            each.start()
        _pass_time(plan, killer)
        users.stop(killers)
        killer.settle()
        users.stop(users.writers)
        tell("peace: the last process was killed")
        result = _reconcile(users, killer, servers, tell)
    for what, count in sorted(notes.counts.items()):
        tell(f"did {count} {what}")
    for what, count in sorted(killer.kills.items()):
        tell(f"kills {count} {what}")
    tell(f"kills in all {result.kills}, servers taken away {servers.outages}, late {result.late}")
    for problem in result.problems:
        tell(f"PROBLEM {problem}")
    say(str(result.verdict))
    return result


def _pass_time(plan: Plan, killer: Killer) -> None:
    """Until the time is over, or all has been killed that was to be."""
    deadline = time.monotonic() + plan.seconds
    while time.monotonic() < deadline and sum(killer.kills.values()) < plan.kills:
        time.sleep(0.2)


def answers(client: Client) -> bool:
    try:
        client.create()
    except (ConnectionRefusedError, Silence):
        return False
    return True


def _reconcile(users: Users, killer: Killer, servers: ServerKiller, tell: Say) -> Result:
    """Wait until nothing is left to do, within a bound, then look at everything."""
    finished = wait_until(users.keeper.index, SETTLE_SECONDS, pause=1.0)
    took = users.found_within(SETTLE_SECONDS)
    tell(f"settled after {'never' if took is None else f'{took:.1f} s'}")
    time.sleep(2 * LEASE_SECONDS)  # what late workers would publish is out by now
    users.stop([*users.searchers.values()])
    verdicts = [_verdict(users, name) for name in users.ledgers]
    notes = users.notes
    verdict = Verdict(
        sum(one.kept for one in verdicts),
        tuple(sorted({name for one in verdicts for name in one.lost} | notes.lost)),
        tuple(sorted({name for one in verdicts for name in one.duplicated} | notes.duplicated)),
        tuple(sorted({name for one in verdicts for name in one.phantom} | notes.phantom)),
    )
    for kind in ("lost", "duplicated", "phantom"):
        if names := getattr(verdict, kind):
            tell(f"{kind.upper()} {len(names)}: {' '.join(names[:20])}")
    problems = _problems(users.installation)
    problems += ["the last run of index never succeeded"] if finished is None else []
    actors = [*users.writers, *users.searchers.values(), killer, servers]
    problems += [f"{actor.name} broke: {actor.error!r}" for actor in actors if actor.error is not None]
    return Result(verdict, sum(killer.kills.values()), servers.late, tuple(problems))


def _verdict(users: Users, collection: str) -> Verdict:
    """What is listed, found by a search, scored and readable, against the ledger."""
    client, ledger, searcher = (
        users.clients[collection],
        users.ledgers[collection],
        users.searchers[collection],
    )
    listed = client.images()
    verdict = ledger.verdict(listed)
    ledger.confirm({name: sha256 for name, sha256 in listed if name in ledger.entries})
    for text in TEXTS:
        hits = client.search_all(text, rerank=text == TEXTS[0])
        searcher.check(text, hits, ledger.now(), {})
    for name, sha256 in listed:
        data = client.file(name)
        if data is None or hashlib.sha256(data).hexdigest() != sha256:
            users.notes.complain("lost", name, "its original is gone or is another one")
    return verdict


def _problems(installation: Installation) -> list[str]:
    """What the catalog and the doctor find."""
    with open_installation(installation.settings()) as services:
        found = list(services.catalog.check())
        findings = services.doctor.examine(quick=False)
    return found + [f"doctor: {one.detail}" for one in findings if one.status == "problem"]
