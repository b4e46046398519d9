"""The look around: ends, missed and late slots, silent workers, models that nobody renewed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components import files
from pipelines.deployments import applying, gate, looking
from pipelines.deployments.applying import Ask
from pipelines.deployments.facts import POOL
from tests.deployments import receivers
from tests.deployments.standing import Client, Write, begin, due, history, named

pytestmark = pytest.mark.slow

ENTRY = """\
deployments:
  - name: {name}
    flow: run
    config: configs/digits.yaml
    schedule: {{every: 6h}}
    notify: [{{webhook: "{url}", when: [failed, completed, late, missed, worker_silent]}}]
"""


@pytest.fixture
def web() -> Iterator[receivers.Web]:
    with receivers.web() as one:
        yield one


def deployed(deployments: Write, web: receivers.Web, name: str, more: str = "") -> None:
    deployments(ENTRY.format(name=name, url=web.url) + more)
    applying.deploy(Ask(unlisted="remove"))


def told(web: receivers.Web) -> list[str]:
    return [one["what"] for one in web.got]


def look(client: Client, home: Path) -> None:
    assert looking.tick(client, home) == ()


def ago(**time: float) -> str:
    return f"{datetime.now(UTC) - timedelta(**time):%Y-%m-%d %H:%M:%S.%f}"


def ended(client: Client, name: str, state: Any) -> None:
    run = client.create_flow_run_from_deployment(named(client, name).id)
    begin(client, run)
    client.set_flow_run_state(run.id, state, force=True)


def test_how_runs_ended_is_told_once_and_nothing_of_before_the_first_look(
    deployments: Write, client: Client, up: Path, web: receivers.Web
) -> None:
    from prefect.states import Completed, Crashed, Failed

    deployed(deployments, web, "ends")
    (up / "deployments/looked.json").unlink(missing_ok=True)
    ended(client, "ends", Failed(message="before anybody looked"))
    history(up, "UPDATE flow_run SET end_time = ? WHERE state_name = 'Failed'", ago(hours=1))
    look(client, up)
    assert told(web) == []
    for state in (Failed(message="it broke"), Crashed(message="it died"), Completed()):
        ended(client, "ends", state)
    look(client, up)
    look(client, up)
    assert sorted(told(web)) == ["completed", "failed", "failed"]
    assert any("ended as Failed: it broke" in one["text"] for one in web.got)


def test_a_run_that_nobody_starts_is_late_and_one_that_waits_its_turn_is_not(
    deployments: Write, client: Client, up: Path, web: receivers.Web
) -> None:
    from prefect.states import Scheduled

    deployed(deployments, web, "waits")
    look(client, up)
    old = Scheduled(scheduled_time=datetime.now(UTC) - timedelta(minutes=5))
    busy = client.create_flow_run_from_deployment(named(client, "waits").id)
    begin(client, busy)
    client.create_flow_run_from_deployment(named(client, "waits").id, state=old)
    look(client, up)
    assert told(web) == []
    client.delete_flow_run(busy.id)
    look(client, up)
    look(client, up)
    assert told(web) == ["late"]
    assert "the first for 5" in web.got[0]["text"]


def test_slots_that_passed_without_a_run_are_told(
    deployments: Write, client: Client, up: Path, web: receivers.Web
) -> None:
    deployed(deployments, web, "gone")
    look(client, up)
    looked = datetime.now(UTC) - timedelta(hours=30)
    files.write_json(up / "deployments/looked.json", {"gone": looked.isoformat()})
    look(client, up)
    assert told(web) == []  # the schedule is younger than they are
    files.write_json(up / "deployments/looked.json", {"gone": looked.isoformat()})
    history(up, "UPDATE deployment_schedule SET updated = ? WHERE slug = 'athanor'", ago(days=3))
    look(client, up)
    look(client, up)
    assert told(web) == ["missed"]
    assert "5 slots" in web.got[0]["text"] or "4 slots" in web.got[0]["text"]
    assert "no server was up" in web.got[0]["text"]


def test_slots_that_the_policy_gave_up_are_told_together(
    deployments: Write, client: Client, up: Path, web: receivers.Web
) -> None:
    from prefect.states import Scheduled

    deployed(deployments, web, "given-up", "    on_late: skip\n    late_after: 30s\n")
    look(client, up)
    for minutes in (9, 6, 3):
        slot = Scheduled(scheduled_time=datetime.now(UTC) - timedelta(minutes=minutes))
        made = client.create_flow_run_from_deployment(named(client, "given-up").id, state=slot)
        history(up, "UPDATE flow_run SET auto_scheduled = 1 WHERE id = ?", str(made.id))
    assert gate.admit(client, due(client, "given-up")) == []
    look(client, up)
    look(client, up)
    assert told(web) == ["missed"]
    assert web.got[0]["text"].startswith("3 slots (")


def test_a_worker_that_went_silent_is_told_once_for_each_time(
    deployments: Write, client: Client, up: Path, web: receivers.Web
) -> None:
    deployed(deployments, web, "watched")
    client.send_worker_heartbeat(POOL, "machine-2", 30)
    look(client, up)
    assert told(web) == []
    for minutes in (10, 5):
        client.send_worker_heartbeat(POOL, "machine-2", 30)
        statement = "UPDATE worker SET last_heartbeat_time = ? WHERE name = 'machine-2'"
        history(up, statement, ago(minutes=minutes))
        look(client, up)
        look(client, up)
    assert told(web) == ["worker_silent", "worker_silent"]
    assert "worker machine-2 gave no sign of life for 10 m" in web.got[0]["text"]
    history(up, "DELETE FROM worker WHERE name = 'machine-2'")


def test_a_run_that_takes_longer_than_its_timeout_is_told_to_stop(
    deployments: Write, client: Client, up: Path, web: receivers.Web
) -> None:
    deployed(deployments, web, "slow", "    timeout: 1h\n")
    look(client, up)
    run = client.create_flow_run_from_deployment(named(client, "slow").id)
    begin(client, run)
    look(client, up)
    assert client.read_flow_run(run.id).state_name == "Running"
    history(up, "UPDATE flow_run SET start_time = ? WHERE id = ?", ago(hours=2), str(run.id))
    look(client, up)
    look(client, up)
    assert client.read_flow_run(run.id).state_name == "Cancelling"
    assert told(web) == ["failed"]
    assert "longer than its timeout of 1h" in web.got[0]["text"]


def test_where_nothing_was_registered_for_a_time_one_run_starts(
    deployments: Write, client: Client, up: Path, web: receivers.Web
) -> None:
    deployed(deployments, web, "stale", "    triggers: [{nothing_registered_for: 2d}]\n")
    look(client, up)
    assert due(client, "stale") == []
    history(up, "UPDATE deployment SET created = ? WHERE name = 'stale'", ago(days=3))
    look(client, up)
    look(client, up)
    assert len(due(client, "stale")) == 1
    history(up, "UPDATE deployment SET created = ? WHERE name = 'stale'", ago(days=5))
    look(client, up)
    assert len(due(client, "stale")) == 2
