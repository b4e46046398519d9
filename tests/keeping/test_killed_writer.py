"""A writer killed within a transaction leaves half of it in the file, and a journal beside it.

Whoever reads next has to roll it back; one who may only read cannot, and is told of an error.
"""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from components import databases, files
from components.keeping import backup, restoring
from pipelines import doctor, studies

WRITER = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1])
database.execute("PRAGMA cache_size = 1")  # so that half of it reaches the file
for n in range(2000):
    database.execute("INSERT INTO studies VALUES (?, ?)", (n, "x" * 500))
print("within", flush=True)
time.sleep(600)
"""
WHOLE = [("before",)]


@pytest.fixture
def database(home: Path) -> Path:
    """Optuna's file in the home, whose writer was killed."""
    files.write_bytes(home / "layout", b"1\n")
    path = home / "optuna/optuna.db"
    path.parent.mkdir()
    path.touch(0o600)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE studies (study_id INTEGER, study_name TEXT)")
        connection.execute("INSERT INTO studies VALUES (-1, 'before')")
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"within\n"
        os.kill(writer.pid, signal.SIGKILL)
    assert Path(f"{path}-journal").stat().st_size > 0
    return path


def test_control_who_may_only_read_is_refused(database: Path) -> None:
    place = f"file:{database}?mode=ro"
    with (
        closing(sqlite3.connect(place, uri=True)) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("SELECT study_name FROM studies").fetchall()


def test_half_a_transaction_is_rolled_back_and_nothing_else_is_written(database: Path) -> None:
    with databases.reading(database) as connection:
        assert connection.execute("SELECT study_name FROM studies").fetchall() == WHOLE
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM studies")


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError), databases.reading(tmp_path / "x.db"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_whose_name_means_something_in_an_address_is_read(tmp_path: Path) -> None:
    path = tmp_path / "50%?#" / "x.db"
    path.parent.mkdir()
    sqlite3.connect(path).close()
    path.touch()
    with databases.reading(path) as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_the_doctor_does_not_call_it_damaged(project: Path, database: Path) -> None:
    [found] = [each for each in doctor.examine() if each.name == "optuna"]
    assert found.level == "ok", found.found


def test_the_studies_are_those_of_before(database: Path) -> None:
    assert studies._asked("SELECT study_name FROM studies") == WHOLE


def test_a_backup_holds_what_was_before(database: Path, home: Path, tmp_path: Path) -> None:
    backup.save(home, tmp_path / "copy.tgz")
    restoring.restore(tmp_path / "copy.tgz", tmp_path / "home")
    with databases.reading(tmp_path / "home/optuna/optuna.db") as connection:
        assert connection.execute("SELECT study_name FROM studies").fetchall() == WHOLE
