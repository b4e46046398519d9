"""The rows of one array file in memory, and batches of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from components.batches.images import Placement, placed
from components.spec import PAD, DataSpec

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows of one split.

    `columns` has one value per row and name (`label`); text is `ids` cut at `offsets`, images are
    `pixels`.
    """

    columns: Arrays
    lengths: np.ndarray
    """(rows,) tokens per row, at most the spec's longest; 1 for images."""
    ids: np.ndarray
    offsets: np.ndarray
    pixels: np.ndarray

    @classmethod
    def load(cls, path: Path, spec: DataSpec) -> "Examples":
        """The rows of `<split>.safetensors`; a text longer than the spec allows is cut."""
        arrays = load_file(path)
        nothing = np.zeros(0, dtype=np.int64)
        if spec.modality == "text":
            ids, offsets = arrays["ids"], arrays["offsets"]
            pixels = np.zeros((0, 0, 0), dtype=np.uint8)
            lengths = np.minimum(np.diff(offsets), spec.max_length)
        else:
            ids, offsets, pixels = nothing, nothing, arrays["pixels"]
            lengths = np.ones(len(pixels), dtype=np.int64)
        columns = {"label": arrays["label"].astype(np.int64)} if "label" in arrays else {}
        return cls(columns, lengths, ids, offsets, pixels)

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, rows: np.ndarray, placement: Placement | None = None) -> Arrays:
        """The named arrays of these rows.

        `ids` is (rows, longest of them) int64 padded with 0, `pixels` (rows, 1, height, width)
        float32 in 0 to 255, moved where a placement (one entry per row of the split) is given.
        """
        batch = {name: column[rows] for name, column in self.columns.items()}
        if len(self.offsets):
            batch["ids"] = self._padded(rows)
        else:
            pixels = self.pixels[rows]
            moved = pixels if placement is None else placed(pixels, placement.of(rows))
            batch["pixels"] = moved.astype(np.float32, copy=False)[:, None]
        return batch

    def _padded(self, rows: np.ndarray) -> np.ndarray:
        lengths = self.lengths[rows]
        longest = max(int(lengths.max(initial=0)), 1)
        inside = np.arange(longest) < lengths[:, None]
        places = np.where(inside, self.offsets[rows][:, None] + np.arange(longest), 0)
        found = self.ids[places] if len(self.ids) else np.zeros_like(places)
        return np.where(inside, found, PAD).astype(np.int64, copy=False)
