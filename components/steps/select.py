"""Select: the variant that is served, chosen on validation rows alone."""

from typing import Annotated

from pydantic import Field

from components.artifacts import Exported, Made, Variant
from components.errors import UsageError
from components.objectives import Objective
from components.records import Record

ROUNDING = 1e-9
"""A drop of exactly the limit is within it, whatever the last bits of a difference say."""


class SelectConfig(Record):
    """What a smaller graph may cost."""

    max_drop: Annotated[float, Field(ge=0)] = 0.01
    """Largest loss of the primary metric on validation rows against the first variant."""


def select(variants: tuple[Variant, ...], budget: SelectConfig) -> Exported:
    """The smallest graph that loses no more than the budget; of equal sizes the first.

    No clock has a say: a version made again must come to the same choice.

    The first variant is what the others are measured against, and it always qualifies. The reason
    stands in `made.facts`.

    Raises:
        UsageError: there is no variant, or one was not scored on the first one's validation rows.
    """
    if not variants:
        raise UsageError("there is no variant to select from", "name at least the empty chain")
    for variant in variants:
        _check(variant, variants[0])
    drops = [drop(variant, variants[0]) for variant in variants]
    within = [
        (variant.exported.size_bytes, place)
        for place, variant in enumerate(variants)
        if drops[place] <= budget.max_drop + ROUNDING
    ]
    _, place = min(within)
    chosen = variants[place].exported
    first = variants[0].exported
    reason = (
        f"{chosen.name}: smallest of {len(within)} of {len(variants)} variants that lose at most "
        f"{budget.max_drop:g} on validation rows; it loses {drops[place]:.4f} and is "
        f"{first.size_bytes / chosen.size_bytes:.2f} times smaller than {first.name}"
    )
    made = chosen.made or Made()
    return chosen.model_copy(
        update={"made": made.model_copy(update={"facts": {**made.facts, "selected": reason}})}
    )


def drop(variant: Variant, first: Variant) -> float:
    """How much of the primary metric a variant loses against the first; negative where it gains."""
    objective = Objective.model_validate(first.validation.objective)
    score = variant.validation.scores[objective.metric].value
    base = first.validation.scores[objective.metric].value
    return base - score if objective.direction == "maximize" else score - base


def _check(variant: Variant, first: Variant) -> None:
    scored = variant.validation
    if scored.split != "val" or scored.data != first.validation.data:
        raise UsageError(
            f"{variant.exported.name} was scored on {scored.split} rows of {scored.data[:12]}, "
            f"not on val rows of {first.validation.data[:12]}",
            "evaluate every variant on the validation rows of one Prepared",
        )
