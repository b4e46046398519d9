"""Unlabelled text for pretraining: one paragraph a line."""

from pathlib import Path
from typing import TYPE_CHECKING

from components.datasets import Dataset, Rows, shards
from components.datasets._lines import lines, manifest

if TYPE_CHECKING:
    from pandas import DataFrame


class Corpus(Dataset):
    """Texts without labels; `Rows` has `id` (shard and line) and `text`."""

    def read(self, folder: Path, split: str) -> Rows:
        """Every paragraph of a split."""
        columns: dict[str, list[str]] = {"id": [], "text": []}
        for shard in shards(folder, split, "*.txt"):
            for number, (_, text) in enumerate(lines(shard), start=1):
                columns["id"].append(f"{shard.stem}-{number:06d}")
                columns["text"].append(text)
        return Rows(columns)

    def frame(self, folder: Path) -> "DataFrame":
        """One row per paragraph: `id`, `text`, `split`, `n_chars` and two shares."""
        return manifest(self, folder)
