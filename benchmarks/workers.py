"""What does a worker cost a step, does it ever share a device, and what survives a kill?

    python -m benchmarks.workers dispatch
    python -m benchmarks.workers devices --rounds 100
    python -m benchmarks.workers kills --count 20 --seed 1
    python -m benchmarks.workers queue --runs 50

Each works on the small project of the tests, with servers and a worker of its own; devices are
made up, so no accelerator is needed. Every count is checked against the undisturbed run.
"""

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pipelines import keys, runs, starting, templates
from pipelines.runs import RunRecord
from pipelines.workers import parcels, process, standing
from tests.workers.house import House, opened
from tests.workers.spans import Span, of_run, shared


class Kill(NamedTuple):
    """One disturbed run."""

    what: str
    after_s: float
    attempts: int
    same: bool
    doubled: tuple[str, ...]
    seconds: float


def dispatch(house: House) -> None:
    """Seconds of each step on the worker, beyond what the step's own function took."""
    for number in range(3):
        house.ended(house.submit(f"finetune.seed={number}")["run"])
    ways = []
    for number in range(10, 16):
        record = house.ended(house.submit(f"finetune.seed={number}")["run"])
        ways += [way for step in record.last.steps if (way := _way(house, step)) is not None]
    ways.sort()
    late = ways[len(ways) * 9 // 10]
    print(f"{len(ways)} steps: median {statistics.median(ways):.2f} s, 90 % {late:.2f} s")


def _way(house: House, step: runs.StepRecord) -> float | None:
    """Seconds of an executed step that its function did not take."""
    path = house.home / "work" / str(step.key) / "outcome.json"
    if step.state != "executed" or step.seconds is None or not path.is_file():
        return None
    outcome = parcels.Outcome.model_validate(keys.files.read_sealed(path))
    return None if outcome.seconds is None else step.seconds - outcome.seconds


def devices(house: House, rounds: int) -> None:
    """Four runs on two devices: pairs of steps that had one device at one time."""
    bad = 0
    for number in range(rounds):
        rng = random.Random(number)
        epochs = [rng.randint(1, 12) for _ in range(4)]
        asked = [
            house.submit(
                "resources.finetune.gpus=1",
                f"finetune.seed={100 * number + at}",
                f"finetune.budget.epochs={n}",
            )
            for at, n in enumerate(epochs)
        ]
        spans: list[Span] = [
            of_run(house.home, house.ended(one["run"]), "finetune") for one in asked
        ]
        bad += len(shared(spans))
        used = len({span.device for span in spans})
        print(
            f"round {number + 1}: {len(spans)} steps on {used} devices, shared so far {bad}",
            flush=True,
        )


KILLED: dict[str, Callable[[House], Sequence[int]]] = {
    "step": lambda house: _at_work("step"),
    "run": lambda house: _at_work("run"),
    "worker": lambda house: [found.pid] if (found := standing.running(house.home)) else [],
    "prefect": lambda house: starting.marked(house.home, "prefect"),
    "mlflow": lambda house: starting.marked(house.home, "mlflow"),
}


def kills(house: House, count: int, seed: int) -> None:
    """Kill each part of the house at random moments of a run, `count` times each."""
    plain = house.ended(house.submit("finetune.seed=1", "finetune.budget.epochs=20")["run"])
    seconds = sum(step.seconds or 0 for step in plain.last.steps)
    digest = _weights(plain)
    done: list[Kill] = []
    for number in range(count):
        for what in KILLED:
            done.append(
                _kill(house, what, random.Random(f"{seed} {number} {what}"), (seconds, digest))
            )
            print(f"{len(done):4} {done[-1]}", flush=True)
    for what in KILLED:
        mine = [each for each in done if each.what == what]
        same = sum(each.same and not each.doubled for each in mine)
        print(f"{what:8} {len(mine)} kills, {same} ended well: same weights, no step done twice")


def _kill(house: House, what: str, rng: random.Random, plain: tuple[float, str]) -> Kill:
    seconds, digest = plain
    # Another name is another run key; the weights depend on none of it.
    words = ("finetune.seed=1", "finetune.budget.epochs=20", f"name=tiny-{rng.randrange(10**9)}")
    for key in (house.home / "cache").glob("*") if (house.home / "cache").is_dir() else ():
        key.unlink()  # else nothing is left to execute
    begun = time.monotonic()
    run = house.submit(*words)["run"]
    while not any(each.flow == "run" and not each.dead for each in process.at_work()):
        time.sleep(0.05)
    after_s = rng.uniform(0, seconds)
    time.sleep(after_s)
    pids: Sequence[int] = ()
    while not pids and (runs.load(run) is None or runs.load(run).state not in runs.FINISHED):  # pyrefly: ignore
        pids = KILLED[what](house)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    record = house.ended(run, 600)
    names = [s.name for at in record.attempts for s in at.steps if s.state == "executed"]
    doubled = tuple(sorted({name for name in names if names.count(name) > 1}))
    same = record.state == "completed" and _weights(record) == digest
    took_s = round(time.monotonic() - begun, 1)
    return Kill(what, round(after_s, 1), len(record.attempts), same, doubled, took_s)


def queue(house: House, count: int) -> None:
    """Many runs at once: all end."""
    begun = time.monotonic()
    asked = [house.submit(f"finetune.seed={number}") for number in range(count)]
    ended = [house.ended(one["run"], 3600) for one in asked]
    good = sum(record.state in runs.FINISHED for record in ended)
    print(f"{good} of {count} runs ended in {time.monotonic() - begun:.0f} s")


def _at_work(flow: str) -> list[int]:
    return [
        int(each.owner.split(" ")[2])
        for each in process.at_work()
        if each.flow == flow and not each.dead
    ]


def _weights(record: RunRecord) -> str:
    key = next(step.key for step in record.last.steps if step.name == "finetune")
    found = keys.stored(str(key))
    return found.digest if found else "gone"


def main(words: Sequence[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers")
    parser.add_argument("what", choices=("dispatch", "devices", "kills", "queue"))
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    templates.build(templates.folder())
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as house:
        if options.what == "dispatch":
            dispatch(house)
        elif options.what == "devices":
            devices(house, options.rounds)
        elif options.what == "kills":
            kills(house, options.count, options.seed)
        else:
            queue(house, options.runs)


if __name__ == "__main__":
    main(sys.argv[1:])
