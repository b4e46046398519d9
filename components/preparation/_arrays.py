"""What every preparation writes the same way: array files, rows for readers, `inputs.json`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from components.errors import ConfigError, DataRejected
from components.files import canonical, write_bytes, write_json
from components.spec import DataSpec

SPLITS = ("train", "val", "test")
SHOWN = 3


def write_arrays(target: Path, split: str, arrays: Mapping[str, np.ndarray]) -> None:
    """The file `<split>.safetensors`, without metadata: equal arrays have equal bytes."""
    whole = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    write_bytes(target / f"{split}.safetensors", save(whole))


def write_labelled(
    target: Path, split: str, arrays: Mapping[str, np.ndarray], label: np.ndarray
) -> None:
    """The array file of a labelled split; every row is a unit of its own."""
    unit = np.arange(len(label), dtype=np.int64)
    write_arrays(target, split, {**arrays, "label": label, "unit": unit})


def write_rows(target: Path, split: str, columns: Mapping[str, Sequence[str | None]]) -> None:
    """The file `rows.<split>.jsonl`: `id`, `text` (null for pictures) and `label` of each row."""
    lines = [
        canonical(dict(zip(columns, row, strict=True))) + b"\n"
        for row in zip(*columns.values(), strict=True)
    ]
    write_bytes(target / f"rows.{split}.jsonl", b"".join(lines))


def write_inputs(target: Path, spec: DataSpec, reader: Mapping[str, str | int]) -> None:
    """The file `inputs.json`: how raw input becomes what the graph reads."""
    inputs = [one.model_dump(mode="json") for one in spec.inputs]
    write_json(target / "inputs.json", {**reader, "inputs": inputs, "labels": list(spec.labels)})


def positions(place: str, labels: Sequence[str], known: Sequence[str]) -> np.ndarray:
    """Each label's position among the known ones, int64 (rows,).

    Raises:
        DataRejected: a label is not known; training rows do not have it.
    """
    order = {label: position for position, label in enumerate(known)}
    strange = [(row, label) for row, label in enumerate(labels) if label not in order]
    if strange:
        shown = ", ".join(f"{label!r} in row {row}" for row, label in strange[:SHOWN])
        raise DataRejected(
            f"{place}: {len(strange)} rows have a label that no training row has: {shown}",
            "add training rows of that label, or remove these rows",
        )
    return np.array([order[label] for label in labels], dtype=np.int64)


def demand_known(place: str, labels: Sequence[str], known: Sequence[str]) -> None:
    """Refuse rows of a label that the model which goes on does not answer.

    Raises:
        DataRejected: there are such rows.
    """
    if strange := sorted(set(labels) - set(known)):
        raise DataRejected(
            f"{place} has the new labels {', '.join(strange)}; the model that is to go on answers "
            f"{', '.join(known)}",
            "another set of labels is another task: train it under another name",
        )


def demand_modality(preparation: str, folder: Path, wanted: str) -> None:
    """Refuse a data set that this preparation cannot read.

    Raises:
        ConfigError: it is of another modality.
    """
    from components.datasets import card

    found = card(folder).modality
    if found != wanted:
        raise ConfigError(
            f"preparation {preparation!r} reads {wanted} here, data/{folder.name} is {found}",
            f"name a data set whose dataset.json says modality {wanted}",
        )
