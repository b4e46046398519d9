"""Our checks as one Great Expectations expectation, `expect_dataset_check_to_be_between`."""

import inspect
from typing import Any, ClassVar

from great_expectations.compatibility import pydantic
from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider

from components.validation.checks import CHECKS


class DatasetCheck(TableMetricProvider):
    """Metric: the finding of one check on the whole frame."""

    metric_name = "table.athanor_check"
    value_keys = ("check", "params")

    @metric_value(engine=PandasExecutionEngine)
    def _pandas(
        cls,
        execution_engine: PandasExecutionEngine,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any],
    ) -> dict[str, Any]:
        frame, _, _ = execution_engine.get_compute_domain(
            domain_kwargs=metric_domain_kwargs, domain_type=MetricDomainTypes.TABLE
        )
        check = CHECKS[metric_value_kwargs["check"]]
        found = check(frame, **(metric_value_kwargs["params"] or {}))
        return {"value": found.value, "text": found.text, "examples": list(found.examples)}


class ExpectDatasetCheckToBeBetween(BatchExpectation):
    """A check of the whole data set must give a number within limits, both included."""

    check: str
    params: dict[str, Any] | None = None
    min_value: float | None = None
    max_value: float | None = None

    metric_dependencies: ClassVar[tuple[str, ...]] = (DatasetCheck.metric_name,)
    success_keys: ClassVar[tuple[str, ...]] = ("check", "params", "min_value", "max_value")
    args_keys: ClassVar[tuple[str, ...]] = ("check", "params", "min_value", "max_value")

    @pydantic.root_validator(skip_on_failure=True)
    def _known(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Refuse a check, a parameter or limits that do not exist when the suite is built."""
        name, params = values["check"], values["params"] or {}
        if name not in CHECKS:
            raise ValueError(f"no check is called {name!r}; there are: {', '.join(sorted(CHECKS))}")
        try:
            inspect.signature(CHECKS[name]).bind(None, **params)
        except TypeError as error:
            raise ValueError(f"check {name}: {error}") from error
        if values["min_value"] is None and values["max_value"] is None:
            raise ValueError(f"check {name}: neither min_value nor max_value is given")
        return values

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: Any = None,
    ) -> dict[str, Any]:
        found = metrics[DatasetCheck.metric_name]
        high_enough = self.min_value is None or found["value"] >= self.min_value
        low_enough = self.max_value is None or found["value"] <= self.max_value
        return {
            "success": bool(high_enough and low_enough),
            "result": {"observed_value": found["value"], "details": found},
        }
