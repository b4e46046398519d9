"""Evaluate: what a graph answers on one split, and how good that is. It never compares."""

from components.artifacts import Exported, Predictions, Prepared, Split

BATCH_ROWS = 32
"""Part of the result: int8 activations share their range within a batch."""


def evaluate(exported: Exported, data: Prepared, *, split: Split) -> Predictions:
    """The graph's probabilities on every row of a split, with scores, report and plots.

    Runs what will be served, the graph in ONNX Runtime, and no PyTorch.
    """
    import numpy as np

    from components import objects
    from components.batches import order
    from components.batches.examples import Examples
    from components.evaluation import report
    from components.inference.predictor import softmax
    from components.inference.session import Session
    from components.workspace import current

    here = current()
    session = Session(objects.path(exported.files["model.onnx"]))
    examples = Examples.load(objects.path(data.files[f"{split}.safetensors"]), data.spec)
    probability = np.zeros((len(examples), len(data.spec.labels)), dtype=np.float32)
    done = 0
    for rows in order.by_length(examples.lengths, BATCH_ROWS):
        batch = examples.batch(rows)
        probability[rows] = softmax(session.run({name: batch[name] for name in session.inputs}))
        done += len(rows)
        here.progress(done, len(examples), f"{exported.name} on {split}")
    return report.predictions(
        exported.name,
        exported.digest,
        data,
        split=split,
        objective=exported.model.recipe.objective.model_dump(mode="json"),
        probability=probability,
    )
