"""What came of each expectation, in words: the rule, what was seen, and examples."""

from typing import Any, Literal

import pandas as pd

from components.artifacts import Check, RawData
from components.records import Record
from components.validation.checks import EXAMPLES, cut
from components.validation.expectations import Expectation


class Outcome(Record):
    """What came of one expectation."""

    state: Literal["passed", "failed", "error"]
    """`error`: it could not be evaluated, which says nothing about the data."""
    check: Check
    type: str
    kwargs: dict[str, Any]
    meta: dict[str, Any] = {}


def expected_rows(raw: RawData, frame: pd.DataFrame) -> Outcome:
    """Whether every split has the rows that the record of the data set states."""
    found = {str(split): int(rows) for split, rows in frame["split"].value_counts().items()}
    wrong = sorted(
        f"{split}: {found.get(split, 0)} rows, recorded are {raw.rows.get(split, 0)}"
        for split in found.keys() | raw.rows.keys()
        if found.get(split, 0) != raw.rows.get(split, 0)
    )
    return Outcome(
        state="failed" if wrong else "passed",
        check=Check(
            rule="rows of each split as recorded",
            passed=not wrong,
            observed=", ".join(f"{split} {found[split]}" for split in sorted(found)),
            examples=tuple(wrong),
        ),
        type="rows_as_recorded",
        kwargs={"rows": raw.rows},
    )


def outcome(one: Expectation, answer: dict[str, Any], frame: pd.DataFrame) -> Outcome:
    """One expectation with the answer that Great Expectations gave on this frame."""
    crash = _crash(answer["exception_info"])
    result = answer["result"]
    if crash:
        state, observed = "error", f"could not be evaluated: {crash}"
    else:
        state, observed = ("passed" if answer["success"] else "failed"), _observed(result)
    check = Check(
        rule=_rule(one),
        passed=state == "passed",
        severity=one.severity,
        observed=observed,
        examples=_examples(result, frame) if state == "failed" else (),
    )
    return Outcome(state=state, check=check, type=one.type, kwargs=one.kwargs, meta=one.meta)


def _crash(info: dict[str, Any]) -> str:
    """First message of what was raised; the library keys it by metric when a metric raised it."""
    for part in (info, *(part for part in info.values() if isinstance(part, dict))):
        if part.get("raised_exception"):
            return cut(str(part.get("exception_message") or "no reason given"))
    return ""


def _rule(one: Expectation) -> str:
    """The expectation in words: `text: value lengths to be between (min_value 1)`."""
    kwargs = dict(one.kwargs)
    if "check" in kwargs:
        params = _in_words(kwargs.get("params") or {})
        return f"{kwargs['check'].replace('_', ' ')} ({params}) {_limits(kwargs)}".replace(
            " ()", ""
        )
    words = one.type.removeprefix("expect_").removeprefix("column_").replace("_", " ")
    column = kwargs.pop("column", None)
    rest = _in_words(kwargs)
    return (f"{column}: " if column else "") + words + (f" ({rest})" if rest else "")


def _in_words(values: dict[str, Any]) -> str:
    """By name, for the order in a file is no part of what it says; the least before the most."""
    return ", ".join(
        f"{name} {_in_words(value) if isinstance(value, dict) else value}"
        for name, value in sorted(values.items(), key=_place)
    )


def _place(word: tuple[str, Any]) -> tuple[str, bool]:
    name, _ = word
    return name.replace("max_", "min_", 1), name.startswith("max_")


def _limits(kwargs: dict[str, Any]) -> str:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"from {low:g} to {high:g}"


def _observed(result: dict[str, Any]) -> str:
    if "unexpected_count" in result:
        return f"{result['unexpected_count']} of {result['element_count']} rows break it"
    if "text" in (details := result.get("details") or {}):
        return str(details["text"])
    value = result.get("observed_value")
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _examples(result: dict[str, Any], frame: pd.DataFrame) -> tuple[str, ...]:
    details = result.get("details") or {}
    if "examples" in details:
        return tuple(details["examples"][:EXAMPLES])
    values = result.get("partial_unexpected_list") or []
    places = result.get("partial_unexpected_index_list") or []
    if values and len(places) == len(values):
        rows = frame.iloc[places]
        names = rows["split"].astype(str) + " " + rows["id"].astype(str)
        return tuple(
            f"{name}: {cut(str(value))}" for name, value in zip(names, values, strict=True)
        )
    if "mismatched" in details:
        return tuple(f"{key}: {value}" for key, value in sorted(details["mismatched"].items()))
    return tuple(cut(str(value)) for value in values)
