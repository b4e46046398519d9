"""The doctor finds what is wrong, names the exact remedy, and is quick."""

import subprocess
import sys
from pathlib import Path

import pytest

from components import files
from components import project as projects
from pipelines import doctor

ROOT = Path(__file__).resolve().parents[2]


def finding(name: str) -> doctor.Finding:
    [found] = [one for one in doctor.examine() if one.name == name]
    return found


def test_every_complaint_has_a_remedy_and_no_praise_has(project: Path) -> None:
    for one in doctor.examine():
        assert bool(one.fix) == (one.level != "ok"), one


def test_a_home_that_others_can_read_is_bad(project: Path, home: Path) -> None:
    projects.home()
    assert finding("home").level == "ok"
    home.chmod(0o755)
    found = finding("home")
    assert (found.level, found.fix) == ("bad", f"chmod 700 {home}")


def test_a_home_of_a_newer_version_is_bad(project: Path, home: Path) -> None:
    files.write_bytes(home / "layout", b"99\n")
    assert finding("home").level == "bad"
    assert "layout 99" in finding("home").found


def test_a_damaged_database_is_bad(project: Path, home: Path) -> None:
    files.write_bytes(home / "optuna/optuna.db", b"SQLite format 3\0" + b"\xff" * 4096)
    found = finding("optuna")
    assert found.level == "bad"
    assert found.fix.startswith(f"mv {home}/optuna/optuna.db ")


def test_a_whole_database_is_fine(built: None, project: Path, home: Path) -> None:
    from pipelines import templates

    templates.install(home)
    for name in templates.STORES:
        assert finding(name).level == "ok"


def test_absent_data_are_named_with_the_command(project: Path) -> None:
    from components.data import pointer
    from components.data.tree import File, Tree

    tree = Tree({"reviews/train/0.jsonl": File("d41d8cd98f00b204e9800998ecf8427e", 7)})
    pointer.write_listing(project, tree)
    pointer.write_pointer(project, tree)
    assert finding("data").fix == "athanor data pull reviews"
    (project / "data/reviews/train").mkdir(parents=True)
    (project / "data/reviews/train/0.jsonl").write_bytes(b"1234567")
    assert finding("data").level == "ok"


def test_a_remote_that_trusts_its_downloads_is_warned_of(project: Path) -> None:
    assert finding("dvc remote").level == "ok"
    (project / ".dvc").mkdir()
    config = project / ".dvc/config"
    config.write_text("[core]\n    remote = store\n['remote \"store\"']\n    url = /srv/data\n")
    assert finding("dvc remote").fix == "dvc remote modify store verify true"
    config.write_text(config.read_text() + "    verify = true\n")
    assert finding("dvc remote").level == "ok"


def test_dead_servers_are_warned_of(project: Path, home: Path) -> None:
    assert finding("servers").level == "ok"
    dead = {"owner": "here boot 1 1", "pid": 1, "url": "http://127.0.0.1:1"}
    files.write_json(home / "servers.json", {"mlflow": dead, "prefect": dead})
    found = finding("servers")
    assert (found.level, found.found, found.fix) == ("warn", "mlflow, prefect died", "athanor up")


def test_too_many_threads_are_warned_of(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "100000")
    assert finding("threads").fix.startswith("export OMP_NUM_THREADS=")


def test_one_bad_finding_decides_the_exit_code() -> None:
    good = doctor.Finding(name="a", level="ok", found="")
    warned = doctor.Finding(name="a", level="warn", found="", fix="x")
    bad = doctor.Finding(name="a", level="bad", found="", fix="x")
    assert doctor.exit_code((good, warned)) == 0
    assert doctor.exit_code((good, bad)) == 7
    assert "-> x" in doctor.text((bad,))


def test_it_is_quick_and_loads_nothing_heavy() -> None:
    heavy = ("torch", "mlflow", "prefect", "optuna", "pandas", "sqlalchemy", "dvc")
    script = (
        "import sys, time; from pipelines import doctor; doctor.examine();"
        f" print([name for name in {heavy} if name in sys.modules], time.process_time() < 2)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[] True"
