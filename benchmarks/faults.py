"""Faults in numbers: kills of trainings and of whole runs, a fault at every write, a full disk.

    python -m benchmarks.faults training --kills 500 --seed 1
    python -m benchmarks.faults controls --trainings 20
    python -m benchmarks.faults writes --from validate-words --kinds 4
    python -m benchmarks.faults writes --places 1
    python -m benchmarks.faults whole --kills 200 --seed 1
    python -m benchmarks.faults many --rounds 20
    python -m benchmarks.faults full

Each prints one line per case that is not as promised, with what replays it, and one JSON document
of counts at its end; exit code 1 where a promise did not hold.
"""

import argparse
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.faults import full, invariants, many, whole
from tests.pipelines import small_project

KILLS_PER_TRAINING = 25


def training(options: argparse.Namespace, folder: Path) -> dict:
    """Kills in the loop, over every architecture that ships: all weights as undisturbed."""
    from tests.faults import trainings

    os.environ["ATHANOR_HOME"] = str(folder / "home")
    names = sorted(trainings.ARCHITECTURES)
    whole_sha = {name: trainings.survived(name, folder / "w", 0, 0).sha256 for name in names}
    kills, steps, same, different = 0, set(), 0, 0
    seed = options.seed
    while kills < options.kills:
        name = names[seed % len(names)]
        wanted = min(KILLS_PER_TRAINING, options.kills - kills)
        one = trainings.survived(name, folder / "t", wanted, seed)
        kills += len(one.fell)
        steps |= {(name, step) for step in one.fell}
        if one.sha256 == whole_sha[name]:
            same += 1
        else:
            different += 1
            print(f"seed {seed} {name}: other weights after kills at {one.fell}", file=sys.stderr)
        seed += 1
    return {
        "kills": kills,
        "distinct steps": len({step for _, step in steps}),
        "distinct steps and architectures": len(steps),
        "trainings identical": same,
        "trainings different": different,
        "wrong": different,
    }


def controls(options: argparse.Namespace, folder: Path) -> dict:
    """The same harness with one thing broken: it must notice."""
    from tests.faults import trainings

    os.environ["ATHANOR_HOME"] = str(folder / "home")
    undisturbed = trainings.survived("encoder", folder / "w", 0, 0).sha256
    noticed = {}
    for what, kind in trainings.CONTROLS.items():
        found = [
            trainings.survived("encoder", folder / "t", 3, options.seed + number, kind).sha256
            for number in range(options.trainings)
        ]
        noticed[what] = sum(sha != undisturbed for sha in found)
    least = 0.95 * options.trainings
    unnoticed = [what for what, count in noticed.items() if count < least]
    return {"trainings each": options.trainings, "noticed": noticed, "wrong": len(unnoticed)}


def writes(options: argparse.Namespace, folder: Path) -> dict:
    """A fault at every write of the chain without servers, or at every place that is written."""
    from tests.faults import writes as harness

    stage = harness.staged(folder / "writes", options.first, options.until)
    if options.places:
        found = harness.at_every_place(stage, options.places)
    else:
        found = harness.campaign(stage, options.seed, options.kinds, stride=options.stride)
    return {**found, "wrong": len(found["wrong"])}


def run_kills(options: argparse.Namespace, folder: Path) -> dict:
    """Kills of the whole run: each commit in turn, and moments drawn by the seed.

    A home's run goes on from kill to kill until it ends: by itself, where the commit that is next
    lies behind it already, and then a fresh home is killed there.
    """
    source = small_project.frozen(folder / "source")
    project = small_project.write(folder / "tiny")
    undisturbed = whole.run(project, folder / "undisturbed", source)
    if undisturbed.code:
        raise SystemExit(undisturbed.err)
    wanted = whole.weights(folder / "undisturbed"), whole.bundles(folder / "undisturbed")
    homes = (folder / f"home-{number}" for number in itertools.count())
    kills, wrong, ends, points = 0, 0, 0, Counter()
    commits = whole.MAIN if options.main else whole.ORDER

    def ended_well(last: whole.Ended, home: Path) -> bool:
        same = (whole.weights(home), whole.bundles(home)) == wanted
        left = [*last.left, *invariants.broken(home)]
        if last.code == 0 and same and not left and len(invariants.run_keys(home)) == 1:
            return True
        print(f"seed {seed}: {last.code} same={same} {left}; {whole.replay(seed)}", flush=True)
        return False

    for seed in itertools.count(options.seed):
        home = next(homes)
        for commit, action in [*whole.schedule(seed, commits), *_moments(seed, 4)]:
            if kills == options.kills:
                break
            begun = home.exists()
            ended = _killed(project, home, source, commit, action)
            if begun and not ended.fired:
                ends, wrong = ends + 1, wrong + (not ended_well(ended, home))
                home = next(homes)
                ended = _killed(project, home, source, commit, action)
            kills += bool(ended.fired)
            points[commit or "a moment"] += bool(ended.fired)
            told = whole.wrong(ended, home, commit or "a moment", action)
            wrong += bool(told)
            print(*told, sep="\n", end="\n" if told else "", file=sys.stderr)
        ends, wrong = ends + 1, wrong + (not ended_well(whole.run(project, home, source), home))
        print(f"{kills} kills, {ends} runs ended, {wrong} wrong", file=sys.stderr, flush=True)
        if kills >= options.kills:
            return {"kills": kills, "runs ended": ends, "points": points, "wrong": wrong}
    raise AssertionError("the seeds ended")


def _killed(project: Path, home: Path, source: Path, commit: str, action: str) -> whole.Ended:
    """A run killed at a commit, or where there is none, after `action` seconds."""
    if commit:
        return whole.run(project, home, source, whole.kill(home, commit, 1, action))
    return whole.run(project, home, source, kill_after_s=float(action))


def together(options: argparse.Namespace, folder: Path) -> dict:
    """Eight runs at once on a fresh home."""
    source = small_project.frozen(folder / "source")
    wrong = 0
    for number in range(options.rounds):
        round_ = many.round_of(folder / f"round-{number}", source, options.runs)
        told = many.wrong(round_)
        wrong += bool(told)
        print(*told, sep="\n", end="\n" if told else "", file=sys.stderr)
    return {"rounds": options.rounds, "runs": options.rounds * options.runs, "wrong": wrong}


def disk_full(options: argparse.Namespace, folder: Path) -> dict:
    """A disk that is full at each step boundary: one line, exit 7, goes on after freeing."""
    source = small_project.frozen(folder / "source")
    found = full.campaign(folder, source, itertools.repeat(1, options.boundaries))
    found = [each for each in found if not each.over]
    for number, each in enumerate(found, 1):
        for told in each.wrong:
            print(f"boundary {number}: {told}\n  it said: {each.said}", file=sys.stderr)
    return {"boundaries": len(found) - 1, "wrong": sum(bool(each.wrong) for each in found)}


def _moments(seed: int, count: int) -> list[tuple[str, str]]:
    chance = random.Random(-seed)
    return [("", f"{chance.uniform(1.0, 20.0):.2f}") for _ in range(count)]


def main() -> int:
    """Run one kind of fault and print its counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--trainings", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=many.RUNS)
    parser.add_argument("--boundaries", type=int, default=50, help="at most")
    parser.add_argument("--from", dest="first", default="validate-words")
    parser.add_argument("--until", default="end")
    parser.add_argument("--kinds", type=int, default=4)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--places", type=int, default=0, help="each place at N of its writes")
    parser.add_argument("--main", action="store_true", help="only the commits of CI")
    kinds = {
        "training": training, "controls": controls, "writes": writes, "whole": run_kills,
        "many": together, "full": disk_full,
    }  # fmt: skip
    parser.add_argument("what", choices=kinds)
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="athanor-faults-") as folder:
        found = kinds[options.what](options, Path(folder))
    found["seconds"] = round(time.monotonic() - begun, 1)
    print(json.dumps({options.what: found}, indent=2))
    return int(bool(found["wrong"]))


if __name__ == "__main__":
    raise SystemExit(main())
