"""A house with servers and a worker, for tests and benchmarks: its devices are made up."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipelines import database, devices, places, runs, servers
from pipelines.config import load_run
from pipelines.places import Held, Place
from pipelines.resources import Resources
from pipelines.running import Asked
from pipelines.runs import RunRecord, Wishes
from pipelines.workers import process, standing, submission, upkeep
from pipelines.workers.submission import Submission
from tests.pipelines import small_project
from tests.servers import postgres_server
from tests.servers.conftest import ports
from tests.servers.postgres_server import Server

SHORT = ("pretrain=null", "search=null", "compress=[[]]", "baselines=[majority]")
"""Few steps: what is tried here is where they work, not what they do."""


ENDLESS = ("finetune.budget.epochs=1000000", "finetune.budget.checkpoint_steps=1000000")
PATIENCE_S = 240.0


def until(holds: Callable[[], Any], what: str) -> Any:
    """The first true answer."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.1)
    raise AssertionError(f"never: {what}")


@contextmanager
def all_held(found: Sequence[Place]) -> Iterator[Held]:
    """Every one of these places, held by this process; one that is at work is waited for."""
    wanted = [Resources(gpus=1 if each.device else 0) for each in found]
    taken: list[Held] = [
        until(lambda want=want, place=place: places.take(want, (place,)), f"{place.name} is free")
        for want, place in zip(wanted, found, strict=True)
    ]
    held = Held([handle for each in taken for handle in each.handles], found)
    try:
        yield held
    finally:
        held.drop()


class House(NamedTuple):
    """A project, its home, and its servers and worker."""

    project: Path
    home: Path

    def asks(self, code: str, **values: Any) -> Any:
        """What a piece of code, in a process of its own beside the servers, prints as JSON."""
        lines = [
            "import json, os, sys",
            "from components import project",
            "from pipelines import servers, templates",
            "servers.adopt(project.home())",
            "os.environ.update(templates.prefect_settings(project.home()))",
            *(f"{name} = {value!r}" for name, value in values.items()),
            code,
        ]
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(lines)],
            cwd=self.project,
            env=small_project.environment(self.home),
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.strip().splitlines()[-1])

    def submit(self, *assignments: str) -> Submission:
        """Ask for a run of the small config, as `athanor run --detach` does."""
        words = (*SHORT, *assignments)
        file = self.project / "configs/tiny.yaml"
        asked = Asked(load_run(file, words), Wishes(assignments=words), file)
        return submission.submit(asked)

    def queued(self, step: str) -> list[dict[str, Any]]:
        """What status says of the steps of this name that wait for a place."""
        told = small_project.athanor(self.project, self.home, ("status", "--json")).json
        return [one for one in told["crew"]["queued"] if one["step"] == step]

    def ended(self, run: str, patience_s: float = 240) -> RunRecord:
        """The record of a run once no process works on it any more."""
        assert self.ends(run, patience_s), f"{run} did not end: {runs.load(run)}"
        return runs.find(run)

    def ends(self, run: str, patience_s: float) -> bool:
        """Whether a run ends in time; waits until it does."""
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            record = runs.load(run)
            if record is not None and record.state in runs.FINISHED:
                return True
            time.sleep(0.2)
        return False

    def at(self, run: str, step: str, patience_s: float = 120) -> None:
        """Wait until a step of a run is at work in its process."""
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            record = runs.load(run)
            working = any(one.flow == "step" and not one.dead for one in process.at_work())
            if record and working and any(s.name == step for s in record.last.steps):
                return
            time.sleep(0.05)
        raise AssertionError(f"{step} of {run} was never at work")


@contextmanager
def opened(
    folder: Path, slots: int = 2, count: int = 2, records: Server | None = None
) -> Iterator[House]:
    """The house in a folder, stopped at the end; this process lives in its home meanwhile.

    Its records lie in its own files, or on this PostgreSQL.
    """
    project, home = small_project.write(folder / "project"), folder / "home"
    made = [
        {"name": str(n), "uuid": f"made-up-{os.getpid()}-{n}", "memory_gb": 8.0}
        for n in range(count)
    ]
    (folder / "devices.json").write_text(json.dumps(made))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATHANOR_HOME", str(home))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv(devices.INVENTORY, str(folder / "devices.json"))
        patch.chdir(project)
        home.mkdir()
        if records is not None:
            patch.setenv("PGUSER", postgres_server.USER)
            patch.setenv("PGPASSWORD", postgres_server.PASSWORD)
            database.use(records.name, print)
        try:
            servers.up(home, dict(zip(("mlflow", "prefect"), ports(), strict=True)))
            upkeep.up(home, standing.Wanted(slots=slots, devices=devices.inventory()))
            yield House(project, home)
        finally:
            upkeep.down(home)
            servers.down(home)
