"""The diffs of CONTRIBUTING, applied to a copy of the project, do what the page says."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.data import pointer
from components.data import record as recording
from components.data.cards import Card
from components.data.splits import SPLITS
from components.data.tree import scan
from components.errors import DataRejected
from components.steps.validate import validate
from pipelines import plan
from pipelines.config import load_expectations
from tests.docs import pages
from tests.docs.pages import ROOT

COPIED = ("components", "configs", "pipelines", "tests", "pyproject.toml", "data.dvc")
WHO = ("-c", "user.name=Test", "-c", "user.email=test@localhost")


def diff(title: str) -> str:
    """The diff that stands under a heading of CONTRIBUTING."""
    text = pages.section((ROOT / "CONTRIBUTING.md").read_text(), title)
    [block] = [block.text for block in pages.blocks(text) if block.language == "diff"]
    return block


def apply(title: str, folder: Path) -> None:
    """Change the files in a folder as a contributor would, who pastes the diff into git."""
    git(folder, "apply", "--whitespace=error-all", "-", given=diff(title))


def git(folder: Path, *arguments: str, given: str = "") -> None:
    around = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    done = subprocess.run(
        ["git", *WHO, *arguments],
        cwd=folder,
        env=around,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def python(folder: Path, *arguments: str) -> str:
    """What a fresh Python prints that works in the copy and sees nothing of the original."""
    around = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=around,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project without its data."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    _record_digits(folder)
    return folder


def _record_digits(folder: Path) -> None:
    """A picture of each digit per split as the project's only recorded data set."""
    data = folder / "data/digits"
    for split in SPLITS:
        (data / split).mkdir(parents=True)
        np.save(data / split / "x.npy", np.zeros((10, 28, 28), dtype=np.uint8))
        np.save(data / split / "y.npy", np.arange(10))
    labels = tuple(map(str, range(10)))
    counts = dict.fromkeys(SPLITS, 10)
    card = Card(name="digits", modality="image", labels=labels, counts=counts)
    (data / "dataset.json").write_bytes(card.to_bytes())
    tree = scan(folder / "data")
    pointer.write_listing(folder, tree)
    (folder / "data.dvc").write_text(f"outs:\n- md5: {tree.digest}\n  path: data\n")


@pytest.mark.slow
def test_the_new_option_is_listed_planned_and_keeps_its_familys_promises(copy: Path) -> None:
    apply("Add an option", copy)
    kinds = json.loads(python(copy, "-m", "pipelines.cli", "kinds", "architecture", "--json"))
    assert "perceptron" in [kind["kind"] for kind in kinds["kinds"]]
    arguments = ["plan", "configs/digits_perceptron.yaml", "--json"]
    steps = json.loads(python(copy, "-m", "pipelines.cli", *arguments))["steps"]
    assert "compress-int8_static" in [step["name"] for step in steps]
    suite = "tests/architectures/test_every_architecture.py"
    said = python(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", suite, "-k", "perceptron")
    assert " passed" in said
    assert "failed" not in said


RUN_AGREE = """
import sys, tempfile
from pathlib import Path
import numpy as np
from pipelines import child
from tests.registry.variants import some_answers

if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    every, most = np.ones(20, dtype=bool), np.arange(20) >= 4
    given = {"one": some_answers(folder, every), "other": some_answers(folder, most)}
    found = child.run("components.steps.agree:agree", given, folder, lambda: None)
    print(found.share, found.rows, (folder / "journal.jsonl").read_text())
"""


@pytest.mark.slow
def test_the_new_step_is_planned_has_a_place_and_runs_in_a_child(copy: Path) -> None:
    apply("Add a step", copy)
    arguments = ["plan", "configs/digits.yaml", "--json"]
    steps = json.loads(python(copy, "-m", "pipelines.cli", *arguments))["steps"]
    names = [step["name"] for step in steps]
    assert names.index("select") < names.index("agree") < names.index("register")
    placed = "from pipelines.steps import UNITS; print(UNITS['agree'].place)"
    assert python(copy, "-c", placed).strip() == "child"
    (copy / "run_agree.py").write_text(RUN_AGREE)
    said = python(copy, "run_agree.py")
    assert said.startswith("0.8 20 ")
    assert '"agreement": 0.8' in said


@pytest.fixture
def with_moods(project: Path) -> Path:
    """A small project under git and DVC, with the data set of the page recorded in it."""
    git(project, "init", "-q")
    (project / ".dvc").mkdir()
    (project / ".dvc/config").write_text("[core]\n    analytics = false\n")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "empty")
    apply("Add a data set", project)
    recorded = recording.record()
    assert "moods/train/0000.jsonl" in recorded.added
    return project


@pytest.mark.slow
def test_the_new_data_set_is_recorded_and_passes_its_suite(with_moods: Path) -> None:
    raw = plan.raw("moods")
    assert raw.rows == {"train": 4, "val": 2, "test": 2}
    checked = validate(raw, load_expectations("moods"))
    assert len(checked.checks) == 5  # four demands and the rows as recorded
    assert all(check.passed for check in checked.checks)


@pytest.mark.slow
def test_its_suite_refuses_a_test_row_that_is_also_a_training_row(with_moods: Path) -> None:
    leaked = '{"id": "9", "label": "calm", "text": "No hurry, at all!"}\n'
    with (with_moods / "data/moods/test/0000.jsonl").open("a") as file:
        file.write(leaked)
    card = with_moods / "data/moods/dataset.json"
    card.write_text(card.read_text().replace('"test": 2', '"test": 3'))
    recording.record()
    with pytest.raises(DataRejected, match="leaked share"):
        validate(plan.raw("moods"), load_expectations("moods"))


def test_a_diff_that_fits_no_more_is_noticed(copy: Path) -> None:
    file = copy / "pipelines/steps.py"
    file.write_text(file.read_text().replace('"baseline": Unit()', '"floor": Unit()'))
    with pytest.raises(AssertionError, match=r"patch failed: pipelines/steps\.py"):
        apply("Add a step", copy)


@pytest.mark.parametrize("title", ["Add an option", "Add a step"])
def test_the_diffs_fit_the_tree_of_today(copy: Path, title: str) -> None:
    apply(title, copy)
