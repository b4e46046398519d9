"""The whole `athanor run` of the small project, killed where a plan says, and what it left."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults import invariants
from tests.faults.plug import injection
from tests.pipelines import small_project

PLUG = Path(injection.__file__).parent
RUN = (
    "run", "configs/tiny.yaml", "--json", "--set", "pretrain=~", "--set", "compress=[[]]",
    "--set", "baselines=[majority]", "--set", "search.trials=2",
    "--set", "finetune.budget={epochs: 2, batch_size: 16, checkpoint_steps: 4}",
)  # fmt: skip
WEIGHTS = "weights.safetensors"
USEFUL_S = 10.0
"""From the engine's start to the first step that works."""

PATIENCE_S = 500.0

ORDER = (
    "layout", "run at work", "run record", "prefect database", "store layouts",
    "optuna database", "mlflow template", "mlflow database", "server", "note of a run", "report",
    "object", "result", "document", "shown file", "shipped", "prepared array", "object mark",
    "trial", "checkpoint tensors", "checkpoint",
    "graph", "plot", "lineage", "signing key", "version", "fetched bundle", "history",
    "head of a history", "alias", "decision",
)  # fmt: skip
"""Every commit, as a first run comes by them."""

MAIN = (
    "layout", "prefect database", "server", "note of a run", "object", "result", "trial",
    "checkpoint", "version", "history", "alias", "decision",
)  # fmt: skip
"""The commits of which each is one kill in CI, in running order."""


class Ended(NamedTuple):
    """How a run ended."""

    code: int
    out: str
    err: str
    fired: tuple[str, ...]
    passed: tuple[str, ...]
    """Commits that it came by."""
    left: tuple[str, ...]
    """Processes that outlived it."""

    @property
    def json(self) -> dict[str, Any]:
        """The one document on standard output."""
        return json.loads(self.out)

    @property
    def useful_s(self) -> float | None:
        """Seconds from the engine's start to the first step at work; None where none came."""
        up = re.search(r"^\[ *([\d.]+)s\] Prefect engine up", self.err, re.MULTILINE)
        steps = re.findall(r"^\[ *([\d.]+)s\] \S+ \.\.\.", self.err, re.MULTILINE)
        return round(float(steps[0]) - float(up[1]), 1) if up and steps else None


def run(
    project: Path,
    home: Path,
    source: Path,
    plan: injection.Plan | None = None,
    words: Sequence[str] = RUN,
    kill_after_s: float | None = None,
) -> Ended:
    """A run of the project, to its end or its fault; then every process of it is awaited."""
    log = project.parent / "passings"
    for path in (log, Path(f"{log}.fired")):
        path.unlink(missing_ok=True)
    plan = plan or injection.Plan(str(home), "commit", 0, "kill", str(log))
    with (project.parent / "out").open("wb") as out, (project.parent / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", *words],
            cwd=project,
            env={
                **small_project.environment(home, PLUG, source),
                injection.ENVIRONMENT: json.dumps({**plan._asdict(), "log": str(log)}),
            },
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            code = process.wait(PATIENCE_S if kill_after_s is None else kill_after_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
            assert kill_after_s is not None, "the run does not end"
            Path(f"{log}.fired").write_text(f"kill after {kill_after_s} s\n")
    left = tuple(invariants.orphans(home))
    return Ended(
        code,
        (project.parent / "out").read_text(),
        (project.parent / "err").read_text(),
        _lines(Path(f"{log}.fired")),
        tuple(line.split(" ", 2)[2] for line in _lines(log)),
        left,
    )


def kill(home: Path, commit: str, nth: int, action: str = "kill") -> injection.Plan:
    """The plan of one kill: `commit` with its side."""
    return injection.Plan(str(home), commit, nth, action, "")


def weights(home: Path) -> set[str]:
    """sha256 of every trained model that a stored result names: what must be as undisturbed."""
    found = set()
    for path in (home / "cache").glob("[0-9a-f]*"):
        value = json.loads(json.loads(path.read_bytes())["result"])
        if value["__class__"].endswith("TrainedModel"):
            found.add(value["data"]["files"][WEIGHTS])
    return found


def bundles(home: Path) -> set[str]:
    """Digest of every registered version."""
    query = "SELECT value FROM model_version_tags WHERE key = 'athanor.bundle'"
    return {row[0] for row in invariants.ask(home / "mlflow/mlflow.db", query)}


def schedule(seed: int, commits: Sequence[str] = MAIN) -> list[tuple[str, str]]:
    """A commit's side and how it is killed, drawn by a seed: `(result after, power)`."""
    chance = random.Random(seed)
    return [
        (f"{name} {chance.choice(injection.SIDES)}", chance.choice(("kill", "power")))
        for name in commits
    ]


def wrong(ended: Ended, home: Path, commit: str, action: str) -> list[str]:
    """What does not hold after a kill."""
    found = [*ended.left, *invariants.broken(home)]
    if not ended.fired:
        found.append(f"{commit} was never passed: nothing was injected")
    if ended.code != -signal.SIGKILL:
        found.append(f"ended with {ended.code}, not by the kill: {ended.err[-500:]}")
    return [f"{action} at {commit}: {each}" for each in found]


def replay(seed: int) -> str:
    """The line that runs a seed again."""
    return f"replay: python -m benchmarks.faults whole --seed {seed} --kills {len(MAIN)}"


def _lines(place: Path) -> tuple[str, ...]:
    return tuple(place.read_text().splitlines()) if place.exists() else ()
