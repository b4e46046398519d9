"""What we record and place is what DVC sees, and DVC's mistakes stop at our door."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from components import intake
from components.data import archives, pointer
from components.data.check import status, verify
from components.data.obtain import Network
from components.data.pull import Existing, pull
from components.data.record import record
from components.data.tree import IGNORED, scan
from components.errors import DataRejected, IntegrityError, ServiceUnreachable, UsageError
from components.validation.expectations import Expectations
from pipelines.retraining import arrival

CLEAN = "Data and pipelines are up to date."
ROOT = Path(__file__).resolve().parents[2]
SUITE = Expectations.model_validate(
    {
        "name": "reviews_zh",
        "expectations": [
            {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "text"}}
        ],
    }
)


@pytest.fixture
def storage(under_dvc: Path, tmp_path: Path) -> Path:
    """A remote that holds all data sets, and a clone that holds none and has no archives."""
    folder = tmp_path / "storage"
    pull()
    settings = under_dvc / ".dvc/config.local"
    settings.write_text(
        f"[core]\n    remote = team\n['remote \"team\"']\n    url = {folder}\n    verify = true\n"
    )
    with Repo(str(under_dvc)) as repo:
        repo.push()
    for source in archives.sources(under_dvc).values():
        archives.place(source).unlink()
    shutil.rmtree(under_dvc / "data")
    shutil.rmtree(under_dvc / ".dvc/cache")
    return folder


def test_the_tree_hash_is_the_one_that_dvc_computes(under_dvc: Path, do) -> None:
    for path in ("b/ü 字.txt", "b/c/d.txt", "a.b/x", "a/x", "a-b/x"):
        (under_dvc / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (under_dvc / "data" / path).write_text(path)
    (under_dvc / "data/a/.DS_Store").write_text("dropping")
    do.dvc(under_dvc, "add", "data")
    [out] = yaml.safe_load((under_dvc / "data.dvc").read_text())["outs"]
    assert scan(under_dvc / "data").digest == out["md5"]
    assert scan(under_dvc / "data").size_bytes == out["size"]


def test_dvc_and_the_scan_ignore_the_same_names() -> None:
    lines = (ROOT / ".dvcignore").read_text().splitlines()
    assert {line for line in lines if not line.startswith("#")} == IGNORED


@pytest.mark.slow
def test_after_a_full_pull_plain_dvc_is_clean_and_can_check_out(under_dvc: Path, do) -> None:
    before = (under_dvc / "data.dvc").read_bytes()
    assert pull().in_dvc_cache
    assert CLEAN in do.dvc(under_dvc, "status")
    shutil.rmtree(under_dvc / "data")
    do.dvc(under_dvc, "checkout")
    verify()
    assert (under_dvc / "data.dvc").read_bytes() == before
    assert not do.git(under_dvc, "status", "--short")


@pytest.mark.slow
def test_a_shard_that_was_taken_in_is_known_to_plain_dvc(under_dvc: Path, do) -> None:
    pull()
    before = (under_dvc / "data.dvc").read_text()
    shard = under_dvc / "incoming/reviews_zh/week.jsonl"
    shard.parent.mkdir(parents=True)
    shard.write_text('{"label": "positive", "text": "周末又来了一次"}\n')
    taken = intake.take_in("reviews_zh", intake.waiting("reviews_zh"), SUITE)
    after = (under_dvc / "data.dvc").read_text()
    assert taken.tree in after
    assert before.splitlines()[:4] == after.splitlines()[:4], "comments and keys stay"
    assert CLEAN in do.dvc(under_dvc, "status")
    shutil.rmtree(under_dvc / "data")
    do.dvc(under_dvc, "checkout")
    assert verify(("reviews_zh",)).data_sets[0].tree == taken.after


@pytest.mark.slow
def test_a_retraining_pulls_over_an_earlier_recorded_state_and_over_nothing_else(
    storage: Path, under_dvc: Path, do
) -> None:
    pull()
    shard = under_dvc / "week.jsonl"
    shard.write_text('{"label": "positive", "text": "周末又来了一次"}\n')
    taken = intake.take_in("reviews_zh", [shard], SUITE)
    with Repo(str(under_dvc)) as repo:
        repo.push()
    records = {name: (under_dvc / name).read_bytes() for name in ("data.dvc", pointer.LISTING)}
    do.git(under_dvc, "checkout", "--", *records)
    pull(existing=Existing.ASIDE)
    for name, content in records.items():  # as `git pull` brings them
        (under_dvc / name).write_bytes(content)
    said = arrival.bring(("reviews_zh",), "pull")
    assert said[0] == "data/reviews_zh came from the dvc"
    assert any("an earlier state was moved to data.old-" in line for line in said)
    assert verify(("reviews_zh",)).data_sets[0].tree == taken.after
    mine = under_dvc / "data/reviews_zh/train/0000.jsonl"
    mine.write_text("nobody recorded this\n")
    with pytest.raises(IntegrityError, match="recorded is"):
        arrival.bring(("reviews_zh",), "pull")
    assert mine.read_text() == "nobody recorded this\n"


@pytest.mark.slow
def test_a_pull_by_parts_ends_as_clean_as_one_pull(under_dvc: Path, do) -> None:
    before = (under_dvc / "data.dvc").read_bytes()
    for name in pointer.recorded(under_dvc).names:
        assert not pull((name,)).in_dvc_cache
    assert pull().in_dvc_cache
    assert CLEAN in do.dvc(under_dvc, "status")
    assert (under_dvc / "data.dvc").read_bytes() == before


@pytest.mark.slow
def test_a_configured_remote_is_asked_instead_of_the_index(
    storage: Path, under_dvc: Path, served
) -> None:
    asked = len(served)
    assert pull(("digits",)).came == {"digits": "dvc"}
    assert status().absent == ("corpus_zh", "reviews_zh", "reviews_zh_raw")
    assert set(pull().came.values()) == {"dvc"}
    assert len(served) == asked


@pytest.mark.slow
def test_what_a_remote_damaged_is_built_instead(storage: Path, under_dvc: Path) -> None:
    md5 = pointer.recorded(under_dvc).files["digits/test/y.npy"].md5
    damaged = storage / "files/md5" / md5[:2] / md5[2:]
    damaged.chmod(0o644)
    damaged.write_bytes(b"damaged")
    assert pull().came["digits"] == "archives"
    verify()


@pytest.mark.slow
def test_what_the_cache_damaged_is_fetched_anew(storage: Path, under_dvc: Path) -> None:
    pull()
    md5 = pointer.recorded(under_dvc).files["digits/test/y.npy"].md5
    damaged = under_dvc / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    damaged.chmod(0o644)
    damaged.write_bytes(b"damaged")
    shutil.rmtree(under_dvc / "data/digits")
    assert pull(("digits",)).came == {"digits": "dvc"}
    verify()


@pytest.mark.slow
def test_an_unreachable_remote_is_no_success(under_dvc: Path) -> None:
    settings = under_dvc / ".dvc/config.local"
    settings.write_text(
        "[core]\n    remote = team\n['remote \"team\"']\n    url = http://127.0.0.1:9/x\n"
    )
    assert set(pull().came.values()) == {"archives"}
    verify()


def test_data_of_the_teams_own_come_from_the_cache_or_are_missed_by_name(
    under_dvc: Path, do
) -> None:
    pull()
    (under_dvc / "data/ours").mkdir()
    (under_dvc / "data/ours/a.txt").write_text("a")
    assert record().added == ("ours/a.txt",)
    shutil.rmtree(under_dvc / "data/ours")
    assert pull(("ours",), network=Network.OFFLINE).came == {"ours": "dvc"}
    shutil.rmtree(under_dvc / "data/ours")
    shutil.rmtree(under_dvc / ".dvc/cache")
    with pytest.raises(ServiceUnreachable, match="'ours' is built from no archive"):
        pull()


@pytest.mark.slow
def test_a_new_shard_is_recorded_in_both_files_and_comments_stay(under_dvc: Path, do) -> None:
    pull()
    shard = "reviews_zh/train/0001.jsonl"
    (under_dvc / "data" / shard).write_text('{"id":"x","label":"positive","text":"好"}\n')
    done = record()
    assert (done.added, done.changed, done.removed) == ((shard,), (), ())
    assert done.tree == pointer.recorded(under_dvc).digest
    text = (under_dvc / "data.dvc").read_text()
    assert "# a comment that stays" in text
    assert re.search(r"meta:\n  sources: ", text)
    assert CLEAN in do.dvc(under_dvc, "status")
    verify()


def test_a_record_does_not_drop_what_is_merely_absent(under_dvc: Path) -> None:
    pull(("digits",))
    with pytest.raises(DataRejected, match="would drop them: corpus_zh"):
        record()


def test_a_record_refuses_a_file_in_no_data_set(under_dvc: Path) -> None:
    pull()
    (under_dvc / "data/loose.txt").write_text("x")
    with pytest.raises(DataRejected, match=r"data/loose\.txt lies in no data set"):
        record()


def test_a_record_needs_dvc(clone: Path) -> None:
    with pytest.raises(UsageError, match="not under DVC"):
        record()
