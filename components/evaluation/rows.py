"""One model's answers on one split, a row per example, as arrays."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

TOLERANCE = 1e-3
"""How far a row of probabilities may sum from one: graphs compute in float32 or less."""


@dataclass(frozen=True)
class Rows:
    """`probability` float32 (rows, labels); `label` and `unit` int64 (rows,).

    Rows that share a unit (a person, a document) are drawn together when chance is estimated.
    """

    probability: np.ndarray
    label: np.ndarray
    unit: np.ndarray

    def __post_init__(self) -> None:
        """Refuse arrays that are not one answer per row.

        Raises:
            ValueError: shapes, values or labels do not fit.
        """
        rows, labels = self.probability.shape
        if rows == 0 or self.label.shape != (rows,) or self.unit.shape != (rows,):
            raise ValueError(
                f"probability {self.probability.shape}, label {self.label.shape} and unit "
                f"{self.unit.shape} are not one answer per row"
            )
        if not np.isfinite(self.probability).all():
            raise ValueError("a probability is not finite")
        worst = float(np.abs(self.probability.sum(axis=1, dtype=np.float64) - 1).max())
        if worst > TOLERANCE or self.probability.min() < 0:
            raise ValueError(f"rows are not probabilities: a sum is off by {worst:.2g}")
        if self.label.min() < 0 or self.label.max() >= labels:
            raise ValueError(f"a label is outside 0..{labels - 1}")

    @cached_property
    def chosen(self) -> np.ndarray:
        """Most probable label, int64 (rows,); of equal ones the first."""
        return self.probability.argmax(axis=1)

    @cached_property
    def right(self) -> np.ndarray:
        """Whether the chosen label is the true one, bool (rows,)."""
        return self.chosen == self.label

    @cached_property
    def confidence(self) -> np.ndarray:
        """Probability of the chosen label, float64 (rows,)."""
        return self.probability.max(axis=1).astype(np.float64)

    def take(self, chosen: np.ndarray) -> "Rows":
        """The rows of these positions or of this mask."""
        return Rows(self.probability[chosen], self.label[chosen], self.unit[chosen])

    def to_bytes(self) -> bytes:
        """The file `rows.safetensors`, the same bytes for the same answers."""
        return save(
            {
                "label": np.ascontiguousarray(self.label, dtype=np.int64),
                "probability": np.ascontiguousarray(self.probability, dtype=np.float32),
                "unit": np.ascontiguousarray(self.unit, dtype=np.int64),
            }
        )


def read(path: Path) -> Rows:
    """The answers in a `rows.safetensors`."""
    arrays = load_file(path)
    return Rows(arrays["probability"], arrays["label"], arrays["unit"])
