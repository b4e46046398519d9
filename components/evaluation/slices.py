"""Rows grouped by what can be seen in the input: where a good mean hides a bad part."""

from typing import Any

import numpy as np

from components.evaluation import intervals
from components.evaluation.rows import Rows

Groups = dict[str, np.ndarray]
"""Name of a group -> mask of its rows, in the order in which they are shown."""


def by_length(lengths: np.ndarray) -> Groups:
    """Groups of rows by length in tokens, each twice as wide as the one before."""
    edges = [1 << power for power in range(3, 64) if (1 << power) < lengths.max() * 2]
    groups: Groups = {}
    low = 0
    for edge in edges or [8]:
        groups[f"{low}-{edge} tokens"] = (lengths >= low) & (lengths <= edge)
        low = edge + 1
    return {name: mask for name, mask in groups.items() if mask.any()}


def by_ink(pixels: np.ndarray) -> Groups:
    """Thirds of the pictures by mean brightness: thin, medium and bold strokes."""
    ink = pixels.reshape(len(pixels), -1).mean(axis=1)
    low, high = np.quantile(ink, [1 / 3, 2 / 3])
    groups = {
        "dark third": ink <= low,
        "middle third": (ink > low) & (ink <= high),
        "bright third": ink > high,
    }
    return {name: mask for name, mask in groups.items() if mask.any()}


def scored(rows: Rows, groups: Groups) -> list[dict[str, Any]]:
    """Accuracy with its interval in each group, as it stands in a report."""
    return [
        {"slice": name, **intervals.accuracy(rows.take(mask)).model_dump()}
        for name, mask in groups.items()
    ]
