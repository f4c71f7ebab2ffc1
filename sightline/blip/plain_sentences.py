"""Sentences that fit some pictures of any collection, where nothing better is known to compare orders by."""

from __future__ import annotations

from typing import Final

PLAIN_SENTENCES: Final = (
    "a person standing outside",
    "a group of people",
    "a portrait of a woman",
    "a man at work",
    "a child playing",
    "a dog",
    "a cat on a chair",
    "birds in the sky",
    "a horse in a field",
    "flowers in a garden",
    "trees and grass on a sunny day",
    "mountains under a cloudy sky",
    "the sea and a beach",
    "a street with cars",
    "a train or a bus",
    "a house with a red roof",
    "a room with a table and chairs",
    "food on a plate",
    "a sign with words on it",
    "something blue next to something yellow",
)
