"""The MCP server as the SDK's own client sees it, in memory, against what the library says."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp_types import CallToolResult, ImageContent, TextContent
from PIL import Image

from sightline.blip.random_weights import write_random_checkpoint
from sightline.captioner.answering import Question
from sightline.cli.main import run
from sightline.integrations.mcp.opened import Opened
from sightline.integrations.mcp.server import make_server
from sightline.records import SearchRequest
from sightline.rerank_records import RerankRequest, StoredImage
from sightline.searching.asking import AskRequest
from sightline.wiring import Installation, open_installation
from tests.integrations.conftest import BY_RED, PICTURES, RED
from tests.sightline.conftest import index, save, toy_settings

READS = ["collections", "search", "similar", "rerank", "describe", "ask"]


def speak(opened: Opened, talk: Callable[[Client], Awaitable[Any]], *, writes: bool = False) -> Any:
    """What ``talk`` gives, with a client of a server of its own."""

    async def talked() -> Any:
        async with Client(make_server(opened, writes=writes)) as client:
            return await talk(client)

    return asyncio.run(asyncio.wait_for(talked(), 60))


def call(opened: Opened, name: str, *, writes: bool = False, **arguments: Any) -> CallToolResult:
    return speak(opened, lambda client: client.call_tool(name, arguments), writes=writes)


def answer(opened: Opened, name: str, *, writes: bool = False, **arguments: Any) -> dict[str, Any]:
    """The structured content, which is also the first text."""
    result = call(opened, name, writes=writes, **arguments)
    assert not result.is_error, result.content
    assert isinstance(result.content[0], TextContent)
    assert result.content[0].text
    return result.structured_content


def sentence(opened: Opened, name: str, *, writes: bool = False, **arguments: Any) -> str:
    """The one sentence of an error."""
    result = call(opened, name, writes=writes, **arguments)
    [said] = result.content
    assert result.is_error
    assert isinstance(said, TextContent)
    assert said.text[0].isupper() or said.text[0] == "/" or said.text.startswith("https:")
    assert said.text.endswith(".")
    assert "\n" not in said.text
    return said.text


def shown(result: CallToolResult) -> list[tuple[str, Image.Image]]:
    """Pictures with the line before each."""
    labels = [one.text for one in result.content[1:] if isinstance(one, TextContent)]
    pictures = [
        Image.open(BytesIO(base64.b64decode(one.data)))
        for one in result.content
        if isinstance(one, ImageContent)
    ]
    return list(zip(labels, pictures, strict=True))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation for tests that change it, with three collections of one picture each."""
    folder = tmp_path_factory.mktemp("mcp")
    save(folder / "photos", "a", *PICTURES["a"])
    with open_installation(toy_settings(folder / "data"), inline=True) as house:
        for name in ("mine", "yours", "theirs"):
            index(house, folder / "photos", name)
        yield house


@pytest.fixture
def opened(house: Installation) -> Opened:
    return Opened(house)


def test_tools_are_read_only_unless_said(opened: Opened) -> None:
    listed = speak(opened, lambda client: client.list_tools()).tools
    assert [tool.name for tool in listed] == READS
    for tool in listed:
        assert tool.annotations.read_only_hint is True
        assert tool.annotations.open_world_hint is False
        assert tool.description
        assert tool.output_schema["type"] == "object"
        assert tool.input_schema["additionalProperties"] is False
    assert "no tool 'delete'" in sentence(opened, "delete", ids=["a.png"])
    every = speak(opened, lambda client: client.list_tools(), writes=True).tools
    hints = {tool.name: tool.annotations for tool in every if tool.name not in READS}
    assert {name: one.destructive_hint for name, one in hints.items()} == {"delete": True, "restore": False}
    assert not any(one.read_only_hint for one in hints.values())


def test_clients_of_both_eras_are_answered(opened: Opened) -> None:
    async def asked(mode: str) -> Any:
        async with Client(make_server(opened), mode=mode) as client:
            assert client.server_info.name == "sightline"
            return (await client.call_tool("search", {"query": RED, "k": 2})).structured_content

    found = [asyncio.run(asyncio.wait_for(asked(mode), 60)) for mode in ("legacy", "auto")]
    assert found[0] == found[1]
    assert [row["id"] for row in found[0]["results"]] == BY_RED[:2]


def test_a_search_is_that_of_the_library_with_pictures(house: Installation, opened: Opened) -> None:
    hits = house.search.find(SearchRequest("pictures", RED, limit=4)).results
    result = call(opened, "search", query=RED, k=4, pictures=2)
    found = result.structured_content
    assert (found["collection"], found["searched"]) == ("pictures", len(PICTURES))
    for row, hit in zip(found["results"], hits, strict=True):
        assert (row["id"], row["rank"], row["uri"]) == (hit.id, hit.rank, hit.uri)
        assert row["match_probability"] == pytest.approx(hit.match_probability)
        assert (row["caption"], row["metadata"]) == (hit.caption, dict(hit.metadata))
    assert [row["picture"] for row in found["results"]] == [True, True, False, False]
    pictures = shown(result)
    assert [label for label, _ in pictures] == ["Rank 1: a.png", "Rank 2: b.png"]
    assert {(one.format, one.size) for _, one in pictures} == {("WEBP", (8, 8))}
    red = pictures[0][1].convert("RGB").getpixel((1, 1))
    assert red[0] > 200 > 60 > max(red[1:])
    assert shown(call(opened, "search", query=RED, pictures=0)) == []


def test_filter_and_threshold_are_those_of_the_search(opened: Opened) -> None:
    later = '{"must": [{"field": "year", "range": {"gte": 2002}}]}'  # as a text, as some clients send it
    found = answer(opened, "search", query=RED, filter=later)["results"]
    assert [row["id"] for row in found] == BY_RED[1:]
    least = found[1]["match_probability"]
    likely = answer(opened, "search", query=RED, filter=later, min_probability=least)["results"]
    assert [row["id"] for row in likely] == BY_RED[1:3]


def test_similar_takes_an_id_or_a_picture(opened: Opened, photos: Path) -> None:
    by_id = answer(opened, "similar", id="a.png", k=2)["results"]
    assert by_id[0]["id"] == "b.png"
    given = base64.b64encode((photos / "a.png").read_bytes()).decode()
    by_picture = answer(opened, "similar", image=given, k=2)["results"]
    assert [row["id"] for row in by_picture] == ["a.png", "b.png"]
    assert by_picture[0]["similarity"] == pytest.approx(1, abs=1e-2)
    assert by_picture[0]["match_probability"] is None


def test_a_rerank_takes_ids_and_pictures_and_no_paths(
    house: Installation, opened: Opened, photos: Path
) -> None:
    given = base64.b64encode((photos / "a.png").read_bytes()).decode()
    found = answer(opened, "rerank", query=RED, ids=["e.png", "b.png"], images=[given])
    assert [row["index"] for row in found["results"]] == [2, 1, 0]
    assert [row["id"] for row in found["results"]] == [None, "b.png", "e.png"]
    stored = tuple(StoredImage("pictures", name) for name in ("e.png", "b.png", "a.png"))
    expected = house.documents.rerank(RerankRequest(RED, stored)).results
    assert [row["match_probability"] for row in found["results"]] == pytest.approx(
        [one.match_probability for one in expected]
    )
    top = answer(opened, "rerank", query=RED, ids=["e.png", "b.png"], top_n=1)["results"]
    assert [row["id"] for row in top] == ["b.png"]
    assert "base64" in sentence(opened, "rerank", query=RED, images=[str(photos / "a.png")])
    assert sentence(opened, "rerank", query=RED, images=["aGVsbG8="]).startswith("Image 0: ")


def test_a_description_has_what_is_stored_what_is_written_and_the_picture(opened: Opened) -> None:
    result = call(opened, "describe", id="c.png")
    told = result.structured_content
    assert told["caption"] == "red red green green"
    assert told["metadata"] == {"year": 2003}
    assert (told["written"], told["captioner"]) == ("red top left", "toy")
    [(label, picture)] = shown(result)
    assert (label, picture.size) == ("c.png", (8, 8))
    bare = call(opened, "describe", id="c.png", side=0, write=False)
    assert (bare.structured_content["written"], shown(bare)) == (None, [])
    [(_, small)] = shown(call(opened, "describe", id="c.png", side=4))
    assert small.size == (4, 4)


def test_questions_are_answered_as_by_the_library(house: Installation, opened: Opened) -> None:
    found = answer(opened, "ask", question="how many red?", task="counting", ids=["c.png", "e.png"])
    assert [(row["id"], row["answer"]) for row in found["results"]] == [("c.png", "2"), ("e.png", "0")]
    question = Question("what colour is top left?", "multiple_choice", 0, ("red", "blue"))
    with house.asking.ask(AskRequest("pictures", question, text=RED, limit=2)) as asked:
        expected = [(one.image.image_id, one.reply.answer, one.reply.probability) for one in asked.answers]
    rows = answer(opened, "ask", question="what colour is top left?", options=["red", "blue"], text=RED, k=2)[
        "results"
    ]
    assert [(row["id"], row["answer"], pytest.approx(row["probability"])) for row in rows] == expected


def test_nothing_is_asked_or_written_where_no_model_does_that(own: Installation, tmp_path: Path) -> None:
    model = write_random_checkpoint(tmp_path / "model")
    own.collections.create("silent", str(model))
    opened = Opened(own, ("silent",))
    assert "ask" not in {tool.name for tool in speak(opened, lambda client: client.list_tools()).tools}
    [row] = answer(opened, "collections")["collections"]
    assert (row["can_ask"], row["can_describe"]) == (False, False)
    assert "There is no tool 'ask'" in sentence(opened, "ask", question="how many?", ids=["a.png"])
    several = Opened(own)  # of another collection questions can be asked
    said = sentence(several, "ask", question="how many?", ids=["a.png"], collection="silent")
    assert said == "No model answers questions about silent; SIGHTLINE_ANSWERER__MODEL names one."


def test_collections_say_what_can_be_asked_of_them(opened: Opened) -> None:
    assert answer(opened, "collections") == {
        "collections": [
            {
                "name": "pictures", "model": "toy", "images": 5, "pending": 0, "fields": ["year"],
                "can_ask": True, "can_describe": True,
            }
        ]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("search", {}, "The tool search needs the argument query."),
        ("search", {"query": " "}, "empty"),
        ("search", {"query": "red", "limit": 3}, "no argument limit; it takes: query, collection, k"),
        ("search", {"query": "red", "k": 0}, "The argument k of search: input should be greater"),
        ("search", {"query": "red", "k": "many"}, "The argument k of search"),
        ("search", {"query": "red", "filter": "{"}, "The argument filter of search: is no JSON"),
        ("search", {"query": "red", "filter": {"must": 1}}, "must"),
        ("search", {"query": "red", "collection": "no"}, "no collection 'no' here; there are: pictures."),
        ("similar", {}, "The tool similar: name one picture, by id or by image."),
        ("similar", {"id": "z.png"}, "z.png"),
        ("similar", {"image": "aGVsbG8="}, "Image 0"),
        ("rerank", {"query": "red"}, "name between 1 and 100 pictures"),
        ("rerank", {"query": "red", "ids": ["../../etc/passwd"]}, "etc/passwd"),
        ("describe", {"id": "z.png"}, "z.png"),
        ("ask", {"question": "how many?"}, "one of the two"),
        ("ask", {"question": "", "ids": ["a.png"]}, "question is empty"),
        ("delete", {"ids": ["a.png"]}, "There is no tool 'delete' here; there are: collections, search"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence(
    opened: Opened, name: str, arguments: dict[str, Any], said: str
) -> None:
    assert said in sentence(opened, name, **arguments)


def test_only_the_collections_that_were_named_are_there(own: Installation) -> None:
    both, one, every = Opened(own, ("mine", "yours")), Opened(own, ("mine",)), Opened(own)
    assert [row["name"] for row in answer(both, "collections")["collections"]] == ["mine", "yours"]
    assert sentence(both, "search", query="red") == "Name one of the collections: mine, yours."
    assert answer(both, "search", query="red", collection="yours")["collection"] == "yours"
    assert answer(one, "search", query="red")["collection"] == "mine"
    assert "no collection 'theirs'" in sentence(one, "search", query="red", collection="theirs")
    kept = {"ids": ["a.png"], "collection": "theirs"}
    assert "no collection 'theirs'" in sentence(one, "delete", writes=True, **kept)
    names = [row["name"] for row in answer(every, "collections")["collections"]]
    assert {"mine", "yours", "theirs"} <= set(names)


def test_what_is_indexed_lies_in_the_folders_that_were_named(own: Installation, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    save(photos, "a", *PICTURES["a"])
    outside = save(tmp_path / "outside", "z", "blue")
    index(own, photos, "indexed")
    opened = Opened(own, ("indexed",), folders=(str(photos),))
    save(photos, "b", *PICTURES["b"])
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = answer(opened, "index", writes=True, path=str(photos))
    assert (done["indexed"], done["unchanged"], done["failed"], done["pending"]) == (1, 1, 1, 0)
    assert done["errors"][0].startswith("broken.png: ")
    assert [row["id"] for row in answer(opened, "search", query=RED)["results"]] == ["a.png", "b.png"]
    for path in (outside, photos / ".." / "outside", "https://example.org/a.png"):
        assert "outside of what" in sentence(opened, "index", writes=True, path=str(path))
    nowhere = sentence(opened, "index", writes=True, path=str(photos / "gone"))
    assert "gone" in nowhere
    unnamed = speak(Opened(own), lambda client: client.list_tools(), writes=True).tools
    assert "index" not in [tool.name for tool in unnamed]


def test_what_is_deleted_can_be_had_back(own: Installation) -> None:
    opened = Opened(own, ("mine",))
    gone = answer(opened, "delete", writes=True, ids=["a.png", "nothing.png"])
    assert (gone["deleted"], gone["not_found"]) == (1, 1)
    assert answer(opened, "search", query=RED)["results"] == []
    assert "nothing was deleted" in sentence(opened, "delete", writes=True, ids=["a.png"])
    back = answer(opened, "restore", writes=True, ids=["a.png", "nothing.png"])
    assert back["restored"] == ["a.png"]
    assert [one.partition(":")[0] for one in back["refused"]] == ["nothing.png"]
    assert [row["id"] for row in answer(opened, "search", query=RED)["results"]] == ["a.png"]


def test_an_original_that_is_gone_is_a_remark_and_its_thumbnail_is_shown(
    own: Installation, tmp_path: Path
) -> None:
    original = save(tmp_path / "photos", "a", *PICTURES["a"])
    index(own, tmp_path / "photos", "lost")
    original.unlink()
    result = call(Opened(own, ("lost",)), "describe", id="a.png")
    told = result.structured_content
    assert (told["written"], told["captioner"]) == (None, None)
    assert told["remarks"][0].startswith("The original of a.png cannot be read: ")
    assert len(shown(result)) == 1


def test_where_nothing_was_indexed_the_folder_is_named_and_nothing_is_made(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    assert run(["mcp", "--data", str(missing)]) == 3
    assert not missing.exists()
    assert run(["mcp", "--data", str(missing), "--folder", "x"]) == 2
    with open_installation(toy_settings(tmp_path / "data")) as house:
        assert "no collections here yet" in sentence(Opened(house), "search", query="red")
