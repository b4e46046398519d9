"""A training that does nothing but take steps, keep checkpoints and say what it did.

As a program: `python -m tests.search.stub ENTRY FOLDER ARGUMENTS` runs one part of a search with
it in this process, without importing PyTorch, so that a worker starts in a second.
"""

import json
import os
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

EPOCHS, EPOCH_STEPS = 4, 5
STEPS = EPOCHS * EPOCH_STEPS
STEP_S = float(os.environ.get("STUB_STEP_S", "0.02"))


class Outcome(NamedTuple):
    scores: dict[str, float]


class Progress(NamedTuple):
    step: int
    total_steps: int
    epoch: int
    metrics: dict[str, float]
    outcome: Outcome | None = None


def score(recipe: Any, epoch: int) -> float:
    """Better with each epoch; best at a rate of 0.1."""
    return (epoch + 1) / EPOCHS - abs(recipe.optimizer.lr - 0.1)


def run(data: Any, recipe: Any, *, start: Any = None, folder: Path) -> Iterator[Progress]:
    """As `components.training.session.run`: a checkpoint each step, a score each epoch."""
    folder.mkdir(parents=True, exist_ok=True)
    kept, told = folder / "step", folder.parent.parent / "steps.log"
    done = int(kept.read_text()) if kept.exists() else 0
    if done == STEPS:
        yield Progress(STEPS, STEPS, EPOCHS, {}, Outcome({"val/accuracy": score(recipe, 3)}))
    for step in range(done, STEPS):
        time.sleep(STEP_S)
        with told.open("a") as log:
            log.write(json.dumps([folder.name, step, recipe.optimizer.lr, os.getpid()]) + "\n")
        fresh = folder / f"step.{os.getpid()}"
        fresh.write_text(str(step + 1))
        fresh.rename(kept)
        epoch, within = divmod(step, EPOCH_STEPS)
        metrics = {"val/accuracy": score(recipe, epoch)} if within == EPOCH_STEPS - 1 else {}
        over = step + 1 == STEPS
        outcome = Outcome({"val/accuracy": score(recipe, epoch)}) if over else None
        yield Progress(step + 1, STEPS, epoch, metrics, outcome)


def install() -> None:
    """Put it in the place of the real one, in this process."""
    import components.training

    session = types.ModuleType("components.training.session")
    session.run = run  # type: ignore[attr-defined]
    sys.modules[session.__name__] = session
    components.training.session = session  # type: ignore[attr-defined]


def without_take_over() -> None:
    """Take one promise away from the study: what the tests must notice."""
    from components.study.shared import Shared

    Shared._orphan = lambda self: None  # type: ignore[method-assign]


def main(entry: str, folder: str, arguments: str, *without: str) -> None:
    """One part of a search in this process."""
    from components import workspace
    from components.artifacts import Prepared
    from components.recipe import Recipe
    from components.steps import search
    from components.trials import SearchConfig

    install()
    if without:
        without_take_over()
    given = json.loads(arguments)
    begin, cpu_s = time.time(), time.process_time()
    with workspace.opened(Path(folder)):
        vars(search)[entry](
            Prepared.model_validate(given["data"]),
            Recipe.model_validate(given["base"]),
            SearchConfig.model_validate(given["config"]),
        )
    cost = {"begin": begin, "end": time.time(), "cpu_s": time.process_time() - cpu_s}
    Path(folder, "cost.json").write_text(json.dumps(cost))


if __name__ == "__main__":
    main(*sys.argv[1:])
