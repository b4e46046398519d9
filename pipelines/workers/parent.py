"""A run as a worker executes it: its steps go to workers, and it only waits for them."""

import json
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from prefect.states import Cancelled, Completed, Failed, State
from pydantic import ValidationError

from components import project
from components.errors import AthanorError, ConfigError
from pipelines import reaping, running, runs
from pipelines.config import RunConfig, load_run
from pipelines.receipt import Report
from pipelines.running import Asked
from pipelines.runs import Wishes
from pipelines.workers import dispatch, page, process, submission
from pipelines.workers.submission import Submitted


class Named(NamedTuple):
    """A config of the project, as a schedule names it."""

    config: str
    assignments: tuple[str, ...] = ()


def execute(run: str, asked: Named | Submitted) -> State:
    """The state that a run comes to; a try that died before is gone on with.

    `run` is the id that it was promised; empty where nobody waits for it by name.
    """

    def work() -> State:
        report = running.execute(_asked(run, asked))
        if report.exit_code:
            return Completed(name="Refused", message="the gate refused the version of this run")
        return Completed(message=f"{report.run_id} is done")

    return _stated(work)


def retrain(asked: Named, data: str, reason: str) -> State:
    """The state that a retraining comes to; new data are got once, a try that died goes on."""
    from pipelines import retrain as retraining

    work = process.mine[0]
    config = load_run(project.root() / asked.config, asked.assignments)
    name = name_of(work.flow_run_id, _created(work.flow_run_id), config.name)
    if runs.load(name) is not None:
        return execute(name, asked)
    process.note(work.model_copy(update={"run": name}))
    page.named(name, submission.tags(config))

    def run(file: Path, wishes: Wishes) -> Report:
        known = load_run(project.root() / file, wishes.assignments)
        whole = Asked(known, wishes, project.root() / file, run_id=name)
        elsewhere = page.shown(partial(dispatch.run, known.resources))
        return running.execute(whole._replace(elsewhere=elsewhere))

    def go_on() -> State:
        done = retraining.retrain(asked.config, reason, asked.assignments, data, run)
        return Completed(message=f"{done.name}: {done.outcome}")

    return _stated(go_on)


def _stated(work: Callable[[], State]) -> State:
    """The state that some work comes to, where it fails or is cancelled too."""
    try:
        return work()
    except AthanorError as error:
        return Failed(message=str(error))
    except SystemExit:
        if not page.cancelling():
            raise
        return Cancelled(message="cancelled; its checkpoint is kept")


def name_of(flow_run_id: str, created: datetime, config: str) -> str:
    """The id of the run that a flow run makes: the same at each of its tries."""
    return f"{created:%Y%m%d-%H%M%S}-{config}-{UUID(flow_run_id).hex[-4:]}"


def _asked(run: str, asked: Named | Submitted) -> Asked:
    reaping.records()  # an earlier try of this very run may have died
    if isinstance(asked, Submitted):
        file, wishes = asked.file, asked.wishes
        config = _checked(asked.document)
    else:
        file, wishes = asked.config, Wishes(assignments=asked.assignments)
        config = load_run(project.root() / file, wishes.assignments)
    work = process.mine[0]
    name = run or name_of(work.flow_run_id, _created(work.flow_run_id), config.name)
    process.note(work.model_copy(update={"run": name}))
    page.named(name, submission.tags(config))
    known = runs.load(name)
    if known is None:
        made = Asked(config, wishes, project.root() / file, run_id=name)
    else:
        config = _checked(known.config)
        made = Asked(config, known.wishes, project.root() / known.file, before=known)
    return made._replace(elsewhere=page.shown(partial(dispatch.run, config.resources)))


def _checked(document: dict[str, Any]) -> RunConfig:
    try:
        return RunConfig.model_validate_json(json.dumps(document))
    except ValidationError as error:
        raise ConfigError(
            f"the config of the run does not fit the worker's code: {error.errors()[0]['msg']}",
            "bring both to one commit",
        ) from None


def _created(flow_run_id: str) -> datetime:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        created = client.read_flow_run(UUID(flow_run_id)).created
    return created or datetime.now().astimezone()
