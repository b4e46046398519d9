"""Labelled texts: JSON lines of `id`, `text` and `label`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from components.datasets import Dataset, Rows, card, shards
from components.datasets._lines import lines, manifest
from components.errors import DataRejected

if TYPE_CHECKING:
    from pandas import DataFrame

FIELDS = ("id", "text", "label")


class Text(Dataset):
    """Texts with one label each; `Rows` has `id`, `text` and `label`, all strings."""

    def read(self, folder: Path, split: str) -> Rows:
        """Every example of a split; an id may stand only once in it."""
        labels = frozenset(card(folder).labels)
        columns: dict[str, list[str]] = {field: [] for field in FIELDS}
        seen: dict[str, str] = {}
        for shard in shards(folder, split, "*.jsonl"):
            for place, line in lines(shard):
                row = _row(place, line, labels)
                if (first := seen.setdefault(row["id"], place)) != place:
                    raise DataRejected(f"{place}: id {row['id']!r} stands already at {first}")
                for field in FIELDS:
                    columns[field].append(row[field])
        return Rows(columns)

    def frame(self, folder: Path) -> "DataFrame":
        """One row per text: `id`, `text`, `label`, `split`, `n_chars` and two shares."""
        return manifest(self, folder)


def _row(place: str, line: str, labels: frozenset[str]) -> dict[str, str]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataRejected(f"{place}: not JSON: {error}") from error
    if not isinstance(row, dict) or set(row) != set(FIELDS):
        found = ", ".join(sorted(row)) if isinstance(row, dict) else type(row).__name__
        raise DataRejected(f"{place}: wanted the fields {', '.join(FIELDS)}, found {found}")
    for field in FIELDS:
        if not isinstance(row[field], str) or not row[field].strip():
            raise DataRejected(f"{place}: {field} is {row[field]!r}, wanted a string with content")
        if any("\ud800" <= letter <= "\udfff" for letter in row[field]):
            raise DataRejected(f"{place}: {field} holds half of a surrogate pair")
    if row["label"] not in labels:
        known = ", ".join(sorted(labels))
        raise DataRejected(f"{place}: label {row['label']!r} is none of: {known}")
    return row
