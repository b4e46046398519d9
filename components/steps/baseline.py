"""Baseline: what needs no network, answering the same rows."""

from typing import Literal

from components.artifacts import Predictions, Prepared, Split


def baseline(
    data: Prepared, kind: Literal["majority", "linear"], *, split: Split, seed: int = 0
) -> Predictions:
    """The answers of a baseline on one split, as a record like a network's.

    `majority` gives every row the training labels' shares; `linear` is a logistic regression, its
    penalty chosen on validation rows. `seed` is for solvers that draw; today's does not.
    """
    import hashlib
    import time

    from components.artifacts import Made
    from components.evaluation import baselines, report
    from components.files import canonical
    from components.workspace import current

    start = time.process_time()
    facts: dict[str, float] = {}
    if kind == "majority":
        probability = baselines.majority(data, split)
    else:
        fitted = baselines.linear(data, split, seed)
        probability, facts = fitted.probability, {"inverse_strength": fitted.inverse_strength}
    facts["cpu_seconds"] = time.process_time() - start
    what = {"baseline": kind, "data": data.digest, "seed": seed}
    answers = report.predictions(
        kind,
        hashlib.sha256(canonical(what)).hexdigest(),
        data,
        split=split,
        objective={"kind": "classification"},
        probability=probability,
    )
    current().params({name: value for name, value in facts.items() if name != "cpu_seconds"})
    return answers.model_copy(update={"made": Made(facts=facts)})
