"""LangChain's own calls, against what the library says and the number of quarters of a colour."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from PIL import Image
from pydantic import ValidationError

from sightline.collection import Collection
from sightline.errors import ImageRejected, InputError, NotFoundError
from sightline.integrations.langchain import SightlineReranker, SightlineRetriever
from sightline.records import SearchRequest
from sightline.reranker.reranker import Reranker
from sightline.settings import Settings
from sightline.wiring import Installation
from tests.integrations.conftest import BLUE, BY_RED, PICTURES, RED


@pytest.fixture(scope="module")
def collection(settings: Settings) -> Iterator[Collection]:
    with Collection("pictures", data=settings.data_folder) as collection:
        yield collection


def test_a_document_tells_of_its_hit_what_the_search_does(
    house: Installation, collection: Collection
) -> None:
    hits = house.search.find(SearchRequest("pictures", RED, limit=3)).results
    documents = SightlineRetriever(collection=collection, k=3).invoke(RED)
    assert [one.id for one in documents] == [one.id for one in hits] == BY_RED[:3]
    for document, hit in zip(documents, hits, strict=True):
        assert document.page_content == " ".join(PICTURES[hit.id.removesuffix(".png")])
        told = document.metadata
        assert (told["id"], told["uri"], told["rank"]) == (hit.id, hit.uri, hit.rank)
        assert (told["score"], told["itc"]) == (hit.score, hit.itc)
        assert told["match_probability"] == hit.match_probability
        assert (told["width"], told["height"]) == (8, 8)
        assert told["metadata"] == hit.metadata
        assert set(told["metadata"]) == {"year"}


def test_it_is_a_runnable_in_all_its_ways(collection: Collection) -> None:
    retriever = SightlineRetriever(collection=collection, k=1)
    chain = retriever | RunnableLambda(lambda found: found[0].metadata["id"])
    assert chain.invoke(RED) == "a.png"
    assert chain.batch([RED, BLUE]) == ["a.png", "e.png"]
    assert asyncio.run(chain.ainvoke(BLUE)) == "e.png"
    assert asyncio.run(chain.abatch([BLUE, RED])) == ["e.png", "a.png"]


def test_filter_and_threshold_are_those_of_the_search(collection: Collection) -> None:
    later = {"must": [{"field": "year", "range": {"gte": 2002}}]}
    found = SightlineRetriever(collection=collection, filter=later).invoke(RED)
    assert [one.id for one in found] == BY_RED[1:]
    probabilities = [one.metadata["match_probability"] for one in found]
    likely = SightlineRetriever(collection=collection, filter=later, min_probability=probabilities[1])
    assert [one.id for one in likely.invoke(RED)] == BY_RED[1:3]


def test_errors_of_the_search_come_through(settings: Settings, collection: Collection) -> None:
    with pytest.raises(InputError, match="empty"):
        SightlineRetriever(collection=collection).invoke(" ")
    with pytest.raises(NotFoundError, match="nothing"):
        SightlineRetriever(collection=Collection("nothing", data=settings.data_folder)).invoke(RED)
    with pytest.raises(ValidationError):
        SightlineRetriever(collection="pictures")  # type: ignore[arg-type]


def shuffled(photos: Path) -> list[Document]:
    return [
        Document(page_content=name, metadata={"source": str(photos / f"{name}.png"), "page": 7}, id=name)
        for name in "dbeac"
    ]


def test_documents_come_back_in_the_order_of_their_pictures(photos: Path, reranker: Reranker) -> None:
    documents = shuffled(photos)
    found = SightlineReranker(reranker=reranker).compress_documents(documents, RED)
    assert [one.page_content for one in found] == list("abcde")
    expected = reranker.predict([(RED, photos / name) for name in BY_RED])
    assert [one.metadata["relevance_score"] for one in found] == pytest.approx(expected.tolist())
    assert {(one.id, one.metadata["page"]) for one in found} == {(name, 7) for name in "abcde"}
    assert documents == shuffled(photos)  # those that were given are left as they were
    few = SightlineReranker(reranker=reranker, top_n=2)
    assert asyncio.run(few.acompress_documents(documents, RED)) == found[:2]
    assert few.compress_documents([], RED) == []


def test_a_retriever_and_a_reranker_make_a_chain(collection: Collection, reranker: Reranker) -> None:
    by_blue = SightlineReranker(reranker=reranker, top_n=1)
    chain = SightlineRetriever(collection=collection) | RunnableLambda(
        lambda found: by_blue.compress_documents(found, BLUE)
    )
    assert [one.id for one in chain.invoke(RED)] == ["e.png"]


def test_pictures_are_named_in_many_ways(photos: Path, reranker: Reranker) -> None:
    spaced = photos.parent / "with space.png"
    spaced.write_bytes((photos / "b.png").read_bytes())
    encoded = base64.encodebytes((photos / "c.png").read_bytes()).decode()
    ways = [
        {"uri": (photos / "a.png").as_uri()},
        {"image": "", "path": spaced.as_uri()},
        {"image": f"data:image/png;base64,{encoded}", "source": "elsewhere"},
        {"image": (photos / "d.png").read_bytes()},
        {"image": Image.open(photos / "e.png")},
    ]
    documents = [Document(page_content=str(place), metadata=way) for place, way in enumerate(ways)]
    found = SightlineReranker(reranker=reranker).compress_documents(documents[::-1], RED)
    assert [one.page_content for one in found] == list("01234")
    mine = [Document(page_content="x", metadata={"source": "report.pdf", "picture": photos / "a.png"})]
    assert SightlineReranker(reranker=reranker, picture_keys=("picture",)).compress_documents(mine, RED)


def test_what_has_no_picture_is_a_sentence_or_left_out(photos: Path, reranker: Reranker) -> None:
    documents = [*shuffled(photos), Document(page_content="only words", metadata={"page": 1})]
    with pytest.raises(InputError, match=r"Document 5 names no picture .*image, uri, path, source.*skip"):
        SightlineReranker(reranker=reranker).compress_documents(documents, RED)
    documents.append(Document(page_content="a table", metadata={"path": str(photos / "rows.csv")}))
    documents.append(Document(page_content="torn", metadata={"image": "data:image/png;base64,@@"}))
    found = SightlineReranker(reranker=reranker, errors="skip").compress_documents(documents, RED)
    assert [one.page_content for one in found] == list("abcde")


@pytest.mark.parametrize(
    ("picture", "error", "said"),
    [
        ("https://example.org/a.png", InputError, "Image 0: URLs are not fetched"),
        ("{photos}/rows.csv", ImageRejected, "Image 0"),
        ("data:image/png;base64,!", InputError, "valid base64"),
        (17, InputError, "Image 0: An image must be"),
    ],
)
def test_what_is_no_picture_is_a_sentence(
    picture: object, error: type[Exception], said: str, photos: Path, reranker: Reranker
) -> None:
    named = picture.format(photos=photos) if isinstance(picture, str) else picture
    document = Document(page_content="x", metadata={"image": named})
    with pytest.raises(error, match=said):
        SightlineReranker(reranker=reranker).compress_documents([document], RED)


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("langchain", "langchain_core", "langchain"),
        ("llama_index", "llama_index", "llama-index"),
        ("mcp.server", "mcp", "mcp"),
    ],
)
def test_without_its_extra_an_adapter_says_which_that_is(module: str, package: str, extra: str) -> None:
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from sightline.errors import InputError\n"
        f"try: import sightline.integrations.{module}\n"
        "except InputError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith(f"which is not installed: pip install 'sightline[{extra}]'.\n"), done.stderr


def test_importing_sightline_imports_no_adapter_and_the_mcp_server_no_model() -> None:
    program = (
        "import sightline, sightline.cli.main, sys; print(*sys.modules)\n"
        "import sightline.integrations.mcp.server; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    first, then = (set(line.split()) for line in done.stdout.splitlines())
    assert "sightline.cli.main" in first
    assert first.isdisjoint({"langchain_core", "llama_index", "mcp"})
    assert "sightline.integrations.mcp.reading" in then
    assert then.isdisjoint({"torch", "transformers", "faiss"})
