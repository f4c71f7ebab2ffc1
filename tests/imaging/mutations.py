"""Mutated pictures: what rot, cut transfers and whoever means harm make of files, the same for every seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
HEAD = 512
"""Formats keep their numbers at the beginning."""
MOST_BYTES = 4 << 20
"""Larger files are not mutated: most of each would be pixels."""

Mutation = Callable[[random.Random, bytearray, Sequence[bytes]], bytes]


def flip(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytes:
    """A few bits."""
    for _bit in range(rng.choice((1, 1, 2, 4, 16))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def flip_head(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytes:
    """A few bytes of the header."""
    for _byte in range(rng.choice((1, 2, 4))):
        data[rng.randrange(min(HEAD, len(data)))] = rng.randrange(256)
    return bytes(data)


def cut(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytes:
    """The end is missing."""
    return bytes(data[: rng.randrange(len(data))])


def leave_out(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytes:
    """A piece in the middle is missing."""
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 2, 7, 64, 1000))]
    return bytes(data)


def repeat(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytes:
    """A piece comes twice, or a thousand times."""
    start = rng.randrange(len(data))
    piece = data[start : start + rng.choice((1, 4, 12, 64, 300))]
    data[start:start] = piece * rng.choice((1, 2, 50, 1000))
    return bytes(data)


def fill(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytes:
    """A run of one value."""
    start, length = rng.randrange(len(data)), rng.choice((4, 16, 200, 4096))
    end = min(start + length, len(data))
    data[start:end] = bytes([rng.choice((0, 0xFF, 0x41))]) * (end - start)
    return bytes(data)


def enlarge(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytes:
    """Numbers become as large, or as small, as they can."""
    for _number in range(rng.choice((1, 1, 2))):
        size = rng.choice((1, 2, 4))
        at = rng.randrange(max(1, min(HEAD, len(data)) - size))
        value = rng.choice(EXTREMES) & ((1 << 8 * size) - 1)
        order = rng.choice(("big", "little"))
        data[at : at + size] = value.to_bytes(size, "big" if order == "big" else "little")
    return bytes(data)


def splice(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> bytes:
    """It begins as one file and goes on as another."""
    other = rng.choice(others)
    return bytes(data[: rng.randrange(len(data))]) + other[rng.randrange(len(other)) :]


MUTATIONS: tuple[Mutation, ...] = (flip, flip_head, cut, leave_out, repeat, fill, enlarge, splice)


def mutated(seeds: Sequence[bytes], number: int, seed: int) -> bytes:
    """The mutation of that number: one file of ``seeds``, changed once to three times."""
    rng = random.Random(f"{seed}-{number}")
    data = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if data:
            data = rng.choice(MUTATIONS)(rng, bytearray(data), seeds)
    return data
