"""What the fixtures and the tests of a whole run both use."""

import json
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults import invariants
from tests.pipelines import small_project
from tests.pipelines.small_project import Said

RUN = ("run", "configs/tiny.yaml", "--json")
REFUSED = ("--set", "gate.max_size_bytes=1", "--set", "finetune.seed=7")


class Story(NamedTuple):
    """The project, its home, and our packages."""

    project: Path
    home: Path
    paths: tuple[Path, ...]

    def run(self, *more: str) -> Said:
        """`athanor run configs/tiny.yaml --json`, as a user does."""
        return small_project.athanor(self.project, self.home, (*RUN, *more), *self.paths)

    def count(self, table: str) -> int:
        """Rows of a table of MLflow's or Prefect's database."""
        name = {"flow_run": "prefect", "task_run": "prefect"}.get(table, "mlflow")
        return self.ask(name, f"SELECT count(*) FROM {table}")[0][0]

    def ask(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """Rows from MLflow's or Prefect's database."""
        place = self.home / database / f"{database}.db"
        return invariants.ask(place, query)

    def record(self, name: str, document: dict[str, Any]) -> dict[str, Any]:
        """The stored result of a step that `plan` knows the key of."""
        [key] = [step["key"] for step in document["steps"] if step["name"] == name]
        return json.loads(json.loads((self.home / "cache" / key).read_bytes())["result"])["data"]


STARTS = ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec", "socket.connect")
WATCHER = f"STARTS = {STARTS}\n" + textwrap.dedent(
    """
    import atexit, os, sys
    if "WATCHED" in os.environ:
        seen = []
        sys.addaudithook(lambda event, args: seen.append(event) if event in STARTS else None)
        atexit.register(
            lambda: open(os.environ["WATCHED"], "w").write("\\n".join([*seen, *sys.modules]))
        )
    """
)


def states(document: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["state"] for step in document["steps"]}


def executed(document: dict[str, Any]) -> set[str]:
    return {name for name, state in states(document).items() if state == "executed"}


def but_for_time(document: dict[str, Any]) -> dict[str, Any]:
    """A run's document without its seconds and without how each step came by its result."""
    run = {name: value for name, value in document["run"].items() if name != "seconds"}
    steps = [step["name"] for step in document["steps"]]
    return {**document, "run": run, "steps": steps}
