"""What ``sightline demo`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sightline.cli.demo_outcomes import NOTHING_BELOW, SHOWN, Outcome
from sightline.console import answers
from sightline.records import SearchHit

RIGHT, WRONG = "✓", "·"


def show(outcomes: Sequence[Outcome], totals: Mapping[str, int], console: Console | None = None) -> None:
    """A table for each query, then the sums."""
    console = console or answers()
    for outcome in outcomes:
        for part in _block(outcome):
            console.print(part)
        console.print()
    console.print(_sums(totals))


def _block(outcome: Outcome) -> list[Text | Table]:
    """One query: what it asks and shows, the two orders, and what is to be said of an empty answer."""
    query = outcome.query
    asked = Text.assemble((f"“{query.text}”", "bold"), "  ", (query.shows, "dim"))
    block: list[Text | Table] = [asked, _table(outcome)]
    if not query.relevant:
        nothing = outcome.best_probability < NOTHING_BELOW
        said = "nothing matches" if nothing else "something is taken for a match"
        best = f"best match probability {outcome.best_probability:.3f}: {said}"
        block.append(Text(f"{RIGHT if nothing else WRONG} {best}", style="green" if nothing else "red"))
    return block


def _table(outcome: Outcome) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for header in ("", f"top {SHOWN} by ITC", "ITC", "", f"top {SHOWN} after ITM", "match", "ITC rank"):
        table.add_column(header, no_wrap=True)
    for place in range(max(len(outcome.by_itc), len(outcome.after_itm))):
        table.add_row(*_itc(outcome, place), *_itm(outcome, place))
    return table


def _itc(outcome: Outcome, place: int) -> tuple[Text, ...]:
    if place >= len(outcome.by_itc):
        return (Text(), Text(), Text())
    hit = outcome.by_itc[place]
    return (_mark(outcome, hit), Text(hit.id), Text(f"{hit.itc:.3f}"))


def _itm(outcome: Outcome, place: int) -> tuple[Text, ...]:
    if place >= len(outcome.after_itm):
        return (Text(), Text(), Text(), Text())
    hit = outcome.after_itm[place]
    return (
        _mark(outcome, hit),
        Text(hit.id),
        Text(f"{hit.match_probability or 0:.3f}"),
        Text(str(hit.itc_rank)),
    )


def _mark(outcome: Outcome, hit: SearchHit) -> Text:
    right = hit.id in outcome.query.relevant
    return Text(RIGHT if right else WRONG, style="bold green" if right else "dim")


def _sums(totals: Mapping[str, int]) -> Text:
    lifted = totals["right_in_top_after_itm"] - totals["right_in_top_by_itc"]
    lines = [
        f"Right answers in the top {SHOWN}: {totals['right_in_top_by_itc']} by ITC, "
        f"{totals['right_in_top_after_itm']} after ITM, of {totals['findable_in_top']} ({lifted:+d}).",
        f"First place right: {totals['first_right_by_itc']} by ITC, {totals['first_right_after_itm']} "
        f"after ITM, of {totals['answerable']} queries.",
    ]
    if totals["unanswerable"]:
        said = totals["said_that_nothing_matches"]
        lines.append(f"Queries that nothing matches: {said} of {totals['unanswerable']} recognised.")
    return Text("\n".join(lines), style="bold")
