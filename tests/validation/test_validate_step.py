"""The validate step on a small data set: accepted, refused, tampered with."""

import json
import re
from pathlib import Path

import pytest
import yaml

from components import objects
from components.artifacts import RawData
from components.data.tree import scan
from components.errors import DataRejected, IntegrityError
from components.steps.validate import validate
from components.validation.expectations import Expectations
from components.workspace import opened

SUITE = Expectations.model_validate(
    {
        "name": "tiny",
        "expectations": [
            {
                "type": "expect_column_values_to_be_in_set",
                "kwargs": {"column": "label", "value_set": ["n", "p"]},
            },
            {
                "type": "expect_dataset_check_to_be_between",
                "kwargs": {"check": "repeated_share", "params": {"column": "text"}, "max_value": 0},
                "meta": {"why": "<b>because</b>"},
            },
            {
                "type": "expect_column_mean_to_be_between",
                "kwargs": {"column": "n_chars", "max_value": 1},
                "severity": "warning",
            },
        ],
    }
)


def write_texts(project: Path, texts: dict[str, list[str]]) -> RawData:
    """A data set `tiny` of two labels in turn, and its record."""
    folder = project / "data/tiny"
    for split, part in texts.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        rows = [
            {"id": f"{split}{number}", "text": text, "label": "np"[number % 2]}
            for number, text in enumerate(part)
        ]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / split / "0000.jsonl").write_text(lines)
    card = {
        "name": "tiny", "modality": "text", "labels": ["n", "p"], "licence": "none",
        "counts": {split: len(part) for split, part in texts.items()}, "provenance": "made up",
        "schema": {"id": "string", "label": "string", "text": "string"}, "split_rule": "none",
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(card))
    return RawData(name="tiny", tree=scan(folder).digest, rows=card["counts"])


CLEAN = {"train": ["one", "two", "three", "four"], "val": ["five"], "test": ["six"]}
BROKEN = {
    **CLEAN,
    "train": ["one", "<script>alert(1)</script>"] + ["<script>alert(1)</script>"] * 3,
}


def test_accepted_data_carry_their_checks_and_a_report(project, tmp_path) -> None:
    raw = write_texts(project, CLEAN)
    with opened(tmp_path / "work") as here:
        made = validate(raw, SUITE)
    assert [check.passed for check in made.checks] == [True, True, True, False]
    result = json.loads(objects.path(made.made.facts["files"]["result.json"]).read_bytes())
    assert result["accepted"] is True
    assert result["data"]["tree"] == raw.tree
    offered = [json.loads(line) for line in here.journal.read_text().splitlines()]
    assert {"validation/report.html", "validation/result.json"} <= {
        line.get("name") for line in offered
    }


def test_the_same_data_give_the_same_record_anywhere(project, tmp_path) -> None:
    raw = write_texts(project, CLEAN)
    made = []
    for name in ("here", "there"):
        with opened(tmp_path / name):
            made.append(validate(raw, SUITE))
    assert made[0] == made[1]
    assert made[0].made == made[1].made


def test_refused_data_are_told_with_counts_examples_and_the_report(project, tmp_path) -> None:
    raw = write_texts(project, BROKEN)
    with opened(tmp_path / "work"), pytest.raises(DataRejected) as refused:
        validate(raw, SUITE)
    report = tmp_path / "work/report.html"
    message = str(refused.value)
    assert "data/tiny breaks 1 of 4 rules" in message
    assert "repeated share (column text) at most 0: 3 of 7 rows (42.9%)" in message
    assert "4 times: <script>" in message
    assert str(report) in message
    assert refused.value.exit_code == 3


def test_the_report_needs_no_network_and_runs_nothing(project, tmp_path) -> None:
    raw = write_texts(project, BROKEN)
    with opened(tmp_path / "work"), pytest.raises(DataRejected, match="breaks 1 of 4"):
        validate(raw, SUITE)
    page = (tmp_path / "work/report.html").read_text()
    assert not re.search(r"https?://|\bsrc=|\bhref=|@import|url\(", page)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;b&gt;because" in page
    assert "default-src 'none'" in page
    assert "prefers-color-scheme:dark" in page
    assert "refused: 1 rule broken" in page


def test_changed_files_are_no_matter_of_rules_but_of_integrity(project) -> None:
    raw = write_texts(project, CLEAN)
    path = project / "data/tiny/train/0000.jsonl"
    path.write_text(path.read_text().replace("one", "uno"))
    with pytest.raises(IntegrityError, match="tiny"):
        validate(raw, SUITE)


def test_a_record_with_other_counts_is_refused(project, tmp_path) -> None:
    raw = write_texts(project, CLEAN)
    other = raw.model_copy(update={"rows": {**raw.rows, "test": 2}})
    with (
        opened(tmp_path / "work"),
        pytest.raises(DataRejected, match="test: 1 rows, recorded are 2"),
    ):
        validate(other, SUITE)


def test_a_rule_that_cannot_be_evaluated_refuses_even_as_a_warning(project, tmp_path) -> None:
    raw = write_texts(project, CLEAN)
    rule = {
        "type": "expect_column_mean_to_be_between",
        "kwargs": {"column": "absent", "max_value": 1},
        "severity": "warning",
    }
    suite = Expectations.model_validate({"name": "tiny", "expectations": [rule]})
    with opened(tmp_path / "work"), pytest.raises(DataRejected, match="could not be evaluated"):
        validate(raw, suite)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reviews_zh", "corpus_zh", "digits"])
def test_the_shipped_data_pass_their_suites(real_data, monkeypatch, name) -> None:
    monkeypatch.chdir(real_data.parent)
    made = validate(record_of(real_data / name), suite_of(real_data, name))
    assert all(check.passed for check in made.checks)


@pytest.mark.slow
def test_the_raw_reviews_are_refused_for_repetitions_leaks_and_conflicts(
    real_data, monkeypatch
) -> None:
    monkeypatch.chdir(real_data.parent)
    raw = record_of(real_data / "reviews_zh_raw")
    with pytest.raises(DataRejected) as refused:
        validate(raw, suite_of(real_data, "reviews_zh_raw"))
    message = str(refused.value)
    assert re.search(r"repeated share \(column text\).*\(50\.4%\)", message)
    assert re.search(r"source train, target test\).*\(7[67]\.\d%\)", message)
    assert "47 contents with several labels" in message
    assert message.count("\n    ") == 3 * 6


def record_of(folder: Path) -> RawData:
    from components.datasets import card

    return RawData(name=folder.name, tree=scan(folder).digest, rows=card(folder).counts)


def suite_of(data: Path, name: str) -> Expectations:
    path = data.parent / f"configs/expectations/{name}.yaml"
    return Expectations.model_validate(yaml.safe_load(path.read_text()))
