"""What a candidate must show before it may take the champion's place, and what was decided."""

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationError

from components import files, objects, options, project
from components.artifacts import (
    Check,
    Measured,
    Predictions,
    Promotion,
    RegisteredModel,
    Variant,
    Verdict,
)
from components.errors import IntegrityError, UsageError
from components.evaluation.paired import Comparison, compare
from components.evaluation.rows import Rows, read
from components.objectives import Objective
from components.records import Record


class GateConfig(Record):
    """Demands on a candidate; each one becomes a check with what was observed."""

    first: Literal["majority", "linear"] = "majority"
    """What the first version is compared with: it must beat `majority`, and must not be worse
    than `linear` by the margin."""
    rule: Literal["better", "non_inferior"] = "better"
    """How a later version must stand beside the champion."""
    alpha: PositiveFloat = Field(default=0.05, lt=1)
    """Largest one-sided p-value."""
    margin: PositiveFloat = Field(default=0.01, lt=1)
    """Largest tolerable loss of the metric where not being worse is enough."""
    smaller_or_faster: PositiveFloat | None = Field(default=1.2, gt=1)
    """A candidate that is merely not worse must be so many times smaller or faster. None: not to
    be worse is enough, as for one that learned of newer rows."""
    max_size_bytes: PositiveInt | None = None
    max_size_ratio: PositiveFloat | None = 2.0
    """Largest size as a multiple of the champion's."""
    max_latency_ms: PositiveFloat | None = None
    """Largest median of one call with one row, in the processor's time: neighbours do not count."""
    max_latency_ratio: PositiveFloat | None = 2.0
    """Largest such median as a multiple of the champion's, both measured by this run."""
    min_accuracy: NonNegativeFloat = 0.0
    """Smallest accuracy on the test rows, whoever the rival is."""


class Decision(Record):
    """What was decided for one registered version under one gate; a version is decided once."""

    registered: RegisteredModel
    gate: str
    """Digest of the gate's config."""
    outcome: Literal["promoted", "refused", "unchanged"]
    """`unchanged`: its bundle is the champion's own, so nothing was judged."""
    verdict: Verdict | None = None
    promotion: Promotion | None = None


def first_verdict(candidate: Variant, rival: Predictions, gate: GateConfig) -> Verdict:
    """The verdict on a first version, beside a baseline's answers on the same test rows.

    Raises:
        UsageError: the rival is not the baseline that the gate names, or not on the same rows.
    """
    if rival.model != gate.first:
        raise UsageError(
            f"the gate compares a first version with {gate.first!r}, not with {rival.model!r}",
            f"evaluate the {gate.first} baseline, or set gate.first: {rival.model}",
        )
    mine = _test_rows(candidate)
    margin = gate.margin if gate.first == "linear" else 0.0
    result = _compare(mine, rival, margin)
    checks = (
        _significance(rival.model, result, gate, margin),
        *_absolute(candidate.measured, mine, gate),
    )
    return _verdict("first", rival.model, (mine, rival), result, checks)


def later_verdict(
    candidate: Variant, rival: Variant, gate: GateConfig, *, name: str = "champion"
) -> Verdict:
    """The verdict on a candidate beside the champion, both on the same test rows.

    Raises:
        UsageError: the two were not evaluated on the same test rows.
    """
    mine, theirs = _test_rows(candidate), _test_rows(rival)
    margin = gate.margin if gate.rule == "non_inferior" else 0.0
    result = _compare(mine, theirs, margin)
    checks = [_significance(name, result, gate, margin)]
    if gate.rule == "non_inferior" and gate.smaller_or_faster is not None:
        checks.append(_gain(candidate.measured, rival.measured, gate.smaller_or_faster))
    checks += _absolute(candidate.measured, mine, gate)
    checks += _relative(candidate.measured, rival.measured, gate)
    return _verdict(gate.rule, name, (mine, theirs), result, tuple(checks))


def stored_decision(registered: RegisteredModel, gate: GateConfig) -> Decision | None:
    """The decision on this version under this gate, or None where there is none yet.

    A decision on another bundle of the same number, left by an emptied registry, does not count.

    Raises:
        IntegrityError: the file is damaged.
    """
    return _stored(registered, gate.digest)


def _stored(registered: RegisteredModel, gate: str) -> Decision | None:
    place = _place(registered, gate)
    try:
        decision = Decision.model_validate(files.read_sealed(place))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise IntegrityError(
            f"{place} is damaged ({reason})",
            f"delete it: version {registered.version} of {registered.name} is then judged again",
        ) from error
    same = decision.registered.bundle == registered.bundle and decision.gate == gate
    return decision if same else None


def store_decision(decision: Decision) -> None:
    """Keep a decision; a version that is decided again, by hand, has the newer one.

    That a version was found to be the champion already takes the place of no verdict.
    """
    if decision.verdict is None:
        kept = _stored(decision.registered, decision.gate)
        if kept is not None and kept.verdict is not None:
            return
    place = _place(decision.registered, decision.gate)
    files.write_sealed(place, decision.model_dump(mode="json"))


def _place(registered: RegisteredModel, gate: str) -> Path:
    return _folder(registered) / _file(registered.version, gate)


def _folder(registered: RegisteredModel) -> Path:
    return project.home() / "decisions" / registered.name


def _file(version: int, gate: str) -> str:
    return f"{version}-{gate[:16]}.json"


def _test_rows(variant: Variant) -> Predictions:
    if variant.test is None:
        raise UsageError(
            f"{variant.exported.name} has no predictions on test rows",
            "evaluate it with split: test before the gate",
        )
    return variant.test


def _compare(mine: Predictions, theirs: Predictions, margin: float) -> Comparison:
    for one in (mine, theirs):
        if one.split != "test":
            raise UsageError(f"{one.model} was evaluated on {one.split}; the gate reads test rows")
    if mine.data != theirs.data:
        raise UsageError(
            f"{mine.model} and {theirs.model} answered different data "
            f"({mine.data[:12]} and {theirs.data[:12]})",
            "evaluate the champion again on this run's test rows",
        )
    objective = options.load(Objective, str(mine.objective["kind"]))
    return compare(_rows(mine), _rows(theirs), test=objective.test, margin=margin)


def _rows(predictions: Predictions) -> Rows:
    return read(objects.path(predictions.files["rows.safetensors"]))


def _significance(name: str, result: Comparison, gate: GateConfig, margin: float) -> Check:
    demand = f"not worse than {name} by {margin:g}" if margin else f"better than {name}"
    gap = result.difference
    return Check(
        rule=f"{demand}: one-sided p <= {gate.alpha:g}",
        passed=result.p_value <= gate.alpha,
        observed=(
            f"p = {result.p_value:.3g}, difference {gap.value:+.4f} "
            f"[{gap.low:+.4f}, {gap.high:+.4f}], {result.wins} wins, {result.losses} losses"
        ),
    )


def _gain(mine: Measured, theirs: Measured, wanted: float) -> Check:
    """Smaller or faster by the stated ratio: either is enough."""
    smaller = theirs.size_bytes / mine.size_bytes
    seen = f"{smaller:.2f} times smaller"
    faster = 0.0
    if calls := _calls_ms(mine, theirs):
        own, other = calls
        faster = other / own
        seen += f", {faster:.2f} times faster"
    return Check(
        rule=f"smaller or faster by a factor of {wanted:g}",
        passed=max(smaller, faster) >= wanted,
        observed=seen,
    )


def _absolute(measured: Measured, mine: Predictions, gate: GateConfig) -> list[Check]:
    checks = []
    if gate.max_size_bytes is not None:
        checks.append(_at_most("size in bytes", measured.size_bytes, gate.max_size_bytes))
    if gate.max_latency_ms is not None:
        calls = _calls_ms(measured)
        checks.append(_at_most("latency in ms", calls[0] if calls else None, gate.max_latency_ms))
    if gate.min_accuracy:
        seen = mine.scores["accuracy"].value
        checks.append(
            Check(
                rule=f"accuracy >= {gate.min_accuracy:g}",
                passed=seen >= gate.min_accuracy,
                observed=f"{seen:.4f}",
            )
        )
    return checks


def _relative(mine: Measured, theirs: Measured, gate: GateConfig) -> list[Check]:
    checks = []
    if gate.max_size_ratio is not None:
        ratio = mine.size_bytes / theirs.size_bytes
        checks.append(_at_most("size relative to the champion", ratio, gate.max_size_ratio))
    if gate.max_latency_ratio is not None:
        calls = _calls_ms(mine, theirs)
        ratio = calls[0] / calls[1] if calls else None
        checks.append(_at_most("latency relative to the champion", ratio, gate.max_latency_ratio))
    return checks


def _at_most(what: str, seen: float | None, bound: float) -> Check:
    """A limit on a number; what was not measured does not pass."""
    return Check(
        rule=f"{what} <= {bound:g}",
        passed=seen is not None and seen <= bound,
        observed="not measured" if seen is None else f"{seen:.4g}",
    )


def _calls_ms(*of: Measured) -> tuple[float, ...] | None:
    """Median of one call with one row of each, where all records say so.

    It runs on one thread, so the processor's own time is what an idle machine would take; the clock
    also counts the neighbours, and says enough only where a record has nothing else.
    """
    for fact in ("cpu_ms", "latency_ms"):
        if all(each.made is not None and fact in each.made.facts for each in of):
            return tuple(each.made.facts[fact]["batch_1_p50"] for each in of)  # type: ignore[union-attr]
    return None


def _verdict(
    rule: Literal["better", "non_inferior", "first"],
    rival: str,
    pair: tuple[Predictions, Predictions],
    result: Comparison,
    checks: tuple[Check, ...],
) -> Verdict:
    return Verdict(
        rule=rule,
        rival=rival,
        candidate=pair[0].digest,
        against=pair[1].digest,
        difference=result.difference,
        p_value=result.p_value,
        wins=result.wins,
        losses=result.losses,
        checks=checks,
        passed=all(check.passed for check in checks if check.severity == "critical"),
    )
