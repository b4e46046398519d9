"""`athanor run`, `plan` and `why`: read the config, look what is stored, execute what is not."""

import difflib
import json
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from components import leases, project
from components.errors import AthanorError, ConfigError, ServiceUnreachable, UsageError
from components.registry import glance
from pipelines import ancestry, holding, outages, runs
from pipelines.config import RunConfig, load_run
from pipelines.keys import differing
from pipelines.plan import Forced, Outlook, Planner
from pipelines.progress import Screen, screen
from pipelines.receipt import Report, Step
from pipelines.runs import Retraining, RunRecord, Wishes
from pipelines.step_names import matches
from pipelines.train import Outcome, chain

if TYPE_CHECKING:
    import argparse

    from pipelines.steps import Elsewhere


def wishes_of(options: "argparse.Namespace") -> Wishes:
    """The wishes of a command line."""
    known = vars(options).get("retraining")
    return Wishes(
        assignments=tuple(options.assignments),
        force=tuple(options.force),
        start=options.start,
        network="refused" if vars(options).get("offline", False) else "allowed",
        retraining=Retraining.model_validate_json(known.read_bytes()) if known else None,
    )


class End(NamedTuple):
    """What a run's end adds to what it did."""

    seconds: float
    """On the clock."""
    champion: int | None
    """Now, whoever made it that."""
    notes: tuple[str, ...] = ()


class Latest(NamedTuple):
    """The last run of a config that executed a step."""

    run_id: str
    mlflow_run_id: str | None


class Asked(NamedTuple):
    """What a run is made of."""

    config: RunConfig
    wishes: Wishes
    file: Path
    before: RunRecord | None = None
    """The run that goes on; else a new one begins."""
    run_id: str | None = None
    """Of a new run, where it was promised to somebody."""
    elsewhere: "Elsewhere | None" = None
    """Who executes its steps; None: children of this process."""


def run(file: Path, wishes: Wishes) -> Report:
    """The report of a run; steps whose result is stored are not executed."""
    return execute(asked(file, wishes))


def asked(file: Path, wishes: Wishes) -> Asked:
    """A run of a config file.

    Raises:
        ConfigError: it describes none.
    """
    return Asked(load_run(file, wishes.assignments), wishes, file)


def going_on(name: str) -> Asked:
    """A run that goes on: its own config and wishes, its last checkpoint.

    Raises:
        UsageError: there is no such run, or it is running or finished.
        ConfigError: this code reads its config no more.
    """
    before = runs.find(name)
    runs.demand_resumable(before)
    return Asked(config_of(before), before.wishes, Path(before.file), before)


def config_of(before: RunRecord) -> RunConfig:
    """The config that a run was begun with.

    Raises:
        ConfigError: this code reads it no more.
    """
    try:
        return RunConfig.model_validate_json(json.dumps(before.config))
    except ValidationError as error:
        raise ConfigError(
            f"the config of run {before.id} does not fit this code: {error.errors()[0]['msg']}",
            f"go back to the code that began it, or: athanor run {before.file}",
        ) from None


Work = Callable[[Asked, Screen, float], Report]
"""What is done for steps that are not cached: what was asked, who is told, since when."""


@leases.held()
def execute(asked: Asked, work: Work | None = None) -> Report:
    """The report of a run whose steps are executed where their result is not stored.

    This process executes them, unless `work` says who does.
    """
    config, wishes, before = asked.config, asked.wishes, asked.before
    begun = time.monotonic()
    shown = screen()
    try:
        if before is not None:
            shown.note(_going_on(config, before))
        _obtain(config, wishes, shown)
        done = before.set_aside if before else ()
        planner, outcome = planned(config, wishes, done)
        if not planner.complete:
            to_run = [o.name for o in planner.outlooks if o.state != "cached"]
            shown.note(
                f"{len(planner.outlooks) - len(to_run)} steps cached, to run: {', '.join(to_run)}"
            )
            if work is not None:
                return work(asked, shown, begun)
            if asked.elsewhere is None:
                from pipelines import child

                child.warm(any(name.startswith("validate-") for name in to_run))
            return _executed(asked, shown, begun)
        steps = tuple(
            Step(name=o.name, state="cached", reason="; ".join(o.reasons[:1]), seconds=0.0)
            for o in planner.outlooks
        )
        if before is not None:
            _found_complete(before, outcome, steps)
        end = End(time.monotonic() - begun, glance.champion(config.name))
        return report(config, outcome, steps, _latest(config), end)
    finally:
        shown.close()


def plan(file: Path, wishes: Wishes) -> tuple[Outlook, ...]:
    """What would happen to each step, in running order."""
    config = load_run(file, wishes.assignments)
    planner, _ = planned(config, wishes)
    return tuple(planner.outlooks)


def why(file: Path, step: str, wishes: Wishes) -> tuple[Outlook, ...]:
    """What changed for one step, or for all.

    Raises:
        UsageError: the config has no such step.
    """
    outlooks = plan(file, wishes)
    if step:
        _demand_steps((step,), outlooks)
    return tuple(o for o in outlooks if not step or matches(step, o.name))


def plan_text(outlooks: tuple[Outlook, ...]) -> str:
    """One line a step: its state and the first reason."""
    lines = [f"{o.state:<7} {o.name:<32} {o.reasons[0] if o.reasons else ''}" for o in outlooks]
    runs = sum(o.state != "cached" for o in outlooks)
    return "\n".join([*lines, f"{len(outlooks) - runs} cached, {runs} to run"])


def why_text(outlooks: tuple[Outlook, ...]) -> str:
    """Every reason of each step."""
    lines: list[str] = []
    for outlook in outlooks:
        reasons = outlook.reasons or ("nothing changed since its result was stored",)
        lines.append(f"{outlook.name}: {outlook.state}")
        lines.extend(f"  {reason}" for reason in reasons)
    return "\n".join(lines)


def plan_document(outlooks: tuple[Outlook, ...]) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "steps": [
            {"name": o.name, "state": o.state, "reasons": list(o.reasons), "key": o.key}
            for o in outlooks
        ]
    }


def planned(config: RunConfig, wishes: Wishes, done: Sequence[str] = ()) -> tuple[Planner, Outcome]:
    """The chain read once by a planner, and the outcome where every step is cached.

    Raises:
        UsageError: a forced step is none of this config's.
    """
    planner = Planner(config.name, Forced(wishes.force, wishes.start, done))
    outcome = chain(planner, config, ancestry.start(config, wishes))
    _demand_steps((*wishes.force, *filter(None, (wishes.start,))), planner.outlooks)
    return planner, outcome


def _demand_steps(wanted: Sequence[str], outlooks: Sequence[Outlook]) -> None:
    """Refuse a word that names no step and no group of steps."""
    names = [outlook.name for outlook in outlooks]
    groups = {name.partition("-")[0] for name in names}
    for word in wanted:
        if not any(matches(word, name) for name in names):
            near = difflib.get_close_matches(word, sorted({*names, *groups}), 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f"no step is called {word!r}", f"{hint}there are: {', '.join(names)}")


def _obtain(config: RunConfig, wishes: Wishes, shown: Screen) -> None:
    """Get the data sets that the config names and the project lacks."""
    from components.data.obtain import Network
    from components.data.pull import pull

    lacking = [
        n for n in config.data if not (project.root() / "data" / n / "dataset.json").exists()
    ]
    if not lacking:
        return
    names = ", ".join(lacking)
    if wishes.network == "refused":
        raise ServiceUnreachable(
            f"not in data/: {names}, and --offline forbids fetching",
            f"athanor data pull {' '.join(lacking)}",
        )
    shown.note(f"getting {names} from the pinned public archives")
    pull(lacking, network=Network.ALLOWED)


def _executed(asked: Asked, shown: Screen, begun: float) -> Report:
    """Start the engines, read the chain with them, record what happened."""
    from pipelines import engine
    from pipelines.deployments import events

    config, wishes, file = asked.config, asked.wishes, asked.file
    if asked.before is not None:
        held = holding.again(asked.before.id)
    else:
        document = config.model_dump(mode="json")
        about = (placed(file), wishes)
        held = holding.begin(config.name, document, config.digest, about, asked.run_id)
    with holding.at_work(held):
        forced = Forced(wishes.force, wishes.start, held.record.set_aside)
        with events.Failing(config.name, config.digest), engine.running(shown) as engines:
            # Its import sets up Prefect's logging: what ends a run is told once, by the command,
            # and that a server is away by the watch; a killed one's events end in a traceback.
            import prefect.main  # noqa: F401

            for name in ("prefect", "websockets"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            engines = engines._replace(elsewhere=asked.elsewhere)
            result = engines.execute(config, forced, held, file)
        latest = Latest(held.id, result.mlflow_run_id)
        held.noted(tuple(result.notes))
        end = ended(config, shown, begun, tuple(result.notes))
        made = report(config, result.outcome, result.steps, latest, end)
        held.end("refused" if made.exit_code else "completed", made.exit_code)
    if any(step.name == "promote" and step.state == "executed" for step in result.steps):
        events.moved(result.outcome.decision.promotion)
    return made


def _found_complete(before: RunRecord, outcome: Outcome, steps: tuple[Step, ...]) -> None:
    """Nothing is left to do of a run that ended between its last step and its end."""
    refused = outcome.decision.outcome == "refused"
    with holding.at_work(holding.again(before.id)) as held:
        for step in steps:
            held.step_done(step.name, None, "cached", (step.reason, step.seconds))
        held.end("refused" if refused else "completed", 4 if refused else 0)


def placed(file: Path) -> str:
    """A config's place in the project; of one outside, its whole path."""
    whole = file.resolve()
    inside = whole.is_relative_to(project.root())
    return str(whole.relative_to(project.root()) if inside else whole)


def _going_on(config: RunConfig, before: RunRecord) -> str:
    """What a resumed run says first: its file may say something else by now."""
    text = f"going on with run {before.id}, which {before.state} at {before.last.ended}"
    try:
        now = load_run(project.root() / before.file, before.wishes.assignments)
    except AthanorError:
        return f"{text}; {before.file} is no such config any more: the run's own counts"
    changes = differing(before.config, now.model_dump(mode="json"))
    if not changes:
        return text
    return f"{text}; {before.file} differs by now, the run's own counts: {'; '.join(changes[:5])}"


def report(
    config: RunConfig,
    outcome: Outcome,
    steps: tuple[Step, ...],
    latest: Latest,
    end: End,
) -> Report:
    """All that is said at the end."""
    return Report(
        run_id=latest.run_id,
        mlflow_run_id=latest.mlflow_run_id,
        seconds=end.seconds,
        config=config,
        outcome=outcome,
        steps=steps,
        champion=end.champion,
        notes=end.notes,
    )


def ended(config: RunConfig, shown: Screen, begun: float, notes: tuple[str, ...]) -> End:
    """How a run that executed something ends; a registry that is away is asked again.

    Raises:
        ServiceUnreachable: it stays away.
    """
    champion = outages.patiently(partial(glance.champion, config.name), shown.note)
    return End(time.monotonic() - begun, champion, notes)


def _latest(config: RunConfig) -> Latest:
    """The run that executed a step of this very config last, else of its name."""
    known = runs.executed_last(config.name, config.digest)
    return Latest(known.id, known.mlflow_run_id) if known else Latest("unknown", None)
