"""A training from start to record: what the step `train` and every compression run."""

import socket
import time
from datetime import UTC, datetime
from pathlib import Path

from components import objects, workspace
from components.artifacts import Files, Made, Prepared, TrainedModel, Weights
from components.recipe import Recipe
from components.training import ranks, session, weights
from components.training.loop import Outcome

REPORT_SECONDS = 0.5


def trained(
    data: Prepared,
    recipe: Recipe,
    folder: Path,
    *,
    start: Weights | None = None,
    teacher: TrainedModel | None = None,
) -> TrainedModel:
    """The record of a finished training; its checkpoints lie in `folder`, so a kill costs little.

    Raises:
        ConfigError: recipe, data, start and teacher do not fit each other.
        TrainingDiverged: the loss is no longer finite.
    """
    here = workspace.current()
    began = time.monotonic()
    outcome: Outcome | None = None
    reported, losses = 0.0, []
    for progress in session.run(data, recipe, start=start, teacher=teacher, folder=folder):
        if "train/loss" in progress.metrics:
            losses.append(progress.metrics["train/loss"])
        now = time.monotonic()
        if now - reported >= REPORT_SECONDS or len(progress.metrics) > 1 or progress.done:
            values = dict(progress.metrics)
            if losses:
                values["train/loss"] = sum(losses) / len(losses)
            here.metrics(values, progress.step)
            here.progress(progress.step, progress.total_steps, f"epoch {progress.epoch + 1}")
            reported, losses = now, []
        outcome = progress.outcome
    if outcome is None:
        raise RuntimeError("the training ended without an outcome")
    parents = {"start": start, "teacher": teacher}
    return TrainedModel(
        architecture=recipe.architecture,
        spec=data.spec,
        files=_kept(outcome, folder) if ranks.current().leads else {},
        parents={role: parent.digest for role, parent in parents.items() if parent is not None},
        recipe=session.settle(recipe),
        scores=outcome.scores,
        made=Made(
            seconds=round(time.monotonic() - began, 3),
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            host=socket.gethostname(),
        ),
    )


def _kept(outcome: Outcome, folder: Path) -> Files:
    file = folder / weights.FILE
    weights.save(outcome.state, file)
    return {weights.FILE: objects.put(file)}
