"""A sample of the damage campaign: files of every sort, found before use and named, or remade.

`benchmarks/damage.py` damages every file in every way. A failing case prints the command that does
it again. The control is the undamaged project: the same commands succeed there, and a harness that
hurts nothing fails.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from components import objects
from components.errors import IntegrityError
from pipelines import cli
from tests.faults import commands, damage
from tests.faults.damage import KINDS, Case, Finished
from tests.pipelines import small_project

pytestmark = pytest.mark.slow

DIRECT = Path(small_project.__file__).with_name("direct.py")
SEED = int(os.environ.get("ATHANOR_DAMAGE_SEED", "0"))
SAMPLED = (
    "project/data/",
    "project/configs/data/",
    "home/bundles/",
    "home/cache/",
    "home/decisions/",
    "home/keys/",
    "home/mlflow/mlflow.db",
    "home/mlflow/artifacts/*/models/",
    "home/objects/",
    "home/plans/",
)
"""Sorts of files of which each run of the tests damages one in each way."""


@pytest.fixture(scope="module")
def finished(finished_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A project after its run, its commands asked once undamaged."""
    made = Finished(tmp_path_factory.mktemp("damage") / "whole")
    small_project.copied(finished_project, made.project, made.home)
    commands.warm()
    made.keep_copy()
    return made


def some(finished: Finished, prefix: str) -> str:
    """One file of a sort, by the seed."""
    names = [name for name in finished.files() if damage.use_of(name).prefix == prefix]
    names = [name for name in names if (finished.root / name).stat().st_size]
    return random.Random(f"{SEED} {prefix}").choice(names)


@pytest.mark.parametrize("prefix", SAMPLED)
def test_damage_is_found_and_named_or_its_step_is_remade(finished: Finished, prefix: str) -> None:
    found = [finished.case(Case(some(finished, prefix), kind, SEED)) for kind in KINDS]
    wrong = [f"{r.case.replay}\n  {r.said}" for r in found if r.outcome == "WRONG"]
    assert not wrong, "\n".join(wrong)
    injected = [result for result in found if result.outcome != "not injected"]
    assert len(injected) >= len(KINDS) - 1, "the harness hurt nothing"
    assert any(result.outcome in ("named", "remade") for result in found)


def test_every_file_of_a_finished_project_has_somebody_who_uses_it(finished: Finished) -> None:
    names = finished.files()
    assert len(names) > 150
    assert {damage.use_of(name).prefix for name in names} >= set(SAMPLED)


def test_a_damage_that_nobody_looks_at_is_called_wrong(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The harness's own control: with the check of bundles out of order it says so."""
    from components import bundle

    monkeypatch.setattr(bundle, "verify", lambda _path, _facts: None)
    path = next(name for name in finished.files() if name.endswith("card.md") and "bundles" in name)
    assert finished.case(Case(path, "flip", SEED)).outcome == "WRONG"
    monkeypatch.undo()
    assert finished.case(Case(path, "flip", SEED)).outcome == "named"


def executed(finished: Finished) -> list[str]:
    """Steps before `pretrain` that a reading of the chain executes now."""
    done = subprocess.run(
        [sys.executable, str(DIRECT), "configs/tiny.yaml", "pretrain"],
        cwd=finished.project,
        env=small_project.environment(finished.home),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["executed"]


def test_a_step_whose_object_rotted_is_remade_with_the_same_bytes(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark of the object still vouches: whoever uses it finds out, the next run remakes it."""
    monkeypatch.setenv("ATHANOR_HOME", str(finished.home))
    before = finished.state()
    assert executed(finished) == []  # the control
    plan = finished.ask("plan").content["steps"]
    [key] = [step["key"] for step in plan if step["name"] == "prepare"]
    stored = json.loads((finished.home / "cache" / key).read_bytes())["result"]
    sha = json.loads(stored)["data"]["files"]["train.safetensors"]
    path = objects.path(sha)
    status, data = path.stat(), path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert objects.intact(sha), "the damage is to be one that the mark does not show"
    with pytest.raises(IntegrityError, match=f"object {sha[:12]} is damaged"):
        objects.path(sha)
    assert executed(finished) == ["prepare"]
    assert objects.path(sha).read_bytes() == data
    finished.mend(before)


def test_the_undamaged_project_passes(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """After all that every file is as it was, and every command succeeds."""
    monkeypatch.chdir(finished.project)
    monkeypatch.setenv("ATHANOR_HOME", str(finished.home))
    for words in (["data", "verify"], ["verify", "tiny@champion"], ["plan", "configs/tiny.yaml"]):
        assert cli.run(words) == 0, capfd.readouterr().err
    assert "21 cached, 0 to run" in capfd.readouterr().out
    finished.learn(*sorted(commands.COMMANDS.keys() - {"use", "engine"}))
