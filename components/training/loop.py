"""The one training loop: a generator of progress that goes on bit for bit after any kill."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from components.batches import images, order
from components.batches.examples import Arrays, Examples
from components.errors import TrainingDiverged
from components.layers.backbone import Model
from components.objectives import Objective, Softening
from components.recipe import Recipe
from components.spec import DataSpec
from components.training import interrupt, portions, ranks
from components.training.checkpoint import Checkpoints
from components.training.optimizers import learning_rate
from components.training.state import TrainingState

EVALUATION_ROWS = 256
FORMATS = {"bf16": torch.bfloat16, "fp16": torch.float16}
Scores = dict[str, tuple[float, int]]


@dataclass(frozen=True)
class Task:
    """What is learned from which rows."""

    recipe: Recipe
    spec: DataSpec
    train: Examples
    validation: Examples | None = None
    teacher_logits: np.ndarray | None = None
    """(training rows, labels), computed once."""

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training, where nothing stops it early."""
        budget = self.recipe.budget
        steps = budget.epochs * math.ceil(len(self.train) / budget.batch_size)
        return min(steps, budget.max_steps or steps)


class Outcome(NamedTuple):
    """What a finished training leaves."""

    state: dict[str, Tensor]
    """The best epoch's tensors where rows validate, else the last ones."""
    scores: dict[str, float]
    """Mean training loss of the last epoch, and every validation score of the best one."""


class Progress(NamedTuple):
    """One optimizer step; the last one carries the outcome."""

    step: int
    """Counted from 1."""
    total_steps: int
    epoch: int
    """Counted from 0."""
    metrics: dict[str, float]
    """`train/loss` of the step; at the end of an epoch also `val/...`."""
    outcome: Outcome | None = None

    @property
    def done(self) -> bool:
        """Whether the training is over."""
        return self.outcome is not None


def fit(model: Model, task: Task, checkpoints: Checkpoints | None = None) -> Iterator[Progress]:
    """Progress after every optimizer step, from the last checkpoint on where there is one.

    A step is one batch, whole or in portions, which may be computed by several ranks; losses and
    gradients are sums over the batch divided by its number of terms once, so portions and padding
    change nothing.

    Raises:
        ResourceError: the disk has no room for checkpoints.
        TrainingDiverged: the loss is no longer finite.
    """
    state, together = TrainingState(model, task.recipe), ranks.current()
    saved = together.read(checkpoints.load) if checkpoints else None
    if checkpoints and together.leads:
        checkpoints.demand_room(state.size_bytes)
    if saved:
        state.restore(saved)
    stepper = Stepper(state, task)
    with interrupt.held():
        while state.step < task.total_steps and not state.stopped:
            for batch in _epoch(task, state.epoch, state.position):
                metrics = {"train/loss": stepper.take(batch)}
                if state.position == 0 or state.step == task.total_steps:
                    metrics |= stepper.close_epoch()
                leaving = together.largest(interrupt.pending())
                due = leaving or state.step % task.recipe.budget.checkpoint_steps == 0
                if checkpoints and due:
                    _keep(state, checkpoints)
                if leaving:
                    interrupt.leave(leaving)
                over = state.step == task.total_steps or state.stopped
                outcome = Outcome(*state.result()) if over else None
                yield Progress(state.step, task.total_steps, stepper.epoch, metrics, outcome)
                if over:
                    return
    yield Progress(state.step, task.total_steps, state.epoch, {}, Outcome(*state.result()))


def _keep(state: TrainingState, checkpoints: Checkpoints) -> None:
    snapshot = state.snapshot()
    if ranks.current().leads:
        checkpoints.save(snapshot)


def _epoch(task: Task, epoch: int, position: int) -> Iterator[Arrays]:
    """The batches of an epoch from a position on, as the objective wants them."""
    recipe = task.recipe
    rows = order.batches(task.train.lengths, recipe.budget.batch_size, recipe.seed, epoch)
    placement = None
    if recipe.augmentation is not None and task.spec.modality == "image":
        rng = order.placement_rng(recipe.seed, epoch)
        placement = images.draw(recipe.augmentation, len(task.train), rng)
    arranges = type(recipe.objective).arrange is not Objective.arrange  # a generator costs 20 us
    for number in range(position, len(rows)):
        batch = task.train.batch(rows[number], placement)
        if task.teacher_logits is not None:
            batch["teacher_logits"] = task.teacher_logits[rows[number]]
        if arranges:
            rng = order.arrangement_rng(recipe.seed, epoch, number)
            batch = recipe.objective.arrange(batch, task.spec, rng)
        yield batch


class Stepper:
    """Takes optimizer steps and closes epochs for a state."""

    def __init__(self, state: TrainingState, task: Task) -> None:
        self.state, self.task, self.recipe = state, task, task.recipe
        self.epoch = state.epoch
        self.total = task.total_steps
        self.batches = math.ceil(len(task.train) / self.recipe.budget.batch_size)
        self.softening = Softening(
            self.recipe.label_smoothing,
            self.recipe.guidance if task.teacher_logits is not None else None,
        )
        self.parameters = [each for each in state.model.parameters() if each.requires_grad]
        self.device = self.parameters[0].device
        number_format = FORMATS.get(self.recipe.precision)
        self.autocast = (
            nullcontext()
            if number_format is None
            else torch.autocast(self.device.type, dtype=number_format)
        )

    def take(self, batch: Arrays) -> float:
        """Take one optimizer step: the batch's mean loss."""
        state, recipe = self.state, self.recipe
        if not state.model.training:
            state.model.train()
        total, terms = self.accumulate(batch)
        loss = total / max(terms, 1)
        lr = learning_rate(state.step, self.total, recipe.optimizer.lr, recipe.schedule)
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"the training loss is {loss} at step {state.step + 1} of {self.total} "
                f"(learning rate {lr:.2g}, {recipe.precision})",
                "lower recipe.optimizer.lr or raise recipe.schedule.warmup"
                + ("" if recipe.precision == "fp32" else ", or set recipe.precision: fp32"),
            )
        for group in state.optimizer.param_groups:
            group["lr"] = lr * group["factor"]
        state.scaler.unscale_(state.optimizer)
        state.ranks.clip(self.parameters, recipe.optimizer.clip_norm)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.optimizer.zero_grad()
        self.epoch = state.epoch
        state.advance(total, terms, self.batches)
        return loss

    def close_epoch(self) -> dict[str, float]:
        """Validate where there are rows for it: the scores, `val/...`."""
        validation = self.task.validation
        scores = evaluate(self.state.tested, self.task, validation) if validation else {}
        scores = {f"val/{name}": value for name, value in scores.items()}
        self.state.close_epoch(scores)
        return scores

    def accumulate(self, batch: Arrays) -> tuple[float, int]:
        """Gradients of the batch's mean loss; the sum of its losses and their number."""
        if self.recipe.budget.accumulate > 1:
            return portions.accumulate(batch, self.state, self._loss)
        loss, terms = self._loss(batch)
        self.state.scaler.scale(loss / max(terms, 1)).backward()
        return loss.item(), terms

    def _loss(self, batch: Arrays) -> tuple[Tensor, int]:
        given = on_device(batch, self.device)
        inputs = {each.name: given[each.name] for each in self.task.spec.inputs}
        with self.autocast:
            return self.state.model.inside(
                lambda model: self.recipe.objective.loss(
                    model.backbone(**inputs), model.head, given, self.softening
                )
            )


def evaluate(model: Model, task: Task, examples: Examples) -> dict[str, float]:
    """The objective's scores on a split, in fp32, against hard labels."""
    together = ranks.current()
    batches = order.by_length(examples.lengths, EVALUATION_ROWS)
    mine: list[Scores] = []
    training = model.training
    model.eval()
    with torch.inference_mode():
        for first in range(0, len(batches), together.number):
            number = first + together.rank
            if number < len(batches):
                mine.append(_scores(model, task, examples.batch(batches[number]), number))
            elif together.computes_idle:
                _scores(model, task, examples.batch(batches[0]), 0)
    model.train(training)
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for found in together.gather(mine):
        for name, (total, count) in found.items():
            sums[name] = sums.get(name, 0.0) + total
            counts[name] = counts.get(name, 0) + count
    return {name: total / max(counts[name], 1) for name, total in sums.items()}


def _scores(model: Model, task: Task, batch: Arrays, number: int) -> Scores:
    """Sum and count of each score on the evaluation batch of this number."""
    objective, device = task.recipe.objective, next(model.parameters()).device
    batch = objective.arrange(batch, task.spec, order.evaluation_rng(number))
    given = on_device(batch, device)
    inputs = {each.name: given[each.name] for each in task.spec.inputs}
    found = model.inside(lambda m: objective.scores(m.backbone(**inputs), m.head, given))
    return {name: (float(total), count) for name, (total, count) in found.items()}


def on_device(batch: Arrays, device: torch.device) -> dict[str, Tensor]:
    """The arrays of a batch as tensors where the model is."""
    return {name: torch.from_numpy(array).to(device) for name, array in batch.items()}
