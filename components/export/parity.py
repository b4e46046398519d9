"""Proof that a graph computes what its PyTorch module computes."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.artifacts import Parity
from components.batches import order
from components.batches.examples import Arrays, Examples
from components.errors import IntegrityError
from components.export.reference import Reference, one_thread
from components.inference.session import Session
from components.layers.backbone import Model
from components.spec import PAD, DataSpec, Input

ROWS = 256
"""Rows that are compared, spread evenly over the split."""

BATCH_ROWS = 32

LARGEST_DIFFERENCE = 1e-4
"""Of two logits in float32; the graphs of the house stay below 1e-5."""

LEAST_AGREEMENT = 0.9
"""Share of rows with the same label, below which a quantized graph is broken, not just coarse."""


class Outputs(NamedTuple):
    """Logits of the same rows, (rows, labels), by graph and by module."""

    graph: np.ndarray
    module: np.ndarray

    @property
    def difference(self) -> float:
        """Largest absolute difference; infinite where a number is missing."""
        largest = float(np.abs(self.graph - self.module).max(initial=0.0))
        return largest if math.isfinite(largest) else math.inf

    @property
    def agreement(self) -> float:
        """Share of rows on which both choose the same label."""
        return float((self.graph.argmax(1) == self.module.argmax(1)).mean())


def compare(graph: Path, model: Model, examples: Examples, spec: DataSpec) -> Parity:
    """How far graph and module are apart, on real rows and on every shape that is easily frozen.

    The difference is rounded up to one digit: the last bits of another processor are no other
    result.

    Raises:
        IntegrityError: the graph does not run, or takes one shape only.
    """
    session, reference = Session(graph), Reference(model)
    chosen = np.unique(np.linspace(0, len(examples) - 1, min(ROWS, len(examples))).astype(int))
    shapes = tuple(_shapes(spec.inputs[0], spec))
    with one_thread():
        rows = _both(session, reference, _real(examples, chosen, spec))
        filled = [_filled(shape, examples, spec) for shape in shapes]
        differences = [_both(session, reference, [batch]).difference for batch in filled]
    return Parity(
        rows=len(chosen),
        max_difference=_rounded_up(max([rows.difference, *differences])),
        top1_agreement=round(rows.agreement, 6),
        shapes=tuple("x".join(map(str, shape)) for shape in shapes),
    )


def demand_equal(parity: Parity, name: str) -> None:
    """Let a float graph pass only if its logits are the module's.

    Raises:
        IntegrityError: a logit is off by more than rounding explains.
    """
    if not parity.max_difference <= LARGEST_DIFFERENCE:
        raise IntegrityError(
            f"the graph {name} computes other logits than its PyTorch module: "
            f"{parity.max_difference:g} apart, {LARGEST_DIFFERENCE:g} is allowed",
            "look for a Python branch or a size in the model's forward that depends on its input: "
            "tracing freezes it",
        )


def demand_alike(parity: Parity, name: str) -> None:
    """Let a quantized graph pass only if it mostly chooses the module's labels.

    Raises:
        IntegrityError: it does not, or gives something else than numbers.
    """
    if not math.isfinite(parity.max_difference) or parity.top1_agreement < LEAST_AGREEMENT:
        raise IntegrityError(
            f"the graph {name} chooses the label of its PyTorch module on "
            f"{parity.top1_agreement:.0%} of {parity.rows} rows, {LEAST_AGREEMENT:.0%} is demanded",
            "take another method into the chain (int8_dynamic for text, int8_static for images), "
            "or leave this model in float",
        )


def _both(session: Session, reference: Reference, batches: list[Arrays]) -> Outputs:
    graphs, modules = [], []
    for batch in batches:
        expected = reference.run(batch)
        try:
            found = session.run(batch)
        except Exception as error:
            shape = "x".join(map(str, next(iter(batch.values())).shape))
            raise IntegrityError(
                f"the graph does not run on an input of {shape}: {error}",
                "look for a size in the model's forward that tracing froze",
            ) from error
        if found.shape != expected.shape:
            raise IntegrityError(
                f"the graph answers {found.shape} where its module answers {expected.shape}",
                "look for a size in the model's forward that tracing froze",
            )
        graphs.append(found)
        modules.append(expected)
    return Outputs(np.concatenate(graphs), np.concatenate(modules))


def _real(examples: Examples, chosen: np.ndarray, spec: DataSpec) -> list[Arrays]:
    names = [entry.name for entry in spec.inputs]
    batches = []
    for places in order.by_length(examples.lengths[chosen], BATCH_ROWS):
        batch = examples.batch(chosen[places])
        batches.append({name: batch[name] for name in names})
    return batches


def _shapes(entry: Input, spec: DataSpec) -> Iterator[tuple[int, ...]]:
    """One row and many, one token and the longest, and sizes that nothing else has."""
    fixed = tuple(axis for axis in entry.shape if isinstance(axis, int))
    if "length" not in entry.shape:
        yield from ((rows, *fixed) for rows in (1, 3, 32))
        return
    longest = spec.max_length
    yield from ((1, 1), (1, longest), (3, min(33, longest)), (32, min(64, longest)))


def _filled(shape: tuple[int, ...], examples: Examples, spec: DataSpec) -> Arrays:
    """An input of this shape made of real rows, for on noise a quantized graph is off by more."""
    name = spec.inputs[0].name
    if spec.modality == "text":
        return {name: np.resize(examples.ids[examples.ids != PAD], shape).astype(np.int64)}
    return {name: examples.batch(np.resize(np.arange(len(examples)), shape[0]))[name]}


def _rounded_up(value: float) -> float:
    """The next number with one digit that is not zero."""
    if value == 0 or not math.isfinite(value):
        return value
    unit = 10.0 ** math.floor(math.log10(value))
    return float(f"{math.ceil(value / unit) * unit:.0e}")
