"""Deployments on a real Prefect server: applied once, edited by hand, pruned, fired, admitted."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from components.artifacts import Promotion
from components.errors import ConfigError, ServiceUnreachable, UsageError
from pipelines.deployments import applying, events, flow_runs, gate, slots
from pipelines.deployments.applying import Ask
from pipelines.deployments.facts import POOL
from tests.deployments.standing import (
    NIGHTLY,
    OTHER,
    Client,
    Write,
    begin,
    did,
    due,
    history,
    named,
    prefect,
    wait,
)

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

pytestmark = pytest.mark.slow


def test_a_second_deploy_changes_nothing(deployments: Write, client: Client) -> None:
    deployments(NIGHTLY + OTHER)
    assert did(applying.deploy(Ask(mode="show"))) == {
        "nightly": ("new", "nothing"),
        "other": ("new", "nothing"),
    }
    assert applying.deployed(client) == {}
    first = applying.deploy(Ask())
    assert did(first) == {"nightly": ("new", "applied"), "other": ("new", "applied")}
    before = (named(client, "nightly"), client.read_automations())
    second = applying.deploy(Ask())
    assert did(second) == {"nightly": ("same", "nothing"), "other": ("same", "nothing")}
    assert "nothing changed" in applying.text(second)
    assert (named(client, "nightly"), client.read_automations()) == before


def test_a_broken_entry_applies_nothing(deployments: Write, client: Client) -> None:
    deployments(NIGHTLY + OTHER)
    applying.deploy(Ask())
    before = applying.deployed(client)
    deployments(NIGHTLY.replace("30 4", "30 5") + OTHER.replace("digits.yaml", "digit.yaml"))
    with pytest.raises(ConfigError, match=r"deployments.yaml:6 .* no file configs/digit.yaml"):
        applying.deploy(Ask())
    assert applying.deployed(client) == before


def test_a_change_is_applied_and_a_paused_schedule_stays_paused(
    deployments: Write, client: Client
) -> None:
    deployments(NIGHTLY)
    applying.deploy(Ask())
    nightly = named(client, "nightly")
    prefect("deployment", "schedule", "pause", "retrain/nightly", str(nightly.schedules[0].id))
    assert did(applying.deploy(Ask()))["nightly"] == ("same", "nothing")
    deployments(NIGHTLY.replace("30 4", "30 5"))
    found = applying.deploy(Ask())
    assert did(found)["nightly"] == ("changed", "applied")
    assert "schedule.cron: 30 4 * * * -> 30 5 * * *" in applying.text(found)
    [schedule] = named(client, "nightly").schedules
    assert (schedule.schedule.cron, schedule.active) == ("30 5 * * *", False)
    assert {slot.state for slot in slots.plan().slots} == {"paused"}


def test_what_was_edited_in_prefect_is_named_and_kept(deployments: Write, client: Client) -> None:
    from prefect.client.schemas.actions import DeploymentUpdate

    deployments(NIGHTLY)
    applying.deploy(Ask(overwrite=("nightly",)))
    nightly = named(client, "nightly")
    edited = {**nightly.parameters, "config": "configs/other.yaml"}
    client.update_deployment(nightly.id, DeploymentUpdate(parameters=edited))
    deployments(NIGHTLY.replace("30 4", "30 6"))
    found = applying.deploy(Ask())
    assert did(found)["nightly"] == ("edited", "kept")
    said = "parameters.config: configs/digits.yaml -> configs/other.yaml"
    assert said in applying.text(found)
    assert "--overwrite nightly" in applying.text(found)
    assert named(client, "nightly").parameters == edited
    with pytest.raises(UsageError, match="no deployment is called 'nightl'"):
        applying.deploy(Ask(overwrite=("nightl",)))
    found = applying.deploy(Ask(overwrite=("nightly",)))
    assert did(found)["nightly"] == ("edited", "applied")
    assert named(client, "nightly").parameters["config"] == "configs/digits.yaml"
    assert did(applying.deploy(Ask()))["nightly"] == ("same", "nothing")


def test_what_the_file_does_not_name_goes_when_it_is_asked_for(
    deployments: Write, client: Client
) -> None:
    deployments(NIGHTLY + OTHER)
    applying.deploy(Ask(overwrite=("nightly",)))
    flow = client.create_flow_from_name("run")
    client.create_deployment(flow, "somebody-elses", work_pool_name=POOL)
    deployments("deployments:\n" + OTHER)
    assert did(applying.deploy(Ask()))["nightly"] == ("unlisted", "kept")
    assert did(applying.deploy(Ask(unlisted="remove")))["nightly"] == ("unlisted", "removed")
    left = {each.name for each in client.read_deployments()}
    assert "nightly" not in left
    assert "somebody-elses" in left
    assert [each.name for each in client.read_automations()] == []


def test_a_schedule_fires_and_after_missed_slots_latest_starts_one(
    deployments: Write, client: Client
) -> None:
    often = OTHER.replace("other", "often").replace("6h", "2s")
    deployments("deployments:\n" + often)
    applying.deploy(Ask())
    wait(lambda: len(due(client, "often")) >= 3)
    waiting = due(client, "often")
    started: list[FlowRun] = []
    while not started:  # a slot may come due between the two calls
        waiting = due(client, "often")
        started = gate.admit(client, waiting)
    assert [run.id for run in started] == [waiting[-1].id]
    first = client.read_flow_run(waiting[0].id).state
    assert (first.name, first.message[:4]) == ("Missed", "late")
    begin(client, started[0])
    begun = flow_runs.began(client.read_flow_run(started[0].id))
    wait(lambda: any(flow_runs.slot(run) > begun for run in due(client, "often")))
    overlapping = [run for run in due(client, "often") if flow_runs.slot(run) > begun]
    assert gate.admit(client, overlapping) == []
    skipped = client.read_flow_run(overlapping[0].id).state
    assert (skipped.name, skipped.message) == ("Skipped", f"run {started[0].id} was still at work")


@pytest.mark.parametrize(
    ("on_late", "runs"), [("latest", [9]), ("all", list(range(10))), ("skip", [])]
)
def test_ten_slots_that_nobody_was_there_for(
    deployments: Write, client: Client, up: Path, on_late: str, runs: list[int]
) -> None:
    from prefect.states import Completed, Scheduled

    name = f"late-{on_late}"
    text = OTHER.replace("other", name).replace("6h}", f"6h}}, on_late: {on_late}")
    deployments("deployments:\n" + text)
    applying.deploy(Ask())
    made = []
    for number in range(10):
        slot = datetime.now(UTC) - timedelta(minutes=100 - 10 * number)
        state = Scheduled(scheduled_time=slot)
        made.append(client.create_flow_run_from_deployment(named(client, name).id, state=state))
    statement = "UPDATE flow_run SET auto_scheduled = 1 WHERE deployment_id = ?"
    history(up, statement, str(named(client, name).id))
    started = []
    while runs_left := due(client, name):
        for run in gate.admit(client, runs_left):
            begin(client, run)
            if not started:
                assert gate.admit(client, due(client, name)) == []  # one at a time
            client.set_flow_run_state(run.id, Completed())
            started.append(run.id)
    assert started == [made[number].id for number in runs]
    names = [client.read_flow_run(each.id).state_name for each in made]
    assert names.count("Missed") == 10 - len(runs)


def test_an_event_makes_a_run_and_two_of_one_digest_make_one(
    deployments: Write, client: Client
) -> None:
    text = NIGHTLY.replace("drift, subject: digits", "data_changed").replace("nightly", "fresh")
    deployments(text)
    applying.deploy(Ask())
    payload = {"digest": "d1.dir"}
    wait(lambda: events.emit("data_changed", "digits", payload) and len(due(client, "fresh")) >= 2)
    made = due(client, "fresh")[-1]
    assert made.parameters == {
        "config": "configs/digits.yaml",
        "assignments": [],
        "data": "pull",
        "reason": "data_changed",
        "digest": "d1.dir",
        "subject": "digits",
    }
    [started] = gate.admit(client, due(client, "fresh"))
    begin(client, started)
    gate.admit(client, due(client, "fresh"))  # of events that were still on their way
    assert events.emit("data_changed", "digits", payload)
    wait(lambda: bool(due(client, "fresh")))
    third = due(client, "fresh")[-1]
    assert gate.admit(client, [third]) == []
    assert "at work on the same d1.dir" in client.read_flow_run(third.id).state.message


def test_a_failed_run_and_a_new_champion_are_told_and_a_good_run_is_not(
    deployments: Write, client: Client
) -> None:
    text = NIGHTLY.replace("{event: drift, subject: digits}", "{event: run_failed}, {event: drift}")
    deployments(
        text.replace("drift", "champion_changed, subject: digits").replace("nightly", "told")
    )
    applying.deploy(Ask())
    time.sleep(3)  # the server hears its new automations a moment after they are made
    with events.Failing("digits", "good"):
        pass
    with pytest.raises(UsageError, match="it broke"), events.Failing("digits", "c0ffee"):
        raise UsageError("it broke", "mend it")
    stays = Promotion(name="digits", version=1, previous=1, moved=False, reason="")
    events.moved(stays)
    events.moved(stays.model_copy(update={"version": 2, "moved": True}))
    wait(lambda: len(due(client, "told")) >= 2)
    told = {run.parameters["reason"]: run.parameters["digest"] for run in due(client, "told")}
    assert told == {"run_failed": "c0ffee", "champion_changed": "digits/2"}


def test_a_person_starts_one_with_the_plain_command(deployments: Write, client: Client) -> None:
    deployments(NIGHTLY.replace("nightly", "plain"))
    applying.deploy(Ask())
    assert "retrain/plain" in prefect("deployment", "ls")
    prefect("deployment", "run", "retrain/plain", "--param", "reason=by hand")
    [asked] = due(client, "plain")
    assert flow_runs.made_by(asked) == "hand"
    assert gate.admit(client, [asked]) == [asked]


def test_runs_of_no_deployment_of_ours_all_start(client: Client) -> None:
    flow = client.create_flow_from_name("run")
    theirs = client.create_deployment(flow, "athanor", work_pool_name=POOL)
    made = [client.create_flow_run_from_deployment(theirs) for _ in range(2)]
    assert gate.admit(client, made) == made


def test_a_run_that_was_taken_and_never_began_holds_nothing_up(
    deployments: Write, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.states import Pending

    deployments("deployments:\n" + OTHER.replace("other", "held"))
    applying.deploy(Ask())
    first, second = (
        client.create_flow_run_from_deployment(named(client, "held").id) for _ in range(2)
    )
    client.set_flow_run_state(first.id, Pending(message="a worker that died"))
    assert gate.admit(client, due(client, "held")) == []
    monkeypatch.setattr(gate, "PENDING_S", 0.0)
    assert [run.id for run in gate.admit(client, due(client, "held"))] == [second.id]
    assert client.read_flow_run(first.id).state_name == "Crashed"


def test_without_a_server_an_event_is_told_to_nobody(deployments: Write) -> None:
    deployments(NIGHTLY)
    assert not events.emit("drift", "digits")
    with pytest.raises(ServiceUnreachable, match="no Prefect server is up"):
        events.announce("drift", "digits", "")
    with pytest.raises(UsageError, match="no JSON object"):
        events.announce("drift", "digits", "[1]")
    with pytest.raises(ServiceUnreachable, match="no Prefect server is up"):
        applying.deploy(Ask())
