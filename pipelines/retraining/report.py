"""The report of a retraining: what it came to, beside the champion it started from."""

from collections.abc import Iterator

from components import files, project
from components.artifacts import Prepared
from components.bundle import Bundle
from components.errors import AthanorError
from components.registry import fetching
from pipelines import comparison
from pipelines.comparison import Beside
from pipelines.keys import stored
from pipelines.receipt import Report
from pipelines.retraining import rows
from pipelines.retraining.page import page
from pipelines.retraining.records import Choice, DataChange, Retrained
from pipelines.runs import Retraining

FOLDER = "retraining"
"""Where the page lies among the files of the candidate's run in MLflow."""
EXAMPLES = 12


def of(done: Report, asked: Retraining, notes: tuple[str, ...]) -> Retrained:
    """What a run that retrained came to, and its page, kept in the home and in MLflow."""
    name, version = done.outcome.registered.name, done.outcome.registered.version
    verdict = done.outcome.decision.verdict
    beside, problem = _beside(name, asked.champion, version)
    found = Retrained(
        name=name,
        outcome=done.outcome.decision.outcome,
        reason=asked.reason,
        started_from=asked.champion,
        notes=(*notes, *problem, *done.notes),
        data=tuple(_changes(done, asked)),
        run_id=done.run_id,
        mlflow_run_id=done.mlflow_run_id,
        version=version,
        champion=done.champion,
        checks=tuple(
            {"rule": one.rule, "passed": one.passed, "observed": one.observed}
            for one in (verdict.checks if verdict else ())
        ),
        compared=beside.compared if beside else None,
        choices=tuple(_choices(done, asked)),
    )
    return _kept(found, beside, done)


def same(asked: Retraining) -> tuple[DataChange, ...]:
    """The data of a champion that nothing new has come to."""
    return tuple(
        DataChange(name=name, before=asked.before.get(name), after=after)
        for name, after in asked.after.items()
    )


def _beside(name: str, champion: int | None, version: int) -> tuple[Beside | None, tuple[str, ...]]:
    """Candidate beside champion on the new test rows; what kept them from being compared."""
    if champion is None or champion == version:
        return None, ()
    try:
        return comparison.beside(f"{name}/{champion}", f"{name}/{version}", EXAMPLES), ()
    except AthanorError as error:  # the run is done; a page less does not undo it
        return None, (f"not compared: {error.message}",)


def _changes(done: Report, asked: Retraining) -> Iterator[DataChange]:
    """Each data set of the run; of the labelled one also its rows, where they are still here."""
    bundle = None
    if asked.champion is not None:
        bundle = fetching.fetch(done.config.name, asked.champion)
    for at, validated in enumerate(done.outcome.validated):
        raw = validated.raw
        digests = (asked.before.get(raw.name), raw.tree)
        if at == 0:
            old = _prepared(bundle) if bundle else None
            yield rows.labelled(raw, digests[0], (old, done.outcome.data))
        else:
            yield rows.counted(raw, digests[0], rows.recorded(bundle, raw.name))


def _prepared(bundle: Bundle) -> Prepared | None:
    """The rows that a version was made from, where its run's result is still in this home."""
    steps = bundle.provenance["facts"].get("steps", {})
    found = stored(steps["prepare"]["key"]) if "prepare" in steps else None
    return found if isinstance(found, Prepared) else None


def _choices(done: Report, asked: Retraining) -> Iterator[Choice]:
    """What a person may do now; the gate has decided already."""
    name, version = done.outcome.registered.name, done.outcome.registered.version
    outcome = done.outcome.decision.outcome
    overrule = f"athanor promote {name} {version} --force --reason TEXT"
    if outcome == "promoted" and asked.champion is not None:
        yield Choice(
            text=f"put v{asked.champion} back", command=f"athanor rollback {name} --reason TEXT"
        )
    elif outcome == "refused":
        yield Choice(text=f"make v{version} the champion all the same", command=overrule)
    elif outcome == "unchanged" and done.champion != version:
        yield Choice(text=f"make v{version} the champion after all", command=overrule)
    if asked.champion is not None and asked.champion != version:
        yield Choice(
            text="see every row on which the two differ",
            command=f"athanor compare {name}/{asked.champion} {name}/{version} --html rows.html",
        )
    yield Choice(text=f"ask v{version} something", command=f"athanor predict {name}/{version} TEXT")


def _kept(found: Retrained, beside: Beside | None, done: Report) -> Retrained:
    """The report with the places of its page."""
    text = page(found, beside.pictures if beside else {})
    place = project.home() / "reports" / f"{done.run_id}.html"
    files.write_bytes(place, text)
    found = found.model_copy(update={"file": str(place)})
    if beside is None:
        return found
    logged, problem = comparison.log(beside.b, done.run_id, FOLDER, text)
    notes = (*found.notes, problem) if problem else found.notes
    return found.model_copy(update={"page": logged, "notes": notes})
