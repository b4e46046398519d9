"""Eight `athanor run` at once on a fresh home: each key is executed once, stores stay whole."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults import invariants
from tests.pipelines import small_project

RUNS = 8
PATIENCE_S = 900.0
WORDS = (
    "run", "configs/tiny.yaml", "--json", "--set", "pretrain=~", "--set", "search=~",
    "--set", "compress=[[]]", "--set", "baselines=[majority]",
    "--set", "finetune.budget={epochs: 2, batch_size: 16}",
)  # fmt: skip
OTHER = ("--set", "finetune.seed=5")
"""What every other run asks for besides: another model of the same name and data."""

SHARED = ("validate-words", "prepare", "baseline-majority")
"""Steps that both configs have in common."""

RIVALRY = ("judge", "promote", "rescore")
"""Steps that depend on who is champion just then."""


class Round(NamedTuple):
    """Eight runs that have ended."""

    home: Path
    said: list[small_project.Said]
    user_before: dict[str, str]
    user_after: dict[str, str]


def round_of(folder: Path, source: Path, runs: int = RUNS) -> Round:
    """Start them all, wait for them all."""
    project = small_project.write(folder / "tiny")
    before, home = invariants.tree(project), folder / "home"
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", *WORDS, *(OTHER if number % 2 else ())],
            cwd=project,
            env=small_project.environment(home, source),
            stdin=subprocess.DEVNULL,
            stdout=(folder / f"{number}.out").open("w"),
            stderr=(folder / f"{number}.err").open("w"),
        )
        for number in range(runs)
    ]
    said = []
    for number, process in enumerate(processes):
        code = process.wait(PATIENCE_S)
        out, err = ((folder / f"{number}.{name}").read_text() for name in ("out", "err"))
        said.append(small_project.Said(code, out, err))
    return Round(home, said, before, invariants.tree(project))


def wrong(one: Round) -> list[str]:
    """What does not hold after a round."""
    return [*_answers(one), *_executions(one), *_stores(one)]


def _answers(one: Round) -> Iterator[str]:
    for number, said in enumerate(one.said):
        refused = said.code == 4 and _refused(said.json)
        if said.code != 0 and not refused:
            yield f"run {number} ended with {said.code}: {said.err[-400:]}"


def _refused(document: dict[str, Any]) -> bool:
    return "error" not in document or document["error"]["kind"] == "GateRefused"


def _executions(one: Round) -> Iterator[str]:
    """A key is executed by one run: the others say of the step that it was cached."""
    done: Counter[str] = Counter()
    for number, said in enumerate(one.said):
        if said.code in (0, 4) and "steps" in said.json:
            for step in said.json["steps"]:
                if step["state"] == "executed" and step["name"] not in RIVALRY:
                    done[f"{step['name']} {'' if step['name'] in SHARED else number % 2}"] += 1
    yield from (f"{count} runs executed {name}" for name, count in done.items() if count != 1)


def _stores(one: Round) -> Iterator[str]:
    keys = invariants.run_keys(one.home)
    if len(set(keys)) != 2:
        yield f"{len(set(keys))} run keys have a version, two were asked for"
    yield from invariants.orphans(one.home)
    yield from invariants.broken(one.home)
    if one.user_before != one.user_after:
        yield "files of the user changed"
