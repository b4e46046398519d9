"""Measure: how large a graph is and how fast it answers on this machine."""

import time
from typing import TYPE_CHECKING

from components.artifacts import Exported, Made, Measured, Prepared
from components.inference.timing import LARGE_BATCH, MeasureConfig

if TYPE_CHECKING:
    from components.batches.examples import Examples
    from components.objectives import Arrays


def measure(exported: Exported, data: Prepared, config: MeasureConfig) -> Measured:
    """Size, and in `made.facts` the latency on real validation rows on one thread.

    The PyTorch module of the same weights takes turns with the graph, in the same process.
    """
    from components import objects
    from components.batches.examples import Examples
    from components.export.reference import Reference, one_thread
    from components.inference import timing
    from components.inference.session import Session
    from components.training import weights
    from components.workspace import current

    began = time.monotonic()
    session = Session(objects.path(exported.files["model.onnx"]))
    reference = Reference(weights.load(exported.model))
    examples = Examples.load(objects.path(data.files["val.safetensors"]), data.spec)
    singles = _batches(examples, session.inputs, config.single_rows, 1)
    large = _batches(examples, session.inputs, config.batches, LARGE_BATCH)
    with one_thread():
        one = timing.timed([session.run, reference.run], singles, config.rounds)
        [many] = timing.timed([session.run], large, config.rounds)
    found = timing.latency(one[0], many, one[1])
    processor = {
        "batch_1_p50": timing.processor(one[0]),
        "batch_32_p50": timing.processor(many),
        "torch_batch_1_p50": timing.processor(one[1]),
    }
    current().metrics(
        {
            "size_bytes": exported.size_bytes,
            **{f"latency_ms/{name}": value for name, value in found.items()},
        }
    )
    return Measured(
        exported=exported.digest,
        size_bytes=exported.size_bytes,
        made=Made(
            seconds=round(time.monotonic() - began, 3),
            facts={"latency_ms": found, "cpu_ms": processor, "host": timing.host()},
        ),
    )


def _batches(examples: "Examples", names: tuple[str, ...], count: int, rows: int) -> "list[Arrays]":
    """So many batches of rows spread evenly over the split, which is used again where it is
    short."""
    import numpy as np

    spread = np.linspace(0, len(examples) - 1, count * rows).astype(int)
    batches = [examples.batch(spread[first::count]) for first in range(count)]
    return [{name: batch[name] for name in names} for batch in batches]
