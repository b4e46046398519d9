"""Our training loop beside a loop written by hand: CPU time per step, interleaved pairs.

Both train the same model on the same rows with the same clipping, optimizer and schedule; the
hand-written one, with `LambdaLR`, does no more than that. A ratio above 1 says that ours is
the faster one.

    python benchmarks/training_loop.py [pairs]
"""

import math
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from components.batches.examples import Examples
from components.layers.backbone import Backbone, Encoded, ImageModel, Model
from components.layers.heads import BranchClassifier
from components.recipe import Recipe
from components.spec import DataSpec, Input
from components.training import determinism, weights
from components.training.loop import Task, fit
from components.training.optimizers import adamw

RECIPE = {
    "objective": {"kind": "classification", "dropout": 0.0},
    "optimizer": {"lr": 1e-3},
    "precision": "fp32",
    "threads": 1,
}


class Case(NamedTuple):
    """A model and its rows."""

    name: str
    model: Callable[[], Model]
    task: Task


class Linear(Backbone):
    """16 numbers as they are: what is left is the loop itself."""

    def forward(self, pixels: Tensor) -> Encoded:  # type: ignore[override]
        """pixels: (batch, 1, 4, 4)."""
        return Encoded(None, (pixels.flatten(1),), None)


def main(pairs: int) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    head = ("case", "steps", "ours us/step", "plain us/step", "difference us", "plain/ours")
    print(f"{head[0]:24}{head[1]:>7}{head[2]:>14}{head[3]:>15}{head[4]:>15}{head[5]:>12}  95 %")
    for case in (linear(), digits(), reviews()):
        ours, plain = [], []
        for number in range(pairs + 1):
            order = (ours, plain) if number % 2 else (plain, ours)
            for times in order:
                times.append(seconds(case, by_hand if times is plain else by_us))
        print(row(case, ours[1:], plain[1:]), flush=True)  # the first pair warms up


def row(case: Case, ours: list[float], plain: list[float]) -> str:
    """One line: medians, and the ratio of the pairs with its 95 % interval."""
    steps = case.task.total_steps
    ratios = [math.log(theirs / own) for own, theirs in zip(ours, plain, strict=True)]
    rng = np.random.default_rng(0)
    draws = np.median(rng.choice(ratios, (10_000, len(ratios))), axis=1)
    low, high = np.exp(np.quantile(draws, (0.025, 0.975)))
    own, theirs = (1e6 * statistics.median(times) / steps for times in (ours, plain))
    more = 1e6 * statistics.median(o - p for o, p in zip(ours, plain, strict=True)) / steps
    return (
        f"{case.name:24}{steps:7d}{own:14.1f}{theirs:15.1f}{more:15.1f}"
        f"{math.exp(statistics.median(ratios)):12.3f}  [{low:.3f}, {high:.3f}]"
    )


def seconds(case: Case, loop: Callable[[Model, Task], None]) -> float:
    """CPU seconds of one training, the building of the model left out."""
    with determinism.settled(1, 0):
        model = case.model()
        began = time.process_time()
        loop(model, case.task)
        return time.process_time() - began


def by_us(model: Model, task: Task) -> None:
    """The house's loop."""
    for _ in fit(model, task):
        pass


def by_hand(model: Model, task: Task) -> None:
    """What one writes in a notebook."""
    recipe, rows = task.recipe, task.train
    size, name = recipe.budget.batch_size, task.spec.inputs[0].name
    optimizer = adamw(model, recipe.optimizer)
    total = task.total_steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            min(1, (step + 1) / (0.06 * total)) * 0.5 * (1 + math.cos(step / total * 3.14))
        ),
    )
    model.train()
    step, losses = 0, 0.0
    for _ in range(recipe.budget.epochs):
        for batch in notebook_batches(rows, size):
            if step == total:
                return
            arrays = rows.batch(batch)
            logits = model(torch.from_numpy(arrays[name]))
            loss = nn.functional.cross_entropy(logits, torch.from_numpy(arrays["label"]))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses += loss.item()
            step += 1


def notebook_batches(rows: Examples, size: int) -> list[np.ndarray]:
    """Random batches of similar length: without them the comparison is of padding, not of loops."""
    order = np.argsort(rows.lengths + np.random.rand(len(rows)), kind="stable")
    cut = [order[first : first + size] for first in range(0, len(rows), size)]
    return [cut[number] for number in np.random.permutation(len(cut))]


def linear() -> Case:
    """A 16 x 16 linear layer: overhead alone."""
    spec = _images(4, tuple(str(label) for label in range(16)))
    return Case(
        "linear 16 x 16",
        lambda: ImageModel(Linear(), BranchClassifier((16,), 16, 0.0)),
        _task({"kind": "cnn"}, spec, _pixels(spec, 3200), 16, 1500),
    )


def digits() -> Case:
    """The convolutional network of the digits."""
    spec = _images(28, tuple("0123456789"))
    task = _task({"kind": "cnn"}, spec, _pixels(spec, 640), 64, 10)
    return Case("cnn 28 x 28, bs 64", lambda: weights.fresh(task.recipe, spec), task)


def reviews() -> Case:
    """An encoder of two layers over texts of 5 to 120 tokens."""
    spec = DataSpec(
        modality="text",
        inputs=(Input(name="ids", dtype="int64", shape=("batch", "length")),),
        labels=("negative", "positive"),
        vocabulary_size=5000,
        max_length=128,
    )
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 121, 320)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = rng.integers(3, 5000, offsets[-1])
    label = {"label": rng.integers(0, 2, 320)}
    rows = Examples(label, lengths, ids, offsets, np.zeros((0, 0, 0), dtype=np.uint8))
    task = _task({"kind": "encoder", "dropout": 0.1}, spec, rows, 32, 10)
    return Case("encoder 2 x 128, bs 32", lambda: weights.fresh(task.recipe, spec), task)


def _task(architecture: dict, spec: DataSpec, rows: Examples, size: int, steps: int) -> Task:
    budget = {"epochs": 1000, "batch_size": size, "max_steps": steps}
    recipe = Recipe.model_validate(RECIPE | {"architecture": architecture, "budget": budget})
    return Task(recipe, spec, rows)


def _images(side: int, labels: tuple[str, ...]) -> DataSpec:
    given = Input(name="pixels", dtype="float32", shape=("batch", 1, side, side))
    return DataSpec(modality="image", inputs=(given,), labels=labels, mean=33.0, std=78.0)


def _pixels(spec: DataSpec, rows: int) -> Examples:
    rng = np.random.default_rng(0)
    side = int(spec.inputs[0].shape[-1])
    pixels = rng.integers(0, 256, (rows, side, side)).astype(np.uint8)
    label = {"label": rng.integers(0, len(spec.labels), rows)}
    nothing = np.zeros(0, dtype=np.int64)
    return Examples(label, np.ones(rows, dtype=np.int64), nothing, nothing, pixels)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
