"""`athanor compare A B`: what b answers differently from a on the same test rows."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components import files, options, registry
from components.errors import AthanorError, UsageError
from components.evaluation.contrast import Asked, contrast, flips
from components.evaluation.rows import Rows
from components.gate import GateConfig
from components.inference import timing
from components.inference.timing import MeasureConfig
from components.objectives import Objective
from pipelines.comparison.changes import changes
from pipelines.comparison.page import page
from pipelines.comparison.records import Answer, Compared, Cost, Example, Model, ratios
from pipelines.comparison.rows import (
    CommonRows,
    answers,
    common_rows,
    groups,
    predictor,
    seen_in_training,
)
from pipelines.comparison.sides import Side, side

TEXT_CHARACTERS = 2000
"""Longest text that is shown; a page must stay readable."""
FOLDER = "comparisons"
"""Where the page lies among the files of b's run in MLflow."""


class Beside(NamedTuple):
    """Two models on the same rows."""

    compared: Compared
    pictures: dict[str, bytes]
    """PNG files by id of their row, none for texts."""
    b: Side


class Result(NamedTuple):
    """The comparison, its page, and where that lies."""

    compared: Compared
    page: bytes
    file: str | None
    logged: str | None
    """Path among the files of b's run in MLflow."""

    @property
    def where(self) -> str:
        """Where the page is, in a line."""
        places = [self.file] if self.file else []
        if self.logged:
            places.append(f"{self.logged} of {self.compared.b.title} in MLflow")
        return f"page: {', '.join(places)}" if places else "page: nowhere (--html FILE writes it)"


def compare(first: str, second: str, examples: int, html: str | None) -> Result:
    """b beside a: the numbers, the page, and the page among the files of b's run in MLflow.

    Raises:
        UsageError: a word names nothing, or the test rows of neither are here.
        DataRejected: the two answer different labels.
        IntegrityError: a file of theirs is not what was registered.
    """
    if examples < 0:
        raise UsageError(f"--examples {examples} is less than none", "athanor compare --help")
    target = _writable(html) if html else None
    compared, pictures, b = beside(first, second, examples)
    text = page(compared, pictures)
    if target:
        files.write_bytes(target, text)
    logged, problem = log(b, f"{compared.a.title}-{b.title}", FOLDER, text)
    if problem:
        compared = compared.model_copy(update={"notes": (*compared.notes, problem)})
    return Result(compared, text, html, logged)


def beside(first: str, second: str, examples: int) -> Beside:
    """b beside a: the numbers, and the pictures of the rows that are shown.

    Raises:
        As `compare`.
    """
    a, b = side(first), side(second)
    rows = common_rows(a, b)
    (mine_a, stored_a), (mine_b, stored_b) = answers(a, rows), answers(b, rows)
    found = contrast(mine_a, mine_b, rows.labels, groups(b, rows), _asked(b))
    lost, won = (each[:examples] for each in flips(mine_a, mine_b))
    cost_a, cost_b = _cost(a, b, rows)
    compared = Compared(
        a=_model(first, a, stored_a, cost_a),
        b=_model(second, b, stored_b, cost_b),
        data={"name": rows.name, "tree": rows.tree},
        contrast=found,
        lost=_examples(lost, rows, mine_a, mine_b),
        won=_examples(won, rows, mine_a, mine_b),
        changes=tuple(changes(a, b)),
        notes=tuple(_notes(a, b, rows)),
    )
    return Beside(compared, _pictures(np.concatenate([lost, won]), rows), b)


def document(result: Result) -> dict[str, Any]:
    """The document of `athanor compare --json`."""
    found = result.compared
    whole = found.model_dump(mode="json")
    models = {side: whole.pop(side) for side in ("a", "b")}
    return {
        "models": models,
        **whole.pop("contrast"),
        **whole,
        "ratios": ratios(found),
        "page": {"file": result.file, "run_id": found.b.run_id, "artifact": result.logged},
    }


def _asked(b: Side) -> Asked:
    objective = b.bundle.exported.model.recipe.objective
    gate = GateConfig()
    test = options.load(Objective, objective.kind).test
    return Asked(test=test, alpha=gate.alpha, margin=gate.margin)


def _model(reference: str, one: Side, stored: bool, cost: Cost) -> Model:
    return Model(
        reference=reference,
        title=one.title,
        name=one.name,
        version=one.version,
        variant=one.variant,
        bundle=one.bundle.digest,
        run_id=one.run_id,
        stored=stored,
        size_bytes=one.graph.stat().st_size,
        cpu_ms=cost,
        data=one.data,
        commit=one.bundle.provenance["facts"].get("commit", ""),
        edited="source.patch" in one.bundle.provenance["files"],
    )


def _cost(a: Side, b: Side, rows: CommonRows) -> tuple[Cost, Cost]:
    """Both graphs on the same rows in turns, one thread each, as the processor counts.

    The clock counts the neighbours too: with eight of them on two cores one graph looked twice
    as slow as its equal, while their processor times were a twentieth apart.
    """
    config = MeasureConfig()
    models = {"a": predictor(a), "b": predictor(b)}
    runs = [
        lambda batch, name=name, run=model.session.run: run(batch[name])
        for name, model in models.items()
    ]

    def timed(count: int, size: int) -> list[float]:
        spread = np.linspace(0, len(rows.items) - 1, count * size).astype(int)
        batches: list[Any] = []
        for first in range(count):
            items = [rows.items[at] for at in spread[first::count]]
            batches.append({n: m.reader.batch(m.reader.read(items)) for n, m in models.items()})  # type: ignore[arg-type]
        return [timing.processor(each) for each in timing.timed(runs, batches, config.rounds)]

    single, large = timed(config.single_rows, 1), timed(config.batches, timing.LARGE_BATCH)
    one, two = (Cost(batch_1=few, batch_32=many) for few, many in zip(single, large, strict=True))
    return one, two


def _examples(places: np.ndarray, rows: CommonRows, a: Rows, b: Rows) -> tuple[Example, ...]:
    return tuple(
        Example(
            id=rows.ids[place],
            text=str(rows.items[place])[:TEXT_CHARACTERS] if rows.texts else None,
            true=rows.labels[rows.label[place]],
            a=_answer(a, place, rows.labels),
            b=_answer(b, place, rows.labels),
        )
        for place in places
    )


def _answer(rows: Rows, place: int, labels: tuple[str, ...]) -> Answer:
    return Answer(
        label=labels[rows.chosen[place]], probability=round(float(rows.confidence[place]), 6)
    )


def _pictures(places: np.ndarray, rows: CommonRows) -> dict[str, bytes]:
    """The rows' pictures as PNG, by id; none for texts."""
    if rows.texts:
        return {}
    from PIL import Image

    found = {}
    for place in places:
        target = io.BytesIO()
        Image.fromarray(np.asarray(rows.items[place], dtype=np.uint8)).save(target, "PNG")
        found[rows.ids[place]] = target.getvalue()
    return found


def _notes(a: Side, b: Side, rows: CommonRows) -> Iterator[str]:
    for one in (a, b):
        if one.data["tree"] == rows.tree:
            continue
        yield (
            f"{one.title} was made from {one.data['name']} {one.data['tree'][:12]}; it is compared "
            f"on the test rows of {rows.name} {rows.tree[:12]}"
        )
        seen = seen_in_training(one, rows)
        if seen is None:
            yield f"nobody knows which of these rows {one.title} was trained on"
        elif seen:
            yield (
                f"{seen} of these {len(rows.label)} rows were among the training or validation "
                f"rows of {one.title}: its numbers here are too good"
            )


def _writable(html: str) -> Path:
    target = Path(html)
    if target.is_dir() or not target.parent.is_dir():
        raise UsageError(f"--html {html}: no file can be written there", "name a file in a folder")
    return target


def log(b: Side, name: str, folder: str, text: bytes) -> tuple[str | None, str]:
    """Put a page among the files of b's run: its path there, or what kept it from there."""
    import tempfile

    from mlflow.exceptions import MlflowException

    name = name.replace("/", "-v").replace(":", "-").replace("+", "-")
    with tempfile.TemporaryDirectory(prefix="athanor-compare-") as temporary:
        file = Path(temporary) / f"{name}.html"
        file.write_bytes(text)
        try:
            with registry.connection() as client:
                client.log_artifact(b.run_id, str(file), folder)
        except (AthanorError, MlflowException, OSError, ImportError) as error:
            first = str(error).splitlines()[0]
            return None, f"the page is not among the files of {b.title} in MLflow: {first}"
    return f"{folder}/{name}.html", ""
