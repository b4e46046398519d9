"""What is new in the data: rows per split and label, and in what the new ones differ, in words."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

from components import objects
from components.artifacts import Prepared, RawData
from components.bundle import Bundle
from components.spec import UNKNOWN
from pipelines.retraining.records import DataChange, SplitRows

SPLITS = ("train", "val", "test")
SURE = 0.01
"""Below this p-value a difference is said to be more than chance."""


class Row(NamedTuple):
    """A row of the labelled data set."""

    split: str
    name: str
    """Its text, or the id of a picture."""
    label: str


def labelled(
    raw: RawData, before: str | None, data: tuple[Prepared | None, Prepared]
) -> DataChange:
    """The labelled data set, before and now; without the former's rows only the latter's."""
    old, new = (None if each is None else tuple(_rows(each)) for each in data)
    assert new is not None
    counts = _counts(data[0], old), _counts(data[1], new)
    known = None if old is None else {row.name for row in old}
    fresh = None if known is None else [row for row in new if row.name not in known]
    of_fresh = Counter(row.split for row in fresh or ())
    return DataChange(
        name=raw.name,
        before=before,
        after=raw.tree,
        rows=tuple(
            SplitRows(
                split=split,
                before=counts[0].get(split),
                now=counts[1].get(split, 0),
                new=None if fresh is None else of_fresh[split],
            )
            for split in SPLITS
        ),
        labels=_labels({"before": old, "now": new, "new": fresh}),
        moved=None if old is None else _moved(old, new),
        drift=tuple(_drift(data[0], old, fresh)) if data[0] and old and fresh else (),
    )


def counted(raw: RawData, before: str | None, rows: dict[str, int]) -> DataChange:
    """A data set of which only the numbers of rows are compared."""
    found = tuple(
        SplitRows(split=split, before=rows.get(split), now=now, new=None)
        for split, now in raw.rows.items()
    )
    return DataChange(name=raw.name, before=before, after=raw.tree, rows=found)


def recorded(bundle: Bundle | None, name: str) -> dict[str, int]:
    """Rows per split of a data set, as a version was made from it."""
    made_of = bundle.manifest["remake"]["data"] if bundle else []
    return next((one["rows"] for one in made_of if one["name"] == name), {})


def _rows(data: Prepared) -> Iterator[Row]:
    for split in SPLITS:
        for line in objects.path(data.files[f"rows.{split}.jsonl"]).read_bytes().splitlines():
            row = json.loads(line)
            yield Row(split, row["id"] if row["text"] is None else row["text"], row["label"])


def _counts(data: Prepared | None, rows: Sequence[Row] | None) -> dict[str, int]:
    return {} if data is None or rows is None else dict(Counter(row.split for row in rows))


def _labels(parts: dict[str, Sequence[Row] | None]) -> dict[str, dict[str, int]]:
    return {
        part: dict(sorted(Counter(row.label for row in rows).items()))
        for part, rows in parts.items()
        if rows is not None
    }


def _moved(old: Sequence[Row], new: Sequence[Row]) -> int:
    held_out = {row.name for row in old if row.split == "test"}
    return sum(row.split != "test" and row.name in held_out for row in new)


def _drift(data: Prepared, old: Sequence[Row], fresh: Sequence[Row]) -> Iterator[str]:
    yield _label_drift(old, fresh)
    if data.spec.modality == "text":
        yield _length_drift([len(row.name) for row in old], [len(row.name) for row in fresh])
        yield _unknown_drift(data, old, fresh)


def _label_drift(old: Sequence[Row], fresh: Sequence[Row]) -> str:
    from scipy.stats import chi2_contingency

    labels = sorted({row.label for row in (*old, *fresh)})
    counts = [Counter(row.label for row in rows) for rows in (old, fresh)]
    shares = [[count[label] / count.total() for label in labels] for count in counts]
    at = max(range(len(labels)), key=lambda i: abs(shares[1][i] - shares[0][i]))
    p_value = 1.0
    if len(labels) > 1:
        p_value = float(chi2_contingency([[c[label] for label in labels] for c in counts])[1])
    said = f"{labels[at]} is {shares[1][at]:.0%} of the new rows, was {shares[0][at]:.0%}"
    return f"labels: {said}; {_chance(p_value)}"


def _length_drift(old: Sequence[int], fresh: Sequence[int]) -> str:
    from scipy.stats import mannwhitneyu

    p_value = float(mannwhitneyu(old, fresh).pvalue)
    said = f"a new text has {median(fresh):g} characters in the middle, was {median(old):g}"
    return f"length: {said}; {_chance(p_value)}"


def _unknown_drift(data: Prepared, old: Sequence[Row], fresh: Sequence[Row]) -> str:
    """Characters that the champion's alphabet lacks: it stays, for its weights know no other."""
    from tokenizers import Tokenizer

    reader = Tokenizer.from_file(str(objects.path(data.files["tokenizer.json"])))

    def share(rows: Sequence[Row]) -> float:
        ids = [i for one in reader.encode_batch([row.name for row in rows]) for i in one.ids]
        return sum(each == UNKNOWN for each in ids) / max(1, len(ids))

    return (
        f"alphabet: {share(fresh):.2%} of the new characters are unknown to the champion, "
        f"{share(old):.2%} of its own were"
    )


def _chance(p_value: float) -> str:
    if p_value < SURE:
        return f"more than chance (p = {p_value:.2g})"
    return f"chance explains it (p = {p_value:.2g})"
