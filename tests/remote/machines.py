"""Two machines on one: two homes, two clones of project and code, and a door between them."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.pipelines import small_project
from tests.pipelines.small_project import ROOT, Said

CONFIG = """\
name: tiny
data: [words]
prepare: {kind: characters, min_count: 1, max_length: 12}
finetune:
  architecture: {kind: encoder, width: 16, layers: 1, heads: 2, dropout: 0.0}
  objective: {kind: classification}
  optimizer: {lr: 1e-2}
  budget: {epochs: 12, batch_size: 16}
  threads: 1
baselines: [majority]
compress:
  - []
measure: {single_rows: 6, batches: 2, rounds: 2}
select: {max_drop: 0.5}
gate: {first: majority}
"""

SUBMIT = """\
import sys
from pathlib import Path
from components import project
from pipelines import servers
servers.adopt(project.home())
from pipelines.config import load_run
from pipelines.running import Asked
from pipelines.runs import Wishes
from pipelines.workers import submission
file = Path("configs/tiny.yaml").resolve()
words = tuple(sys.argv[1:])
print(submission.submit(Asked(load_run(file, words), Wishes(assignments=words), file)).run)
"""

NAME = "elsewhere"
PATIENCE_S = 500


class Machine:
    """A clone of project and code with a home of its own."""

    def __init__(self, folder: Path, project: Path) -> None:
        self.project = project
        self.home = folder / "home"
        self.home.mkdir(mode=0o700, parents=True)
        (folder / "code").mkdir()
        self.code = small_project.frozen(folder / "code")

    def athanor(self, *words: str) -> Said:
        return small_project.athanor(self.project, self.home, words, self.code, ROOT)

    def python(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.project,
            env=small_project.environment(self.home, self.code, ROOT),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def started(self, *words: str, log: Path) -> subprocess.Popen:
        with log.open("ab") as sink:
            return subprocess.Popen(
                [sys.executable, "-m", "pipelines.cli", *words],
                cwd=self.project,
                env=small_project.environment(self.home, self.code),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )

    def let_in(self, by: Path) -> None:
        """Carry the token over from the home that has the door, as a person does."""
        token = self.home / "worker" / "token"
        token.parent.mkdir(exist_ok=True)
        shutil.copy(by / "door" / "token", token)

    def join(self, url: str, by: Path, log: Path) -> subprocess.Popen:
        """Its worker, with one slot, once the home that has the door knows it."""
        words = ("worker", "--server", url, "--slots", "1", "--name", NAME)
        worker = self.started(*words, log=log)
        until((by / f"worker/inventory/{NAME}.json").exists, "the worker is known there")
        return worker


def beside(project: Path, folder: Path) -> Machine:
    """Another machine that has a copy of the project, without its data."""
    copy = folder / "project"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("data"))
    (copy / "data").mkdir(exist_ok=True)
    shutil.copytree(project / "configs/data", copy / "configs/data", dirs_exist_ok=True)
    return Machine(folder, copy)


class Machines:
    """`there` runs are begun and waited for; `here` their steps are done."""

    def __init__(self, folder: Path) -> None:
        project = small_project.write(folder / "there" / "project")
        (project / "configs/tiny.yaml").write_text(CONFIG)
        self.there = Machine(folder / "there", project)
        self.here = beside(project, folder / "here")
        self.log = folder / "worker.log"
        self.url = ""
        self.worker: subprocess.Popen | None = None

    def up(self) -> dict[str, Any]:
        ports = [
            word
            for name, port in zip(("mlflow", "prefect", "door"), free_ports(3), strict=True)
            for word in (f"--{name}-port", str(port))
        ]
        said = self.there.athanor("up", "--slots", "0", "--host", "127.0.0.1", *ports, "--json")
        assert said.code == 0, said.err
        self.url = said.json["servers"]["door"]["url"]
        return said.json

    def let_in(self) -> None:
        self.here.let_in(self.there.home)

    def join(self) -> None:
        self.worker = self.here.join(self.url, self.there.home, self.log)

    def kill_worker(self) -> None:
        assert self.worker
        self.worker.kill()
        self.worker.wait()

    def kill_door(self) -> None:
        os.kill(json.loads((self.there.home / "servers.json").read_text())["door"]["pid"], 9)

    def submit(self, *assignments: str) -> str:
        return self.there.python("-c", SUBMIT, *assignments).strip()

    def state(self, run: str) -> str:
        try:
            record = json.loads((self.there.home / f"runs/{run}.json").read_text())
        except (OSError, ValueError):
            return "queued"
        return record["attempts"][-1]["state"]

    def down(self) -> None:
        if self.worker and self.worker.poll() is None:
            self.worker.send_signal(signal.SIGTERM)
            try:
                self.worker.wait(90)
            except subprocess.TimeoutExpired:
                self.worker.kill()
        self.there.athanor("down")


def until(fits: Callable[[], object], what: str) -> None:
    """Return when something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not fits():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s for: {what}"
        time.sleep(0.1)


def free_ports(number: int) -> Sequence[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    found = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return found
