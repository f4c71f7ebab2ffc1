"""The server: which tools there are, and calls of them. Needs ``sightline[mcp]``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sightline.errors import SightlineError
from sightline.integrations.doors import lacking
from sightline.version import __version__

try:
    import anyio.to_thread
    from mcp.server import Server
    from mcp_types import CallToolResult, ListToolsResult
    from pydantic import ValidationError
except ModuleNotFoundError as error:
    raise lacking("mcp", "the SDK of the Model Context Protocol (mcp)") from error

from sightline.integrations.mcp.table import reading_tools, writing_tools
from sightline.integrations.mcp.told import Tool, complaint, refused, sentence_of

if TYPE_CHECKING:
    from mcp.server import ServerRequestContext
    from mcp_types import CallToolRequestParams, PaginatedRequestParams

    from sightline.integrations.mcp.opened import Opened

log = logging.getLogger(__name__)
INSTRUCTIONS = (
    "Sightline finds pictures in words. Search with a plain description of what a picture should show; the "
    "match_probability of a hit says how likely it shows that, whatever its rank. Begin with `collections`."
)
Tools = Callable[[], dict[str, Tool]]


def make_server(opened: Opened, *, writes: bool = False) -> Server[Any]:
    """A server of one installation; ``writes``: with the tools that change something."""

    def tools() -> dict[str, Tool]:
        # Anew for each call: a collection with a model that answers may have come meanwhile.
        found = reading_tools(opened) + (writing_tools(opened) if writes else [])
        return {tool.name: tool for tool in found}

    async def on_list(
        context: ServerRequestContext[Any], params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        found = await anyio.to_thread.run_sync(tools)
        return ListToolsResult(tools=[tool.listed() for tool in found.values()])

    async def on_call(context: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
        # A client that does not wait any more gets no answer; the thread ends by itself.
        return await anyio.to_thread.run_sync(
            call, tools, params.name, params.arguments, abandon_on_cancel=True
        )

    return Server(
        "sightline",
        version=__version__,
        title="Sightline",
        instructions=INSTRUCTIONS,
        on_list_tools=on_list,
        on_call_tool=on_call,
    )


def call(tools: Tools, name: str, given: dict[str, Any] | None) -> CallToolResult:
    """One call of a tool, from its arguments to its answer or to the sentence why there is none."""
    tool: Tool | None = None
    try:
        known = tools()
        tool = known.get(name)
        if tool is None:
            return refused(f"There is no tool {name!r} here; there are: {', '.join(known)}.")
        return tool.run(tool.read(given)).as_result()
    except SightlineError as error:
        log.info("Tool %s: %s", name, error)
        return refused(sentence_of(error))
    except ValidationError as error:
        if tool is None:
            raise
        return refused(complaint(tool, error))
    except Exception:
        log.exception("Tool %s failed", name)
        return refused("Something went wrong here; the server's log on stderr has the reason.")
