"""Suites: read from YAML, every expectation evaluated, nothing lost on the way."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from pydantic import ValidationError

from components.errors import ConfigError
from components.fingerprint import closure
from components.validation.checks import CHECKS
from components.validation.expectations import Expectations
from components.validation.outcomes import Outcome
from components.validation.suite import build, evaluate

SHIPPED = sorted((Path(__file__).parents[2] / "configs/expectations").glob("*.yaml"))
FRAME = pd.DataFrame(
    {
        "id": ["a", "b", "c"],
        "split": ["train", "train", "test"],
        "text": ["x", "x", "long text"],
        "n_chars": [1, 1, 9],
    }
)
OURS = "expect_dataset_check_to_be_between"


def suite(*expectations: dict) -> Expectations:
    return Expectations.model_validate({"name": "made_up", "expectations": expectations})


def of(kind: str, **kwargs: object) -> dict:
    return {"type": f"expect_{kind}", "kwargs": kwargs}


@pytest.fixture(scope="module")
def outcomes() -> tuple[Outcome, ...]:
    """What came of one suite that holds every kind of answer, one of them twice."""
    whole = {"column": "text"}
    return evaluate(
        FRAME,
        suite(
            of("column_values_to_be_unique", column="id"),
            of("column_values_to_be_between", column="n_chars", max_value=5),
            of("column_values_to_be_between", column="n_chars", max_value=5),
            of("column_mean_to_be_between", column="n_chars", max_value=1)
            | {"severity": "warning"},
            of("dataset_check_to_be_between", check="repeated_share", params=whole, max_value=0.1),
            of("dataset_check_to_be_between", check="leaked_share", params=whole, max_value=0.0),
            of("column_values_to_be_in_set", column="absent", value_set=[1]),
        ),
    )


def test_answers_come_in_the_order_of_the_suite_and_none_is_lost(outcomes) -> None:
    states = [one.state for one in outcomes]
    assert states == ["passed", "failed", "failed", "failed", "failed", "passed", "error"]


def test_an_expectation_that_crashed_is_told_from_one_that_failed(outcomes) -> None:
    assert "could not be evaluated" in outcomes[-1].check.observed
    assert "absent" in outcomes[-1].check.observed
    assert not outcomes[-1].check.passed
    assert "could not be evaluated" not in outcomes[1].check.observed


def test_a_failed_expectation_shows_counts_and_rows(outcomes) -> None:
    assert outcomes[1].check.observed == "1 of 3 rows break it"
    assert outcomes[1].check.examples == ("test c: 9",)
    assert outcomes[3].check.severity == "warning"
    assert outcomes[3].check.observed == "3.66667"


def test_our_checks_answer_through_the_same_suite(outcomes) -> None:
    assert outcomes[4].check.rule == "repeated share (column text) at most 0.1"
    assert outcomes[4].check.observed == "1 of 3 rows (33.3%)"
    assert outcomes[4].check.examples == ("2 times: x",)


def test_the_order_of_keys_in_a_file_changes_nothing() -> None:
    """Two suites that are equal have equal answers: a key is made of the first."""
    kwargs = {"min_value": 1, "max_value": 9, "mostly": 0.9}
    one = of("column_value_lengths_to_be_between", column="text", **kwargs)
    turned = {**one, "kwargs": dict(reversed(one["kwargs"].items()))}
    assert list(turned["kwargs"]) != list(one["kwargs"])
    assert suite(one) == suite(turned)
    [first], [second] = (evaluate(FRAME, suite(each)) for each in (one, turned))
    assert first == second
    assert first.check.rule.endswith("(min_value 1, max_value 9, mostly 0.9)")


@pytest.mark.parametrize(
    ("expectation", "reason"),
    [
        (
            {"type": "expect_column_values_to_be_in_sett", "kwargs": {}},
            "suite 'made_up', expectation 0: there is no .*_sett; did you mean .*_in_set?",
        ),
        (
            {"type": "expect_column_values_to_be_in_set", "kwargs": {"colum": "a"}},
            "expectation 0 .*colum: extra fields not permitted",
        ),
        (
            {"type": OURS, "kwargs": {"check": "repeated", "max_value": 1}},
            "no check is called 'repeated'; there are: .*repeated_share",
        ),
        (
            {"type": OURS, "kwargs": {"check": "repeated_share", "max_value": 1}},
            "repeated_share: missing a required argument: 'column'",
        ),
        (
            {"type": OURS, "kwargs": {"check": "smallest_class_share"}},
            "neither min_value nor max_value",
        ),
    ],
)
def test_what_does_not_exist_is_refused_before_any_data_are_read(expectation, reason) -> None:
    with pytest.raises(ConfigError, match=reason):
        build(suite(expectation))


def test_great_expectations_leaves_no_folder_behind(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    evaluate(FRAME, suite(of("column_values_to_be_unique", column="id")))
    assert list(tmp_path.iterdir()) == []


def test_every_shipped_suite_can_be_built_and_has_the_name_of_its_file() -> None:
    assert SHIPPED
    for path in SHIPPED:
        read = Expectations.model_validate(yaml.safe_load(path.read_text()))
        assert read.name == path.stem
        assert len(build(read).expectations) == len(read.expectations)


@pytest.mark.parametrize(
    ("expectations", "reason"),
    [
        ([], "at least 1 item"),
        ([{"type": "expect_x", "severity": "fatal"}], "severity"),
        ([{"type": "other"}], "String should match pattern"),
        ([{"type": "expect_x", "kwarg": {}}], "Extra inputs are not permitted"),
        (
            [{"type": "expect_x", "kwargs": {"min_value": 2, "max_value": 1}}],
            "min_value 2 is above max_value 1",
        ),
    ],
)
def test_what_is_no_suite_is_refused_when_it_is_read(expectations, reason) -> None:
    with pytest.raises(ValidationError, match=reason):
        suite(*expectations)


def test_the_code_of_every_check_counts_in_the_key_of_the_step() -> None:
    reached = closure("components.steps.validate:validate").symbols
    assert {f"components.validation.checks:{check.__name__}" for check in CHECKS.values()} <= set(
        reached
    )
