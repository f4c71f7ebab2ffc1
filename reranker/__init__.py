"""From candidates to an order. Usable alone: pulls in neither SQLAlchemy nor FAISS nor transformers."""

from sightline.reranker.cascade import Cascade
from sightline.reranker.encoded import EncodedImages
from sightline.reranker.records import (
    Candidate,
    PatchGroup,
    PatchSource,
    Ranked,
    RankedImage,
    Ranking,
    SkippedImage,
)
from sightline.reranker.reranker import Reranker

__all__ = [
    "Candidate",
    "Cascade",
    "EncodedImages",
    "PatchGroup",
    "PatchSource",
    "Ranked",
    "RankedImage",
    "Ranking",
    "Reranker",
    "SkippedImage",
]
