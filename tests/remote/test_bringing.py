"""The data of a step on another machine come from the team's storage, and else from the door."""

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo

from components.artifacts import RawData
from components.data import dvc, pointer
from components.data.check import verify
from components.errors import IntegrityError, ServiceUnreachable
from pipelines.remote import bringing
from pipelines.remote.server import Server
from tests.pipelines import small_project


class Giving(Server):
    """A door that has these files, and remembers what it was asked for."""

    def __init__(self, *contents: bytes) -> None:
        super().__init__("http://127.0.0.1:1", "")
        self.files = {hashlib.md5(each).hexdigest(): each for each in contents}
        self.asked: list[str] = []

    def ask_whether(self, path: str) -> bool:
        self.asked.append(path)
        return path.removeprefix("/data/") in self.files

    def fetch(self, path: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.files[path.removeprefix("/data/")])


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """Where the team keeps its data; nothing is there before a push."""
    return tmp_path / "storage"


@pytest.fixture
def clone(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, storage: Path) -> Path:
    """The small project under git and DVC; the data lie in `data/` and in the cache."""
    folder = small_project.write(tmp_path / "tiny")
    monkeypatch.chdir(folder)
    small_project.under_dvc(folder, storage)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    dvc.commit(folder)
    return folder


def _push(clone: Path) -> None:
    with Repo(str(clone)) as repo:
        repo.push()


def _lost(clone: Path) -> list[bytes]:
    """Make the clone one that has no data; their bytes."""
    contents = [path.read_bytes() for path in (clone / "data").rglob("*") if path.is_file()]
    shutil.rmtree(clone / "data")
    shutil.rmtree(dvc.cache_folder(clone))
    return contents


def _wanted(clone: Path) -> dict[str, Any]:
    tree = pointer.recorded(clone)
    return {"raw": RawData(name="words", tree=tree.part("words").digest, rows={})}


def test_the_teams_storage_spares_the_door(clone: Path) -> None:
    _push(clone)
    door = Giving(*_lost(clone))
    bringing.fetch(door, _wanted(clone))
    verify()
    assert door.asked == []


def test_where_nobody_pushed_the_door_gives_them(clone: Path) -> None:
    door = Giving(*_lost(clone))
    bringing.fetch(door, _wanted(clone))
    verify()
    assert len(door.asked) == len(door.files)


def test_what_the_storage_lacks_the_door_gives(clone: Path, storage: Path) -> None:
    _push(clone)
    door = Giving(*_lost(clone))
    files = [path for path in storage.rglob("*") if path.is_file()]
    rows = next(path for path in files if hashlib.md5(path.read_bytes()).hexdigest() in door.files)
    rows.unlink()
    bringing.fetch(door, _wanted(clone))
    verify()
    assert door.asked


def test_other_bytes_of_the_door_are_not_placed(clone: Path) -> None:
    door = Giving(*_lost(clone))
    first = next(iter(door.files))
    door.files[first] += b"more"
    with pytest.raises(ServiceUnreachable, match="words"):
        bringing.fetch(door, _wanted(clone))
    assert not (clone / "data/words").exists()


def test_data_recorded_otherwise_are_never_fetched(clone: Path) -> None:
    door = Giving(*_lost(clone))
    wanted = RawData(name="words", tree="0" * 32 + ".dir", rows={})
    with pytest.raises(IntegrityError, match="in this clone, the run has 000000000000"):
        bringing.fetch(door, {"raw": wanted})
    assert door.asked == []
