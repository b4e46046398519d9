"""A project whose test rows say which of two small graphs answers them rightly."""

import json
from pathlib import Path

from components import objects
from components.artifacts import Prepared, RawData, ValidatedData
from components.data import pointer
from components.steps.register import RegisterConfig, register
from tests.pipelines import small_project
from tests.registry.variants import a_prepared, a_variant

HOSTILE = "bad good <script>alert('x')</script><img src=http://example.org/x onerror=alert(1)>"
TEST = (
    *(("good fine", "good"),) * 15,
    *(("bad dull", "bad"),) * 15,
    *(("bad good", "good"),) * 6,
    *(("dull fine", "bad"),) * 2,
    (HOSTILE, "bad"),
    *(("bad", "good"),) * 2,
)
"""A graph with a shift says good to a mixed text, one without says bad: of these rows it wins 6 and
loses 3; the last two both get wrong."""


def write(project: Path, name: str = "reviews", test: tuple[tuple[str, str], ...] = TEST) -> None:
    """`data/<name>` as the recorded state of the project."""
    folder = project / "data" / name
    splits = {"train": TEST[:9], "val": TEST[14:16], "test": test}
    for split, rows in splits.items():
        lines = [
            json.dumps({"id": f"{split}-{at}", "text": text, "label": label}) + "\n"
            for at, (text, label) in enumerate(rows)
        ]
        (folder / split).mkdir(parents=True, exist_ok=True)
        (folder / split / "0000.jsonl").write_text("".join(lines))
    card = {
        "name": name, "modality": "text", "labels": ["bad", "good"], "licence": "none",
        "counts": {split: len(rows) for split, rows in splits.items()}, "provenance": "made up",
        "split_rule": "in order",
        "schema": {"id": "string", "label": "string", "text": "string"},
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(card))
    small_project.record(project)


def registered(project: Path, folder: Path, shift: float, data: str = "reviews") -> int:
    """A version of `reviews` made from a data set of the project; its graph has this shift."""
    prepared = prepared_from(project, folder, data)
    variant = a_variant(folder / f"shift-{shift}-{data}", shift=shift, seed=int(10 * shift))
    config = RegisterConfig(name="reviews")
    return register((variant,), variant.exported, config, data=prepared).version


def prepared_from(project: Path, folder: Path, data: str) -> Prepared:
    """A `Prepared` that says it came from a data set of the project."""
    tree = pointer.recorded(project).part(data).digest
    raw = RawData(name=data, tree=tree, rows={"train": 9, "val": 2, "test": len(TEST)})
    made = a_prepared(folder)
    return made.model_copy(update={"sources": (ValidatedData(raw=raw, checks=()),)})


def other_labels(prepared: Prepared) -> Prepared:
    """The same with labels of another task."""
    inputs = json.loads(objects.path(prepared.files["inputs.json"]).read_bytes())
    changed = json.dumps({**inputs, "labels": ["dark", "light"]}).encode()
    files = {**prepared.files, "inputs.json": objects.put_bytes(changed)}
    return prepared.model_copy(update={"files": files})
