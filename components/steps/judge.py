"""Judge: whether a candidate may take the champion's place."""

from components.artifacts import Predictions, Variant, Verdict
from components.gate import GateConfig, first_verdict, later_verdict
from components.workspace import current


def judge(
    candidate: Variant,
    rival: Variant | Predictions,
    gate: GateConfig,
    *,
    champion: int | None = None,
) -> Verdict:
    """The verdict on a candidate: beside the champion, or beside a baseline for a first version.

    `champion` is the rival's version, for the record. A failed check is part of the verdict, not
    an error: `promote` is what refuses.

    Raises:
        UsageError: the two were not evaluated on the same test rows.
    """
    if isinstance(rival, Predictions):
        verdict = first_verdict(candidate, rival, gate)
    else:
        name = "champion" if champion is None else f"champion v{champion}"
        verdict = later_verdict(candidate, rival, gate, name=name)
    current().metrics(
        {
            "gate/passed": float(verdict.passed),
            "gate/p_value": verdict.p_value,
            "gate/difference": verdict.difference.value,
        }
    )
    return verdict
