"""The test rows that two models are compared on, and each one's answers to them."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components import objects, project
from components.artifacts import Prepared
from components.data import check, pointer
from components.errors import AthanorError, DataRejected, UsageError
from components.evaluation import slices
from components.evaluation.rows import Rows, read
from components.inference.predictor import Predictor
from pipelines.comparison.sides import Side

Items = Sequence[str] | Sequence[np.ndarray]


class CommonRows(NamedTuple):
    """Rows as they came, in the order of the data set's test split."""

    name: str
    tree: str
    """The data set and its DVC digest."""
    ids: tuple[str, ...]
    items: Items
    """Texts, or grey values (height, width)."""
    labels: tuple[str, ...]
    label: np.ndarray
    """int64 (rows,), positions among `labels`."""
    unit: np.ndarray

    @property
    def texts(self) -> bool:
        """Whether the rows are texts; else they are pictures."""
        return isinstance(self.items[0], str)


def common_rows(a: Side, b: Side) -> CommonRows:
    """The test rows of b's data set, else of a's: from its run, or from `data/`.

    Raises:
        DataRejected: the two answer different labels.
        UsageError: neither's test rows are here; it says what brings them.
    """
    labels = predictor(b).labels
    if set(predictor(a).labels) != set(labels):
        raise DataRejected(
            f"{a.title} answers {', '.join(predictor(a).labels)}; {b.title} answers "
            f"{', '.join(labels)}",
            "these are two tasks: there is nothing to compare",
        )
    for one in (b, a):
        if one.prepared is not None:
            return _prepared(one.prepared, labels)
        if _here(one):
            return _folder(one, labels)
    raise UsageError(
        f"the test rows of {a.title} and {b.title} are not here: neither their runs' results in "
        f"this home nor data/{b.data['name']} with digest {b.data['tree'][:12]}",
        _bringing(a, b),
    )


def answers(side: Side, rows: CommonRows) -> tuple[Rows, bool]:
    """A model's answers to the rows, and whether its run left them; else it answers now."""
    if side.test is not None and side.data["tree"] == rows.tree:
        kept = read(objects.path(side.test.files["rows.safetensors"]))
        same = predictor(side).labels == rows.labels
        if same and np.array_equal(kept.label, rows.label):
            return Rows(kept.probability, kept.label, rows.unit), True
    model = predictor(side)
    found = model.predict(rows.items).probability
    order = [model.labels.index(label) for label in rows.labels]
    return Rows(found[:, order], rows.label, rows.unit), False


def predictor(side: Side) -> Predictor:
    """The model, ready to answer."""
    return _loaded(side.bundle.folder, str(side.graph))


def groups(side: Side, rows: CommonRows) -> slices.Groups:
    """Rows by length in this model's tokens, or by ink."""
    if rows.texts:
        read_rows = predictor(side).reader.read(rows.items)  # type: ignore[arg-type]
        return slices.by_length(np.array([len(row) for row in read_rows]))
    return slices.by_ink(np.stack(list(rows.items)))  # type: ignore[arg-type]


def seen_in_training(side: Side, rows: CommonRows) -> int | None:
    """How many of the rows the model was trained or tuned on; None where nobody knows.

    Within one data set none: its splits are checked when it is validated.
    """
    if side.data["tree"] == rows.tree:
        return 0
    if side.prepared is None:
        return None
    known = set()
    for split in ("train", "val"):
        known |= {row["id"] if row["text"] is None else row["text"] for row in _lines(side, split)}
    mine = rows.items if rows.texts else rows.ids
    return sum(each in known for each in mine)


@cache
def _loaded(folder: Path, graph: str) -> Predictor:
    return Predictor(folder, graph)


def _lines(side: Side, split: str) -> list[dict[str, Any]]:
    assert side.prepared is not None
    path = objects.path(side.prepared.files[f"rows.{split}.jsonl"])
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def _prepared(prepared: Prepared, labels: tuple[str, ...]) -> CommonRows:
    from safetensors.numpy import load_file

    raw = prepared.sources[0].raw
    arrays = load_file(objects.path(prepared.files["test.safetensors"]))
    path = objects.path(prepared.files["rows.test.jsonl"])
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    text = prepared.spec.modality == "text"
    return CommonRows(
        name=raw.name,
        tree=raw.tree,
        ids=tuple(line["id"] for line in lines),
        items=[line["text"] for line in lines] if text else list(arrays["pixels"]),
        labels=labels,
        label=_positions([line["label"] for line in lines], labels),
        unit=arrays["unit"],
    )


def _folder(side: Side, labels: tuple[str, ...]) -> CommonRows:
    """From `data/`, every byte the recorded one."""
    from components.datasets import reader

    name, folder = side.data["name"], project.root() / "data" / side.data["name"]
    check.verify([name])
    found = reader(folder).read(folder, "test")
    kind = "text" if "text" in found.columns else "image"
    return CommonRows(
        name=name,
        tree=side.data["tree"],
        ids=tuple(found["id"]),
        items=list(found[kind]),
        labels=labels,
        label=_positions(found["label"], labels),
        unit=np.arange(len(found), dtype=np.int64),
    )


def _positions(names: Sequence[str], labels: tuple[str, ...]) -> np.ndarray:
    order = {label: at for at, label in enumerate(labels)}
    strange = sorted(set(names) - order.keys())
    if strange:
        raise DataRejected(
            f"the test rows have labels that the models do not answer: {', '.join(strange)}",
            "train a model that knows them first",
        )
    return np.array([order[name] for name in names], dtype=np.int64)


def _here(side: Side) -> bool:
    """Whether `data/` holds the data set that the version was made from."""
    name = side.data["name"]
    return (
        _recorded(name) == side.data["tree"]
        and Path(project.root(), "data", name, "dataset.json").is_file()
    )


def _recorded(name: str) -> str:
    """The digest that this clone records for a data set; empty where it knows none."""
    try:
        tree = pointer.recorded(project.root())
        return tree.part(name).digest if name in tree.names else ""
    except AthanorError:
        return ""


def _bringing(a: Side, b: Side) -> str:
    """The command that brings the rows of one of the two."""
    for one in (b, a):
        if _recorded(one.data["name"]) == one.data["tree"]:
            return f"athanor data pull {one.data['name']}"
    commit = b.bundle.provenance["facts"].get("commit", "")[:12]
    return (
        f"git checkout {commit or 'COMMIT'} -- data.dvc configs/data && "
        f"athanor data pull {b.data['name']}   (the commit of {b.title})"
    )
