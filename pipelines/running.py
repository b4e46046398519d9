"""`athanor run`, `plan` and `why`: read the config, look what is stored, execute what is not."""

import difflib
import json
import logging
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from components import files, leases, project
from components.errors import ServiceUnreachable, UsageError
from components.registry import glance
from pipelines.config import RunConfig, load_run
from pipelines.plan import Forced, Outlook, Planner, matches
from pipelines.progress import Screen, screen
from pipelines.receipt import Report, Step
from pipelines.train import Outcome, chain

if TYPE_CHECKING:
    import argparse


class Wishes(NamedTuple):
    """What a user asks of a run beyond its config."""

    assignments: tuple[str, ...] = ()
    force: tuple[str, ...] = ()
    start: str | None = None
    network: str = "allowed"
    """`allowed` or `refused`."""

    @classmethod
    def of(cls, options: "argparse.Namespace") -> Self:
        """The wishes of a command line."""
        offline = vars(options).get("offline", False)
        return cls(
            tuple(options.assignments),
            tuple(options.force),
            options.start,
            "refused" if offline else "allowed",
        )


class Latest(NamedTuple):
    """The last run of a config that executed a step."""

    run_id: str
    mlflow_run_id: str | None


@leases.held()
def run(file: Path, wishes: Wishes) -> Report:
    """The report of a run; steps whose result is stored are not executed."""
    begun = time.monotonic()
    config = load_run(file, wishes.assignments)
    shown = screen()
    try:
        _obtain(config, wishes, shown)
        planner, outcome = _planned(config, wishes)
        if planner.complete:
            steps = tuple(
                Step(name=o.name, state="cached", reason="; ".join(o.reasons[:1]), seconds=0.0)
                for o in planner.outlooks
            )
            latest = _latest(config)
            return _report(config, outcome, steps, latest, (time.monotonic() - begun, ()))
        to_run = [o.name for o in planner.outlooks if o.state != "cached"]
        shown.note(
            f"{len(planner.outlooks) - len(to_run)} steps cached, to run: {', '.join(to_run)}"
        )
        return _executed(config, wishes, shown, begun, file)
    finally:
        shown.close()


def plan(file: Path, wishes: Wishes) -> tuple[Outlook, ...]:
    """What would happen to each step, in running order."""
    config = load_run(file, wishes.assignments)
    planner, _ = _planned(config, wishes)
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


def _planned(config: RunConfig, wishes: Wishes) -> tuple[Planner, Outcome]:
    """The chain read once by a planner, and the outcome where every step is cached.

    Raises:
        UsageError: a forced step is none of this config's.
    """
    planner = Planner(config.name, Forced(wishes.force, wishes.start))
    outcome = chain(planner, config)
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


def _executed(config: RunConfig, wishes: Wishes, shown: Screen, begun: float, file: Path) -> Report:
    """Start the engines, read the chain with them, record what happened."""
    from pipelines import child, engine

    run_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{config.name}-{secrets.token_hex(2)}"
    child.warm()
    with engine.running(shown) as engines:
        # Its import sets up Prefect's logging: what ends a run is told once, by the command.
        import prefect.main  # noqa: F401

        logging.getLogger("prefect").setLevel(logging.CRITICAL)
        result = engines.execute(config, Forced(wishes.force, wishes.start), run_id, file)
    latest = Latest(run_id, result.mlflow_run_id)
    if any(step.state == "executed" for step in result.steps):
        for place in _latest_places(config):
            files.write_json(place, latest._asdict())
    extra = (time.monotonic() - begun, tuple(result.notes))
    return _report(config, result.outcome, result.steps, latest, extra)


def _report(
    config: RunConfig,
    outcome: Outcome,
    steps: tuple[Step, ...],
    latest: Latest,
    extra: tuple[float, tuple[str, ...]],
) -> Report:
    return Report(
        run_id=latest.run_id,
        mlflow_run_id=latest.mlflow_run_id,
        seconds=extra[0],
        config=config,
        outcome=outcome,
        steps=steps,
        champion=glance.champion(config.name),
        notes=extra[1],
    )


def _latest(config: RunConfig) -> Latest:
    """The run that executed a step of this very config last, else of its name."""
    for place in _latest_places(config):
        with suppress(OSError, ValueError, KeyError):
            known = json.loads(place.read_bytes())
            return Latest(known["run_id"], known["mlflow_run_id"])
    return Latest("unknown", None)


def _latest_places(config: RunConfig) -> tuple[Path, Path]:
    folder = project.home() / "runs" / config.name
    return folder / f"{config.digest[:16]}.json", folder / "latest.json"
