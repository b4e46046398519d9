"""One command after the other on the small project: a fixture goes on where the last one ended."""

import os
from pathlib import Path
from typing import Any

import pytest

from pipelines import cli
from tests.pipelines import small_project
from tests.pipelines.small_project import Said
from tests.pipelines.whole_run.story import REFUSED, WATCHER, Story


@pytest.fixture(scope="module")
def story(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("story")
    watched = folder / "watched"
    watched.mkdir()
    (watched / "sitecustomize.py").write_text(WATCHER)
    return Story(small_project.write(folder / "tiny"), folder / "home", (source, watched))


@pytest.fixture(scope="module")
def first(story: Story) -> Said:
    said = story.run()
    assert said.code == 0, said.err
    return said


@pytest.fixture(scope="module")
def again(story: Story, first: Said) -> dict[str, Any]:
    """The same command at once again, and what it touched."""
    marks = story.home / "prefect/embedded.json"
    before = (marks.stat().st_mtime_ns, marks.read_bytes())
    counts = [story.count(table) for table in ("runs", "flow_run", "task_run")]
    os.environ["WATCHED"] = str(story.home / "watched.txt")
    try:
        said = story.run()
    finally:
        del os.environ["WATCHED"]
    assert said.code == 0, said.err
    return {
        "document": said.json,
        "watched": (story.home / "watched.txt").read_text().splitlines(),
        "counts": (counts, [story.count(table) for table in ("runs", "flow_run", "task_run")]),
        "marks": (before, (marks.stat().st_mtime_ns, marks.read_bytes())),
    }


@pytest.fixture(scope="module")
def damaged(story: Story, again: dict[str, Any]) -> dict[str, Any]:
    """One step's weights are deleted, another's are corrupted."""
    plan = small_project.athanor(
        story.project, story.home, ("plan", "configs/tiny.yaml", "--json"), *story.paths
    ).json
    names = {
        step: story.record(step, plan)["files"]["weights.safetensors"]
        for step in ("pretrain", "finetune")
    }
    places = {step: story.home / "objects" / sha[:2] / sha for step, sha in names.items()}
    places["pretrain"].unlink()
    bits = bytearray(places["finetune"].read_bytes())
    bits[-1] ^= 1
    places["finetune"].write_bytes(bits)
    said = story.run()
    assert said.code == 0, said.err
    return {"document": said.json, "whole": [place.exists() for place in places.values()]}


@pytest.fixture(scope="module")
def judged_again(story: Story, damaged: dict[str, Any]) -> Said:
    return story.run("--force", "judge")


@pytest.fixture(scope="module")
def from_baseline(story: Story, judged_again: Said) -> Said:
    return story.run("--from", "baseline-linear")


@pytest.fixture(scope="module")
def refused(story: Story, from_baseline: Said) -> Said:
    return story.run(*REFUSED)


@pytest.fixture(scope="module")
def refused_again(story: Story, refused: Said) -> Said:
    return story.run(*REFUSED)


@pytest.fixture
def here(story: Story, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command of the story in this process."""
    monkeypatch.chdir(story.project)
    monkeypatch.setenv("ATHANOR_HOME", str(story.home))

    def run(*words: str) -> Said:
        capsys.readouterr()
        code = cli.run(words)
        printed = capsys.readouterr()
        return Said(code, printed.out, printed.err)

    return run
