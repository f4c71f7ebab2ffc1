"""LlamaIndex's own nodes and queries, against the library and the number of quarters of a colour."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest
from llama_index.core.schema import ImageNode, NodeWithScore, QueryBundle, TextNode

from sightline.errors import InputError
from sightline.integrations.llama_index import SightlineRerank
from sightline.reranker.reranker import Reranker
from tests.integrations.conftest import BY_RED, RED


def nodes(photos: Path) -> list[NodeWithScore]:
    """One of each kind, from no red to all red, as a retriever of texts has scored them."""
    encoded = base64.b64encode((photos / "b.png").read_bytes()).decode()
    made = [
        TextNode(id_="e.png", text="e", metadata={"file_path": str(photos / "e.png")}),
        ImageNode(id_="d.png", text="d", metadata={"image_path": str(photos / "d.png")}),
        ImageNode(id_="c.png", text="c", image_url=(photos / "c.png").as_uri()),
        ImageNode(id_="b.png", text="b", image=encoded),
        ImageNode(id_="a.png", text="a", image_path=str(photos / "a.png")),
    ]
    return [NodeWithScore(node=node, score=9.0 - place) for place, node in enumerate(made)]


def test_nodes_come_back_in_the_order_of_their_pictures(photos: Path, reranker: Reranker) -> None:
    given = nodes(photos)
    found = SightlineRerank(reranker=reranker).postprocess_nodes(given, QueryBundle(RED))
    assert [one.node_id for one in found] == BY_RED
    expected = reranker.predict([(RED, photos / name) for name in BY_RED]).tolist()
    assert [one.score for one in found] == pytest.approx(expected)
    assert [one.score for one in given] == [9.0, 8.0, 7.0, 6.0, 5.0]  # left as they were
    few = SightlineRerank(reranker=reranker, top_n=2)
    assert asyncio.run(few.apostprocess_nodes(given, query_str=RED)) == found[:2]
    likely = SightlineRerank(reranker=reranker, min_probability=found[2].score)
    assert likely.postprocess_nodes(given, query_str=RED) == found[:3]
    assert few.postprocess_nodes([], query_str=RED) == []
    assert few.class_name() == "SightlineRerank"
    assert few.to_dict()["top_n"] == 2


def test_what_has_no_picture_is_a_sentence_or_left_out(photos: Path, reranker: Reranker) -> None:
    given = [*nodes(photos), NodeWithScore(node=TextNode(text="only words"), score=1.0)]
    with pytest.raises(InputError, match=r"Node 5 names no picture .*file_path.*skip"):
        SightlineRerank(reranker=reranker).postprocess_nodes(given, query_str=RED)
    given.append(NodeWithScore(node=ImageNode(image="@@"), score=1.0))
    found = SightlineRerank(reranker=reranker, errors="skip").postprocess_nodes(given, query_str=RED)
    assert [one.node_id for one in found] == BY_RED
    with pytest.raises(InputError, match="needs a query"):
        SightlineRerank(reranker=reranker).postprocess_nodes(given)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (ImageNode(image_url="https://example.org/a.png"), "Image 0: URLs are not fetched"),
        (ImageNode(image="no base64!"), "valid base64"),
    ],
)
def test_what_is_no_picture_is_a_sentence(node: ImageNode, said: str, reranker: Reranker) -> None:
    with pytest.raises(InputError, match=said):
        SightlineRerank(reranker=reranker).postprocess_nodes([NodeWithScore(node=node)], query_str=RED)
