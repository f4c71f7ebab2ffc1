"""Members of archives that belong together: a picture with its caption and facts, as WebDataset packs them.

Files of one sample stand side by side in a TAR archive, which is read as it streams by. In a Takeout archive
the JSON files may stand anywhere, and are looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from sightline.errors import ImageRejected, SourceError
from sightline.indexer.archives.members import Member
from sightline.indexer.items import Origin
from sightline.indexer.sidecars.beside import sidecars_of
from sightline.indexer.sidecars.facts import (
    MOST_BYTES,
    PICTURES,
    SIDECARS,
    Facts,
    ending_of,
    read_facts,
    stem_of,
)
from sightline.indexer.sidecars.takeout import KIND, Takeout

_MOST_SAMPLE: Final = 64
"""Members of one sample; a run of more that share their beginning is no sample."""
Described = tuple[Member, Facts | None]
Fetch = Callable[[Member], bytes]


def in_samples(members: Iterable[Member], fetch: Fetch) -> Iterator[Described]:
    """Members with what those beside them say; files that only describe a picture are left out.

    Raises:
        SourceError: the archive breaks off; what was met before comes first.
    """
    sample: list[Member] = []
    broken: SourceError | None = None
    try:
        for member in members:
            if sample and (len(sample) == _MOST_SAMPLE or _key(member.name) != _key(sample[0].name)):
                yield from _described(sample, fetch)
                sample = []
            sample.append(member)
    except SourceError as error:
        broken = error
    yield from _described(sample, fetch)
    if broken is not None:
        raise broken


def with_takeout(members: Iterable[Member], takeout: Takeout) -> Iterator[Described]:
    """Members with what Takeout's files say of them; those files are left out."""
    for member in members:
        ending = ending_of(member.name)
        if ending == "json" and takeout.is_sidecar(member.name):
            continue
        yield member, takeout.facts(member.name) if ending in PICTURES else None


def takeout_of(members: Iterable[Member], fetch: Fetch) -> Takeout:
    """The JSON files among the members, kept as long as what is returned."""
    kept = {
        member.name: member
        for member in members
        if ending_of(member.name) == "json" and member.refusal is None and member.size <= MOST_BYTES
    }
    return Takeout(kept, lambda name: fetch(kept[name]))


def in_order_of_samples(members: Iterable[Member]) -> Iterator[Member]:
    """Those of one sample side by side, where its first member stands. Raises SourceError as `in_samples`."""
    runs: dict[str, list[Member]] = {}
    broken: SourceError | None = None
    try:
        for member in members:
            runs.setdefault(_key(member.name), []).append(member)
    except SourceError as error:
        broken = error
    for run in runs.values():
        yield from run
    if broken is not None:
        raise broken


def origin(archive: str, facts: Facts | None) -> Origin | None:
    """What kind of archive a member with these facts was found in."""
    if facts is None:
        return None
    if facts.kind == KIND:
        return Origin(KIND, str(facts.metadata.get("album", "")))
    if archive.lower().endswith(".zip"):
        return Origin(facts.kind, archive) if facts.kind else None
    return Origin(facts.kind or "WebDataset", archive)


def _key(name: str) -> str:
    """As WebDataset does: all before the first dot of the last part."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition('.')[0]}"


def _described(sample: Sequence[Member], fetch: Fetch) -> Iterator[Described]:
    sidecars: dict[str, Member] = {}
    for member in sample:
        if ending_of(member.name) in SIDECARS and member.refusal is None:
            sidecars.setdefault(member.name, member)  # of two of a name the first counts, as of pictures
    by_stem = sidecars_of(sidecars)
    used = set()
    found: list[Described] = []
    for member in sample:
        own = by_stem.get(stem_of(member.name), [])
        if ending_of(member.name) in PICTURES and own:
            used.update(own)
            found.append((member, _facts([sidecars[name] for name in own], fetch)))
        else:
            found.append((member, None))
    yield from (one for one in found if one[0].name not in used)


def _facts(sidecars: Sequence[Member], fetch: Fetch) -> Facts:
    files, faults = {}, []
    for member in sidecars:
        if member.size > MOST_BYTES:
            faults.append((member.name, f"{member.name} has more than {MOST_BYTES:,} bytes"))
            continue
        try:
            files[member.name] = fetch(member)
        except ImageRejected as error:
            faults.append((member.name, error.detail.removesuffix(".")))
    found = read_facts(files)
    return Facts(found.caption, found.metadata, found.image_id, found.kind, (*found.faults, *faults))
