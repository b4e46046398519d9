"""The folder of a remake goes, however its process ended; nobody else's does."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from components import processes
from pipelines import scratch


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders lie while the test runs."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def killed() -> Path:
    """The folder of a process that was killed while it worked there."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with scratch.passing() as folder:
            (folder / "home").mkdir()
            (folder / "home" / "file").write_text("x")
            os.write(writing, str(folder).encode())
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as said:
        return Path(said.read())


def test_what_a_killed_remake_left_goes_with_the_next(place: Path) -> None:
    left = killed()
    assert (left / "home" / "file").exists(), "nothing was left"
    with scratch.passing() as folder:
        assert set(place.iterdir()) == {folder}
    assert not list(place.iterdir())


def test_a_living_remake_and_one_that_is_to_stay_are_left_alone(place: Path) -> None:
    kept = scratch.lasting()
    with scratch.passing() as one, scratch.passing() as other:
        assert set(place.iterdir()) == {kept, one, other}
    assert set(place.iterdir()) == {kept}


def test_the_folder_of_a_dead_one_stays_while_its_processes_live(place: Path) -> None:
    left = killed()
    environment = os.environ | {"ATHANOR_HOME": str(left / "home")}
    words = [sys.executable, "-c", "print(flush=True); import time; time.sleep(60)"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        scratch.clear()
        assert (left / "home" / "file").exists()
        process.kill()
    scratch.clear()
    assert not left.exists()


def test_a_removal_that_is_cut_off_is_finished_by_the_next(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = killed()
    monkeypatch.setattr(scratch.shutil, "rmtree", lambda *_args, **_kwargs: None)
    scratch.clear()
    assert processes.dead((left / scratch.OWNER).read_text())
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    scratch.clear()
    assert not left.exists()
