"""``sightline saved``: questions that every picture is asked, and who fits. None of it loads a model."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.cli.opening import opened, opened_by
from sightline.cli.options import CollectionName, Data, Json

if TYPE_CHECKING:
    from sightline.searching.saved_searches import Saved
    from sightline.store.saved_records import SavedMember, SavedSearch
    from sightline.wiring import Installation

Name = Annotated[str, typer.Argument(metavar="NAME", help="The saved search's name.")]
AT_ONCE = 200


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True, help="Saved searches: ask every picture that comes, and say who fits."
    )
    group.command()(add)
    group.command()(change)
    group.command("list")(list_saved)
    group.command()(members)
    group.command()(follow)
    group.command()(remove)
    app.add_typer(group, name="saved")


Literal = Annotated[
    bool, typer.Option("--literal", help="Signs mean nothing: the whole TEXT is one sentence.")
]


def add(
    name: Name,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What the pictures should show.")],
    collection: CollectionName,
    min_probability: Annotated[
        float, typer.Option(metavar="P", help="Members have at least this match probability, 0 to 1.")
    ] = 0.5,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Is told of each member (SIGHTLINE_SAVED__WEBHOOKS).")
    ] = None,
    literal: Literal = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Save a search: pictures that are there are judged by the builder's process, and all that come."""

    with opened(data, collection) as services:
        asked = _question(text, literal=literal)
        saved = services.saved_searches.save(collection, name, asked, min_probability, webhook)
    _tell(saved, json=json)


def change(
    name: Name,
    collection: CollectionName,
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="What is asked from now on.")] = None,
    min_probability: Annotated[
        float | None, typer.Option(metavar="P", help="The least match probability from now on.")
    ] = None,
    webhook: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Is told from now on, what was given up too; '': nobody."),
    ] = None,
    literal: Literal = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Ask something else. Another text begins without members."""
    from sightline.store.records import UNSET

    with opened(data, collection) as services:
        own, old = services.saved_searches, services.saved_searches.one(collection, name)
        question = dict(old.question) if text is None else _question(text, literal=literal)
        least = old.min_probability if min_probability is None else min_probability
        told = UNSET if webhook is None else webhook or None
        saved = own.change(collection, name, question, least, told)
    _tell(saved, json=json)


def list_saved(collection: CollectionName, data: Data = None, json: Json = False) -> None:
    """List saved searches: how many pictures fit, how many are to be judged yet, what is in the way."""
    from sightline.cli.output import print_json
    from sightline.cli.tables import Column, print_table
    from sightline.console import answers

    with opened(data, collection) as services:
        found = services.saved_searches.every(collection)
    if json:
        print_json({"collection": collection, "saved_searches": [_shown(one) for one in found]})
    elif found:
        told = ("at least", "members", "pending", "webhook")
        columns = ("name", Column("text", "text"), *told, Column("trouble", "text"))
        print_table(columns, [_row(one) for one in found])
    else:
        answers().print("No saved searches.")


def members(
    name: Name,
    collection: CollectionName,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="next_cursor of the page before.")] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """List the pictures that fit, in the order of joining."""
    from sightline.cli.output import print_json
    from sightline.cli.tables import Column, print_table
    from sightline.console import remarks

    with opened(data, collection) as services:
        page = services.saved_searches.members(collection, name, cursor, limit)
    if json:
        items = [_member(one) for one in page.items]
        print_json({"collection": collection, "members": items, "next_cursor": page.next_cursor})
        return
    print_table((Column("image", "name"), "match", "joined"), [_cells(one) for one in page.items])
    if page.next_cursor is not None:
        remarks().print(f"There are more: --cursor {page.next_cursor}")


def follow(
    name: Name,
    collection: CollectionName,
    after: Annotated[
        int | None, typer.Option(min=0, metavar="ID", help="Behind this member; 0: from the first one on.")
    ] = None,
    data: Data = None,
) -> None:
    """Print each picture that joins from now on as a line of JSON, until Ctrl-C."""
    from sightline.cli.output import print_line
    from sightline.settings import load_settings

    settings = load_settings(data)
    with opened_by(settings, collection) as services:
        for member in _joining(services, collection, name, after, settings.saved.interval_seconds):
            print_line(_member(member))
            sys.stdout.flush()  # whoever reads a pipe waits for it


def remove(name: Name, collection: CollectionName, data: Data = None, json: Json = False) -> None:
    """Forget a saved search and who fits; no picture is touched."""
    from sightline.cli.output import print_json
    from sightline.console import answers

    with opened(data, collection) as services:
        services.saved_searches.remove(collection, name)
    if json:
        print_json({"collection": collection, "removed": name})
    else:
        answers().print(f"{name} removed", markup=False)


def _joining(
    services: Installation, collection: str, name: str, after: int | None, seconds: float
) -> Iterator[SavedMember]:
    """For ever, or until the saved search is gone."""
    number = services.saved_searches.one(collection, name).id
    last = after if after is not None else services.catalog.last_saved_member(number)
    while last is not None:
        joined = services.catalog.saved_members_after(number, last, AT_ONCE)
        for member in joined:
            last = member.id
            yield member
        if not joined:
            time.sleep(seconds)
            if services.catalog.last_saved_member(number) is None:
                return


def _tell(saved: Saved, *, json: bool) -> None:
    from sightline.cli.output import print_json
    from sightline.console import answers, remarks

    if json:
        print_json(_shown(saved.search) | {"webhook_secret": saved.secret})
        return
    one = saved.search
    answers().print(f"{one.name}: {one.pending:,} pictures are to be judged", markup=False)
    if saved.secret is not None:
        answers().print(saved.secret, markup=False, highlight=False, soft_wrap=True)
        remarks().print("It signs what the webhook gets. Keep it now: it is shown only this once.")


def _shown(search: SavedSearch) -> dict[str, Any]:
    from dataclasses import asdict

    told = asdict(search)
    del told["id"], told["judged_by"]
    return told


def _question(text: str, *, literal: bool) -> dict[str, Any]:
    """As a search on the command line reads what is typed."""
    from sightline.searching.saved_questions import to_json
    from sightline.typed_queries import parse

    asked = text if literal or not text.strip() else parse(text)
    return {"text": asked} if isinstance(asked, str) else {"query": to_json(asked)}


def _said(question: Mapping[str, Any]) -> str:
    """A question in a line."""
    if "text" in question:
        return str(question["text"])
    words = {"all": "", "any": "any of ", "none": "no "}
    return ", ".join(
        f"{word}{one['text']}" for role, word in words.items() for one in question["query"].get(role, [])
    )


def _row(one: SavedSearch) -> list[str]:
    told = "" if one.webhook is None else f"{one.webhook.waiting} wait, {one.webhook.failed} given up"
    trouble = one.trouble or (None if one.webhook is None else one.webhook.trouble) or ""
    least = f"{one.min_probability:g}"
    return [one.name, _said(one.question), least, str(one.members), str(one.pending), told, trouble]


def _member(member: SavedMember) -> dict[str, Any]:
    return {
        "id": member.id,
        "image_id": member.image_id,
        "match_probability": member.probability,
        "joined_at": _when(member),
    }


def _cells(member: SavedMember) -> list[str]:
    return [member.image_id, f"{member.probability:.3f}", _when(member)]


def _when(member: SavedMember) -> str:
    from sightline.store.moments import moment_at

    return moment_at(member.joined_at).isoformat()
