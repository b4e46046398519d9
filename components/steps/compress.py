"""Compress: a chain of methods, and the proven ONNX graph at its end."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import Exported, Made, Parity, Prepared, TrainedModel
from components.compression import Compression, chain_name, check_chain
from components.recipe import Recipe

if TYPE_CHECKING:
    from components.layers.backbone import Model
    from components.objectives import Arrays

GRAPH = "model.onnx"
CALIBRATION_BATCH = 32


def compress(
    model: TrainedModel,
    data: Prepared,
    chain: tuple[Compression, ...],
    name: str | None = None,
    *,
    teacher: TrainedModel | None = None,
) -> Exported:
    """The graph that a chain makes of a trained model; the empty chain is the plain export.

    Methods for models come first, then the model is written in float32 and proven against
    PyTorch, then methods for graphs. `name` is what the run calls the chain; None: its kinds.
    `teacher` guides every training in the chain; None: the model that enters the method.

    Raises:
        IntegrityError: a graph does not compute what its model computes.
        UsageError: a method cannot work on this model.
    """
    from components import objects
    from components.export import graph, parity
    from components.training import weights
    from components.workspace import current

    began = time.monotonic()
    check_chain(chain)
    name = name or chain_name(chain)
    bench = Workbench(data, current().folder / "compress", teacher)
    bench.folder.mkdir(exist_ok=True)
    for method in chain:
        if method.works_on == "model":
            model = method.model(model, bench)
    module = weights.load(model)
    file = bench.folder / GRAPH
    graph.write(module, model.spec, file)
    proof = bench.parity(file, module, model)
    parity.demand_equal(proof, name)
    for number, method in enumerate(chain):
        if method.works_on == "graph":
            smaller = bench.folder / f"{number}-{GRAPH}"
            method.graph(file, smaller, bench)
            proof = bench.parity(smaller, module, model)
            parity.demand_alike(proof, name)
            file = smaller
    return Exported(
        name=name,
        model=model,
        chain=tuple(method.model_dump(mode="json") for method in chain),
        files={GRAPH: objects.put(file)},
        size_bytes=file.stat().st_size,
        parity=proof,
        made=Made(seconds=round(time.monotonic() - began, 3)),
    )


@dataclass
class Workbench:
    """The bench of this step: training rows, a folder, the house's one loop."""

    data: Prepared
    folder: Path
    teacher: TrainedModel | None = None
    trainings: int = 0
    """Begun so far; each has a folder of its own."""

    def calibration(self, rows: int) -> "list[Arrays]":
        """Batches of training rows by input name, spread evenly over the split."""
        import numpy as np

        from components import objects
        from components.batches.examples import Examples

        path = objects.path(self.data.files["train.safetensors"])
        examples = Examples.load(path, self.data.spec)
        names = [entry.name for entry in self.data.spec.inputs]
        chosen = np.unique(np.linspace(0, len(examples) - 1, min(rows, len(examples))).astype(int))
        batches = [
            examples.batch(chosen[first : first + CALIBRATION_BATCH])
            for first in range(0, len(chosen), CALIBRATION_BATCH)
        ]
        return [{name: batch[name] for name in names} for batch in batches]

    def train(
        self, recipe: Recipe, *, start: TrainedModel | None, teacher: TrainedModel | None
    ) -> TrainedModel:
        """Train with the house's loop; checkpoints lie in a folder of this training."""
        from components.training.trained import trained

        folder = self.folder / f"training-{self.trainings}"
        self.trainings += 1
        return trained(self.data, recipe, folder, start=start, teacher=self.teacher or teacher)

    def parity(self, graph: Path, module: "Model", model: TrainedModel) -> Parity:
        """Graph against module on validation rows."""
        from components import objects
        from components.batches.examples import Examples
        from components.export.parity import compare

        path = objects.path(self.data.files["val.safetensors"])
        return compare(graph, module, Examples.load(path, model.spec), model.spec)
