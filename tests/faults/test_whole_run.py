"""kill -9 of the whole run at every main commit: the same version as if nothing had happened.

The kills follow each other on one home, in running order, so each restart goes on with what the
one before it left; the side of the commit and the kind of kill are drawn by the seed.
"""

import os
import shutil
import sqlite3
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults import invariants, whole
from tests.faults.plug import injection
from tests.pipelines import small_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SEED = int(os.environ.get("ATHANOR_FAULT_SEED", "1"))


class Finished(NamedTuple):
    """A run that nothing disturbed, and one that was killed at every commit."""

    undisturbed: Path
    disturbed: Path
    ended: whole.Ended
    last: whole.Ended


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of our packages that nobody edits."""
    return small_project.frozen(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def finished(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("whole")
    project = small_project.write(folder / "tiny")
    user = invariants.tree(project)
    disturbed = folder / "disturbed"
    for commit, action in whole.schedule(SEED):
        ended = whole.run(project, disturbed, source, whole.kill(disturbed, commit, 1, action))
        assert not whole.wrong(ended, disturbed, commit, action), whole.replay(SEED)
        assert invariants.tree(project) == user, whole.replay(SEED)
    last = whole.run(project, disturbed, source)
    undisturbed = folder / "undisturbed"
    ended = whole.run(project, undisturbed, source)
    assert ended.code == 0, ended.err
    return Finished(undisturbed, disturbed, ended, last)


def test_killed_at_every_commit_the_version_is_that_of_the_undisturbed_run(
    finished: Finished,
) -> None:
    assert finished.last.code == 0, f"{finished.last.err}\n{whole.replay(SEED)}"
    assert whole.weights(finished.disturbed) == whole.weights(finished.undisturbed)
    assert whole.bundles(finished.disturbed) == whole.bundles(finished.undisturbed)
    assert len(invariants.run_keys(finished.disturbed)) == 1
    assert not finished.last.left
    assert not invariants.broken(finished.disturbed)


def test_work_goes_on_soon_after_the_engine_is_up(finished: Finished) -> None:
    assert finished.last.useful_s is None or finished.last.useful_s <= whole.USEFUL_S


def test_a_run_passes_every_commit_and_no_commit_is_without_a_name(finished: Finished) -> None:
    passed = set(finished.ended.passed)
    assert set(injection.commits()) - passed == set()
    assert not [each for each in passed if each.startswith("unnamed")]


DAMAGES = {
    "an object": ("objects/??/*", b"x"),
    "a result": ("cache/*", b'{"result'),
    "a decision": ("decisions/*/*.json", b"{"),
    "a version's file": ("bundles/*/model.onnx", b"x"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_torn_files_are_told(finished: Finished, tmp_path: Path, what: str) -> None:
    home = tmp_path / "home"
    shutil.copytree(finished.undisturbed, home)
    pattern, content = DAMAGES[what]
    place = sorted(home.glob(pattern))[0]
    place.chmod(0o644)
    place.write_bytes(content)
    assert any(str(place) in each for each in invariants.broken(home))


def test_a_second_version_of_a_key_and_an_unjudged_champion_are_told(
    finished: Finished, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(finished.undisturbed, home)
    with sqlite3.connect(home / "mlflow/mlflow.db") as database:
        database.execute("PRAGMA foreign_keys = OFF")
        for table in ("model_versions", "model_version_tags"):
            database.execute(f"CREATE TEMP TABLE copied AS SELECT * FROM {table}")
            database.execute("UPDATE copied SET version = 2")
            database.execute(f"INSERT INTO {table} SELECT * FROM copied")
            database.execute("DROP TABLE copied")
        database.execute("UPDATE registered_model_aliases SET version = 2")
    database.close()
    told = " ".join(invariants.broken(home))
    assert "2 versions of run key" in told
    assert "v2 is champion and was never judged" in told


def test_a_kill_at_a_commit_that_never_comes_is_no_passed_test(
    finished: Finished, source: Path, tmp_path: Path
) -> None:
    project = small_project.write(tmp_path / "tiny")
    home = tmp_path / "home"
    shutil.copytree(finished.undisturbed, home)
    plan = whole.kill(home, "layout before", 1)
    ended = whole.run(project, home, source, plan, words=("plan", "configs/tiny.yaml"))
    assert any("nothing was injected" in each for each in whole.wrong(ended, home, plan.at, "kill"))


def test_a_process_that_outlives_its_run_is_told(tmp_path: Path) -> None:
    import subprocess
    import sys

    environment = os.environ | {"ATHANOR_HOME": str(tmp_path)}
    command = [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        told = invariants.orphans(tmp_path, patience_s=0.2)
        process.kill()
    assert str(process.pid) in told[0]
    assert not invariants.orphans(tmp_path, patience_s=5)
