"""From a query to candidates: exact max-sim over everything that is live."""

from retriever.records import Candidate, Retrieved
from retriever.retriever import Retriever

__all__ = ["Candidate", "Retrieved", "Retriever"]
