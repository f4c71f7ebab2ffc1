"""The tools, as an assistant reads of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.integrations.mcp import answers, arguments
from sightline.integrations.mcp.reading import Reading
from sightline.integrations.mcp.told import Tool
from sightline.integrations.mcp.writing import Writing

if TYPE_CHECKING:
    from sightline.integrations.mcp.opened import Opened


def reading_tools(opened: Opened) -> list[Tool]:
    """Those that change nothing; ``ask`` only where a model answers."""
    reading = Reading(opened)
    found = [
        Tool(
            "collections", "Collections of pictures",
            "List the collections of pictures, how many each holds, and what can be asked of it.",
            arguments.Nothing, answers.CollectionsAnswer, reading.collections,
        ),
        Tool(
            "search", "Search pictures",
            "Find pictures in words. Every hit has a match_probability, its caption and its metadata; the "
            "best come with a small picture.",
            arguments.SearchArguments, answers.HitsAnswer, reading.search,
        ),
        Tool(
            "similar", "Similar pictures",
            "Find pictures that are like one of the collection (by its id) or like one that is given.",
            arguments.SimilarArguments, answers.HitsAnswer, reading.similar,
        ),
        Tool(
            "rerank", "Rerank pictures",
            "Put pictures in the order in which they match a text, by ids or given in base64.",
            arguments.RerankArguments, answers.RanksAnswer, reading.rerank,
        ),
        Tool(
            "describe", "Describe a picture",
            "What is known of one picture: its caption and metadata, what a captioner writes of it where "
            "there is one, and the picture itself.",
            arguments.DescribeArguments, answers.DescriptionAnswer, reading.describe,
        ),
    ]  # fmt: skip
    if any(opened.answerer(one) is not None for one in opened.collections()):
        found.append(
            Tool(
                "ask",
                "Ask about pictures",
                "Ask a question about pictures, by ids or the best ones of a search; each has its answer.",
                arguments.AskArguments,
                answers.AnswersAnswer,
                reading.ask,
            )
        )
    return found


def writing_tools(opened: Opened) -> list[Tool]:
    """Those that change something; ``index`` only where a folder was named for it."""
    writing = Writing(opened)
    found = [
        Tool(
            "delete", "Delete pictures", "Move pictures to the trash; restore brings them back.",
            arguments.IdsArguments, answers.DeletedAnswer, writing.delete, writes=True, destroys=True,
        ),
        Tool(
            "restore", "Restore pictures", "Bring pictures back from the trash as they were.",
            arguments.IdsArguments, answers.RestoredAnswer, writing.restore, writes=True,
        ),
    ]  # fmt: skip
    if opened.folders:
        places = ", ".join(opened.folders)
        found.append(
            Tool(
                "index",
                "Index pictures",
                f"Make pictures searchable that lie in {places}. Answers when done or when the time is up.",
                arguments.IndexArguments,
                answers.IndexedAnswer,
                writing.index,
                writes=True,
            )
        )
    return found
