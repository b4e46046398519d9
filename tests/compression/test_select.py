import pytest

from components.artifacts import (
    Exported,
    Latency,
    Made,
    Measured,
    Parity,
    Predictions,
    Score,
    TrainedModel,
    Variant,
)
from components.errors import UsageError
from components.recipe import Recipe
from components.spec import DataSpec
from components.steps.select import SelectConfig, select
from tests.compression import tiny

RECIPE = Recipe.model_validate(tiny.TEXT)
MODEL = TrainedModel(
    architecture=RECIPE.architecture,
    spec=DataSpec(modality="text", inputs=(), labels=tiny.LABELS),
    files={},
    recipe=RECIPE,
)


def variant(
    name: str,
    size: int,
    accuracy: float,
    *,
    ms: float = 1.0,
    test: float = 0.5,
    data: str = "d",
    split: str = "val",
) -> Variant:
    exported = Exported(
        name=name,
        model=MODEL,
        chain=(),
        files={"model.onnx": name},
        size_bytes=size,
        parity=Parity(rows=1, max_difference=0, top1_agreement=1, shapes=()),
    )
    latency = Latency(batch_1_p50=ms, batch_1_p95=ms, batch_32_p50=ms, batch_32_p95=ms)
    scored = {
        where: Predictions(
            model=name,
            of=exported.digest,
            data=data,
            split=where,
            objective=RECIPE.objective.model_dump(mode="json"),
            files={},
            scores={"accuracy": Score(value=value, low=0, high=1, n=100)},
        )
        for where, value in ((split, accuracy), ("test", test))
    }
    return Variant(
        exported=exported,
        measured=Measured(
            exported=exported.digest,
            size_bytes=size,
            made=Made(facts={"latency_ms": latency.model_dump()}),
        ),
        validation=scored[split],
        test=scored["test"],
    )


@pytest.mark.parametrize(
    ("variants", "chosen"),
    [
        ([("fp32", 100, 0.84)], "fp32"),
        ([("fp32", 100, 0.84), ("int8", 30, 0.84)], "int8"),
        ([("fp32", 100, 0.84), ("int8", 30, 0.83)], "int8"),  # a drop of exactly the limit
        ([("fp32", 100, 0.84), ("int8", 30, 0.8299)], "fp32"),
        ([("fp32", 100, 0.84), ("int8", 30, 0.82), ("student", 50, 0.835)], "student"),
        ([("fp32", 100, 0.84), ("int8", 30, 0.835), ("student", 10, 0.832)], "student"),
        ([("fp32", 100, 0.84), ("larger", 200, 0.99)], "fp32"),  # better, but not smaller
        ([("fp32", 100, 0.80), ("int8", 30, 0.90)], "int8"),  # a gain is no drop
    ],
)
def test_the_smallest_within_the_budget_is_selected(
    variants: list[tuple[str, int, float]], chosen: str
) -> None:
    made = tuple(variant(*one) for one in variants)
    assert select(made, SelectConfig(max_drop=0.01)).name == chosen


@pytest.mark.parametrize("ms", [1.5, 2.5])
def test_of_equal_sizes_the_first_is_selected_whatever_the_clock_says(ms: float) -> None:
    made = (
        variant("fp32", 100, 0.8),
        variant("first", 30, 0.8, ms=2.0),
        variant("second", 30, 0.8, ms=ms),
    )
    assert select(made, SelectConfig()).name == "first"


def test_test_rows_have_no_say() -> None:
    good = variant("good", 50, 0.84, test=0.1)
    bad = variant("bad", 10, 0.10, test=0.99)
    assert select((variant("fp32", 100, 0.84), good, bad), SelectConfig()).name == "good"


def test_the_choice_says_why_outside_its_identity() -> None:
    made = (variant("fp32", 100, 0.84), variant("int8", 25, 0.83))
    chosen = select(made, SelectConfig())
    assert chosen == made[1].exported
    assert "it loses 0.0100 and is 4.00 times smaller than fp32" in chosen.made.facts["selected"]


def test_a_variant_scored_on_other_rows_is_refused() -> None:
    for stray in (
        variant("int8", 30, 0.84, data="other"),
        variant("int8", 30, 0.84, split="train"),
    ):
        with pytest.raises(UsageError, match="int8 was scored on"):
            select((variant("fp32", 100, 0.84), stray), SelectConfig())


def test_nothing_to_select_from_is_refused() -> None:
    with pytest.raises(UsageError, match="no variant"):
        select((), SelectConfig())
