"""Eight `athanor run` at once on a home that does not exist yet, of two configs."""

from pathlib import Path

import pytest

from tests.faults import many
from tests.pipelines import small_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_eight_runs_at_once_execute_each_key_once_and_leave_stores_intact(tmp_path: Path) -> None:
    one = many.round_of(tmp_path / "round", small_project.frozen(tmp_path / "source"))
    assert not many.wrong(one)
    assert len(one.said) == many.RUNS
    executed = [step for said in one.said for step in said.json["steps"]
                if step["state"] == "executed"]  # fmt: skip
    waited = [step for said in one.said for step in said.json["steps"]
              if step["state"] == "cached"]  # fmt: skip
    assert executed
    assert waited, "no run met another: nothing was tested"
