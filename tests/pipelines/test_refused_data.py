"""Data that break a demand end a real run before anything is trained, in one plain message."""

import json
import re
from pathlib import Path

import pytest

from tests.faults import invariants
from tests.pipelines import small_project


@pytest.mark.slow
def test_data_that_break_a_demand_are_code_3_and_the_report_is_kept(
    source: Path, tmp_path: Path
) -> None:
    project = small_project.write(tmp_path / "tiny")
    home = tmp_path / "home"
    shard = project / "data/words/train/0000.jsonl"
    rows = [json.loads(line) for line in shard.read_text().splitlines()]
    rows[3]["text"] = rows[1]["text"]
    shard.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    small_project.record(project)
    words = ("run", "configs/tiny.yaml", "--json")
    said = small_project.athanor(project, home, words, source)
    assert said.code == 3, said.err
    error = said.json["error"]
    assert error["kind"] == "DataRejected"
    assert "data/words breaks 1 of 3 rules" in error["message"]
    assert "No later step has run" in error["message"]
    [report] = re.findall(r"read (\S+\.html)", error["remedy"])
    assert Path(report).read_text().startswith("<!")
    assert "Traceback" not in said.err
    assert "ERROR" not in said.err
    told = error["message"]
    for database, query, wanted in (
        ("prefect", "SELECT state_type FROM flow_run", [("FAILED",)]),
        ("prefect", "SELECT name, state_type FROM task_run", [("validate-words", "FAILED")]),
        ("prefect", "SELECT message FROM log WHERE level = 40", [(f"{told}; {error['remedy']}",)]),
        ("mlflow", "SELECT DISTINCT status FROM runs", [("FAILED",)]),
    ):
        place = home / database / f"{database}.db"
        assert invariants.ask(place, query) == wanted
    planned = small_project.athanor(project, home, ("plan", *words[1:]), source).json
    assert planned["steps"][0]["state"] == "run", "a refusal is not a result"
