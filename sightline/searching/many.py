"""Many searches at once: what they share is done once, then one is answered after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from sightline.errors import AbandonedError, SightlineError, StoppingError
from sightline.records import Outcome
from sightline.retriever.together import Together
from sightline.searching.checks import check
from sightline.searching.compound_question import texts_encoded

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.records import SearchRequest, SearchResponse
    from sightline.searching.search_parts import SearchParts
    from sightline.searching.telling import SearchWatch
    from sightline.serving.scheduler import Admission

AT_ONCE = 64
"""Texts that an index is asked for in one pass, at most: what it names for all of them is in memory."""


class Find(Protocol):
    """Answers one search that was let in (`sightline.searching.search.Search`)."""

    def __call__(
        self,
        admitted: Admission,
        request: SearchRequest,
        watch: SearchWatch | None = None,
        together: Together | None = None,
    ) -> SearchResponse: ...


def answer_each(
    parts: SearchParts, admitted: Admission, requests: Sequence[SearchRequest], find: Find
) -> Iterator[Outcome]:
    """One outcome for each request, in order, as it is there."""
    wrong = [_refusal(request) for request in requests]
    good = [request for request, error in zip(requests, wrong, strict=True) if error is None]
    beside = _beside(good, _encoded(parts, admitted, good))
    for request, error in zip(requests, wrong, strict=True):
        if error is not None:
            yield Outcome(error=error)
            continue
        try:
            yield Outcome(find(admitted, request, None, beside.get(id(request))))
        except (AbandonedError, StoppingError):
            raise
        except SightlineError as failed:
            yield Outcome(error=failed)


def _refusal(request: SearchRequest) -> SightlineError | None:
    try:
        check(request)
    except SightlineError as error:
        return error
    return None


def _encoded(
    parts: SearchParts, admitted: Admission, requests: Sequence[SearchRequest]
) -> dict[str, Mapping[str, Tensor]]:
    """Vectors by collection and text, of all texts. What stands in the way each search meets by itself."""
    texts: dict[str, list[str]] = {}
    for request in requests:
        asked = [request.text] if request.query is None else texts_encoded(request.query)
        texts.setdefault(request.collection, []).extend(text for text in asked if text.strip())
    found: dict[str, Mapping[str, Tensor]] = {}
    for name, some in texts.items():
        if not some:
            continue
        try:
            found[name] = admitted.encode(parts.models.encoder(parts.catalog.collection(name)), some)
        except (AbandonedError, StoppingError):
            raise
        except SightlineError:
            continue
    return found


def _beside(
    requests: Sequence[SearchRequest], encoded: Mapping[str, Mapping[str, Tensor]]
) -> dict[int, Together]:
    """By the identity of a request: which others its candidates are looked for with.

    Plain texts of one collection that want as many images under one filter. One with a deadline is alone: the
    first of those that go together bears their time.
    """
    alike: dict[tuple[str, str, str, int], list[SearchRequest]] = {}
    for one in requests:
        if one.query is None and one.image is None and one.deadline_ms is None:
            filter = "" if one.filter is None else json.dumps(one.filter, sort_keys=True, default=repr)
            wanted = max(one.candidates, one.offset + one.limit)
            alike.setdefault((one.collection, filter, one.index, wanted), []).append(one)
    found: dict[int, Together] = {}
    for (name, _, _, wanted), group in alike.items():
        for start in range(0, len(group), AT_ONCE):
            some = group[start : start + AT_ONCE]
            if len(some) > 1 and name in encoded:
                vectors = [encoded[name][request.text].float().cpu().numpy() for request in some]
                found.update(dict.fromkeys(map(id, some), Together(vectors, wanted)))
    return found
