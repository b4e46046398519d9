"""What a run came to, on one screen and as JSON: the same facts, from one record."""

import textwrap
from collections.abc import Iterator
from typing import Any

from components.artifacts import Predictions, Score, Variant, Verdict
from components.records import Record
from pipelines.config import RunConfig
from pipelines.train import Outcome
from pipelines.wording import counted

WIDTH = 88
UNBROKEN = "\N{NO-BREAK SPACE}"
"""Between a step and its seconds, until the lines are broken."""


class Step(Record):
    """One step of this run."""

    name: str
    state: str
    """`executed` or `cached`."""
    reason: str
    seconds: float


class Report(Record):
    """All that a run says at its end."""

    run_id: str
    mlflow_run_id: str | None
    seconds: float
    config: RunConfig
    outcome: Outcome
    steps: tuple[Step, ...]
    champion: int | None
    """Read from the registry when this report was made."""
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """4 where the gate refused the version, else 0."""
        return 4 if self.outcome.decision.outcome == "refused" else 0

    @property
    def chosen(self) -> Variant:
        """The selected variant."""
        of = self.outcome
        return next(v for v in of.variants if v.exported == of.selected)


def as_json(report: Report) -> dict[str, Any]:
    """The document that `athanor run --json` prints; docs/json.md says what each key is."""
    outcome = report.outcome
    decision = outcome.decision
    return {
        "run": {
            "id": report.run_id,
            "mlflow_run_id": report.mlflow_run_id,
            "seconds": round(report.seconds, 3),
        },
        "steps": [step.model_dump() for step in report.steps],
        "data": [{"name": v.raw.name, "digest": v.raw.tree} for v in outcome.validated],
        "scores": _scores(report.chosen.test),
        "baselines": [
            {
                "name": baseline.model,
                "scores": _scores(baseline),
                "difference": _interval(verdict.difference),
                "p_value": verdict.p_value,
            }
            for baseline, verdict in zip(outcome.baselines, outcome.compared, strict=True)
        ],
        "variants": [
            {
                "name": variant.exported.name,
                "selected": variant.exported == outcome.selected,
                "size_bytes": variant.measured.size_bytes,
                "latency_ms": variant.measured.latency.model_dump(),
                "scores": _scores(variant.test),
                "validation_scores": _scores(variant.validation),
            }
            for variant in outcome.variants
        ],
        "verdicts": [_verdict(verdict) for verdict in _verdicts(report)],
        "decision": decision.outcome,
        "model": {
            "name": outcome.registered.name,
            "version": outcome.registered.version,
            "alias": "champion" if report.champion == outcome.registered.version else None,
            "champion_version": report.champion,
        },
    }


def as_text(report: Report) -> str:
    """The receipt: one screen of plain text."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    outcome = report.outcome
    yield ""
    yield f"ATHANOR RECEIPT   {report.config.name}   run {report.run_id}   {report.seconds:.1f} s"
    yield "-" * WIDTH
    for validated in outcome.validated:
        rows = "  ".join(f"{split} {count:,}" for split, count in validated.raw.rows.items())
        failed = [c for c in validated.checks if not c.passed]
        holds = f"{len(validated.checks)} rules hold"
        state = counted(len(failed), "warning") if failed else holds
        yield f"data       {validated.raw.name:<16} {rows}   {state}   {validated.raw.tree[:12]}"
        for check in failed:
            yield f"           warning: {check.rule} ({check.observed})"
    if outcome.pretrained:
        yield f"pretrain   {_named(outcome.pretrained.scores)}"
    if outcome.searched:
        best, found = outcome.searched, outcome.searched.trials
        winner = max(found, key=lambda trial: trial.value if trial.value is not None else -1)
        chosen = ", ".join(f"{k} {_short(v)}" for k, v in winner.params.items())
        workers = best.made.facts.get("workers", 1) if best.made else 1
        by = f" by {workers} workers" if workers > 1 else ""
        trials = counted(len(found), "trial")
        yield f"search     best of {trials}{by}: {best.value:.4f}   ({chosen})"
    yield f"finetune   {_named(outcome.finetuned.scores)}"
    yield ""
    yield from _scored(report)
    yield ""
    yield from _variants(report)
    yield ""
    yield from _judged(report)
    yield from _ran(report)
    yield from (f"note       {note}" for note in report.notes)
    yield ""
    yield from _next(report)


def _scored(report: Report) -> Iterator[str]:
    test = report.chosen.test
    if test is not None:
        yield f"test       {'accuracy':<26} {_range(test.scores['accuracy'])}"
        yield f"           {'macro-F1':<26} {_range(test.scores['macro_f1'])}"
    for baseline, verdict in zip(report.outcome.baselines, report.outcome.compared, strict=True):
        score = baseline.scores["accuracy"]
        gap = verdict.difference
        winner = "the model" if gap.value > 0 else f"the {baseline.model} baseline"
        winner = winner if gap.value else "neither"
        yield (
            f"against    {baseline.model:<10} {score.value:.4f}   "
            f"difference {100 * gap.value:+.2f} ["
            f"{100 * gap.low:+.2f}, {100 * gap.high:+.2f}] points, "
            f"{verdict.wins}:{verdict.losses}   ahead: {winner}"
        )


def _variants(report: Report) -> Iterator[str]:
    first = report.outcome.variants[0]
    yield "variant                              size      b1 p50    b32 p50   val       test"
    for variant in report.outcome.variants:
        size, speed = variant.measured.size_bytes, variant.measured.latency
        smaller = first.measured.size_bytes / size
        faster = first.measured.latency.batch_1_p50 / speed.batch_1_p50
        mark = "*" if variant.exported == report.outcome.selected else " "
        test = variant.test.scores["accuracy"].value if variant.test else float("nan")
        yield (
            f"{mark} {variant.exported.name:<28} {size / 1e6:7.2f} MB {speed.batch_1_p50:7.3f} ms "
            f"{speed.batch_32_p50:7.2f} ms  {variant.validation.scores['accuracy'].value:.4f}    "
            f"{test:.4f}   {smaller:.1f}x smaller, {faster:.1f}x faster"
        )


def _judged(report: Report) -> Iterator[str]:
    decision, registered = report.outcome.decision, report.outcome.registered
    for verdict in _verdicts(report):
        if verdict is decision.verdict:
            passed = "passed" if verdict.passed else "REFUSED"
            yield f"verdict    against {verdict.rival} ({verdict.rule}): {passed}"
        else:
            passed = "holds" if verdict.passed else "does not hold"
            yield f"beside     {verdict.rival}, shown and not deciding: {passed}"
        for check in verdict.checks:
            yield f"           {'✓' if check.passed else '✗'} {check.rule}   {check.observed}"
    if decision.outcome == "unchanged":
        yield "verdict    the champion's own bundle again: nothing to judge"
    now = f"champion is v{report.champion}" if report.champion else "there is no champion"
    yield f"model      {registered.name} v{registered.version}   {decision.outcome}   {now}"


def _ran(report: Report) -> Iterator[str]:
    """Which steps ran, in groups of one reason, and which did not."""
    groups: dict[str, list[str]] = {}
    for step in report.steps:
        if step.state == "executed":
            took = f"{step.name} {step.seconds:.1f} s".replace(" ", UNBROKEN)
            groups.setdefault(step.reason, []).append(took)
    executed = sum(map(len, groups.values()))
    cached = [step.name for step in report.steps if step.state == "cached"]
    yield f"steps      {executed} executed, {len(cached)} cached"
    for reason, names in groups.items():
        shown = reason if len(reason) <= 70 else f"{reason[:67]}..."
        yield from _wrapped(f"{shown}: {', '.join(names)}")
    if cached and executed:
        yield from _wrapped(f"cached, for nothing that they depend on changed: {', '.join(cached)}")


def _wrapped(text: str) -> list[str]:
    lines = textwrap.wrap(
        text,
        width=WIDTH,
        initial_indent=" " * 11,
        subsequent_indent=" " * 13,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(UNBROKEN, " ") for line in lines]


def _next(report: Report) -> Iterator[str]:
    name = report.outcome.registered.name
    version = report.outcome.registered.version
    if report.exit_code:
        yield f"next       athanor promote {name} {version} --force --reason '...'   (overrules)"
    where = "@champion" if report.champion else f"/{version}"
    example = "TEXT" if report.outcome.data.spec.modality == "text" else "--file picture.png"
    yield f"next       athanor predict {name}{where} {example}"
    yield "           athanor up             (MLflow and Prefect in the browser)"
    yield f"           athanor history {name}"


def _verdicts(report: Report) -> list[Verdict]:
    """The deciding verdict, and the one against the linear baseline where that is another."""
    deciding = report.outcome.decision.verdict
    shown = [deciding] if deciding else []
    for verdict in report.outcome.compared:
        if verdict.rival == "linear" and (deciding is None or deciding.rival != "linear"):
            shown.append(verdict)
    return shown


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "rival": verdict.rival,
        "rule": verdict.rule,
        "passed": verdict.passed,
        "difference": _interval(verdict.difference),
        "p_value": verdict.p_value,
        "wins": verdict.wins,
        "losses": verdict.losses,
        "checks": [check.model_dump(mode="json") for check in verdict.checks],
    }


def _scores(predictions: Predictions | None) -> dict[str, Any]:
    if predictions is None:
        return {}
    return {name: score.model_dump() for name, score in predictions.scores.items()}


def _interval(score: Score) -> dict[str, float]:
    return {"value": score.value, "low": score.low, "high": score.high}


def _range(score: Score) -> str:
    return f"{score.value:.4f}   95 % interval {score.low:.4f} to {score.high:.4f}   n {score.n:,}"


def _named(scores: dict[str, float]) -> str:
    return "   ".join(f"{name} {value:.4f}" for name, value in scores.items())


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
