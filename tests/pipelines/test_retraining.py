"""A champion goes on with new data: from its weights, judged on the new test rows, once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from components.errors import AthanorError
from pipelines import ancestry
from pipelines.config import load_run
from pipelines.runs import Retraining, Wishes
from tests.faults import invariants
from tests.intake.conftest import fresh
from tests.pipelines import small_project
from tests.pipelines.small_project import Said

pytestmark = pytest.mark.slow

CONFIG = (
    small_project.CONFIG.replace("baselines: [majority, linear]", "baselines: [majority]")
    .replace("  - - {kind: int8_dynamic}\n", "")
    .replace(
        "gate: {first: majority}",
        "gate: {first: majority, rule: non_inferior, margin: 0.5, smaller_or_faster: null,"
        " max_latency_ratio: null}",
    )
)
"""Fewer variants, and a gate that no neighbour on the machine decides."""


class House(NamedTuple):
    """A project, its home and our packages."""

    project: Path
    home: Path
    source: Path

    def do(self, *words: str) -> Said:
        return small_project.athanor(self.project, self.home, words, self.source)

    def retrain(self, *more: str) -> Said:
        return self.do("retrain", "configs/tiny.yaml", "--json", *more)

    def arrive(self, lines: str, name: str = "week.jsonl") -> Path:
        place = self.project / "incoming/words" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(lines)
        return place

    def runs(self) -> list[dict[str, Any]]:
        places = sorted((self.home / "runs").glob("*.json"))
        return [json.loads(place.read_bytes()) for place in places]

    def facts(self, bundle: str) -> dict[str, Any]:
        place = self.home / "bundles" / bundle / "provenance.json"
        return json.loads(place.read_bytes())["facts"]

    def bundles(self) -> list[str]:
        places = sorted((self.home / "bundles").glob("*/provenance.json"), key=os.path.getmtime)
        return [place.parent.name for place in places]

    def tags(self) -> dict[str, str]:
        place = self.home / "mlflow/mlflow.db"
        query = "SELECT key, value FROM tags WHERE key LIKE '%.retrain.%'"
        return {key: value for key, value in invariants.ask(place, query)}


def lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture(scope="module")
def house(source: Path, tmp_path_factory: pytest.TempPathFactory) -> House:
    """A champion, made from the data as they are."""
    folder = tmp_path_factory.mktemp("house")
    project = small_project.write(folder / "tiny")
    (project / "configs/tiny.yaml").write_text(CONFIG)
    made = House(project, folder / "home", source)
    said = made.do("run", "configs/tiny.yaml")
    assert said.code == 0, said.err
    return made


@pytest.fixture(scope="module")
def same(house: House) -> Said:
    return house.retrain("--data", "incoming")


@pytest.fixture(scope="module")
def refused(house: House, same: Said) -> tuple[Said, bool]:
    """A bad shard, and whether anything changed."""
    shard = house.arrive('{"text": "好", "label": "worse"}\n')
    before = {p: p.read_bytes() for p in house.project.rglob("*") if p.is_file()}
    said = house.retrain("--data", "incoming")
    after = {p: p.read_bytes() for p in house.project.rglob("*") if p.is_file()}
    shard.unlink()
    return said, before == after


@pytest.fixture(scope="module")
def resumed(house: House, refused: tuple[Said, bool]) -> Said:
    """A good shard; the retraining is killed when it finetunes, and goes on."""
    house.arrive(lines(fresh(300, 120)))
    known = len(house.runs())
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "retrain", "configs/tiny.yaml", "--data",
         "incoming", "--reason", "a new week"],
        cwd=house.project,
        env=small_project.environment(house.home, house.source),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None:
        begun = [one for one in house.runs()[known:] for step in one["attempts"][-1]["steps"]
                 if step["name"] == "finetune"]  # fmt: skip
        if begun:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL
    said = house.do("resume", "latest")
    assert said.code == 0, said.err
    return said


@pytest.fixture(scope="module")
def again(house: House, resumed: Said) -> Said:
    return house.retrain("--data", "incoming", "--set", "name=tiny")


def test_the_champions_own_data_end_it_at_once(house: House, same: Said) -> None:
    assert same.code == 0, same.err
    assert same.json["outcome"] == "same data"
    assert (same.json["champion"], same.json["run_id"]) == (1, None)
    text = house.do("retrain", "configs/tiny.yaml", "--data", "as-is")
    assert "the data are the champion's (v1): nothing to retrain" in text.out


def test_a_bad_shard_is_code_3_and_nothing_changed(
    house: House, refused: tuple[Said, bool]
) -> None:
    said, unchanged = refused
    assert said.code == 3
    assert "week.jsonl:1: label 'worse' is none of: bad, good" in said.json["error"]["message"]
    assert unchanged
    assert len(house.runs()) == 1, "no run was begun"


def test_a_killed_retraining_goes_on_from_the_same_champion(house: House, resumed: Said) -> None:
    assert "tiny: v2 passed the gate, beside v1 and is the champion" in resumed.out
    run = house.runs()[-1]
    assert [one["state"] for one in run["attempts"]] == ["crashed", "completed"]
    asked = run["wishes"]["retraining"]
    assert (asked["champion"], asked["reason"]) == (1, "a new week")
    first, second = ({s["name"]: s for s in one["steps"]} for one in run["attempts"])
    assert second["prepare"]["state"] == "cached"
    assert second["search"]["key"] == first["search"]["key"], "it takes over the very same study"


def test_the_candidate_starts_from_the_champions_weights(house: House, resumed: Said) -> None:
    before, after = (house.facts(bundle)["steps"] for bundle in house.bundles())
    assert after["finetune"]["inputs"]["start"]["digest"] == before["finetune"]["result"]
    assert after["search"]["inputs"]["start"]["digest"] == before["finetune"]["result"]
    assert before["finetune"]["inputs"]["start"]["digest"] == before["pretrain"]["result"]
    assert "pretrain" not in after
    assert after["search"]["inputs"]["previous"]["trials"], "the last study's trials come first"
    assert before["search"]["inputs"]["previous"] is None
    for name in ("tokenizer.json", "inputs.json"):
        assert after["prepare"]["files"][name] == before["prepare"]["files"][name]


def test_reason_and_origin_stand_in_version_and_run(house: House, resumed: Said) -> None:
    first, second = house.bundles()
    assert "retraining" not in house.facts(first)
    kept = house.facts(second)["retraining"]
    assert (kept["reason"], kept["champion"], kept["bundle"]) == ("a new week", 1, first)
    assert kept["before"] != kept["after"]
    tags = house.tags()
    assert tags["athanor.retrain.reason"] == "a new week"
    assert (tags["athanor.retrain.from"], tags["athanor.retrain.bundle"]) == ("1", first)
    assert tags["athanor.retrain.data"] == f"words:{kept['after']['words']}"


def test_both_are_judged_on_the_new_test_rows(house: House, again: Said) -> None:
    assert again.code == 0, again.err
    [data] = again.json["data"] or [None]
    assert data["before"] == data["after"], "v2 is the champion now, of these very data"
    page = next((house.home / "reports").glob("*.html")).read_text()
    assert "0 of the champion" in page
    assert "labels: " in page
    assert "tiny/2" in page
    assert "athanor rollback tiny --reason TEXT" in page
    assert "http" not in page.replace("http-equiv", "")
    card = json.loads((house.project / "data/words/dataset.json").read_bytes())
    assert card["counts"]["test"] > small_project.ROWS["test"]
    assert f"{card['counts']['test']} test rows" in page


def test_a_second_retraining_of_the_same_data_runs_nothing(house: House, again: Said) -> None:
    assert again.json["outcome"] == "same data"
    assert len(house.runs()) == 2


@pytest.fixture
def inside(house: House, resumed: Said, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.chdir(house.project)
    monkeypatch.setenv("ATHANOR_HOME", str(house.home))
    return house


WISHES = Wishes(retraining=Retraining(reason="", champion=1, after={}))


def taken_over(*assignments: str) -> ancestry.Ancestry:
    return ancestry.taken_over(load_run(Path("configs/tiny.yaml"), assignments), WISHES)


@pytest.mark.parametrize(
    ("assignment", "why"),
    [
        ("prepare.max_length=13", "the config prepares rows otherwise (max_length: 12 -> 13)"),
        ("finetune.architecture.layers=2", "the config describes another architecture"),
    ],
)
def test_what_does_not_fit_the_champion_starts_afresh_and_says_so(
    inside: House, assignment: str, why: str
) -> None:
    found = taken_over(assignment)
    assert found.start.weights is found.start.fitted is None
    assert why in found.notes[0]
    whole = taken_over()
    assert whole.start.weights is not None
    assert whole.start.fitted is not None


def test_weights_that_the_bundle_does_not_ship_come_from_the_run_that_made_them(
    inside: House,
) -> None:
    from components.bundle import origin
    from components.registry import fetching

    bundle = fetching.fetch("tiny", 1)
    made = origin.of(bundle)
    shipped = ancestry._weights(made, bundle)
    step = made.facts["steps"]["finetune"]
    step["result"] = "another model than the shipped one"
    assert ancestry._weights(made, bundle).digest == shipped.digest, "from its stored result"
    step["key"] = "0" * 64
    rebuilt = ancestry._weights(made, bundle)
    assert rebuilt.files == shipped.files, "from its files"
    step["files"] = {"weights.safetensors": "0" * 64}
    with pytest.raises(ancestry._Afresh, match="are gone from this home"):
        ancestry._weights(made, bundle)


def test_a_run_without_a_search_takes_what_was_found(inside: House) -> None:
    from components.bundle import origin
    from components.registry import fetching

    made = origin.of(fetching.fetch("tiny", 1))
    made.facts["steps"]["finetune"]["inputs"]["recipe"]["optimizer"]["lr"] = 0.007
    found = ancestry._values_found(made, ancestry._recipe(made))
    assert found == {"optimizer.lr": 0.007}
    config = load_run(Path("configs/tiny.yaml"), ("search=null",))
    start = ancestry.AFRESH.model_copy(update={"found": found})
    assert start.recipe(config.finetune).optimizer.lr == 0.007
    assert ancestry.AFRESH.recipe(config.finetune) == config.finetune


def test_a_remake_is_given_what_a_retrained_version_took_over(
    inside: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.bundle import origin
    from components.registry import fetching

    first, second = (origin.of(fetching.fetch("tiny", version)) for version in (1, 2))
    home, folder = tmp_path / "home", tmp_path / "remake"
    assert ancestry.carry(first, home, folder) == ()
    assert ancestry.carry(second, home, folder) == ("--retraining", "retraining.json")
    here = taken_over()
    config = load_run(Path("configs/tiny.yaml"))
    kept = Retraining.model_validate_json((folder / "retraining.json").read_bytes())
    small_project.write(folder / "project")
    (folder / "configs/keys").rename(folder / "project/configs/keys")
    monkeypatch.chdir(folder / "project")
    monkeypatch.setenv("ATHANOR_HOME", str(home))
    there = ancestry.taken_over(config, Wishes(retraining=kept))
    assert there.start == here.start, "without a registry"


def test_a_source_of_data_that_does_not_exist_is_named(inside: House) -> None:
    from pipelines.retraining import arrival

    with pytest.raises(AthanorError, match="--data 'push' is no source"):
        arrival.bring(("words",), "push")
