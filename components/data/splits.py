"""Which split an example belongs to, decided by its content and never by its position.

New examples keep the old ones where they are, and equal content cannot lie in two splits.
"""

import hashlib
import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

SPLITS = ("train", "val", "test")

T = TypeVar("T")


class Shares(NamedTuple):
    """Parts of the whole that go to training and validation; the rest is for the test."""

    train: float
    val: float


def by_content(key: bytes, shares: Shares) -> str:
    """The split of everything that has this key, such as a normalised text or raw pixels."""
    position = int.from_bytes(hashlib.sha256(key).digest()[:8]) / 2**64
    if position < shares.train:
        return "train"
    return "val" if position < shares.train + shares.val else "test"


def by_chance(examples: Sequence[T], shares: Shares, seed: int) -> dict[str, list[T]]:
    """Examples in a seeded random order, cut into splits: equal ones fall on both sides.

    Only `random.Random.random` is used, the one method whose sequence Python promises to keep.
    """
    draw = random.Random(seed)
    order = sorted((draw.random(), position) for position in range(len(examples)))
    shuffled = [examples[position] for _, position in order]
    first = round(len(shuffled) * shares.train)
    second = first + round(len(shuffled) * shares.val)
    return {
        "train": shuffled[:first],
        "val": shuffled[first:second],
        "test": shuffled[second:],
    }
