"""``sightline ask``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.cli.answering_by_server import Local
from sightline.cli.completing import collection_names
from sightline.cli.opening import opened_by, opened_for_files
from sightline.cli.options import Data, Filter, Json, Revision, only_one
from sightline.errors import InputError

if TYPE_CHECKING:
    from sightline.captioner.answering import Question, Reply
    from sightline.searching.asking import AskRequest
    from sightline.settings import Settings
    from sightline.wiring import Installation


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(ask)


def ask(
    ctx: typer.Context,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help='What to answer; "" for none.')],
    image: Annotated[list[Path] | None, typer.Argument(metavar="IMAGE…", help="Picture files.")] = None,
    collection: Annotated[
        str | None,
        typer.Option(
            "--collection",
            "-c",
            metavar="NAME",
            help="Ask about its pictures.",
            autocompletion=collection_names,
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="… the best ones of a search for this.")
    ] = None,
    id: Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="… these.")] = None,
    limit: Annotated[int, typer.Option("-k", "--limit", min=1, help="How many of the search.")] = 10,
    filter: Filter = None,
    task: Annotated[str, typer.Option(help="The kind of question, see docs/asking.md.")] = "short_answer",
    option: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="What may be answered (multiple_choice).")
    ] = None,
    wording: Annotated[str, typer.Option(help="How it is put, by name or number.")] = "0",
    model: Annotated[
        str | None, typer.Option(metavar="ID_OR_DIR", help="Model; `demo` for the shipped one.")
    ] = None,
    revision: Revision = None,
    local: Local = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Ask about picture files, pictures of a collection, or the best ones of a search."""
    from sightline.blip.instructions import task_of
    from sightline.captioner.answering import Question
    from sightline.cli.output import PARTLY_FAILED
    from sightline.settings import load_settings

    if collection is None and not image and (text is not None or id or filter is not None):
        collection = only_one(ctx)
    chosen = "multiple_choice" if option and task == "short_answer" else task_of(task)
    asked = Question(question, chosen, wording, tuple(option or ()))
    settings = load_settings(data)
    opening = opened_for_files(data) if collection is None else opened_by(settings, collection)
    with opening as services, ExitStack() as held:
        if collection is None:
            if text is not None or id or filter is not None:
                raise InputError("The options --text, --id and --filter need --collection.")
            head, rows = _about_files(services, held, asked, image or [], model, revision)
        else:
            if image:
                raise InputError("Ask about files or about a collection; not about both.")
            request = _request(collection, asked, text, id or [], limit, filter, model, revision)
            told = None if local else _told_by_server(settings, request)
            head, rows = told or _about_collection(services, held, request)
        answered = _print(head, rows, json)
    if not answered:
        raise typer.Exit(PARTLY_FAILED)


def _request(
    collection: str,
    question: Question,
    text: str | None,
    ids: list[str],
    limit: int,
    filter: str | None,
    model: str | None,
    revision: str | None,
) -> AskRequest:
    from sightline.searching.asking import AskRequest
    from sightline.store.filters import read_filter

    return AskRequest(
        collection, question, tuple(ids), text, limit, None if filter is None else read_filter(filter), model,
        revision,
    )  # fmt: skip


Rows = Iterator[dict[str, Any]]
"""A row for each picture: its name, what was answered, how probable."""


def _about_files(
    services: Installation,
    held: ExitStack,
    question: Question,
    paths: list[Path],
    model: str | None,
    revision: str | None,
) -> tuple[dict[str, Any], Rows]:
    from sightline.reranker.inputs import read_rgb

    pictures = [partial(read_rgb, path, services.settings.imaging) for path in paths]
    asking = services.asking.ask_given(question, pictures, model=model, revision=revision)
    asked = held.enter_context(asking)
    rows = ({"image": str(path)} | _row(reply) for path, reply in zip(paths, asked.replies, strict=True))
    return _head(question, asked.prompt, asked.model), rows


def _about_collection(
    services: Installation, held: ExitStack, request: AskRequest
) -> tuple[dict[str, Any], Rows]:
    asked = held.enter_context(services.asking.ask(request))
    rows = (
        {"id": one.image.image_id, "match_probability": one.match_probability} | _row(one.reply)
        for one in asked.answers
    )
    head = _head(request.question, asked.prompt, asked.model) | {"degraded": list(asked.degraded)}
    return head, rows


def _told_by_server(settings: Settings, request: AskRequest) -> tuple[dict[str, Any], Rows] | None:
    """What a running server of the data folder answers, all at once; None where it does not."""
    from sightline.cli.answering_by_server import answered_by_server
    from sightline.client.searches import ask

    if request.revision is not None:
        return None
    question = request.question
    call = ask(
        request.collection, question.text, image_ids=request.image_ids, text=request.text,
        limit=request.limit, filter=request.filter, task=question.task, options=question.options,
        wording=question.wording, model=request.model,
    )  # fmt: skip
    told = answered_by_server(settings, call)
    if told is None:
        return None
    names = ("id", "match_probability", "answer", "probability", "options", "problem")
    rows = ({name: row[name] for name in names} for row in told["results"])
    return _head(question, told["prompt"], told["model"]) | {"degraded": told["degraded"]}, rows


def _head(question: Question, prompt: str, model: str) -> dict[str, Any]:
    return {"question": question.text, "task": question.task, "prompt": prompt, "model": model}


def _row(reply: Reply) -> dict[str, Any]:
    options = [{"text": one.text, "probability": one.probability} for one in reply.options]
    return {
        "answer": reply.answer,
        "probability": reply.probability,
        "options": options,
        "problem": reply.problem,
    }


def _print(head: dict[str, Any], rows: Iterable[dict[str, Any]], json: bool) -> bool:
    """Each line as soon as it is known, or one document; whether all pictures have an answer."""
    from sightline.cli.output import print_json

    kept: list[dict[str, Any]] = []
    for row in rows:
        kept.append(row)
        if not json:
            _print_row(row)
    if json:
        print_json(head | {"results": kept})
    elif not kept:
        _say("Nothing found.")
    for sentence in () if json else head.get("degraded", ()):
        _remark(sentence)
    return all(row["problem"] is None for row in kept)


def _print_row(row: dict[str, Any]) -> None:
    name = row.get("image") or row["id"]
    if row["problem"] is not None:
        _say(f"    –  {name}: {row['problem']}")
    else:
        _say(f"{row['probability']:5.3f}  {name}: {row['answer']}")


def _say(line: str) -> None:
    """At once, also into a pipe."""
    from sightline.console import answers

    console = answers()
    console.print(line, markup=False, soft_wrap=True)
    console.file.flush()


def _remark(sentence: str) -> None:
    from sightline.console import remarks

    remarks().print(sentence, style="yellow", markup=False)
