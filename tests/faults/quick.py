"""The chain without servers, in forked children of a warm process: each costs what its work costs.

`Quick` forks a child per run of the chain up to a step; a child reads and stores as the Runner
does, in one process, and answers with its error or with the records that it came to.
"""

import json
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.plug import injection

SETTINGS = (
    "pretrain=~", "search=~", "compress=[[]]", "baselines=[majority]",
    "finetune.budget={epochs: 2, batch_size: 16, checkpoint_steps: 5}",
)  # fmt: skip


class Ended(NamedTuple):
    """How a child ended."""

    code: int
    """Exit code; minus the signal where one killed it."""
    said: dict[str, Any]
    """`records` by step, or `error` and `exit_code`."""


def forked(work: Callable[[], dict[str, Any]], patience_s: float = 600.0) -> Ended:
    """What some work says in a child of this process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.setsid()
        signal.alarm(int(patience_s))
        code = 0
        try:
            said = work()
        except BaseException as error:  # noqa: BLE001  the child's edge
            said, code = _told(error), 1
        with os.fdopen(writing, "w") as answer:
            json.dump(said, answer)
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    return Ended(os.waitstatus_to_exitcode(status), json.loads(text) if text else {})


@contextmanager
def _in_place(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """What `files.replacing` must not be: the file itself is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    yield path


def _told(error: BaseException) -> dict[str, Any]:
    from components import disk
    from components.errors import AthanorError

    known = error if isinstance(error, AthanorError) else disk.shortage(error)
    if known is None:
        return {"error": "".join(traceback.format_exception(error)), "exit_code": 70}
    return {"error": f"{type(known).__name__}: {known}", "exit_code": known.exit_code}


def warm() -> None:
    """Import what the chain needs, once, before any child is forked."""
    import importlib

    from pipelines.child import PRELOAD
    from pipelines.child import SETTINGS as ENVIRONMENT

    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    names = (*PRELOAD, "pipelines.train", "pipelines.plan", "components.export.graph")
    for name in (*names, "components.validation.suite", "components.steps.compress"):
        importlib.import_module(name)
    from components import mlflow_store

    mlflow_store.apply_settings()
    for name in ("tracking", "model_registry"):
        importlib.import_module(f"mlflow.store.{name}.sqlalchemy_store")
    from mlflow.utils import requirements_utils

    requirements_utils._init_modules_to_packages_map()  # a second of each registration


def chain(until: str) -> dict[str, Any]:
    """Read the chain of the small project up to a step, storing what it makes: digests by step."""
    from components import project, workspace
    from components.records import Record
    from pipelines import train
    from pipelines.config import load_run
    from pipelines.keys import bind, document, keep, key, remember, stored
    from pipelines.plan import Forced, Planner, keeps
    from pipelines.progress import Plain
    from pipelines.steps import Runner

    class Enough(Exception):
        """The last step that is wanted was read."""

    class Direct(Planner):
        """Executes what is not stored, here."""

        decide, champion = Runner.decide, Runner.champion
        screen = Plain()

        def close(self) -> None:
            """Nobody else decides."""

        def __call__(self, name: str, step: Any, *args: Any, **kwargs: Any) -> Record:
            if name == until:
                raise Enough
            call = bind(name, step, args, kwargs)
            of = document(call)
            this = key(of)
            found = stored(this) if keeps(call) else None
            begun = time.monotonic()
            if found is None:
                with workspace.opened(project.home() / "work" / this):
                    found = step(**call.arguments)
                executed.append(name)
            if keeps(call) and name in executed:
                keep(this, found)
            if keeps(call):
                remember(self.run, name, of)
            records[name] = found.digest
            seconds[name] = round(time.monotonic() - begun, 3)
            return found

    records: dict[str, str] = {}
    seconds: dict[str, float] = {}
    executed: list[str] = []
    config = load_run(Path("configs/tiny.yaml"), SETTINGS)
    with suppress(Enough):
        train.chain(Direct(config.name, Forced()), config)
    return {"records": records, "seconds": seconds, "executed": executed}


def run(
    home: Path, until: str, plan: injection.Plan | None = None, careless: bool = False
) -> Ended:
    """A run of the chain in this home, with a fault where there is a plan.

    A careless one writes files in place: what a kill or a full disk then leaves must be noticed.
    """

    def work() -> dict[str, Any]:
        os.environ["ATHANOR_HOME"] = str(home)
        if careless:
            from components import files

            files.replacing = _in_place
        if plan is not None:
            os.environ[injection.ENVIRONMENT] = json.dumps(plan._asdict())
            injection.arm()
        return chain(until)

    return forked(work)
