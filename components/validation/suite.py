"""Great Expectations 1.24: every expectation of a suite really evaluated, its answers in order.

The library itself drops expectations that it does not know and calls a suite without any a
success; it counts an expectation that crashed as one that failed. Neither can happen here.
"""

import difflib
import os
from typing import TYPE_CHECKING, Any

import pandas as pd

from components.errors import ConfigError
from components.validation.checks import EXAMPLES
from components.validation.expectations import Expectation, Expectations
from components.validation.outcomes import Outcome, outcome

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.data_context import EphemeralDataContext

POSITION = "athanor_position"
"""Key in an expectation's `meta` by which its answer is found: answers come in another order."""


def evaluate(frame: pd.DataFrame, expectations: Expectations) -> tuple[Outcome, ...]:
    """One outcome per expectation, in the suite's order. Opens no file and no connection.

    Raises:
        ConfigError: an expectation does not exist or does not take such arguments.
    """
    suite = build(expectations)
    asset = _context().data_sources.add_pandas("athanor").add_dataframe_asset(expectations.name)
    whole = asset.add_batch_definition_whole_dataframe("all")
    batch = whole.get_batch({"dataframe": frame.reset_index(drop=True)})
    shown = {"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES}
    answers: Any = batch.validate(suite, result_format=shown)
    found = {
        answer.expectation_config.meta[POSITION]: answer.to_json_dict()
        for answer in answers.results
    }
    _demand_all(expectations, found.keys())
    return tuple(
        outcome(one, found[position], frame)
        for position, one in enumerate(expectations.expectations)
    )


def build(expectations: Expectations) -> "ExpectationSuite":
    """The suite as Great Expectations wants it, no expectation lost.

    Raises:
        ConfigError: names the suite, the position, what is wrong and the nearest name there is.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the library is imported
    import great_expectations as gx

    built = [
        _built(expectations.name, position, one)
        for position, one in enumerate(expectations.expectations)
    ]
    suite = gx.ExpectationSuite(name=expectations.name, expectations=built)
    _demand_all(expectations, [one.meta[POSITION] for one in suite.expectations])
    return suite


def _built(suite: str, position: int, one: Expectation) -> Any:
    from great_expectations.compatibility.pydantic import ValidationError
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.metadata_types import FailureSeverity
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    from components.validation.custom import ExpectDatasetCheckToBeBetween

    place = f"suite {suite!r}, expectation {position}"
    known = list_registered_expectation_implementations()
    if one.type not in known:
        ours = ExpectDatasetCheckToBeBetween.expectation_type
        near = difflib.get_close_matches(one.type, known, 1) or [ours]
        raise ConfigError(f"{place}: there is no {one.type}", f"did you mean {near[0]}?")
    configuration = ExpectationConfiguration(
        type=one.type,
        kwargs=dict(one.kwargs),
        severity=FailureSeverity(one.severity),
        meta={**one.meta, POSITION: position},
    )
    try:
        return configuration.to_domain_obj()
    except (ValueError, TypeError, GreatExpectationsError) as error:
        said = _reasons(error) if isinstance(error, ValidationError) else str(error)
        raise ConfigError(f"{place} ({one.type}): {said}", "correct its kwargs") from error


def _reasons(error: Any) -> str:
    """What the library's validation found, in one line: `column: field required`."""
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())


def _context() -> "EphemeralDataContext":
    """Great Expectations in memory: no progress bar, no reporting home, no folder left behind."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    stores = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    quiet = ProgressBarsConfig(globally=False, metric_calculations=False)
    settings = DataContextConfig(
        store_backend_defaults=stores, progress_bars=quiet, analytics_enabled=False
    )
    return gx.get_context(mode="ephemeral", project_config=settings)


def _demand_all(expectations: Expectations, positions: Any) -> None:
    if sorted(positions) != list(range(len(expectations.expectations))):
        raise ConfigError(
            f"suite {expectations.name!r}: {len(expectations.expectations)} expectations, but "
            f"Great Expectations kept the positions {sorted(positions)}",
            "remove the one that is missing here, or report it",
        )
