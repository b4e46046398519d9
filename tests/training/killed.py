"""Train, be killed with SIGKILL again and again, train on: prints what came of it as JSON.

A process of its own that forks a child per attempt, so that an attempt does not pay for
importing torch: `python -m tests.training.killed FOLDER KILLS whole|forgetful`.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
import torch._dynamo  # the first optimizer imports it: every child would pay, and die there

from components.training import determinism, weights
from components.training.checkpoint import Checkpoints
from components.training.loop import fit
from tests.training import small
from tests.training.test_resume import WithoutGenerators

STEP_SECONDS = 0.01
RECIPE = small.recipe(budget={"epochs": 8, "batch_size": 8, "checkpoint_steps": 4})


def train(folder: Path, kind: type[Checkpoints], pause: float) -> str:
    """Train to the end, slowly: the sha256 of the weights."""
    data = small.prepared()
    with determinism.settled(1, RECIPE.seed):
        model = weights.fresh(RECIPE, data.spec)
        for progress in fit(model, small.task(data, RECIPE), kind(folder, {"of": "killed"})):
            outcome = progress.outcome
            time.sleep(pause)
    return small.sha(outcome.state, folder)


def attempt(folder: Path, kind: type[Checkpoints], seconds: float | None) -> str:
    """The sha256 from a child that trains, or nothing where it was killed after some seconds."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, train(folder, kind, STEP_SECONDS).encode())
        os._exit(0)
    os.close(writing)
    if seconds is not None:
        before = newest(folder)
        while newest(folder) == before:
            time.sleep(0.001)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading) as answer:
        return answer.read()


def newest(folder: Path) -> int:
    """The step of the last checkpoint; 0 where there is none."""
    return max((int(path.stem) for path in folder.glob("[0-9]*.json")), default=0)


def main(folder: Path, kills: int, kind: type[Checkpoints]) -> dict[str, object]:
    """Where each kill fell, and what the last attempt made."""
    torch.set_num_threads(1)
    chance = random.Random(7)
    fell = []
    for _ in range(kills):
        attempt(folder, kind, chance.uniform(0.0, 0.06))
        fell.append(newest(folder))
    return {"steps": fell, "sha256": attempt(folder, kind, None)}


if __name__ == "__main__":
    place, number, how = sys.argv[1:]
    found = main(Path(place), int(number), Checkpoints if how == "whole" else WithoutGenerators)
    sys.stdout.write(json.dumps(found) + "\n")
