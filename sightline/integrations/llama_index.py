"""LlamaIndex: a node postprocessor that reranks by pictures. Needs ``sightline[llama-index]``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from sightline.errors import InputError
from sightline.integrations.doors import Errors, RanksPictures, lacking
from sightline.integrations.pictures import (
    from_base64,
    judge,
    named_picture,
    picture_in,
    picture_unless_skipped,
)

try:
    from llama_index.core.bridge.pydantic import ConfigDict, Field
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import BaseNode, ImageNode, NodeWithScore, QueryBundle
except ModuleNotFoundError as error:
    raise lacking("llama-index", "llama-index-core") from error

if TYPE_CHECKING:
    from sightline.reranker.forms import ImageInput

PICTURE_KEYS: Final = ("image", "image_path", "file_path", "uri", "path", "source")
"""Where in a node's metadata its picture is looked for, the first that is there."""


class SightlineRerank(BaseNodePostprocessor):
    """Puts nodes in the order in which their pictures match the query, best first, and sets their scores.

    The picture of an `ImageNode` is its own (``image``, ``image_path``, ``image_url`` of a ``file:`` or
    ``data:`` URI), that of any other node what its metadata names. The score is the match probability.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    reranker: RanksPictures = Field(description="A sightline.Reranker.", exclude=True)
    top_n: int | None = Field(None, ge=1, description="How many nodes come back; None: all.")
    min_probability: float | None = Field(None, ge=0, le=1, description="Leave out what matches less likely.")
    picture_keys: tuple[str, ...] = Field(PICTURE_KEYS, description="Where metadata names the picture.")
    errors: Errors = Field("raise", description="skip: leave out nodes without a readable picture.")

    @classmethod
    def class_name(cls) -> str:
        """The name by which LlamaIndex knows it."""
        return "SightlineRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise InputError("A reranking needs a query: pass query_str or query_bundle.")
        pictures = [
            picture_unless_skipped(partial(_picture_of, one.node, self.picture_keys), self.errors)
            for one in nodes
        ]
        judged = judge(
            self.reranker,
            query_bundle.query_str,
            pictures,
            self.top_n,
            self.errors,
            "Node",
            self.picture_keys,
        )
        least = self.min_probability or 0.0
        return [
            NodeWithScore(node=nodes[one.place].node, score=one.match_probability)
            for one in judged
            if one.match_probability >= least
        ]


def _picture_of(node: BaseNode, keys: tuple[str, ...]) -> ImageInput | None:
    if isinstance(node, ImageNode):
        if node.image:
            return from_base64(node.image, "The image of a node")
        if own := node.image_path or node.image_url:
            return named_picture(own)
    return picture_in(node.metadata, keys)
