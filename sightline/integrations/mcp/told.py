"""A tool, what it answers, and its answer as the protocol has it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mcp_types import CallToolResult, ContentBlock, ImageContent, TextContent, ToolAnnotations
from mcp_types import Tool as ListedTool
from pydantic import ValidationError

from sightline.errors import ImageRejected, SightlineError
from sightline.integrations.mcp.answers import Answer
from sightline.integrations.mcp.arguments import Arguments
from sightline.integrations.mcp.opened import Picture


@dataclass(frozen=True)
class Told:
    """An answer with its pictures."""

    answer: Answer
    pictures: tuple[Picture, ...] = ()

    def as_result(self) -> CallToolResult:
        """Structured, as text for clients that know no other, and the pictures with a line before each."""
        content: list[ContentBlock] = [TextContent(type="text", text=self.answer.model_dump_json())]
        for picture in self.pictures:
            data = base64.b64encode(picture.data).decode()
            content.append(TextContent(type="text", text=picture.label))
            content.append(ImageContent(type="image", data=data, mime_type="image/webp"))
        return CallToolResult(content=content, structured_content=self.answer.model_dump(mode="json"))


@dataclass(frozen=True)
class Tool:
    """One tool. ``run`` takes its arguments, checked, and may take long: for a thread."""

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    answer: type[Answer]
    run: Callable[[Any], Told]
    writes: bool = False
    destroys: bool = False

    def listed(self) -> ListedTool:
        """As the client is told of it."""
        hints = ToolAnnotations(
            title=self.title,
            read_only_hint=not self.writes,
            destructive_hint=self.destroys,
            idempotent_hint=True,
            open_world_hint=False,
        )
        return ListedTool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=self.arguments.model_json_schema(),
            output_schema=self.answer.model_json_schema(mode="serialization"),
            annotations=hints,
        )

    def read(self, given: dict[str, Any] | None) -> Arguments:
        """The arguments, checked. Raises pydantic's ValidationError."""
        return self.arguments.model_validate(given or {})


def refused(sentence: str) -> CallToolResult:
    """An error of a tool: the assistant reads it and may do better."""
    return CallToolResult(content=[TextContent(type="text", text=sentence)], is_error=True)


def sentence_of(error: SightlineError) -> str:
    """What the assistant is told of an error of ours."""
    return error.detail if isinstance(error, ImageRejected) else str(error)


def complaint(tool: Tool, error: ValidationError) -> str:
    """One sentence about arguments that cannot be used: the first thing that is wrong."""
    first = error.errors(include_url=False, include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    takes = ", ".join(tool.arguments.model_fields) or "none"
    if first["type"] == "extra_forbidden":
        return f"The tool {tool.name} has no argument {name}; it takes: {takes}."
    if first["type"] == "missing":
        return f"The tool {tool.name} needs the argument {name}."
    said = str(first.get("ctx", {}).get("error", first["msg"]))
    said = f"{said[0].lower()}{said[1:]}".removesuffix(".")
    return f"The argument {name} of {tool.name}: {said}." if name else f"The tool {tool.name}: {said}."
