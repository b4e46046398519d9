"""Labels for raw input from a folder with a graph, `inputs.json` and what its reader needs."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.inference.readers import Picture, described, reader
from components.inference.session import Session


@dataclass(frozen=True)
class Answers:
    """One row per item, in the order that they were asked."""

    probability: np.ndarray
    """float32 (rows, labels), each row sums to 1."""
    labels: tuple[str, ...]
    """The most probable label of each row."""
    read_s: float
    """Seconds of reading and tokenizing."""
    run_s: float
    """Seconds in the graph."""


class Predictor:
    """A model that answers raw input; the files of its folder were verified before."""

    def __init__(self, folder: Path, graph: str = "model.onnx", threads: int = 1) -> None:
        self.inputs = described(folder)
        self.reader = reader(self.inputs, folder)
        self.session = Session(folder / graph, threads)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the model can answer, in the order of its probabilities."""
        return self.inputs.labels

    def predict(self, items: Sequence[str] | Sequence[Picture], batch_size: int = 32) -> Answers:
        """Probabilities and labels of raw items; neighbours in length share a batch.

        Raises:
            DataRejected: an item cannot be read.
        """
        begun = time.perf_counter()
        rows = self.reader.read(items)  # type: ignore[arg-type]
        read = time.perf_counter()
        probability = np.zeros((len(rows), len(self.labels)), dtype=np.float32)
        for places in by_length(rows, batch_size):
            batch = self.reader.batch([rows[place] for place in places])
            probability[places] = softmax(self.session.run(batch))
        return Answers(
            probability=probability,
            labels=tuple(self.labels[best] for best in probability.argmax(axis=1)),
            read_s=read - begun,
            run_s=time.perf_counter() - read,
        )


def by_length(rows: Sequence[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    """Positions of the rows in portions of like length, the shortest first; ties stay in order."""
    order = np.argsort([row.shape[-1] for row in rows], kind="stable")
    for begin in range(0, len(order), batch_size):
        yield order[begin : begin + batch_size]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis, float32."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return (shifted / shifted.sum(axis=-1, keepdims=True)).astype(np.float32)
