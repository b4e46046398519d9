"""A result is stale exactly when something that it depends on changed: tried on a copy of our code.

The small project is executed once. Then each test changes one thing in a copy of its own, and
`athanor plan`, in a fresh process, says which steps would run and why.
"""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.pipelines import small_project

pytestmark = pytest.mark.slow

DIRECT = Path(small_project.__file__).with_name("direct.py")
UNTIL = "register"
STEPS = small_project.STEPS[: small_project.STEPS.index(UNTIL)]


class Done(NamedTuple):
    """A project whose steps up to `register` have results, and the code that made them."""

    project: Path
    home: Path
    source: Path

    def plan(self, *extra: Path) -> dict[str, dict[str, Any]]:
        """What `athanor plan` says of each step up to `register`."""
        words = ("plan", "configs/tiny.yaml", "--json")
        said = small_project.athanor(self.project, self.home, words, *extra, self.source)
        assert said.code == 0, said.err
        return {step["name"]: step for step in said.json["steps"] if step["name"] in STEPS}

    def execute(self, symbol: str = "") -> dict[str, list[str]]:
        """Which steps a reading of the chain without Prefect executed, and which reach a symbol."""
        done = subprocess.run(
            [sys.executable, str(DIRECT), "configs/tiny.yaml", UNTIL, symbol],
            cwd=self.project,
            env=small_project.environment(self.home, self.source),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def edit(self, file: str, change: Callable[[str], str]) -> None:
        """Change a source file; a change that changes nothing is a mistake of the test."""
        path = self.source / file
        before = path.read_text()
        path.write_text(change(before))
        assert path.read_text() != before


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The small project, executed; nobody changes it."""
    folder = tmp_path_factory.mktemp("executed")
    project = small_project.write(folder / "tiny")
    done = Done(project, folder / "home", small_project.frozen(folder / "source"))
    assert done.execute()["executed"] == list(STEPS)
    return done


@pytest.fixture
def done(executed: Done, tmp_path: Path) -> Done:
    """The executed project with code and data of the test's own, for plans."""
    project = shutil.copytree(executed.project, tmp_path / "tiny")
    return Done(project, executed.home, shutil.copytree(executed.source, tmp_path / "source"))


def that_run(plan: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, step in plan.items() if step["state"] == "run"}


def not_cached(plan: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, step in plan.items() if step["state"] != "cached"}


def group(*words: str) -> set[str]:
    return {name for name in STEPS if name.startswith(words)}


# Changes of source that keep what it means.


def more_in(name: str) -> Callable[[str], str]:
    """Puts a statement without effect into a function or method, after its docstring."""

    def change(text: str) -> str:
        [found] = [
            node
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef) and node.name == name
        ]
        first = found.body[1 if ast.get_docstring(found) else 0]
        lines = text.splitlines(keepends=True)
        lines.insert(first.lineno - 1, " " * first.col_offset + "_changed = None\n")
        return "".join(lines)

    return change


def other_constant(name: str) -> Callable[[str], str]:
    """Adds 0 to a constant of a module."""

    def change(text: str) -> str:
        [found] = [
            node
            for node in ast.parse(text).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
        ]
        source = ast.get_source_segment(text, found)
        return text.replace(source, f"{source} + 0", 1)

    return change


def other_docstring(name: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        [found] = [
            node
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef) and node.name == name
        ]
        source = ast.get_source_segment(text, found.body[0])
        return text.replace(source, '"""Says it otherwise."""', 1)

    return change


def test_nothing_runs_where_nothing_changed(executed: Done) -> None:
    plan = executed.plan()
    assert list(plan) == list(STEPS)
    assert not_cached(plan) == set()


AFTER_PRETRAINING = set(STEPS) - {
    "validate-words", "prepare", "pretrain", "baseline-majority", "baseline-linear",
}  # fmt: skip
CASES = {
    "helper two modules away": (
        "components/training/optimizers.py", more_in("learning_rate"),
        {"pretrain"}, AFTER_PRETRAINING, "components.training.optimizers:learning_rate",
    ),
    "constant": (
        "components/steps/evaluate.py", other_constant("BATCH_ROWS"),
        group("evaluate-"), group("select", "test-", "compare-"),
        "components.steps.evaluate:BATCH_ROWS",
    ),
    "constant of a helper": (
        "components/evaluation/metrics.py", other_constant("BINS"),
        group("evaluate-", "baseline-"), group("select", "test-", "compare-"),
        "components.evaluation.metrics:BINS",
    ),
    "method through an option": (
        "components/compression/int8_dynamic.py", more_in("graph"),
        {"compress-int8_dynamic"},
        group("measure-int8", "evaluate-int8", "test-", "select", "compare-"),
        "components.compression.int8_dynamic:Int8Dynamic",
    ),
    "method through an option of training": (
        "components/objectives/masked_lm.py", more_in("loss"),
        {"pretrain"}, AFTER_PRETRAINING, "components.objectives.masked_lm:MaskedLanguageModel",
    ),
    "function that one step calls": (
        "components/steps/select.py", more_in("drop"),
        {"select"}, group("compare-"), "components.steps.select:drop",
    ),
    "validation's report": (
        "components/validation/report.py", more_in("page"),
        {"validate-words"}, set(STEPS) - {"validate-words"}, "components.validation.report:page",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_change_of_code_runs_exactly_the_steps_that_reach_it(done: Done, case: tuple) -> None:
    file, change, run, waits, symbol = case
    done.edit(file, change)
    plan = done.plan()
    assert that_run(plan) == run
    assert not_cached(plan) <= run | waits
    for name in run:
        assert f"code changed: {symbol}" in plan[name]["reasons"]


QUIET = {
    "comment": ("components/training/loop.py", lambda text: text + "\n# a remark\n"),
    "comment inside": (
        "components/training/optimizers.py",
        lambda text: text.replace("\n    return", "\n    # a remark\n    return"),
    ),
    "docstring": ("components/training/optimizers.py", other_docstring("learning_rate")),
    "module docstring": (
        "components/steps/train.py",
        lambda text: text.replace('"""Train', '"""Trains', 1),
    ),
    "unused function": (
        "components/training/optimizers.py",
        lambda text: text + "\n\ndef unused() -> int:\n    return 7\n",
    ),
    "option that is not chosen": ("components/compression/int8_static.py", more_in("graph")),
    "layout": (
        "components/steps/evaluate.py",
        lambda text: text.replace("BATCH_ROWS = ", "BATCH_ROWS =  \\\n    "),
    ),
}


def test_changes_that_mean_nothing_run_nothing(done: Done) -> None:
    for file, change in QUIET.values():
        done.edit(file, change)
    assert not_cached(done.plan()) == set()


def test_a_parameter_is_named_with_its_old_and_new_value(done: Done) -> None:
    words = ("plan", "configs/tiny.yaml", "--json", "--set", "measure.rounds=3")
    said = small_project.athanor(done.project, done.home, words, done.source)
    plan = {step["name"]: step for step in said.json["steps"]}
    assert that_run(plan) == {"measure-fp32", "measure-int8_dynamic"}
    assert plan["measure-fp32"]["reasons"] == ["config.rounds: 2 -> 3"]
    words = ("why", "search", "--config", "configs/tiny.yaml", "--set", "finetune.seed=4")
    said = small_project.athanor(done.project, done.home, words, done.source)
    assert "search: run\n  base.seed: 0 -> 4" in said.out


def test_one_byte_of_recorded_data_runs_what_reads_it(done: Done) -> None:
    before = (done.project / "data.dvc").read_text().split("md5: ")[1][:6]
    shard = done.project / "data/words/train/0000.jsonl"
    shard.write_text(shard.read_text().replace("天", "地", 1))
    small_project.record(done.project)
    assert before not in (done.project / "data.dvc").read_text()
    plan = done.plan()
    assert that_run(plan) == {"validate-words"}
    assert not_cached(plan) == set(STEPS)
    [reason] = plan["validate-words"]["reasons"]
    assert reason.startswith("raw.tree: ")
    assert " -> " in reason


def test_one_byte_that_nobody_recorded_is_refused(done: Done) -> None:
    shard = done.project / "data/words/train/0000.jsonl"
    shard.write_text(shard.read_text().replace("天", "地", 1))
    words = ("plan", "configs/tiny.yaml")
    said = small_project.athanor(done.project, done.home, words, done.source)
    assert said.code == 6
    assert "data/words/train/0000.jsonl has md5" in said.err
    assert "athanor data pull words --replace" in said.err


def test_an_expectation_that_changed_is_named(done: Done) -> None:
    suite = done.project / "configs/expectations/words.yaml"
    suite.write_text(suite.read_text().replace("max_value: 0.0", "max_value: 0.1"))
    plan = done.plan()
    assert that_run(plan) == {"validate-words"}
    [reason] = plan["validate-words"]["reasons"]
    assert reason == "expectations.expectations.1.kwargs.max_value: 0.0 -> 0.1"


def test_another_version_of_a_library_runs_the_steps_that_import_it(
    done: Done, tmp_path: Path
) -> None:
    about = tmp_path / "other/scikit_learn-99.1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: scikit-learn\nVersion: 99.1\n")
    plan = done.plan(tmp_path / "other")
    assert "baseline-linear" in that_run(plan)
    assert not {"pretrain", "prepare", "compress-fp32"} & not_cached(plan)
    [reason] = plan["baseline-linear"]["reasons"]
    assert reason.startswith("library sklearn: ")
    assert reason.endswith(" -> 99.1")


# The wave, executed.


def test_a_step_remade_with_the_same_output_stops_the_wave(done: Done, tmp_path: Path) -> None:
    mine = done._replace(home=shutil.copytree(done.home, tmp_path / "home"))
    mine.edit("components/training/optimizers.py", more_in("learning_rate"))
    again = mine.execute("components.training.optimizers:learning_rate")
    assert set(again["executed"]) == set(again["reaching"])
    assert {"pretrain", "search", "finetune"} <= set(again["executed"])
    assert not group("evaluate-", "test-", "select", "compare-") & set(again["executed"])
    assert mine.execute()["executed"] == []


def test_a_step_remade_with_another_output_carries_the_wave_on(done: Done, tmp_path: Path) -> None:
    mine = done._replace(home=shutil.copytree(done.home, tmp_path / "home"))
    mine.edit(
        "components/training/optimizers.py",
        lambda text: text.replace(
            "def learning_rate(",
            "def learning_rate(*given):\n    return _rate(*given) / 2\n\n\ndef _rate(",
        ),
    )
    again = mine.execute()
    assert set(again["executed"]) >= {
        "pretrain", "search", "finetune", "compress-fp32", "evaluate-fp32", "select", "test-fp32",
        "compare-linear",
    }  # fmt: skip
    assert not {"validate-words", "prepare", "baseline-linear"} & set(again["executed"])
