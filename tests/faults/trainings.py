"""Trainings of every architecture, killed with SIGKILL again and again: the weights that come out.

A warm process forks a child per attempt. An attempt goes on from the last checkpoint; it is killed
a random time after it wrote a new one. A training that lived through its kills is compared with
one that nothing disturbed; controls forget one thing each and must end elsewhere.
"""

import mmap
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch._dynamo  # the first optimizer imports it: every child would pay, and die there
from safetensors.torch import save

from components.artifacts import Prepared
from components.recipe import Recipe
from components.training import determinism, loop, weights
from components.training.checkpoint import Checkpoints, Snapshot
from tests.training import small
from tests.training.test_resume import WithoutGenerators, WithoutPosition

BUDGET = {"epochs": 16, "batch_size": 8}
EVERY = (1, 2, 3, 5)
"""Steps between checkpoints, drawn for each training; the weights do not depend on it."""

STEP_SECONDS = 0.004
LONGEST_WAIT_S = 0.05
PATIENCE_S = 300.0
SCHEDULE = {"warmup": 0.1}
ENCODER = {"kind": "encoder", "width": 16, "layers": 1, "heads": 2}
NGRAMS = {"kind": "ngrams", "buckets": 64, "width": 8}
ARCHITECTURES = {
    "encoder": {"architecture": ENCODER, "ema": 0.9},
    "ngrams": {"architecture": NGRAMS},
    "branches": {"architecture": {"kind": "branches", "branches": [ENCODER, NGRAMS]}},
    "cnn": {
        "architecture": {"kind": "cnn", "channels": [6, 8], "halvings": 1},
        "augmentation": {"shift_pixels": 1, "rotate_degrees": 10, "scale": 0.1},
    },
}


class Forgetful(Checkpoints):
    """A resume that forgets where the schedule of learning rates was."""

    def load(self) -> Snapshot | None:
        """The snapshot; from now on the schedule counts from zero."""
        snapshot = super().load()
        if snapshot:
            real, done = loop.learning_rate, snapshot.step
            loop.learning_rate = lambda step, *more: real(step - done, *more)
        return snapshot


class InPlace(Checkpoints):
    """A save that writes one file in place and trusts it: a kill leaves half."""

    def save(self, snapshot: Snapshot) -> None:
        """Write the tensors in two halves; the manifest names whatever is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = save({name: value.contiguous() for name, value in snapshot.tensors.items()})
        with (self.folder / "state.safetensors").open("wb", buffering=0) as file:
            file.write(content[: len(content) // 2])
            (self.folder / "000000000.json").write_text("{}")  # newest() sees a save under way
            time.sleep(LONGEST_WAIT_S)
            file.write(content[len(content) // 2 :])
        os.replace(self.folder / "000000000.json", self.folder / f"{snapshot.step:09d}.json")

    def load(self) -> Snapshot | None:
        """What the file holds, whole or not.

        Raises:
            SafetensorError: it is torn.
        """
        from safetensors.torch import load_file

        place = self.folder / "state.safetensors"
        if place.exists():
            load_file(place)
        return None


CONTROLS: dict[str, type[Checkpoints]] = {
    "no random state": WithoutGenerators,
    "no schedule": Forgetful,
    "no position": WithoutPosition,
    "save in place": InPlace,
}


class Survived(NamedTuple):
    """One training and its kills."""

    architecture: str
    fell: list[int]
    """Optimizer steps that were done when each kill fell."""
    sha256: str
    """Of the weights; empty where the last attempt made none."""


def recipe(architecture: str, every: int) -> Recipe:
    """A small recipe with everything that draws chance, a checkpoint every so many steps."""
    budget = BUDGET | {"checkpoint_steps": every}
    return small.recipe(budget=budget, schedule=SCHEDULE, **ARCHITECTURES[architecture])


def train(
    architecture: str, folder: Path, kind: type[Checkpoints], pause_s: float, every: int
) -> str:
    """Train to the end, slowly: the sha256 of the best weights and the last."""
    data, wanted = _data(architecture), recipe(architecture, every)
    with determinism.settled(1, wanted.seed):
        model = weights.fresh(wanted, data.spec)
        checkpoints = kind(folder, {"of": architecture})
        for progress in loop.fit(model, small.task(data, wanted), checkpoints):
            outcome = progress.outcome
            _step[:] = progress.step.to_bytes(8, "big")
            time.sleep(pause_s)
    last = {f"last.{name}": value for name, value in model.state_dict().items()}
    return small.sha({**outcome.state, **last}, folder)


def survived(
    architecture: str, folder: Path, kills: int, seed: int, kind: type[Checkpoints] = Checkpoints
) -> Survived:
    """A training that is killed so often and then left alone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    torch.set_num_threads(1)
    chance = random.Random(seed)
    every = chance.choice(EVERY)
    fell: list[int] = []
    for _ in range(kills):
        work = lambda: train(architecture, folder, kind, STEP_SECONDS, every)  # noqa: E731
        if _attempt(work, folder, chance.uniform(0.0, LONGEST_WAIT_S)):
            break
        fell.append(int.from_bytes(_step, "big"))
    last = _attempt(lambda: train(architecture, folder, kind, 0.0, every))
    return Survived(architecture, fell, last)


def newest(folder: Path) -> int:
    """Step of the last checkpoint; -1 where there is none."""
    return max((int(path.stem) for path in folder.glob("[0-9]*.json")), default=-1)


def _attempt(work: Callable[[], str], folder: Path | None = None, wait_s: float = 0.0) -> str:
    """What a child says; nothing where it died, or was killed `wait_s` after a new checkpoint."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            os.write(writing, work().encode())
        finally:
            os._exit(0)
    os.close(writing)
    if folder is not None:
        before, ended = newest(folder), 0
        deadline = time.monotonic() + PATIENCE_S
        while newest(folder) == before and not ended and time.monotonic() < deadline:
            time.sleep(0.002)
            ended, _ = os.waitpid(child, os.WNOHANG)
        if not ended:
            time.sleep(wait_s)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    else:
        os.waitpid(child, 0)
    with os.fdopen(reading) as answer:
        return answer.read()


_step = mmap.mmap(-1, 8)
"""Steps that the child did, in memory that it shares with its parent."""

_prepared: dict[str, Prepared] = {}


def _data(architecture: str) -> Prepared:
    spec = small.IMAGE if architecture == "cnn" else small.TEXT
    if spec.modality not in _prepared:
        _prepared[spec.modality] = small.prepared(spec)
    return _prepared[spec.modality]
