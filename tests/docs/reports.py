"""A run's report made of small records."""

from pathlib import Path
from typing import Literal

import numpy as np

from components.artifacts import Check, Predictions, RegisteredModel, Score, Variant, Verdict
from components.evaluation import slices
from components.evaluation.contrast import Asked, contrast
from components.evaluation.rows import Rows
from components.gate import Decision
from pipelines.comparison.records import Compared, Cost, Model
from pipelines.config import load_run
from pipelines.receipt import Report, Step
from pipelines.train import Outcome
from tests.docs import pages
from tests.registry import variants

RIGHT = np.array([True] * 80 + [False] * 20)


def a_report(folder: Path, outcome: Literal["promoted", "refused"]) -> Report:
    """A run's report: two variants, two baselines, judged beside a champion."""
    promoted = outcome == "promoted"
    data = variants.a_prepared(folder)
    plain = _tested(variants.a_variant(folder / "plain"))
    small = _tested(variants.a_variant(folder / "small", name="int8", chain=({"kind": "x"},)))
    rivals = tuple(variants.some_answers(folder, RIGHT, name) for name in ("majority", "linear"))
    compared = tuple(_verdict(plain, rival, rival.model) for rival in rivals)
    verdict = _verdict(plain, rivals[0], "champion v1")
    registered = RegisteredModel(name="reviews", version=2, bundle="b" * 64, run_key="k" * 64)
    return Report(
        run_id="20260101-000000-reviews-abcd",
        mlflow_run_id="m" * 32 if promoted else None,
        seconds=12.3456,
        config=load_run(pages.ROOT / "configs/digits.yaml"),
        outcome=Outcome(
            validated=data.sources,
            data=data,
            pretrained=None,
            searched=None,
            finetuned=plain.exported.model,
            variants=(plain, small),
            selected=plain.exported,
            baselines=rivals,
            compared=compared,
            registered=registered,
            decision=Decision(
                registered=registered,
                gate="g" * 64,
                outcome=outcome,
                verdict=verdict,
            ),
        ),
        steps=(Step(name="prepare", state="executed", reason="it is new", seconds=1.5),),
        champion=2 if promoted else None,
    )


def _verdict(candidate: Variant, rival: Predictions, name: str) -> Verdict:
    return Verdict(
        rule="better",
        rival=name,
        candidate=candidate.exported.digest,
        against=rival.digest,
        difference=Score(value=0.1, low=0.05, high=0.15, n=100),
        p_value=0.001,
        wins=12,
        losses=2,
        checks=(Check(rule="better", passed=True, observed="p = 0.001", examples=("row 1",)),),
        passed=True,
    )


def _tested(variant: Variant) -> Variant:
    """The variant with a second metric, which the receipt shows."""
    scores = variant.test.scores | {"macro_f1": variant.test.scores["accuracy"]}
    test = variant.test.model_copy(update={"scores": scores})
    return variant.model_copy(update={"test": test})


def a_comparison() -> Compared:
    """Two models of forty rows."""
    label = np.arange(40) % 2
    sure = np.where(label[:, None] == np.arange(2), 0.9, 0.1).astype(np.float32)
    a, b = Rows(sure.copy(), label, np.arange(40)), Rows(sure.copy(), label, np.arange(40))
    a.probability[:4] = 1 - a.probability[:4]
    groups = slices.by_length(np.arange(40))
    found = contrast(a, b, ("no", "yes"), groups, Asked(test="mcnemar", alpha=0.05, margin=0.01))
    one, two = (
        Model(
            reference=f"reviews/{version}", title=f"reviews/{version}", name="reviews",
            version=version, variant="fp32", bundle="b" * 64, run_id="r", stored=True, size_bytes=9,
            cpu_ms=Cost(batch_1=0.1, batch_32=1.0), data={"name": "a", "tree": "0.dir", "rows": {}},
            commit="c" * 40, edited=False,
        )
        for version in (1, 2)
    )  # fmt: skip
    return Compared(
        a=one, b=two, data=two.data, contrast=found, lost=(), won=(), changes=(), notes=()
    )
