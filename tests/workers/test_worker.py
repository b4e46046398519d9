"""Runs whose steps a worker executes, undisturbed and disturbed."""

import os
import signal
from pathlib import Path

import pytest

from components import files, objects
from components.artifacts import SearchResult, TrainedModel
from pipelines import keys, places, runs
from pipelines.workers import process, standing, submission
from tests.pipelines import small_project
from tests.workers.house import SHORT, House, all_held, until
from tests.workers.spans import of_run, shared

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def at_home(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process looks up, it looks up in the house."""
    monkeypatch.setenv("ATHANOR_HOME", str(house.home))


def finetuned(record: runs.RunRecord) -> str:
    """Digest of the weights that a run trained."""
    key = next(step.key for step in record.last.steps if step.name == "finetune")
    found = keys.stored(str(key))
    assert found is not None
    return found.digest


def test_a_run_on_a_worker_is_the_run_of_one_process(house: House, tmp_path: Path) -> None:
    """Its steps are runs of their own under it, and the weights are the same to the bit."""
    asked = house.submit("finetune.seed=5")
    record = house.ended(asked.run)
    assert record.state == "completed"
    children = house.asks(
        "from prefect.client.orchestration import get_client\n"
        "from prefect.client.schemas.filters import *\n"
        "with get_client(sync_client=True) as client:\n"
        "    parents = FlowRunFilter(parent_flow_run_id={'any_': [flow_run]})\n"
        "    found = client.read_flow_runs(flow_run_filter=parents)\n"
        "    print(json.dumps({run.name: run.state_type for run in found}))",
        flow_run=asked.flow_run_id,
    )
    dispatched = {step.name for step in record.last.steps} & children.keys()
    assert {"validate-words", "prepare", "finetune", "compress-fp32"} <= dispatched
    assert set(children.values()) == {"COMPLETED"}
    assert process.at_work() == () or all(one.dead for one in process.at_work())
    alone = tmp_path / "alone"
    sets = [word for each in (*SHORT, "finetune.seed=5") for word in ("--set", each)]
    words = ("run", "configs/tiny.yaml", *sets, "--json")
    said = small_project.athanor(house.project, alone, words)
    assert said.code == 0, said.err
    own = next(s for s in runs_of(alone).last.steps if s.name == "finetune")
    assert finetuned(record) == stored_in(alone, str(own.key))


def test_a_run_is_asked_for_before_a_worker_has_made_its_deployment(house: House) -> None:
    """Also by a process that imported Prefect when it knew of no server."""
    import prefect.settings

    assert prefect.settings.PREFECT_API_URL.value() is None
    server = submission.reached()
    before = until(lambda: server.get(submission.DEPLOYMENT), "the worker has made it")
    house.asks(
        "from prefect.client.orchestration import get_client\n"
        "with get_client(sync_client=True) as client:\n"
        "    client.delete_deployment(known)\n"
        "print(json.dumps(known))",
        known=before["id"],
    )
    assert server.get(submission.DEPLOYMENT) is None
    made = submission._deployment(server)
    assert made != before["id"]
    assert server.get(submission.DEPLOYMENT)["id"] == made


def runs_of(home: Path) -> runs.RunRecord:
    """The only run of a home."""
    (found,) = (home / "runs").glob("*.json")
    return runs.RunRecord.model_validate(files.read_sealed(found))


def stored_in(home: Path, key: str) -> str:
    """Digest of a result that another home keeps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATHANOR_HOME", str(home))
        found = keys.stored(key)
    assert found is not None
    return found.digest


def test_killed_step_parent_and_worker_the_run_ends_by_itself(house: House) -> None:
    """Each is killed once with -9; no step is executed twice to its end."""
    asked = house.submit("finetune.seed=6", "finetune.budget.epochs=40")
    run = asked.run
    house.at(run, "finetune")
    for flow in ("step", "run"):
        for one in process.at_work():
            if one.flow == flow and not one.dead:
                os.kill(int(one.owner.split(" ")[2]), signal.SIGKILL)
    worker = standing.running(house.home)
    assert worker is not None
    os.kill(worker.pid, signal.SIGKILL)
    record = house.ended(run)
    assert len(record.attempts) >= 2, "the parent was killed, so the run was tried again"
    executed = [s.name for at in record.attempts for s in at.steps if s.state == "executed"]
    assert sorted(executed) == sorted(set(executed))
    healed = standing.running(house.home)
    assert healed is not None
    assert healed.owner != worker.owner


def test_steps_of_two_runs_never_share_a_device(house: House) -> None:
    """Each step says in its journal which device it had; three runs want two devices at once."""
    worker = standing.running(house.home)
    assert worker is not None
    words = ("resources.finetune.gpus=1", "finetune.budget.epochs=8")
    with all_held(places.of(worker.wanted.devices)):
        asked = [house.submit(f"finetune.seed={seed}", *words) for seed in (7, 8, 9)]
        until(lambda: len(house.queued("finetune")) == 3, "all three wait for a device")
    spans = [of_run(house.home, house.ended(one.run), "finetune") for one in asked]
    assert {span.device for span in spans} == {"0", "1"}
    assert shared(spans) == []
    assert shared([*spans, spans[0]._replace(begin=spans[0].begin + 0.01)]), "it would be seen"


def test_a_search_by_several_on_workers_ends_with_its_number_of_trials(house: House) -> None:
    """Both slots search one study; one is killed in a trial, and another goes on with that."""
    space = "{optimizer.lr: {low: 5e-3, high: 2e-2, log: true}}"
    search = f"search={{trials: 5, epochs: 30, pruning: null, space: {space}}}"
    run = house.submit(search, "resources.search.parallel=2", "finetune.seed=10").run

    def searching() -> list[process.AtWork]:
        found = [one for one in process.at_work() if one.step == "search" and not one.dead]
        return found if len(found) == 2 else []

    victim = until(searching, "two processes search")[0]
    os.kill(int(victim.owner.split(" ")[2]), signal.SIGKILL)
    record = house.ended(run)
    key = next(step.key for step in record.last.steps if step.name == "search")
    found = keys.stored(str(key))
    assert isinstance(found, SearchResult)
    assert [trial.number for trial in found.trials] == list(range(5))
    assert {trial.state for trial in found.trials} == {"complete"}


def test_a_step_whose_files_are_gone_is_done_again_not_taken_from_its_last_outcome(
    house: House,
) -> None:
    first = house.ended(house.submit("finetune.seed=11").run)
    key = next(str(step.key) for step in first.last.steps if step.name == "finetune")
    model = keys.stored(key)
    assert isinstance(model, TrainedModel)
    sha = model.files["weights.safetensors"]
    objects.path(sha).unlink()
    again = house.ended(house.submit("finetune.seed=11").run)
    states = {step.name: step.state for step in again.last.steps}
    assert (states["prepare"], states["finetune"]) == ("cached", "executed")
    assert finetuned(again) == model.digest
    assert objects.intact(sha)
