"""gc frees what nothing needs, says why, and leaves a home in which everything that stays holds."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from components import bundle, files, leases, objects
from pipelines import keys, roots, sweep
from pipelines.roots import Roots
from tests.keeping.conftest import House, age
from tests.pipelines import small_project

pytestmark = pytest.mark.slow


def nothing() -> Roots:
    """Roots of a home that nobody needs."""
    return Roots(defaultdict(set), defaultdict(set), defaultdict(set), defaultdict(set), [])


def things(document: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {thing["name"]: thing for thing in document["things"] if thing["kind"] == kind}


def free(document: dict[str, Any], kind: str) -> set[str]:
    return {name for name, thing in things(document, kind).items() if not thing["needed"]}


def test_everything_of_a_registered_version_is_needed_however_old(house: House, said) -> None:
    age(house.home, 400)
    document = said("gc", "--json").json
    results = things(document, "result")
    assert len(results.keys() - house.orphans) == 19
    assert free(document, "result") == house.orphans
    assert not free(document, "bundle")
    kept = [results[name] for name in results.keys() - house.orphans]
    reasons = [reason for thing in kept for reason in thing["reasons"]]
    wanted = {"version tiny/1 (champion)", "configs/tiny.yaml, prepare"}
    assert {*wanted, "last prepare of configs/tiny.yaml"} <= set(reasons)
    [version] = things(document, "bundle").values()
    assert {"history of tiny, v1", "decision on tiny v1"} <= set(version["reasons"])


def test_what_no_config_and_no_version_needs_is_freed_and_made_again(house: House, said) -> None:
    orphans = house.orphans
    assert len(orphans) == 2
    young = said("gc", "--json").json
    assert not free(young, "result")
    assert any("used 0.0 days ago" in things(young, "result")[name]["reasons"] for name in orphans)
    age(house.home, 31)
    told = said("gc", "--json").json
    assert free(told, "result") == orphans
    assert orphans <= free(told, "workspace")
    assert all((house.home / "cache" / name).exists() for name in orphans), "it only told"

    before = {path.name for path in (house.home / "objects").glob("??/*")}
    done = said("gc", "--apply", "--json").json
    assert free(done, "result") == orphans
    assert done["freed_bytes"] == told["freed_bytes"] > 0
    assert not any((house.home / "cache" / name).exists() for name in orphans)
    gone = before - {path.name for path in (house.home / "objects").glob("??/*")}
    assert gone == free(done, "object") != set()
    assert said("gc", "--json").json["freed_bytes"] == 0
    assert house.states() == {"cached"}
    assert house.remake("other.yaml", "search") == ["prepare", "pretrain"]
    assert {name for name in orphans if keys.stored(name)} == orphans


def test_a_config_alone_keeps_its_results(house: House, said) -> None:
    orphans = house.orphans
    shutil.copy(house.project / "other.yaml", house.project / "configs")
    age(house.home, 400)
    document = said("gc", "--json").json
    assert len(orphans - free(document, "result")) == 2
    assert "configs/other.yaml, prepare" in {
        reason for name in orphans for reason in things(document, "result")[name]["reasons"]
    }


def test_a_study_goes_with_its_search_and_a_held_one_stays(house: House) -> None:
    age(house.home, 400)
    now = sweep.swept(nothing(), 0, apply=False)
    [study] = [thing for thing in now.things if thing.kind == "study"]
    assert not study.needed
    with files.locked(house.home / "optuna/locks" / f"{study.name}.lock"):
        held = sweep.swept(nothing(), 0, apply=True)
    assert [t.reasons for t in held.things if t.kind == "study"] == [("a search holds it",)]
    again = sweep.swept(nothing(), 0, apply=True)
    assert [thing.name for thing in again.things if thing.kind == "study"] == [study.name]
    assert not [t for t in sweep.swept(nothing(), 0, apply=False).things if t.kind == "study"]


def test_last_results_count_unless_what_they_were_made_of_is_damaged(house: House, said) -> None:
    """Of a run without a version, whose config nobody can plan."""
    stem = "prepare"
    remembered = house.home / "plans/tiny" / f"{stem}.json"
    shutil.rmtree(house.project / "data")
    needed = nothing()
    roots.of_last_results(needed)
    assert len(needed.results) == 19
    assert needed.notes == []
    content = remembered.read_text()
    remembered.write_text(content.replace("prepare", "prepara", 1))
    assert remembered.read_text() != content
    needed = nothing()
    roots.of_last_results(needed)
    assert len(needed.results) == 18
    assert ["last prepare of configs/tiny.yaml does not count" in n for n in needed.notes] == [True]


def test_a_registry_that_is_gone_is_refused_and_nothing_is_freed(house: House, said) -> None:
    age(house.home, 400)
    database = house.home / "mlflow/mlflow.db"
    kept = database.rename(house.home.parent / "mlflow.db")
    before = len(list(house.home.rglob("*")))
    refused = said("gc", "--apply", "--json")
    assert refused.code == 6
    assert "every run and version" in refused.json["error"]["message"]
    assert len(list(house.home.rglob("*"))) == before
    shutil.copy(kept, database)
    assert said("gc", "--apply", "--json").code == 0
    assert valid(house.home) == 19


def test_leftovers_go_after_a_day_and_what_mlflow_lacks_stays(house: House, said) -> None:
    left = house.home / "cache/.abc.x1.part"
    half = house.home / "bundles/.fetch-x/bundle/model.onnx"
    note = house.home / "tracking/0.json"
    torn = house.home / "tracking/1.json"
    workspace, other = sorted((house.home / "work").iterdir())[:2]
    elsewhere = house.home / "tracking/2.json"  # of a home that was moved, to a server's store
    untouched = [
        house.home / name
        for name in ("tracking/journals/2.jsonl", "prefect/untold/a.json", "runs/a/record.json")
    ]
    for path, content in (
        *((path, "{}") for path in untouched),
        (elsewhere, json.dumps({"journal": f"/gone/work/{other.name}/journal.jsonl"})),
        (left, "x"),
        (half, "x"),
        (note, json.dumps({"journal": str(workspace / "journal.jsonl")})),
        (torn, "{"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    young = said("gc", "--older-than", "0", "--json").json
    assert not free(young, "temporary")
    assert len(things(young, "temporary")) == 2
    age(house.home, 40)
    done = said("gc", "--apply", "--json").json
    assert not left.exists()
    assert not half.exists()
    assert not torn.exists()
    assert note.exists()
    assert all(path.exists() for path in untouched)
    for folder in (workspace, other):
        reasons = things(done, "workspace")[folder.name]["reasons"]
        assert "MLflow does not show it yet" in reasons


def valid(home: Path) -> int:
    """Every remaining thing holds; how many results there are."""
    results = [path.name for path in (home / "cache").iterdir()]
    for name in results:
        assert keys.stored(name) is not None, f"{name} names what is gone"
    for folder in (home / "bundles").glob("[0-9a-f]*"):
        if folder.is_dir():
            bundle.open(folder, folder.name)
    for path in (home / "objects").glob("??/*"):
        assert objects.intact(path.name)
    return len(results)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def test_a_kill_between_any_two_removals_leaves_everything_valid(house: House, monkeypatch) -> None:
    plain, kills, seen = sweep._remove, 0, set()
    armed: list[int] = []

    def once(path: Path) -> None:
        there = path.exists()
        plain(path)
        if there and armed:
            armed.pop()
            raise Killed

    monkeypatch.setattr(sweep, "_remove", once)
    for _ in range(300):
        age(house.home, 40)
        armed[:] = [1]
        try:
            sweep.swept(nothing(), 30, apply=True)
            break
        except Killed:
            kills += 1
        seen.add(valid(house.home))
    assert kills > 70
    assert seen == set(range(22))
    assert not list((house.home / "objects").glob("??/*"))


def test_the_other_order_would_leave_results_that_name_nothing(house: House, monkeypatch) -> None:
    monkeypatch.setattr(sweep, "ORDER", tuple(reversed(sweep.ORDER)))

    def fails(*_paths: Path) -> None:
        raise Killed

    monkeypatch.setattr(sweep.studies, "drop", fails)  # after objects, before results
    age(house.home, 40)
    with pytest.raises(Killed):
        sweep.swept(nothing(), 0, apply=True)
    with pytest.raises(AssertionError, match="names what is gone"):
        valid(house.home)


def test_a_folder_that_was_half_freed_goes_the_next_time(house: House, monkeypatch) -> None:
    age(house.home, 40)
    with monkeypatch.context() as patched:

        def fails(path: Path, **_more: Any) -> None:
            if sweep.TRASH in str(path) and path.exists():
                raise Killed

        patched.setattr(shutil, "rmtree", fails)
        with pytest.raises(Killed):
            sweep.swept(nothing(), 30, apply=True)
    assert len(list(house.home.rglob(f"{sweep.TRASH}*"))) == 1
    age(house.home, 40)
    sweep.swept(nothing(), 30, apply=True)
    assert not list(house.home.rglob(f"{sweep.TRASH}*"))


def test_what_a_living_run_looked_up_stays_and_without_its_lease_goes(house: House) -> None:
    name, other = sorted(house.orphans)
    shas = set(roots.objects_of(roots.result(house.home / "cache" / name)))
    assert shas

    def gone() -> set[tuple[str, str]]:
        swept = sweep.swept(nothing(), 0, apply=False)
        return {(thing.kind, thing.name) for thing in swept.things if not thing.needed}

    age(house.home, 40)
    with leases.held():
        assert keys.stored(name) is not None
        held = gone()
    assert ("result", name) not in held
    assert ("result", other) in held
    assert not {("object", sha) for sha in shas} & held
    assert ("result", name) in gone()


def test_what_a_run_used_that_ends_while_the_roots_are_read_stays(
    house: House, monkeypatch
) -> None:
    """A version that it registers last may be missing among the roots, its lease gone."""
    name, other = sorted(house.orphans)
    age(house.home, 40)
    run = ExitStack()
    run.enter_context(leases.held())
    assert keys.stored(name) is not None

    def gather() -> Roots:
        run.close()
        return nothing()

    def gone() -> set[str]:
        swept = sweep.sweep(0, apply=False)
        assert leases.oldest() is None
        return {thing.name for thing in swept.things if not thing.needed}

    monkeypatch.setattr(roots, "gather", gather)
    first = gone()
    assert other in first
    assert name not in first
    assert name in gone()


def test_the_lease_of_a_killed_run_counts_no_more(house: House) -> None:
    script = """
import time
from components import leases
with leases.held():
    print(1, flush=True)
    time.sleep(60)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        env=house.environment,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.readline()
    assert leases.oldest() is not None
    child.kill()
    child.wait()
    assert leases.oldest() is None
    assert not list((house.home / "locks/leases").iterdir())


def versions_alone() -> Roots:
    """Roots of a home without configs: what a run makes for a new version, its lease holds."""
    found = nothing()
    roots.of_versions(found)
    return found


def test_a_run_works_while_gc_applies_again_and_again(house: House, monkeypatch) -> None:
    config = house.project / "elsewhere.yaml"  # no root names its results: leases alone hold them
    text = small_project.CONFIG.replace("name: tiny", "name: elsewhere")
    config.write_text(text.replace("max_length: 12", "max_length: 10"))
    age(house.home, 400)
    run = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "run", "elsewhere.yaml", "--json"],
        cwd=house.project,
        env=house.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    monkeypatch.setattr(roots, "gather", versions_alone)
    swept = freed = 0
    results: set[str] = set()
    for number in junk():
        if run.poll() is not None:
            break
        path = house.home / "objects" / number[:2] / number
        files.write_bytes(path, number.encode())
        age(path, 400)
        done = sweep.sweep(0, apply=True)
        swept += 1
        freed += not path.exists()
        results |= {t.name for t in done.things if t.kind == "result" and not t.needed}
        time.sleep(0.2)
    out, err = run.communicate()
    assert run.returncode in (0, 4), err.decode()
    states = {step["state"] for step in json.loads(out)["steps"]}
    assert "executed" in states
    assert swept > 5
    assert freed == swept
    assert results == house.orphans, "it freed what nothing needs, and nothing of the run's"
    again = house.say("plan", "elsewhere.yaml", "--json")
    assert {step["state"] for step in again.json["steps"]} == {"cached"}


def junk() -> Iterator[str]:
    """Names for objects that nothing needs."""
    for number in range(10000):
        yield hashlib.sha256(str(number).encode()).hexdigest()
