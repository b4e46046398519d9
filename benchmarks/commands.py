"""How long the commands of a day take, as whole processes: `python -m benchmarks.commands`.

The quickstart runs in a new home with the data in place: first from nothing, then again with
everything cached. Wall and processor seconds; `--help` beside a bare interpreter, in turns.
"""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TURNS = 10


class Run(NamedTuple):
    """One process and its children."""

    wall_s: float
    cpu_s: float
    out: str
    err: str
    code: int


def main() -> None:
    """Print one table."""
    config = sys.argv[1] if len(sys.argv) > 1 else "configs/quickstart.yaml"
    with tempfile.TemporaryDirectory(prefix="athanor-benchmark-") as home:
        environment = {**os.environ, "ATHANOR_HOME": home, "PYTHONPATH": str(ROOT)}
        _help(environment)
        first = _athanor(["run", config, "--json"], environment)
        _row("run, from nothing", first)
        engine = re.search(r"Prefect engine up after ([\d.]+) s", first.err)
        report = json.loads(first.out)
        steps = sum(step["seconds"] for step in report["steps"])
        print(f"  of it: engine {engine[1] if engine else '?'} s, in steps {steps:.1f} s")
        for step in sorted(report["steps"], key=lambda step: -step["seconds"])[:8]:
            print(f"    {step['name']:<38} {step['seconds']:6.1f} s")
        again = [_athanor(["run", config, "--json"], environment) for _ in range(3)]
        executed = {
            sum(step["state"] == "executed" for step in json.loads(run.out)["steps"])
            for run in again
        }
        _row(f"run again, executed {executed}", _middle(again))
        _row("plan", _middle([_athanor(["plan", config], environment) for _ in range(3)]))
        name = report["model"]["name"]
        texts = [_athanor(["predict", name, "房间很干净，服务很好"], environment) for _ in range(3)]
        _row("predict one text", _middle(texts))


def _help(environment: dict[str, str]) -> None:
    """`athanor --help` beside `python -c pass`, in turns."""
    ours, bare = [], []
    for _ in range(TURNS):
        ours.append(_process([sys.executable, "-m", "pipelines.cli", "--help"], environment))
        bare.append(_process([sys.executable, "-c", "pass"], environment))
    ratio = median(o.cpu_s / b.cpu_s for o, b in zip(ours, bare, strict=True))
    _row("--help", _middle(ours))
    print(f"  {ratio:.1f} times a bare interpreter (CPU, median of {TURNS} pairs)")


def _athanor(arguments: list[str], environment: dict[str, str]) -> Run:
    return _process([sys.executable, "-m", "pipelines.cli", *arguments], environment)


def _process(command: list[str], environment: dict[str, str]) -> Run:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    wall = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu, done.stdout, done.stderr, done.returncode)


def _middle(runs: list[Run]) -> Run:
    return sorted(runs, key=lambda run: run.wall_s)[len(runs) // 2]


def _row(name: str, run: Run) -> None:
    print(f"{name:<40} {run.wall_s:7.2f} s wall {run.cpu_s:7.2f} s CPU   exit {run.code}")


if __name__ == "__main__":
    main()
