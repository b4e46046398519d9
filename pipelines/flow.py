"""The chain as a Prefect flow run, recorded in MLflow."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import prefect
from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext
from prefect.runtime import flow_run

from components import project, registry
from components.errors import ServiceUnreachable
from components.tracking.tracker import Status, Tracker
from pipelines import ancestry, outages
from pipelines.config import RunConfig
from pipelines.holding import Held
from pipelines.outages import Watch
from pipelines.plan import Forced, raw
from pipelines.progress import Screen
from pipelines.reaping import FLOW
from pipelines.receipt import Report, Step, as_text
from pipelines.run_log import Logged
from pipelines.steps import Elsewhere, Runner, Trace
from pipelines.train import Outcome, chain

SHIPPING_S = outages.PATIENCE_S
"""How long a finished run waits for MLflow; what is left is brought by the next run."""


class Result(NamedTuple):
    """A chain that was executed."""

    outcome: Outcome
    steps: tuple[Step, ...]
    mlflow_run_id: str | None
    notes: list[str]


class Surroundings(NamedTuple):
    """What a run finds around it."""

    screen: Screen
    watch: Watch
    elsewhere: Elsewhere | None = None
    """Who executes its steps; None: children of this process."""


def execute(
    config: RunConfig, forced: Forced, held: Held, around: Surroundings, file: Path
) -> Result:
    """Run the chain as one flow; what happened in it is in MLflow when this returns.

    Raises:
        ServiceUnreachable: Prefect's server went away before the chain was through.
    """
    screen, watch = Logged(around.screen), around.watch
    run_id = held.id
    tracker = Tracker(config.name)
    wishes = held.record.wishes
    start = ancestry.start(config, wishes)
    tags = _tags(config, file) | ancestry.tags(wishes)
    trace = Trace(tracker, tracker.start_run(run_id, tags, _params(config)))
    tracker.log_data(trace.parent, raw(config.data[0]))
    runner = Runner(config, forced, screen, (held, trace))
    if around.elsewhere is not None:
        runner.elsewhere = around.elsewhere
    done: list[Outcome] = []
    ids: list[str] = []

    def train(run: str, owner: str) -> Outcome:
        """validate > prepare > pretrain > search > finetune > compress > register > judge."""
        ids.append(str(flow_run.id))
        screen.belongs(ids[0])
        held.known(prefect_run_id=ids[0])
        outcome = chain(runner, config, start)
        done.append(outcome)
        watch.wait()
        with suppress(ServiceUnreachable):  # the registry knows the champion, or is away
            _show_receipt(_interim(config, outcome, runner, run_id))
        return outcome

    body: Callable[[str, str], Outcome] = train
    if FlowRunContext.get() is None:  # else a worker's flow run is this run
        named = prefect.flow(name=FLOW, flow_run_name=run_id, validate_parameters=False)
        body = named(train).with_options(persist_result=False)
    status: Status = "FAILED"
    try:
        outcome = _through(lambda: body(run_id, held.record.last.owner), watch, done)
        status = "FINISHED"
        for variant in outcome.variants:
            tracker.log_variant(trace.parent, variant, outcome.data.sources[0].raw)
        tracker.finish(trace.parent, _final(outcome), _verdict_tags(outcome))
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    except Exception as error:
        screen.failed(error)
        raise
    finally:
        runner.close()
        screen.bring()
        unheard = _tell(watch, ids, status)
        if status != "FINISHED":
            tracker.finish(trace.parent, {}, {}, status)
        remaining = tracker.close(SHIPPING_S)
        held.known(mlflow_run_id=tracker.run_id(trace.parent) or None)
    steps = tuple(Step(**step._asdict()) for step in runner.executed)
    parent = tracker.run_id(trace.parent)
    made = outcome.registered.made
    if parent and made and any(s.name == "register" and s.state == "executed" for s in steps):
        with suppress(ServiceUnreachable):  # where a version's run is shown stops no run
            registry.nest(made.facts["run_id"], parent)
    notes = [f"not yet in MLflow: {', '.join(remaining)}; athanor sync"] if remaining else []
    return Result(outcome, steps, parent or None, tracker.problems + notes + unheard)


def _show_receipt(report: Report) -> None:
    """The receipt on the run's page in Prefect, as far as it is known inside the flow."""
    try:
        create_markdown_artifact(
            key=f"receipt-{report.config.name}",
            markdown=f"```\n{as_text(report)}\n```",
            description=f"Receipt of {report.run_id}",
        )
    except Exception as error:
        if not outages.away(error):
            raise


def _through(train: Callable[[], Outcome], watch: Watch, done: list[Outcome]) -> Outcome:
    """The outcome of the flow: once the chain is through, no server can spoil it.

    Raises:
        ServiceUnreachable: the server went away before.
    """
    try:
        return train()
    except Exception as error:
        if not outages.away(error):
            raise
        watch.troubled = True
        if done:
            return done[0]
        raise ServiceUnreachable(
            f"the Prefect server at {watch.url} went away ({type(error).__name__})",
            "run again when it answers: finished steps and checkpoints are kept",
        ) from error


STATES = {"FINISHED": "COMPLETED", "FAILED": "FAILED", "KILLED": "CRASHED"}


def _tell(watch: Watch, ids: list[str], status: Status) -> list[str]:
    """After an outage, tell Prefect how the run ended, or keep it; what the receipt says then."""
    if not ids or (outages.answers(watch.url) and not watch.troubled):
        return []
    untold = outages.account(ids[0], watch.store, STATES[status])
    outages.keep(untold)
    with suppress(Exception):  # it is kept, and told later
        outages.tell(untold)
        return []
    return [f"Prefect at {watch.url} does not know yet how the run ended; the next run tells it"]


def _interim(config: RunConfig, outcome: Outcome, runner: Runner, run_id: str) -> Report:
    """The report as far as it is known inside the flow."""
    from components.registry import glance

    return Report(
        run_id=run_id,
        mlflow_run_id=None,
        seconds=sum(step.seconds for step in runner.executed),
        config=config,
        outcome=outcome,
        steps=tuple(Step(**step._asdict()) for step in runner.executed),
        champion=glance.champion(config.name),
    )


def _tags(config: RunConfig, file: Path) -> dict[str, str]:
    return {
        "athanor.stage": "pipeline",
        "athanor.task": config.name,
        "athanor.arch": config.finetune.architecture.kind,
        "athanor.config": file.name,
        "athanor.config_hash": config.digest[:16],
        "athanor.home": str(project.home().name),
    }


def _params(config: RunConfig) -> dict[str, Any]:
    recipe = config.finetune
    return {
        "model.arch": recipe.architecture.kind,
        "train.lr": recipe.optimizer.lr,
        "train.epochs": recipe.budget.epochs,
        "seed": recipe.seed,
        "threads": recipe.threads,
    }


def _final(outcome: Outcome) -> dict[str, float]:
    chosen = next(v for v in outcome.variants if v.exported == outcome.selected)
    latency = chosen.measured.latency
    final = {
        "final/size_mb": chosen.measured.size_bytes / 1e6,
        "final/latency_p50_ms": latency.batch_1_p50,
        "final/val_accuracy": chosen.validation.scores["accuracy"].value,
        "final/gate_passed": float(outcome.decision.outcome != "refused"),
    }
    if chosen.test is not None:
        final |= {f"final/test_{name}": s.value for name, s in chosen.test.scores.items()}
    return final


def _verdict_tags(outcome: Outcome) -> dict[str, str]:
    return {
        "athanor.gate": outcome.decision.outcome,
        "athanor.variant": outcome.selected.name,
        "athanor.version": f"{outcome.registered.name}/{outcome.registered.version}",
        "athanor.data_rev": outcome.validated[0].raw.tree,
    }
