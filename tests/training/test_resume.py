"""A training that was stopped anywhere ends at the bits of one that was not."""

import itertools
from pathlib import Path

import pytest
import torch

from components.training import determinism, weights
from components.training.checkpoint import Checkpoints, Snapshot
from components.training.loop import Outcome, fit
from tests.training import small

RECIPES = {
    "encoder": {"ema": 0.9},
    "portions": {"budget": {"epochs": 3, "batch_size": 8, "accumulate": 3}},
    "masked": {"objective": {"kind": "masked_lm"}},
    "fp16": {"precision": "fp16"},
    "bf16": {"precision": "bf16"},
    "image": {
        "architecture": {"kind": "cnn", "channels": [6, 8], "halvings": 1},
        "augmentation": {"shift_pixels": 1, "rotate_degrees": 10, "scale": 0.1},
        "ema": 0.9,
    },
}
STEPS = 24


def run(
    name: str, folder: Path | None, steps: int, kind: type[Checkpoints] = Checkpoints
) -> Outcome | None:
    """Train for some steps, from the folder's last checkpoint on; one is written at their end."""
    recipe = small.recipe(**RECIPES[name])
    budget = recipe.budget.model_copy(update={"checkpoint_steps": steps})
    recipe = recipe.model_copy(update={"budget": budget})
    data = small.prepared(small.IMAGE if name == "image" else small.TEXT)
    checkpoints = kind(folder, {"of": name}) if folder else None
    with determinism.settled(1, recipe.seed):
        model = weights.fresh(recipe, data.spec)
        progress = fit(model, small.task(data, recipe), checkpoints)
        for last in itertools.islice(progress, steps):
            outcome = last.outcome
        progress.close()
    return outcome


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("stop", [1, 11, 16])
def test_stopped_at_any_step_and_resumed_the_weights_and_scores_are_identical(
    name: str, stop: int, tmp_path: Path
) -> None:
    whole = run(name, None, STEPS)
    assert run(name, tmp_path / "cut", stop) is None
    torch.manual_seed(99)
    resumed = run(name, tmp_path / "cut", STEPS)
    assert resumed.scores == whole.scores
    assert small.sha(resumed.state, tmp_path) == small.sha(whole.state, tmp_path)


class WithoutGenerators(Checkpoints):
    """A resume that forgets the generators."""

    def load(self) -> Snapshot | None:
        snapshot = super().load()
        if snapshot:
            snapshot.tensors["generator/torch"] = torch.Generator().manual_seed(5).get_state()
        return snapshot


class WithoutMoments(Checkpoints):
    """A resume that forgets the optimizer."""

    def load(self) -> Snapshot | None:
        snapshot = super().load()
        for name in list(snapshot.tensors if snapshot else ()):
            if name.startswith("optimizer/"):
                del snapshot.tensors[name]
        return snapshot


class WithoutPosition(Checkpoints):
    """A resume that begins the epoch again."""

    def load(self) -> Snapshot | None:
        snapshot = super().load()
        if snapshot:
            snapshot.facts["position"] = 0
        return snapshot


@pytest.mark.parametrize("forgetful", [WithoutGenerators, WithoutMoments, WithoutPosition])
def test_a_resume_that_forgets_anything_ends_elsewhere(
    forgetful: type[Checkpoints], tmp_path: Path
) -> None:
    whole = run("encoder", None, STEPS)
    run("encoder", tmp_path / "cut", 11)
    resumed = run("encoder", tmp_path / "cut", STEPS, forgetful)
    assert small.sha(resumed.state, tmp_path) != small.sha(whole.state, tmp_path)


def test_the_same_seed_twice_gives_the_same_bits_and_another_seed_others(tmp_path: Path) -> None:
    def train(seed: int) -> str:
        recipe = small.recipe(seed=seed)
        data = small.prepared()
        with determinism.settled(1, seed):
            [*_, last] = fit(weights.fresh(recipe, data.spec), small.task(data, recipe))
        return small.sha(last.outcome.state, tmp_path)

    assert train(3) == train(3)
    assert train(3) != train(4)
