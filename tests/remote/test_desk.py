"""A step is one worker's at a time, and never nobody's: with a real Prefect server behind the door.

Time is told to the desk, so nothing here waits for it.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines import embedded, pools, templates
from pipelines.door import desk as desks
from pipelines.door.assignments import NotWanted
from pipelines.door.desk import Desk
from pipelines.door.talk import SILENT_S, Beat, Heard
from pipelines.workers.inventory import Inventory
from pipelines.workers.parcels import Outcome

pytestmark = pytest.mark.slow

KEY = "d" * 64


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of a Prefect server of the module's own."""
    templates.build(templates.folder())
    folder = tmp_path_factory.mktemp("prefect-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATHANOR_HOME", str(folder))
        server = embedded.start_embedded(folder)
        try:
            server.ready()
            from prefect.client.orchestration import get_client
            from prefect.settings import PREFECT_API_URL, temporary_settings

            with (
                temporary_settings({PREFECT_API_URL: server.url}),
                get_client(sync_client=True) as found,
            ):
                pools.ensure(found)
                yield found
        finally:
            server.stop()


@pytest.fixture
def due(client: Any) -> str:
    """A step that waits."""
    parameters = {
        "name": "train",
        "key": KEY,
        "entry": "components.steps.train:train",
        "arguments": {},
        "resources": {},
    }
    deployment = pools.ensure(client)["step"]
    made = client.create_flow_run_from_deployment(
        deployment, parameters=parameters, name="train", idempotency_key=uuid.uuid4().hex
    )
    return str(made.id)


@pytest.fixture
def desk(home: Path, client: Any) -> Desk:
    return Desk(home, client)


@pytest.fixture
def state(client: Any) -> Callable[[str], str]:
    def named(flow_run_id: str) -> str:
        found = client.read_flow_run(uuid.UUID(flow_run_id)).state
        return f"{found.name}: {found.message}"

    return named


def beat(desk: Desk, *at_work: str, ended: tuple[str, ...] = (), name: str = "box") -> Heard:
    own = Inventory(name=name, owner=f"{name} boot 1 1", slots=1)
    return desk.beat(Beat(inventory=own, at_work=at_work, ended=ended))


def test_one_worker_has_it_however_often_it_asks(desk: Desk, due: str, state) -> None:
    beat(desk)
    desk._look(time.monotonic())
    assert due in [one.flow_run_id for one in beat(desk).due]
    given = desk.claim(due, "box")
    assert given is not None
    assert (given.key, given.entry) == (KEY, "components.steps.train:train")
    assert state(due) == "Running: on box"
    assert desk.claim(due, "box") == given
    assert desk.claim(due, "other") is None
    assert due not in [one.flow_run_id for one in beat(desk, due).due]


def test_a_silent_step_is_crashed_and_not_before(desk: Desk, due: str, state) -> None:
    desk.claim(due, "box")
    desk.folder(due)
    now = time.monotonic()
    desk._settle(now + SILENT_S - 1)
    assert state(due) == "Running: on box"
    desk._settle(now + SILENT_S + 1)
    assert state(due).startswith("Crashed: box: silent for 6")
    with pytest.raises(NotWanted):
        desk.folder(due)
    assert beat(desk, due).stop == (due,)


def test_a_step_of_which_its_worker_or_its_process_speaks_is_not_silent(
    desk: Desk, due: str, state, monkeypatch
) -> None:
    desk.claim(due, "box")
    now = time.monotonic()
    monkeypatch.setattr(desks.time, "monotonic", lambda: now + SILENT_S)
    beat(desk, due)
    desk._settle(now + SILENT_S + 1)
    monkeypatch.setattr(desks.time, "monotonic", lambda: now + 2 * SILENT_S)
    desk.folder(due)
    desk._settle(now + 2 * SILENT_S + 1)
    assert state(due) == "Running: on box"


def test_a_door_that_was_killed_knows_its_steps_and_hears_them_out(
    desk: Desk, due: str, home: Path, client: Any, state
) -> None:
    desk.claim(due, "box")
    again = Desk(home, client)
    again._settle(time.monotonic() + 1)
    assert again.folder(due) == home / "work" / KEY
    assert state(due) == "Running: on box"


def test_what_was_taken_in_vain_is_due_again(desk: Desk, due: str, state) -> None:
    desk.claim(due, "box")
    beat(desk)
    now = time.monotonic() + desks.VAIN_S + 1
    desk._workers["box"] = (desk._workers["box"][0], now)
    desk._settle(now)
    assert state(due) == "Scheduled: box took it in vain"
    assert desk.claim(due, "other") is not None


def test_a_process_that_died_is_told_at_once(desk: Desk, due: str, state) -> None:
    desk.claim(due, "box")
    beat(desk, ended=(due,))
    desk._settle(time.monotonic())
    assert state(due) == "Crashed: box: its process died"


def test_a_cancelled_step_is_stopped_and_then_cancelled(
    desk: Desk, due: str, client: Any, state
) -> None:
    from prefect.states import Cancelling

    desk.claim(due, "box")
    client.set_flow_run_state(uuid.UUID(due), Cancelling())
    desk._settle(time.monotonic())
    assert beat(desk, due).stop == (due,)
    beat(desk, ended=(due,))
    desk._settle(time.monotonic())
    assert state(due).startswith("Cancelled: cancelled; its checkpoint")


def test_an_outcome_is_shown_and_a_late_one_is_not(desk: Desk, due: str, home, state) -> None:
    outcome = Outcome(flow_run_id=due, state="error", value={"class": "x"})
    with pytest.raises(NotWanted):
        desk.hand_in(outcome)
    desk.claim(due, "box")
    desk.hand_in(outcome)
    desk.hand_in(outcome)
    assert (home / "work" / KEY / "outcome.json").is_file()
    desk._settle(time.monotonic() + 10 * SILENT_S)
    assert state(due) == "Failed: train failed on box"


def test_what_shares_a_study_in_the_home_is_not_given_away(desk: Desk, client: Any) -> None:
    ids = {}
    for function in ("work", "search"):
        parameters = {"key": KEY, "entry": f"components.steps.search:{function}"}
        made = client.create_flow_run_from_deployment(
            pools.ensure(client)["step"], parameters=parameters, name=function
        )
        ids[function] = str(made.id)
    beat(desk)
    desk._look(time.monotonic())
    due = [one.flow_run_id for one in beat(desk).due]
    assert [ids[name] in due for name in ("work", "search")] == [False, True]


def test_a_key_that_is_no_digest_is_never_due(desk: Desk, client: Any) -> None:
    made = client.create_flow_run_from_deployment(
        pools.ensure(client)["step"], parameters={"key": "../../keys", "name": "x"}, name="x"
    )
    beat(desk)
    desk._look(time.monotonic())
    assert str(made.id) not in [one.flow_run_id for one in beat(desk).due]
    assert desk.claim(str(made.id), "box") is None
