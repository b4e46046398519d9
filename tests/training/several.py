"""Trainings by several ranks, disturbed as wished: a process that answers JSON lines.

A process of its own because ranks are forks of a fork server, which keeps the home that it was
started in: `python -m tests.training.several < requests`.
"""

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Literal

from components import files, objects
from components.artifacts import Prepared, TrainedModel
from components.errors import AthanorError
from components.launch import Launch
from components.recipe import Recipe
from components.records import Record
from pipelines import child
from tests.training import small

RECIPE = {
    "optimizer": {"lr": 0.001},
    "budget": {"epochs": 16, "batch_size": 8, "checkpoint_steps": 4, "accumulate": 2},
}
STEPS = 128


class Wish(Record):
    """One training."""

    folder: Path
    launch: Launch = Launch()
    changes: dict[str, Any] = {}
    data: Literal["text", "image"] = "text"
    entry: str = "components.steps.train:train"
    kills: int = 0
    seed: int = 7
    end: Literal["done", "asked", "killed"] = "done"
    """`asked`: it gets SIGTERM once it trains; `killed`: its process SIGKILL."""


class Answer(Record):
    """What came of it."""

    sha256: str = ""
    tensors: Path | None = None
    scores: dict[str, float] = {}
    facts: dict[str, Any] = {}
    checkpoints: dict[str, str] = {}
    """sha256 of each of their tensor files."""
    fell: tuple[int, ...] = ()
    """The newest checkpoint at each kill."""
    error: str = ""
    left: tuple[int, ...] = ()
    """Ranks that lived on."""
    listening: tuple[str, ...] = ()
    """Where ranks listened, each `address:port`."""


def answer(wish: Wish) -> Answer:
    """Train as wished."""
    recipe = small.recipe(**(RECIPE | wish.changes))
    arguments = {"data": _data(wish.data), "recipe": recipe}
    watch = Watch(wish)
    killer = Killer(wish.folder, wish.kills, random.Random(wish.seed))
    try:
        with killer:
            made = child.run(wish.entry, arguments, wish.folder, watch, wish.launch)
    except (AthanorError, child.StepBroken, child.StepCrashed, KeyboardInterrupt) as error:
        said = f"{type(error).__name__}: {error}"
        time.sleep(1.0 if wish.end == "killed" else 0)
        left = tuple(pid for pid in watch.ranks if _lives(pid))
        return Answer(error=said, left=left, fell=tuple(killer.fell))
    sha = made.files["weights.safetensors"]
    return Answer(
        sha256=sha,
        tensors=objects.path(sha),
        scores=made.scores,
        facts=made.made.facts,
        checkpoints={
            path.name: files.digest(path)
            for path in (wish.folder / "checkpoints").glob("*.safetensors")
        },
        fell=tuple(killer.fell),
        listening=tuple(sorted(watch.listening)),
    )


class Watch:
    """Looks at a training a few times a second, and ends it where that is wished."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.ranks: set[int] = set()
        self.listening: set[str] = set()

    def __call__(self) -> None:
        self.ranks |= set(below(os.getpid(), 3))
        for pid in below(os.getpid(), 2) + below(os.getpid(), 3):
            self.listening |= _listening(pid)
        if self.wish.end == "done" or not self._trains():
            return
        if self.wish.end == "asked":
            raise KeyboardInterrupt
        for step in below(os.getpid(), 2):
            os.kill(step, signal.SIGKILL)

    def _trains(self) -> bool:
        journal = self.wish.folder / "journal.jsonl"
        return journal.is_file() and '"progress"' in journal.read_text()


class Killer:
    """Kills one rank after the other, each some time after a new checkpoint."""

    def __init__(self, folder: Path, kills: int, chance: random.Random) -> None:
        self.folder, self.kills, self.chance = folder, kills, chance
        self.fell: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        dead: set[int] = set()
        for number in range(self.kills):
            stretch = min(20, (STEPS - 24) // self.kills)
            wanted = 4 + self.chance.randrange(number * stretch, (number + 1) * stretch)
            ranks: list[int] = []
            while newest(self.folder) < wanted or len(ranks) < 2:
                if self._ended.wait(0.002):
                    return
                ranks = [pid for pid in below(os.getpid(), 3) if pid not in dead]
            time.sleep(self.chance.uniform(0, 0.02))
            dead |= set(ranks)
            self.fell.append(newest(self.folder))
            os.kill(self.chance.choice(ranks), signal.SIGKILL)


def newest(folder: Path) -> int:
    """The step of the last checkpoint; 0 where there is none."""
    checkpoints = (folder / "checkpoints").glob("[0-9]*.json")
    return max((int(path.stem) for path in checkpoints), default=0)


def below(pid: int, depth: int) -> list[int]:
    """Processes so many levels below one: fork server, step, ranks."""
    found = [pid]
    for _ in range(depth):
        found = [each for parent in found for each in _children(parent)]
    return found


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    try:
        threads = [*Path(f"/proc/{pid}/task").iterdir()]
        return [int(word) for each in threads for word in (each / "children").read_text().split()]
    except OSError:
        return []


def _listening(pid: int) -> set[str]:
    """Addresses in hexadecimal on which a process listens, `0100007F` is this machine's own."""
    try:
        own = {os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()}
        lines = [line.split() for name in ("tcp", "tcp6") for line in _lines(pid, name)]
    except OSError:
        return set()
    return {line[1] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in own}


def _lines(pid: int, name: str) -> list[str]:
    return Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]


_prepared: dict[str, Prepared] = {}


def _data(kind: str) -> Prepared:
    if kind not in _prepared:
        _prepared[kind] = small.prepared(small.IMAGE if kind == "image" else small.TEXT)
    return _prepared[kind]


def forgetful(data: Prepared, recipe: Recipe) -> TrainedModel:
    """A training whose checkpoints lose the optimizer."""
    from components.steps.train import train
    from components.training import session
    from tests.training.test_resume import WithoutMoments

    session.Checkpoints = WithoutMoments
    return train(data, recipe)


def broken(data: Prepared, recipe: Recipe) -> TrainedModel:
    """A training of which one rank has a bug, in its fifth step."""
    _break(RuntimeError("a bug of ours"))
    from components.steps.train import train

    return train(data, recipe)


def short(data: Prepared, recipe: Recipe) -> TrainedModel:
    """A training of which one rank finds the disk full, in its fifth step."""
    from components.errors import ResourceError
    from components.steps.train import train

    _break(ResourceError("the disk is full", "make room"))
    return train(data, recipe)


def _break(error: Exception) -> None:
    from components.training import session
    from components.training.loop import fit

    def breaking(*arguments: Any) -> Any:
        for progress in fit(*arguments):
            if progress.step == 5 and os.environ["RANK"] == "1":
                raise error
            yield progress

    session.fit = breaking


def main() -> None:
    """Answer wishes until there are no more."""
    child.warm(validates=False)
    for line in sys.stdin:
        said = answer(Wish.model_validate_json(line))
        sys.stdout.write(said.model_dump_json() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
