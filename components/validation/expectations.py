"""The demands on one data set: a Great Expectations suite, as `configs/expectations/` holds it."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from components.records import Record

Severity = Literal["critical", "warning", "info"]


class Expectation(Record):
    """One demand: an expectation type of Great Expectations, or ours, with its arguments."""

    type: Annotated[str, Field(pattern="^expect_[a-z0-9_]+$")]
    kwargs: dict[str, Any] = {}
    severity: Severity = "critical"
    """Only a broken `critical` demand refuses the data."""
    meta: dict[str, Any] = {}
    """`why` and the like, for readers."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        """Great Expectations accepts a range that nothing can lie in."""
        low, high = self.kwargs.get("min_value"), self.kwargs.get("max_value")
        if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            raise ValueError(f"min_value {low} is above max_value {high}")
        return self


class Expectations(Record):
    """All demands on one data set, in the order in which the report shows them."""

    name: str
    expectations: Annotated[tuple[Expectation, ...], Field(min_length=1)]
