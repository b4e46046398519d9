"""What does a worker cost a step, does it ever share a device, and what survives a kill?

    python -m benchmarks.workers dispatch
    python -m benchmarks.workers embedded
    python -m benchmarks.workers devices --rounds 100 [--seed 1]
    python -m benchmarks.workers kills --count 20 --seed 1 [--only step worker]
    python -m benchmarks.workers outage --seconds 180
    python -m benchmarks.workers queue --runs 50 [--workers 2] [--postgresql]

Each works on the small project of the tests, with servers and a worker of its own; devices are
made up, so no accelerator is needed. Every count is checked against the undisturbed run; exit
code 1 where a promise did not hold.
"""

import argparse
import json
import operator
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

from components import mlflow_store
from pipelines import keys, places, runs, starting, templates
from pipelines.runs import RunRecord
from pipelines.workers import parcels, process, standing
from tests.faults import quick
from tests.faults.shipped import difference
from tests.pipelines import small_project
from tests.remote import machines
from tests.remote.machines import Machine
from tests.servers import postgres_server
from tests.workers.house import ENDLESS, House, opened
from tests.workers.spans import executed, idle, shared

ON_DEVICES = ("finetune", "compress", "measure", "evaluate")


class Kill(NamedTuple):
    """One disturbed run."""

    what: str
    hit: bool
    """Whether the run was at work when it fell, and there was something to kill."""
    step: int
    """How many steps had begun before the last one that had."""
    after_s: float
    """Seconds after that one had begun."""
    attempts: int
    same: bool
    doubled: tuple[str, ...]
    seconds: float
    freed_s: float
    """Of a killed step: until its place was free, or another's."""


def dispatch(house: House) -> int:
    """Seconds of each step on the worker, beyond what the step's own function took."""
    for number in range(3):
        house.ended(house.submit(f"finetune.seed={number}").run)
    ways = []
    for number in range(10, 16):
        record = house.ended(house.submit(f"finetune.seed={number}").run)
        ways += [way for step in record.last.steps if (way := _way(house, step)) is not None]
    return _told("steps on a worker", ways)


def embedded(house: House) -> int:
    """Seconds of each step of a run in one process, beyond those of the bare chain of functions."""
    words = [word for each in quick.SETTINGS for word in ("--set", each)]
    arguments = ("run", "configs/tiny.yaml", *words, "--here", "--json")
    quick.warm()
    by_step: dict[str, list[float]] = {}
    for number in range(6):
        bare = quick.run(house.home.with_name(f"bare-{number}"), "end").said["seconds"]
        home = house.home.with_name(f"run-{number}")
        said = small_project.athanor(house.project, home, arguments)
        steps = {each["name"]: each["seconds"] for each in said.json["steps"]}
        for name in steps.keys() & bare.keys():
            by_step.setdefault(name, []).append(steps[name] - bare[name])
    for name, ways in by_step.items():
        print(f"{name:20} median {statistics.median(ways):6.2f} s, longest {max(ways):.2f} s")
    return _told("steps in one process", [way for ways in by_step.values() for way in ways])


def _told(what: str, ways: Sequence[float]) -> int:
    late = sorted(ways)[len(ways) * 9 // 10]
    print(f"{len(ways)} {what}: median {statistics.median(ways):.2f} s, 90 % {late:.2f} s")
    return 0


def _way(house: House, step: runs.StepRecord) -> float | None:
    """Seconds of an executed step that its function did not take."""
    path = house.home / "work" / str(step.key) / "outcome.json"
    if step.state != "executed" or step.seconds is None or not path.is_file():
        return None
    outcome = parcels.Outcome.model_validate(keys.files.read_sealed(path))
    return None if outcome.seconds is None else step.seconds - outcome.seconds


def devices(house: House, rounds: int, seed: int) -> int:
    """Four runs on two devices: pairs that had one device at one time, and devices left idle.

    Almost every step wants a device, so a round is some 20 steps of random length.
    """
    wanted = [f"resources.{name}.gpus=1" for name in ON_DEVICES]
    bad, steps, pauses = 0, 0, []
    for number in range(rounds):
        rng = random.Random(f"{seed} {number}")
        epochs = [rng.randint(1, 40) for _ in range(4)]
        asked = [
            house.submit(
                *wanted,
                f"finetune.seed={100 * number + at}",
                f"finetune.budget.epochs={n}",
            )
            for at, n in enumerate(epochs)
        ]
        records = [house.ended(one.run) for one in asked]
        spans = [span for record in records for span in executed(house.home, record)]
        steps += len(spans)
        bad += len(shared(spans))
        pauses += idle(spans)
        used = len({span.device for span in spans})
        longest = max(pauses, default=0.0)
        print(
            f"round {number + 1}: {len(spans)} steps on {used} devices, shared so far {bad}, "
            f"idle while a step waited: longest {longest:.2f} s",
            flush=True,
        )
    late = sorted(pauses)[len(pauses) * 99 // 100]
    print(
        f"{rounds} rounds, {steps} steps: {bad} pairs shared a device; idle while a step waited, "
        f"the way there included: median {statistics.median(pauses):.2f} s, "
        f"99 % {late:.2f} s, longest {max(pauses):.2f} s"
    )
    return int(bad > 0)


KILLED: dict[str, Callable[[House], Sequence[int]]] = {
    "step": lambda house: _at_work("step"),
    "run": lambda house: _at_work("run"),
    "worker": lambda house: [found.pid] if (found := standing.running(house.home)) else [],
    "prefect": lambda house: starting.marked(house.home, "prefect"),
    "mlflow": lambda house: starting.marked(house.home, "mlflow"),
}


def kills(house: House, count: int, seed: int, parts: Sequence[str]) -> int:
    """Kill each of these parts of the house at random moments of a run, `count` times each."""
    plain = house.ended(house.submit("finetune.seed=1", "finetune.budget.epochs=20").run)
    undisturbed = len(plain.last.steps), _weights(plain)
    done: list[Kill] = []
    for number in range(count):
        for what in parts:
            done.append(_kill(house, what, random.Random(f"{seed} {number} {what}"), undisturbed))
            print(f"{len(done):4} {done[-1]}", flush=True)
    good = 0
    for what in parts:
        mine = [each for each in done if each.what == what and each.hit]
        well = sum(each.same and not each.doubled for each in mine)
        freed = max((each.freed_s for each in mine), default=0.0)
        good += well == len(mine)
        print(
            f"{what:8} {len(mine)} kills of a run at work, {well} ended well: same weights, no "
            f"step done twice; places free after at most {freed:.1f} s"
        )
    return int(good < len(parts))


def _kill(house: House, what: str, rng: random.Random, plain: tuple[int, str]) -> Kill:
    count, digest = plain
    # Another name is another run key; the weights depend on none of it.
    words = ("finetune.seed=1", "finetune.budget.epochs=20", f"name=tiny-{rng.randrange(10**9)}")
    for result in (*house.home.glob("cache/*"), *house.home.glob("work/*/outcome.json")):
        result.unlink()  # else nothing is left to execute
    begun = time.monotonic()
    run = house.submit(*words).run
    step, after_s = rng.randrange(count), rng.uniform(0, 1)
    while _begun(run) <= step and not _over(run):
        time.sleep(0.02)
    time.sleep(after_s)
    pids: Sequence[int] = ()
    while not pids and not _over(run):
        pids = KILLED[what](house)
    hit = bool(pids) and not _over(run)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    freed_s = _freed_s(house) if what == "step" else 0.0
    house.ends(run, 300)  # where it does not, the record says so, and the next one is killed
    record = runs.find(run)
    names = [s.name for at in record.attempts for s in at.steps if s.state == "executed"]
    doubled = tuple(sorted({name for name in names if names.count(name) > 1}))
    same = record.state == "completed" and _weights(record) == digest
    took_s = round(time.monotonic() - begun, 1)
    return Kill(
        what, hit, step, round(after_s, 2), len(record.attempts), same, doubled, took_s, freed_s
    )


def _begun(run: str) -> int:
    record = runs.load(run)
    return len(record.last.steps) if record else 0


def _over(run: str) -> bool:
    record = runs.load(run)
    return record is not None and record.state in runs.FINISHED


def _freed_s(house: House) -> float:
    """Seconds until each place is free, or held by a step that lives."""
    worker = standing.running(house.home)
    wanted = standing.of(worker.wanted) if worker else ()
    begun = time.monotonic()
    while time.monotonic() - begun < 120:
        living = {name for one in process.at_work() if not one.dead for name in one.places}
        free = {each.name for each in places.free(wanted)}
        if all(each.name in living | free for each in wanted):
            break
        time.sleep(0.05)
    return round(time.monotonic() - begun, 2)


def outage(house: House, seconds: float) -> int:
    """Both servers frozen while a worker trains: steps go on, each metric arrives once."""
    run = house.submit("finetune.seed=3", *ENDLESS).run
    house.at(run, "finetune")
    key = next(step.key for step in runs.find(run).last.steps if step.name == "finetune")
    journal = house.home / "work" / str(key) / "journal.jsonl"
    while len(_times(journal)) < 10:
        time.sleep(0.1)
    pids = [*starting.marked(house.home, "prefect"), *starting.marked(house.home, "mlflow")]
    begun = time.time()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    during = [at for at in _times(journal) if begun <= at <= begun + seconds]
    pause = max(map(operator.sub, during[1:], during), default=seconds)
    stopped = small_project.athanor(house.project, house.home, ("cancel", run))
    synced = small_project.athanor(house.project, house.home, ("sync", "--timeout", "300"))
    client = mlflow_store.client()
    experiment = client.get_experiment_by_name("tiny").experiment_id
    found = client.search_runs([experiment], "tags.`athanor.stage` = 'finetune'")
    points = difference(journal, client, found[0].info.run_id)
    print(
        f"{seconds:.0f} s without servers: {len(during)} lines in the journal, longest pause "
        f"{pause:.1f} s; {points.points} points, {len(points.lost)} lost, {len(points.doubled)} "
        f"doubled, {len(points.strange)} strange; cancel {stopped.code}, sync {synced.code}, "
        f"training runs in MLflow {len(found)}"
    )
    return int(pause > 10 or not points.none or len(found) != 1)


def _times(journal: Path) -> list[float]:
    try:
        return [json.loads(line)["time"] for line in journal.read_bytes().splitlines()]
    except (OSError, ValueError):
        return []


def queue(house: House, count: int, workers: int) -> int:
    """Many runs at once: all end, with a version or with the gate's refusal of it."""
    with second_worker(house) if workers > 1 else nullcontext() as here:
        begun = time.monotonic()
        asked = [house.submit(f"finetune.seed={number}") for number in range(count)]
        asked_s = time.monotonic() - begun
        ended = Counter(house.ended(one.run, 3600).state for one in asked)
        ended_s = time.monotonic() - begun
    print(
        f"{count} runs, asked for in {asked_s:.1f} s, ended in {ended_s:.0f} s: "
        + ", ".join(f"{number} {state}" for state, number in ended.most_common())
    )
    bad = ended.total() > ended["completed"] + ended["refused"]
    if here is not None:
        done, there = (
            len(list(home.glob("work/*/journal.jsonl"))) for home in (house.home, here.home)
        )
        print(f"{done} steps in processes of their own, {there} of them by the second worker")
        bad |= not 0 < there < done
    return int(bad)


@contextmanager
def second_worker(house: House) -> Iterator[Machine]:
    """A worker of one slot with a home, a clone and a project of its own joins at the door."""
    said = small_project.athanor(
        house.project, house.home, ("up", "--slots", "1", "--host", "127.0.0.1", "--json")
    )
    here = machines.beside(house.project, house.home.with_name("here"))
    here.let_in(house.home)
    url = said.json["servers"]["door"]["url"]
    worker = here.join(url, house.home, house.home.with_name("here.log"))
    try:
        yield here
    finally:
        worker.terminate()
        worker.wait()


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


def main(words: Sequence[str]) -> int:
    """The command line."""
    kinds: dict[str, Callable[[House], int]] = {
        "dispatch": dispatch,
        "embedded": embedded,
        "devices": lambda house: devices(house, options.rounds, options.seed),
        "kills": lambda house: kills(house, options.count, options.seed, options.only),
        "outage": lambda house: outage(house, options.seconds),
        "queue": lambda house: queue(house, options.runs, options.workers),
    }
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers")
    parser.add_argument("what", choices=kinds)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=KILLED, default=tuple(KILLED), help="killed")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--workers", type=int, choices=(1, 2), default=1, help="of one home")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgresql", action="store_true", help="one of this machine")
    options = parser.parse_args(words)
    templates.build(templates.folder())
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = None
        if options.postgresql:
            server = stack.enter_context(postgres_server.running(postgres_server.system()))
        house = stack.enter_context(opened(Path(folder), records=server))
        return kinds[options.what](house)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
