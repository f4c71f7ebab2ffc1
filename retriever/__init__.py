"""From a query to candidates: exact max-sim over everything that is live."""

from sightline.retriever.records import Candidate, Retrieved
from sightline.retriever.retriever import Retriever

__all__ = ["Candidate", "Retrieved", "Retriever"]
