"""A copy of a home is whole or refused, and what is made of it works anywhere."""

import fcntl
import gzip
import hashlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from components import files, leases, objects
from components import project as projects
from components.errors import IntegrityError, ResourceError, UsageError
from components.files import canonical
from components.keeping import backup, layouts, moved, restoring
from pipelines import keys
from tests.keeping.conftest import PATIENCE_S, House
from tests.pipelines import small_project

CONTENT = {
    "cache/k": b"result",
    "objects/ab/abc": bytes(range(256)) * 40,
    "tracking/a.json": b"{}",
    "history/m.jsonl": b'{"event": 1}\n',
    "work/k/journal.jsonl": b"{}\n",
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A made-up home: files of most kinds, a database, and what is no state."""
    home = tmp_path / "small"
    for name, content in CONTENT.items():
        files.write_bytes(home / name, content)
    files.write_bytes(home / "layout", b"1\n")
    (home / "optuna").mkdir()
    with closing(sqlite3.connect(home / "optuna/optuna.db")) as database, database:
        database.execute("CREATE TABLE t (x)")
        database.execute("INSERT INTO t VALUES (7)")
    for name in ("locks/a.lock", "servers.json", "cache/.k.1.part", "objects/verified/abc"):
        files.write_bytes(home / name, b"passing")
    return home


def contents(home: Path) -> dict[str, bytes]:
    return {
        path.relative_to(home).as_posix(): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and path.suffix != ".db"
    }


def test_what_is_put_back_is_what_was_there(small: Path, tmp_path: Path) -> None:
    (small / "cache/k").chmod(0o600)
    saved = backup.save(small, tmp_path / "copy.tgz")
    assert (tmp_path / "copy.tgz").stat().st_mode & 0o777 == 0o600
    restored = restoring.restore(tmp_path / "copy.tgz", tmp_path / "new/home")
    home = tmp_path / "new/home"
    assert contents(home) == {**CONTENT, "layout": b"1\n"}
    assert home.stat().st_mode & 0o777 == 0o700
    for name in CONTENT:
        was, now = (small / name).stat(), (home / name).stat()
        assert (was.st_mode, was.st_mtime) == (now.st_mode, now.st_mtime)
    with closing(sqlite3.connect(home / "optuna/optuna.db")) as database:
        assert database.execute("SELECT x FROM t").fetchall() == [(7,)]
    assert saved.members == restored.members == len(CONTENT) + 3


def test_a_database_is_copied_with_what_its_log_holds(small: Path, tmp_path: Path) -> None:
    writer = sqlite3.connect(small / "optuna/optuna.db")
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("PRAGMA wal_autocheckpoint=0")
    with writer:
        writer.execute("INSERT INTO t VALUES (8)")
    writer.execute("INSERT INTO t VALUES (9)")  # not committed
    backup.save(small, tmp_path / "copy.tgz")
    naive = tmp_path / "naive.db"
    shutil.copy(small / "optuna/optuna.db", naive)
    writer.close()
    restoring.restore(tmp_path / "copy.tgz", tmp_path / "home")

    def rows(path: Path) -> list[tuple[int]]:
        with closing(sqlite3.connect(path)) as database:
            return database.execute("SELECT x FROM t").fetchall()

    assert rows(tmp_path / "home/optuna/optuna.db") == [(7,), (8,)]
    assert rows(naive) == [(7,)], "the file alone lacks it: the copy had to be SQLite's"
    assert not list((tmp_path / "home").rglob("*-wal"))


def test_a_damaged_copy_is_refused_wherever_it_is_damaged(small: Path, tmp_path: Path) -> None:
    source, wrong, home = tmp_path / "c.tgz", tmp_path / "w.tgz", tmp_path / "home"
    backup.save(small, source)
    whole = source.read_bytes()
    refused = 0
    for at in range(10, len(whole), max(1, len(whole) // 60)):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        wrong.write_bytes(damaged)
        try:
            restoring.restore(wrong, home)
        except IntegrityError:
            refused += 1
            continue
        assert gzip.decompress(damaged) == gzip.decompress(whole), "only then it may pass"
        shutil.rmtree(home)
    assert not home.exists()
    assert refused >= 50
    for size in range(0, len(whole), max(1, len(whole) // 15)):
        wrong.write_bytes(whole[:size])
        with pytest.raises(IntegrityError):
            restoring.restore(wrong, home)
    assert not home.exists()
    assert not list(tmp_path.glob(".home*"))
    restoring.restore(source, home)


def forged(source: Path, target: Path, change: Any) -> Path:
    """The copy with its members changed, its compression and tar headers sound."""
    with tarfile.open(source, "r:gz") as tar:
        members = [(m, tar.extractfile(m).read()) for m in tar]  # type: ignore[union-attr]
    with gzip.open(target, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for member, content in change(members):
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return target


def named(name: str, kind: bytes = tarfile.REGTYPE, to: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member


def told(members: list[Any], **changes: Any) -> list[Any]:
    """The same with another header, and the manifest that fits it."""
    header = canonical({**json.loads(members[0][1]), **changes})
    listed = json.loads(members[-1][1])["members"]
    listed[backup.HEADER] |= {
        "sha256": hashlib.sha256(header).hexdigest(),
        "size_bytes": len(header),
    }
    manifest = canonical({"members": listed, "seal": backup.seal(listed)})
    return [(members[0][0], header), *members[1:-1], (members[-1][0], manifest)]


EVIL = {
    "leads out": lambda m: [m[0], (named("../evil"), b"x"), *m[1:]],
    "absolute": lambda m: [m[0], (named("/tmp/evil"), b"x"), *m[1:]],
    "dots": lambda m: [m[0], (named("cache/./evil"), b"x"), *m[1:]],
    "link": lambda m: [m[0], (named("cache/l", tarfile.SYMTYPE, "/etc"), b""), *m[1:]],
    "hard link": lambda m: [m[0], (named("cache/l", tarfile.LNKTYPE, "layout"), b""), *m[1:]],
    "device": lambda m: [m[0], (named("cache/l", tarfile.CHRTYPE), b""), *m[1:]],
    "twice": lambda m: [*m[:2], m[1], *m[2:]],
    "unlisted": lambda m: [m[0], (named("cache/evil"), b"x"), *m[1:]],
    "missing": lambda m: [m[0], *m[2:]],
    "other bytes": lambda m: [m[0], (m[1][0], m[1][1] + b"!"), *m[2:]],
    "after the manifest": lambda m: [*m, (named("cache/evil"), b"x")],
    "no manifest": lambda m: m[:-1],
    "edited manifest": lambda m: [*m[:-1], (m[-1][0], m[-1][1].replace(b"384", b"420"))],
    "no header": lambda m: m[1:],
    "newer layout": lambda m: told(m, layout=99),
    "newer format": lambda m: told(m, format=99),
}


@pytest.mark.parametrize("how", EVIL)
def test_a_forged_copy_is_refused_and_nothing_is_written(
    how: str, small: Path, tmp_path: Path
) -> None:
    backup.save(small, tmp_path / "c.tgz")
    before = {path.name for path in tmp_path.iterdir()}
    wrong = forged(tmp_path / "c.tgz", tmp_path / "w.tgz", EVIL[how])
    with pytest.raises(IntegrityError) as refused:
        restoring.restore(wrong, tmp_path / "home")
    assert {path.name for path in tmp_path.iterdir()} == before | {"w.tgz"}
    assert ("newer Athanor" in str(refused.value)) == how.startswith("newer")
    assert not Path("/tmp/evil").exists()


def test_an_unchanged_forgery_is_accepted(small: Path, tmp_path: Path) -> None:
    backup.save(small, tmp_path / "c.tgz")
    again = forged(tmp_path / "c.tgz", tmp_path / "w.tgz", lambda m: told(m))
    restoring.restore(again, tmp_path / "home")
    assert (tmp_path / "home/layout").read_bytes() == (small / "layout").read_bytes()


def test_artifacts_are_copied_whatever_they_are_called(small: Path, tmp_path: Path) -> None:
    names = ("uv.lock", "x.part", "locks/a", ".hidden/b", "verified/c", "some.db")
    for name in names:
        files.write_bytes(small / "mlflow/artifacts/0" / name, b"SQLite format 3\0" + name.encode())
    backup.save(small, tmp_path / "c.tgz")
    restoring.restore(tmp_path / "c.tgz", tmp_path / "home")
    for name in names:
        assert (tmp_path / "home/mlflow/artifacts/0" / name).read_bytes().endswith(name.encode())


def test_what_a_killed_restore_left_is_cleared_and_a_living_one_is_not(
    small: Path, tmp_path: Path
) -> None:
    backup.save(small, tmp_path / "c.tgz")
    left = tmp_path / ".home.restoring"
    files.write_bytes(left / "cache/other", b"x")
    handle = os.open(left, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(ResourceError, match="another restore"):
        restoring.restore(tmp_path / "c.tgz", tmp_path / "home")
    assert (left / "cache/other").exists()
    os.close(handle)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/layout").write_text("1\n")  # a first command made it: nothing is lost
    restoring.restore(tmp_path / "c.tgz", tmp_path / "home")
    assert contents(tmp_path / "home") == {**CONTENT, "layout": b"1\n"}
    assert not left.exists()


def test_nothing_of_the_users_is_overwritten(small: Path, tmp_path: Path) -> None:
    copy = tmp_path / "c.tgz"
    backup.save(small, copy)
    with pytest.raises(UsageError, match="exists"):
        backup.save(small, copy)
    with pytest.raises(UsageError, match="lies in the home"):
        backup.save(small, small / "c.tgz")
    other = tmp_path / "other"
    files.write_bytes(other / "layout", b"1\n")
    files.write_bytes(other / "mine", b"mine")
    with pytest.raises(UsageError, match="holds a home already"):
        restoring.restore(copy, other)
    assert (other / "mine").exists()
    restored = restoring.restore(copy, other, replace=True)
    assert (Path(restored.aside) / "mine").read_bytes() == b"mine"
    assert not (other / "mine").exists()
    assert restoring.restore(copy, other, replace=True).aside == str(tmp_path / "other.old-2")


def test_a_home_in_which_a_run_works_is_not_replaced(
    small: Path, tmp_path: Path, home: Path
) -> None:
    backup.save(small, tmp_path / "c.tgz")
    with leases.held(), pytest.raises(ResourceError, match="a run or a server works in"):
        restoring.restore(tmp_path / "c.tgz", home, replace=True)
    assert (home / "layout").exists()
    restoring.restore(tmp_path / "c.tgz", home, replace=True)


def test_a_full_disk_leaves_no_half_copy(small: Path, tmp_path: Path, monkeypatch) -> None:
    def full(*_all: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup._Writer, "file", full)
    with pytest.raises(ResourceError, match="No space left"):
        backup.save(small, tmp_path / "c.tgz")
    assert {path.name for path in tmp_path.iterdir()} == {"small"}


def test_a_damaged_database_is_not_copied_as_if_it_were_whole(small: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(small / "optuna/optuna.db")) as database, database:
        database.executemany("INSERT INTO t VALUES (?)", [(str(n) * 50,) for n in range(2000)])
    content = bytearray((small / "optuna/optuna.db").read_bytes())
    content[4096 * 3 : 4096 * 4] = bytes(4096)
    (small / "optuna/optuna.db").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"optuna\.db is damaged"):
        backup.save(small, tmp_path / "c.tgz")
    assert {path.name for path in tmp_path.iterdir()} == {"small"}


def versions_hold(home: Path) -> int:
    """How many versions there are; every one's files are below this home."""
    with closing(sqlite3.connect(home / "mlflow/mlflow.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        sources = [Path(row[0]) for row in database.execute("SELECT source FROM model_versions")]
    for source in sources:
        assert source.is_relative_to(home)
        assert (source / "artifacts/bundle/manifest.json").is_file()
    return len(sources)


@pytest.mark.slow
def test_a_home_put_elsewhere_has_everything_cached_and_predicts(
    house: House, tmp_path: Path, monkeypatch, said
) -> None:
    note = {"uri": f"sqlite:///{house.home}/mlflow/mlflow.db", "journal": f"{house.home}/work/x"}
    files.write_json(house.home / "tracking/n.json", note)
    first = said("predict", "tiny", "天地坏人", "--json").json
    assert said("backup", str(tmp_path / "c.tgz"), "--json").code == 0
    house.home.rename(tmp_path / "gone")
    home = tmp_path / "other/place"
    monkeypatch.setenv("ATHANOR_HOME", str(home))
    assert said("restore", str(tmp_path / "c.tgz"), "--json").json["home"] == str(home)
    assert versions_hold(home) == 1
    there = json.loads((home / "tracking/n.json").read_bytes())
    assert there == {"uri": f"sqlite:///{home}/mlflow/mlflow.db", "journal": f"{home}/work/x"}
    (home / "tracking/n.json").unlink()
    # In a process of its own, as the run was: what a step reaches is read from our sources.
    planned = house._replace(home=home).say("plan", "configs/tiny.yaml", "--json")
    steps = planned.json["steps"]
    assert [step for step in steps if step["state"] != "cached"] == []
    assert len(steps) == len(small_project.STEPS)
    shutil.rmtree(home / "bundles")  # its files come from MLflow's artifacts again
    again = said("predict", "tiny", "天地坏人", "--json").json
    assert again["answers"] == first["answers"]


@pytest.mark.slow
def test_a_home_that_was_moved_is_told_by_the_doctor_and_mended_by_use(
    house: House, tmp_path: Path, monkeypatch, said
) -> None:
    home = tmp_path / "moved"
    house.home.rename(home)
    monkeypatch.setenv("ATHANOR_HOME", str(home))
    place = {"name": "mlflow files", "level": "warn", "fix": "athanor models"}
    findings = said("doctor", "--json").json["findings"]
    [told] = [each for each in findings if each["name"] == "mlflow files"]
    assert {name: told[name] for name in place} == place
    assert moved.recorded(home) == house.home
    assert said("models").code == 0
    assert moved.recorded(home) == home
    assert versions_hold(home) == 1
    assert "mlflow files" not in said("doctor").out
    forced = small_project.athanor(
        house.project,
        home,
        ("run", "configs/tiny.yaml", "--force", "register", "--json"),
        house.source,
        timeout_s=PATIENCE_S,
    )
    assert forced.code == 0, forced.err
    executed = [s["name"] for s in forced.json["steps"] if s["state"] == "executed"]
    assert executed == ["register"], "Prefect finds the others' results in the new place too"


@pytest.mark.slow
def test_copies_made_while_a_run_works_are_whole(house: House, tmp_path: Path, monkeypatch) -> None:
    config = house.project / "other.yaml"
    config.write_text(small_project.CONFIG.replace("max_length: 12", "max_length: 10"))
    run = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "run", "other.yaml", "--json"],
        cwd=house.project,
        env=house.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    copies = []
    while run.poll() is None and len(copies) < 20:
        with leases.using():
            copy = tmp_path / f"{len(copies)}.tgz"
            backup.save(house.home, copy)
        copies.append(copy)
        time.sleep(1.5)
    _, err = run.communicate()
    assert run.returncode in (0, 4), err.decode()
    assert len(copies) >= 5
    seen = set()
    for copy in copies:
        home = tmp_path / copy.stem
        monkeypatch.setenv("ATHANOR_HOME", str(home))
        restoring.restore(copy, home)
        results = [path.name for path in (home / "cache").iterdir()]
        assert all(keys.stored(name) is not None for name in results)
        assert all(objects.intact(path.name) for path in (home / "objects").glob("??/*"))
        seen.add((len(results), versions_hold(home)))
        shutil.rmtree(home)
    assert len(seen) > 2, "the run changed the home between the copies"


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture
def older(small: Path, monkeypatch: pytest.MonkeyPatch, project: Path) -> Path:
    """A home of layout 1 under an Athanor that knows 3."""
    from components.keeping import upgrades

    def split(home: Path) -> None:
        files.write_bytes(home / "results/k", (home / "cache/k").read_bytes())

    def drop(home: Path) -> None:
        (home / "cache/k").unlink(missing_ok=True)

    monkeypatch.setattr(layouts, "LAYOUT", 3)
    monkeypatch.setattr(upgrades, "UPGRADES", {1: split, 2: drop})
    monkeypatch.setenv("ATHANOR_HOME", str(small))
    return small


def test_an_older_home_is_copied_and_upgraded_by_the_next_command(
    older: Path, tmp_path: Path, said, monkeypatch
) -> None:
    found = said("env", "--json")
    assert found.code == 0
    assert "older layout" in found.err
    assert (older / "layout").read_text() == "3\n"
    assert (older / "results/k").read_bytes() == b"result"
    assert not (older / "cache/k").exists()
    assert said("env").err == ""
    monkeypatch.setattr(layouts, "LAYOUT", 1)
    restoring.restore(older / "upgrades/layout-1.tar.gz", tmp_path / "back")
    assert contents(tmp_path / "back") == {**CONTENT, "layout": b"1\n"}


def test_a_killed_upgrade_is_gone_on_with(older: Path, said, monkeypatch) -> None:
    from components.keeping import upgrades

    plain = upgrades.UPGRADES[2]

    def killed(home: Path) -> None:
        raise Killed

    monkeypatch.setitem(upgrades.UPGRADES, 2, killed)
    with pytest.raises(Killed):
        said("env")
    assert (older / "layout").read_text() == "2\n"
    copy = (older / "upgrades/layout-1.tar.gz").read_bytes()
    monkeypatch.setitem(upgrades.UPGRADES, 2, plain)
    assert said("env").code == 0
    assert (older / "layout").read_text() == "3\n"
    assert (older / "upgrades/layout-1.tar.gz").read_bytes() == copy


def test_an_upgrade_that_fails_names_the_copy(older: Path, said, monkeypatch) -> None:
    from components.keeping import upgrades

    def fails(home: Path) -> None:
        raise ValueError("what it met")

    monkeypatch.setitem(upgrades.UPGRADES, 1, fails)
    refused = said("env", "--json")
    assert refused.code == 6
    error = refused.json["error"]
    assert "from layout 1 to 2: what it met" in error["message"]
    assert f"athanor restore {older}/upgrades/layout-1.tar.gz --replace" in error["remedy"]
    assert (older / "layout").read_text() == "1\n"


def test_where_no_upgrade_leads_or_a_run_works_nothing_changes(
    older: Path, said, monkeypatch
) -> None:
    from components.keeping import upgrades

    before = contents(older)
    (older / "locks/leases").mkdir()
    with files.locked(older / "locks/leases/1.lease"):
        assert said("env").code == 7
    (older / "locks/leases/1.lease").unlink()
    monkeypatch.delitem(upgrades.UPGRADES, 2)
    refused = said("env")
    assert refused.code == 6
    assert "nothing leads from 2 to 3" in refused.err
    files.write_bytes(older / "layout", b"4\n")
    refused = said("env")
    assert refused.code == 6
    assert "git pull" in refused.err
    after = {**contents(older), "layout": b"1\n"}
    assert {name: after[name] for name in before} == before
    assert not (older / "upgrades").exists()


def test_a_fresh_home_has_the_present_layout(project: Path, home: Path) -> None:
    assert projects.home() == home
    assert layouts.found(home) == layouts.LAYOUT
