"""The small project from raw data to a champion, with the real Prefect and MLflow, told in order.

A test looks at what the command of a fixture left.
"""

from pathlib import Path
from typing import Any

import pytest

from components import mlflow_store
from tests.pipelines import small_project
from tests.pipelines.small_project import STEPS, Said
from tests.pipelines.whole_run.story import (
    REFUSED,
    RUN,
    STARTS,
    Story,
    but_for_time,
    executed,
    states,
)

pytestmark = pytest.mark.slow


# The first run.


def test_every_step_is_executed_in_order(first: Said) -> None:
    assert list(states(first.json)) == list(STEPS)
    assert executed(first.json) == set(STEPS)
    assert {step["reason"] for step in first.json["steps"]} == {
        "it never ran here",
        "no decision on this version is stored",
    }


def test_the_document_has_what_others_build_on(first: Said) -> None:
    document = first.json
    assert {"run", "steps", "data", "scores", "baselines", "variants", "verdicts", "model"} <= set(
        document
    )
    assert {"id", "mlflow_run_id", "seconds"} <= set(document["run"])
    assert {"value", "low", "high", "n"} == set(document["scores"]["accuracy"])
    assert document["scores"]["accuracy"]["n"] == small_project.ROWS["test"]
    [words] = document["data"]
    assert words["name"] == "words"
    assert len(words["digest"]) == 36
    assert [baseline["name"] for baseline in document["baselines"]] == ["majority", "linear"]
    for baseline in document["baselines"]:
        assert {"value", "low", "high"} == set(baseline["difference"])
        assert 0 <= baseline["p_value"] <= 1
    assert [variant["name"] for variant in document["variants"]] == ["fp32", "int8_dynamic"]
    wanted = {"batch_1_p50", "batch_1_p95", "batch_32_p50", "batch_32_p95"}
    for variant in document["variants"]:
        assert wanted <= set(variant["latency_ms"])
        assert variant["size_bytes"] > 0
    assert document["verdicts"][0]["rival"] == "majority"
    assert document["verdicts"][0]["passed"] is True
    assert document["model"] == {
        "name": "tiny", "version": 1, "alias": "champion", "champion_version": 1,
    }  # fmt: skip


def test_progress_goes_to_standard_error_and_has_no_traceback(first: Said) -> None:
    assert first.out.count("\n") == 1
    assert "finetune: done in" in first.err
    assert "Traceback" not in first.err
    assert "Warning" not in first.err


def test_mlflow_has_one_parent_a_child_a_step_and_trials_below_the_search(
    story: Story, first: Said
) -> None:
    client = mlflow_store.client(f"sqlite:///{story.home}/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("tiny").experiment_id
    ended = (story.home / f"runs/{first.json['run']['id']}.json").stat().st_mtime
    runs = [run for run in client.search_runs([experiment]) if run.info.start_time / 1000 < ended]
    [parent] = [run for run in runs if run.data.tags.get("athanor.stage") == "pipeline"]
    assert parent.info.run_id == first.json["run"]["mlflow_run_id"]
    assert parent.info.run_name == first.json["run"]["id"]
    assert parent.info.status == "FINISHED"
    accuracy = first.json["scores"]["accuracy"]["value"]
    assert parent.data.metrics["final/test_accuracy"] == pytest.approx(accuracy)
    below = below_of(runs, parent.info.run_id)
    variants = {"variant-fp32", "variant-int8_dynamic"}
    [version] = [name for name in below if name.startswith("version-")]
    assert sorted(below) == sorted({*STEPS, *variants, version})
    assert set(below_of(runs, below["search"].info.run_id)) == {"trial-000", "trial-001"}
    assert {run.info.status for run in runs} == {"FINISHED"}
    digest = first.json["data"][0]["digest"]
    for name in ("validate-words", *variants):
        inputs = below[name].inputs.dataset_inputs
        assert {one.dataset.digest for one in inputs} == {digest}
        assert {one.dataset.name for one in inputs} == {f"words-{s}" for s in small_project.ROWS}
    models = client.search_logged_models([experiment])
    ids = [model.source_run_id for model in models]
    assert [ids.count(below[name].info.run_id) for name in sorted(variants)] == [1, 1]


def below_of(runs: list[Any], parent: str) -> dict[str, Any]:
    """Runs below a run, by name."""
    found = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent]
    by_name = {run.info.run_name: run for run in found}
    assert len(by_name) == len(found), "two runs of one name below one parent"
    return by_name


def test_prefect_has_one_completed_flow_a_task_a_step_and_the_receipt(
    story: Story, first: Said
) -> None:
    name = first.json["run"]["id"]
    [(flow, state)] = story.ask(
        "prefect", f"SELECT id, state_type FROM flow_run WHERE name = '{name}'"
    )
    assert state == "COMPLETED"
    tasks = story.ask(
        "prefect",
        f"SELECT name, state_type FROM task_run WHERE flow_run_id = '{flow}' ORDER BY start_time",
    )
    assert tasks == [(step, "COMPLETED") for step in STEPS]
    [(key, text)] = story.ask(
        "prefect",
        f"SELECT key, data FROM artifact WHERE type = 'markdown' AND flow_run_id = '{flow}'",
    )
    assert key == "receipt-tiny"
    assert "ATHANOR RECEIPT" in text
    assert "model      tiny v1   promoted" in text
    log = story.ask(
        "prefect", f"SELECT message FROM log WHERE flow_run_id = '{flow}' ORDER BY timestamp"
    )
    begun = [message.partition(" ...")[0] for (message,) in log if " ..." in message]
    done = [message.partition(": done")[0] for (message,) in log if ": done in" in message]
    assert begun == done == list(STEPS)


# The same once more.


def test_a_second_run_executes_nothing_and_says_the_same(
    first: Said, again: dict[str, Any]
) -> None:
    assert executed(again["document"]) == set()
    assert but_for_time(again["document"]) == but_for_time(first.json)


def test_a_second_run_starts_nothing(again: dict[str, Any]) -> None:
    before, after = again["counts"]
    assert after == before
    assert again["marks"][0] == again["marks"][1]
    assert set(STARTS) & set(again["watched"]) == set()
    heavy = {"prefect", "mlflow", "torch", "optuna", "great_expectations", "pandas", "sklearn"}
    assert heavy & set(again["watched"]) == set()
    assert "pipelines.running" in again["watched"], "the watcher did not work"


# Damage.


def test_only_steps_whose_files_are_damaged_run_again(first: Said, damaged: dict[str, Any]) -> None:
    assert executed(damaged["document"]) == {"pretrain", "finetune"}
    reasons = {
        step["reason"] for step in damaged["document"]["steps"] if step["state"] == "executed"
    }
    assert reasons == {"its stored result is gone or damaged"}
    assert damaged["whole"] == [True, True]
    for part in ("scores", "variants", "verdicts", "model", "decision"):
        assert damaged["document"][part] == first.json[part]


# What a user asks for.


def test_a_forced_judge_finds_the_champions_own_bundle_unchanged(judged_again: Said) -> None:
    assert judged_again.code == 0, judged_again.err
    assert judged_again.json["decision"] == "unchanged"
    assert judged_again.json["model"]["alias"] == "champion"
    assert executed(judged_again.json) == set()


def test_from_a_step_on_all_run_and_none_before(from_baseline: Said) -> None:
    assert from_baseline.code == 0, from_baseline.err
    later = STEPS[STEPS.index("baseline-linear") : STEPS.index("judge")]
    assert executed(from_baseline.json) == set(later)
    assert from_baseline.json["model"]["version"] == 1


def test_a_gate_that_refuses_registers_and_does_not_promote(refused: Said) -> None:
    assert refused.code == 4, refused.err
    document = refused.json
    assert document["decision"] == "refused"
    assert document["model"]["version"] == 2
    assert document["model"]["alias"] is None
    assert document["model"]["champion_version"] == 1
    failed = [check["rule"] for check in document["verdicts"][0]["checks"] if not check["passed"]]
    assert "size in bytes <= 1" in failed
    # pretraining is not concerned by the seed of fine-tuning
    assert not {"validate-words", "prepare", "pretrain", "baseline-linear"} & executed(document)
    assert {"search", "finetune", "register", "judge"} <= executed(document)
    assert "promote" not in states(document)


def test_a_refusal_is_told_again_with_the_same_exit_code(
    refused: Said, refused_again: Said
) -> None:
    assert refused_again.code == 4
    assert executed(refused_again.json) == set()
    assert but_for_time(refused_again.json) == but_for_time(refused.json)


def test_promoting_a_refused_version_takes_force_and_a_reason(
    here: Any, refused_again: Said
) -> None:
    plain = here("promote", "tiny", "2")
    assert plain.code == 2
    assert "tiny v2 has no passed verdict" in plain.err
    assert "--force --reason" in plain.err
    speechless = here("promote", "tiny", "2", "--force")
    assert speechless.code == 2
    assert "needs a reason" in speechless.err


def test_after_a_rollback_the_receipt_shows_the_older_champion(
    story: Story, here: Any, from_baseline: Said, refused_again: Said
) -> None:
    forced = here("promote", "tiny", "2", "--force", "--reason", "to be taken back", "--json")
    assert forced.json["version"] == 2
    assert story.run().json["model"]["champion_version"] == 2
    taken_back = here("rollback", "tiny", "--json")
    assert (taken_back.json["version"], taken_back.json["previous"]) == (1, 2)
    after = story.run(*REFUSED)
    assert after.code == 4
    assert after.json["model"] == {
        "name": "tiny", "version": 2, "alias": None, "champion_version": 1,
    }  # fmt: skip
    text = small_project.athanor(story.project, story.home, RUN[:2], *story.paths)
    assert text.code == 0
    assert "model      tiny v1" in text.out
    assert "champion is v1" in text.out
    assert from_baseline.json["run"]["id"] in text.out, "the last run of this config"
    told = [event["event"] for event in here("history", "tiny", "--json").json["events"]]
    assert [event for event in told if event not in ("registered", "judged", "moving")] == [
        "promoted", "refused", "forced", "rolled back",
    ]  # fmt: skip


# Answers of the champion.

GOOD, BAD = "天好人山", "天坏人山"


def test_predict_by_name_alias_and_version(here: Any, refused_again: Said) -> None:
    for reference in ("tiny", "tiny@champion", "tiny/1", "models:/tiny@champion"):
        found = here("predict", reference, GOOD, BAD, "--json")
        assert found.code == 0, found.err
        assert [answer["label"] for answer in found.json["answers"]] == ["good", "bad"]
        assert found.json["version"] == 1
    assert here("predict", "tiny/2", GOOD, "--json").json["version"] == 2


def test_predict_reads_csv_and_json_lines(here: Any, refused_again: Said, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text(f'id,text\n1,{GOOD}\n2,"{BAD}"\n')
    lines = tmp_path / "rows.jsonl"
    lines.write_text(f'{{"text": "{GOOD}"}}\n{{"text": "{BAD}", "id": 7}}\n')
    for file in (table, lines):
        found = here("predict", "tiny", "--file", str(file), "--json")
        assert [answer["label"] for answer in found.json["answers"]] == ["good", "bad"]
    text = here("predict", "tiny", GOOD).out
    assert text.startswith("good ")
    assert "tiny v1 (int8_dynamic)" in text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "id,words\n1,x\n", r"a.csv:2 has no text under `text`"),
        ("a.jsonl", '{"text": "x"}\nnot json\n', "a.jsonl:2 is not JSON"),
        ("a.jsonl", '{"text": 7}\n', r"a.jsonl:1 has no text under `text`"),
        ("a.csv", "text\n", "holds no row"),
    ],
    ids=["no column", "no JSON", "a number", "no row"],
)
def test_predict_refuses_rows_that_are_no_text(
    here: Any, refused_again: Said, tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    found = here("predict", "tiny", "--file", str(tmp_path / name))
    assert found.code == 3
    assert message in found.err


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("tinny", "there are: tiny"),
        ("tiny@champoin", "there are: tiny@champion"),
        ("tiny/9", "there are: tiny/1, tiny/2"),
        ("a:b:c", "write NAME, NAME@champion or NAME/3"),
    ],
)
def test_a_wrong_reference_gets_the_nearest_ones(
    here: Any, refused_again: Said, reference: str, message: str
) -> None:
    found = here("predict", reference, GOOD)
    assert found.code == 2
    assert message in found.err
    assert "Traceback" not in found.err
