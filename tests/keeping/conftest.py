"""One finished run of the small project, copied into each test that wants it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.pipelines import small_project
from tests.pipelines.conftest import finished_project, source
from tests.pipelines.small_project import Said

__all__ = ["finished_project", "source"]

DAY_S = 86400
PATIENCE_S = 1500.0
"""For a whole run on a machine that others use."""


class House(NamedTuple):
    """A project and its home."""

    project: Path
    home: Path
    source: Path
    """Our packages as they stood when the tests began."""
    orphans: frozenset[str] = frozenset()
    """Keys of two results of `other.yaml`, which is no config of the project's any more."""

    def say(self, *words: str) -> Said:
        """A command in a process of its own."""
        return small_project.athanor(
            self.project, self.home, words, self.source, timeout_s=PATIENCE_S
        )

    @property
    def environment(self) -> dict[str, str]:
        """What such a process is started with."""
        return small_project.environment(self.home, self.source)

    def states(self) -> set[str]:
        """What `plan` says of all steps of the small run."""
        said = self.say("plan", "configs/tiny.yaml", "--json")
        assert said.code == 0, said.err
        return {step["state"] for step in said.json["steps"]}

    def remake(self, config: str, until: str) -> list[str]:
        """Steps that a run without Prefect executed, up to one."""
        done = subprocess.run(
            [sys.executable, small_project.ROOT / "tests/pipelines/direct.py", config, until],
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)["executed"]


@pytest.fixture(scope="session")
def built_house(finished_project: Path, source: Path, tmp_path_factory: Any) -> House:
    folder = tmp_path_factory.mktemp("house")
    house = House(folder / "tiny", folder / "home", source)
    small_project.copied(finished_project, house.project, house.home)
    before = {path.name for path in (house.home / "cache").iterdir()}
    other = small_project.CONFIG.replace("name: tiny", "name: other")
    config = house.project / "other.yaml"
    config.write_text(other.replace("max_length: 12", "max_length: 11"))
    assert house.remake("other.yaml", "search") == ["prepare", "pretrain"]
    made = {path.name for path in (house.home / "cache").iterdir()} - before
    return house._replace(orphans=frozenset(made))


@pytest.fixture
def house(built_house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A copy of the finished project and its home; the working folder, and the home in force."""
    copy = House(tmp_path / "tiny", tmp_path / "home", *built_house[2:])
    small_project.copied(built_house.home.parent, copy.project, copy.home)
    monkeypatch.chdir(copy.project)
    monkeypatch.setenv("ATHANOR_HOME", str(copy.home))
    return copy


def age(folder: Path, days: float) -> None:
    """Let everything in a folder be that old."""
    then = time.time() - days * DAY_S
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (then, then), follow_symlinks=False)
