"""A fault at the n-th write of the chain: the same records after it as without it.

`python -m tests.faults.writes FOLDER FIRST UNTIL SEED KINDS` goes through n = 1, 2, ... until none
fires, each n with as many kinds of fault as asked for, and prints what it found as JSON. The steps
before FIRST are done once and copied.
"""

import json
import os
import random
import re
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from pipelines import templates
from pipelines.plan import EFFECTS
from tests.faults import invariants, quick
from tests.faults.plug import injection
from tests.pipelines import small_project

KINDS = ("ENOSPC", "EIO", "short", "kill")
TELL_EVERY = 20
"""Faults between two lines of a campaign that tell how far it is."""

OF_ONE_RUN = re.compile(r"[0-9a-f]{64}|(?<=objects/)[0-9a-f]{2}|(?<=\.fetch-).+")
"""Parts of a path that no two runs have in common."""

CODES = {"ENOSPC": 7, "EIO": 7, "short": 7}


class Made(NamedTuple):
    """What a run came to; judging and promoting excepted, which a stored decision spares."""

    records: dict[str, str]
    champions: dict[str, int]


class Stage(NamedTuple):
    """A chain of which the first steps are done."""

    folder: Path
    start: Path
    """Home with those steps done; nothing runs in it."""
    until: str
    made: Made
    """What an undisturbed run comes to."""


class Trial(NamedTuple):
    """One fault and what came of it."""

    nth: int
    kind: str
    fired: str
    wrong: tuple[str, ...]


def staged(folder: Path, first: str, until: str) -> Stage:
    """A project in a folder, with the steps before `first` done, and what the rest should make."""
    folder.mkdir(parents=True)
    os.chdir(small_project.write(folder / "tiny"))
    quick.warm()
    start, whole = folder / "start", folder / "whole"
    templates.install(start)  # as a run does: no child pays for MLflow's migrations
    done = quick.run(start, first)
    assert done.code == 0, done.said
    shutil.copytree(start, whole)
    ended = quick.run(whole, until)
    assert ended.code == 0, ended.said
    assert ended.said["executed"][0] == first, "what was stored is not found again"
    os.environ["ATHANOR_HOME"] = str(whole)
    quick.chain(until)  # here too, so that no child reads the source again
    return Stage(folder, start, until, _made(ended, whole))


def tried(stage: Stage, nth: int, kind: str, careless: bool = False) -> Trial:
    """The chain with a fault at its n-th write, then again without."""
    home, log = _begun(stage)
    plan = injection.Plan(str(home), "write", nth, kind, str(log))
    disturbed = quick.run(home, stage.until, plan, careless)
    told = Path(f"{log}.fired")
    if not told.exists():
        return Trial(nth, kind, "", ())
    fired = told.read_text().split(" at write ")[1].strip()
    wrong = [f"after the fault: {each}" for each in invariants.broken(home)]
    wanted = CODES.get(kind, -9)
    found = disturbed.said.get("exit_code", disturbed.code)
    if found not in (wanted, 0):  # a cache's mark that cannot be written stops nothing
        wrong.append(f"ended with {found}, expected {wanted}: {disturbed.said.get('error', '')}")
    again = quick.run(home, stage.until)
    if _made(again, home) != stage.made:
        wrong.append(f"another result after it: {again.said.get('error', again.said)}")
    wrong += [f"at the end: {each}" for each in invariants.broken(home)]
    return Trial(nth, kind, fired, tuple(wrong))


def _begun(stage: Stage) -> tuple[Path, Path]:
    """A home with the first steps done, and where its passings are noted."""
    home, log = stage.folder / "home", stage.folder / "passings"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(stage.start, home, copy_function=_copied)
    for path in (log, Path(f"{log}.fired")):
        path.unlink(missing_ok=True)
    return home, log


def _copied(source: str, target: str) -> None:
    """A copy; of an object a link, so that its mark vouches on: no trial verifies all again."""
    if Path(source).parents[1].name == "objects":
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def _made(ended: quick.Ended, home: Path) -> Made:
    records = ended.said.get("records", {})
    kept = {name: sha for name, sha in records.items() if name not in EFFECTS}
    return Made(kept, invariants.champions(home))


def campaign(stage: Stage, seed: int, kinds: int, careless: bool = False, stride: int = 1) -> dict:
    """Every n until none fires, or one in `stride` of them from a place that the seed says."""
    chance = random.Random(seed)
    trials: list[Trial] = []
    nth = 1 + seed % stride
    while True:
        chosen = chance.sample(KINDS, kinds)
        done = [tried(stage, nth, kind, careless) for kind in chosen]
        if not any(trial.fired for trial in done):
            break
        for trial in done:
            if trial.wrong:
                sys.stderr.write(f"{trial}\n")
        trials += done
        nth += stride
        if len(trials) % TELL_EVERY < len(done):
            sys.stderr.write(f"{len(trials)} faults, the last at write {nth - stride}\n")
    return {"last write": nth - stride, **_counts(trials)}


def at_every_place(stage: Stage, passings: int) -> dict:
    """Every kind of fault at each place that is written to, at so many of its passings."""
    places = passed(stage)
    trials: list[Trial] = []
    for where, numbers in places.items():
        torn = where.split(" ")[0] in ("bytes", "copy", "tensors")
        kinds = KINDS if torn else [kind for kind in KINDS if kind != "short"]
        chosen = numbers[:: max(1, len(numbers) // passings)][:passings]
        done = [tried(stage, nth, kind) for nth in chosen for kind in kinds]
        for trial in done:
            if trial.wrong:
                sys.stderr.write(f"{trial}\n")
        trials += done
        sys.stderr.write(f"{len(trials)} faults, the last at {where}\n")
    return {"writes": sum(map(len, places.values())), **_counts(trials)}


def passed(stage: Stage) -> dict[str, list[int]]:
    """The writes of an undisturbed run, numbered from 1, by their places."""
    home, log = _begun(stage)
    quick.run(home, stage.until, injection.Plan(str(home), "write", 0, "kill", str(log)))
    found: dict[str, list[int]] = {}
    for number, line in enumerate(log.read_text().splitlines(), 1):
        found.setdefault(place(line.split(" write ", 1)[1]), []).append(number)
    return found


def _counts(trials: list[Trial]) -> dict[str, Any]:
    fired = [trial for trial in trials if trial.fired]
    return {
        "faults": len(fired),
        "kinds": Counter(trial.kind for trial in fired),
        "places": len({place(trial.fired) for trial in fired}),
        "wrong": [trial for trial in fired if trial.wrong],
    }


def place(fired: str) -> str:
    """The write without what differs from run to run: `fsync object`."""
    what, _, path = fired.partition(" ")
    folder, _, name = path.rpartition("/")
    if name.startswith("."):
        name = name[1:].rpartition(".part")[0].rpartition(".")[0]
    named = injection.name_of(f"{folder}/{name}" if folder else name, injection.FILES)
    return f"{what} {OF_ONE_RUN.sub('*', named)}"


def main(words: list[str]) -> dict[str, Any]:
    """What a campaign found."""
    folder, first, until, seed, kinds, *rest = words
    stage = staged(Path(folder), first, until)
    stride = int(rest[1]) if rest[1:] else 1
    return campaign(stage, int(seed), int(kinds), rest[:1] == ["careless"], stride)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1:])) + "\n")
