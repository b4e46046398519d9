"""A sample of the damage campaign: files of every sort, found before use and named, or remade.

`benchmarks/damage.py` damages every file in every way. A failing case prints the command that does
it again. The control is the undamaged project: the same commands succeed there, and a harness that
hurts nothing fails.
"""

import os
import random
import shutil
from pathlib import Path

import pytest

from components import objects
from components.errors import IntegrityError
from pipelines import cli
from tests.faults import damage
from tests.faults.damage import KINDS, Case, Finished

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("ATHANOR_DAMAGE_SEED", "0"))
SAMPLED = (
    "project/data/",
    "project/configs/data/",
    "home/bundles/",
    "home/cache/",
    "home/decisions/",
    "home/keys/",
    "home/mlflow/mlflow.db",
    "home/mlflow/artifacts/*/models/",
    "home/objects/",
    "home/plans/",
)
"""Sorts of files of which each run of the tests damages one in each way."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A project after its run, its commands asked once undamaged."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ATHANOR_HOME", "MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
            patch.delenv(name, raising=False)
        made = Finished.made(tmp_path_factory.mktemp("damage") / "whole")
    damage.warm()
    made.keep_copy()
    return made


def some(finished: Finished, prefix: str) -> str:
    """One file of a sort, by the seed."""
    names = [name for name in finished.files() if damage.use_of(name).prefix == prefix]
    names = [name for name in names if (finished.root / name).stat().st_size]
    return random.Random(f"{SEED} {prefix}").choice(names)


@pytest.mark.parametrize("prefix", SAMPLED)
def test_damage_is_found_and_named_or_its_step_is_remade(finished: Finished, prefix: str) -> None:
    found = [finished.case(Case(some(finished, prefix), kind, SEED)) for kind in KINDS]
    wrong = [f"{r.case.replay}\n  {r.said}" for r in found if r.outcome == "WRONG"]
    assert not wrong, "\n".join(wrong)
    injected = [result for result in found if result.outcome != "not injected"]
    assert len(injected) >= len(KINDS) - 1, "the harness hurt nothing"
    assert any(result.outcome in ("named", "remade") for result in found)


def test_every_file_of_a_finished_project_has_somebody_who_uses_it(finished: Finished) -> None:
    names = finished.files()
    assert len(names) > 150
    assert {damage.use_of(name).prefix for name in names} >= set(SAMPLED)


def test_a_damage_that_nobody_looks_at_is_called_wrong(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The harness's own control: with the check of bundles out of order it says so."""
    from components import bundle

    monkeypatch.setattr(bundle, "verify", lambda _path, _facts: None)
    path = next(name for name in finished.files() if name.endswith("card.md") and "bundles" in name)
    assert finished.case(Case(path, "flip", SEED)).outcome == "WRONG"
    monkeypatch.undo()
    assert finished.case(Case(path, "flip", SEED)).outcome == "named"


def test_a_remade_step_gives_the_same_bytes(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotten object whose mark still vouches: found by who uses it, remade by the next run."""
    monkeypatch.chdir(finished.project)
    monkeypatch.setenv("ATHANOR_HOME", str(finished.home))
    before = finished.state()
    name = max(
        (n for n in finished.files() if damage.use_of(n).prefix == "home/objects/"),
        key=lambda n: (finished.root / n).stat().st_size,
    )
    path, sha = finished.root / name, Path(name).name
    status, data = path.stat(), path.read_bytes()
    assert objects.intact(sha)  # from here on a mark vouches for it
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert objects.intact(sha), "the damage is to be one that the mark does not show"
    with pytest.raises(IntegrityError, match=f"object {sha[:12]} is damaged"):
        objects.path(sha)
    assert not objects.intact(sha)
    shutil.copy2(finished.root.with_name(f"{finished.root.name}-copy") / name, path)
    assert objects.path(sha) == path
    finished.mend(before)


def test_the_undamaged_project_passes(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """After all that every file is as it was, and every command succeeds."""
    monkeypatch.chdir(finished.project)
    monkeypatch.setenv("ATHANOR_HOME", str(finished.home))
    for words in (["data", "verify"], ["verify", "tiny@champion"], ["plan", "configs/tiny.yaml"]):
        assert cli.run(words) == 0, capfd.readouterr().err
    assert "21 cached, 0 to run" in capfd.readouterr().out
