"""What Prefect's API tells of runs and steps that wait, of schedules and of workers.

By plain HTTP, nothing of Prefect imported: `athanor status` answers in less than a second.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from components.records import Record
from pipelines import pools
from pipelines.api import Api
from pipelines.resources import Resources

UNBEGUN = ("SCHEDULED", "PENDING")
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
MOST = 200
"""Most rows of one answer of Prefect's."""
SLOTS = 3
"""Next slots that are told of each schedule."""
FORGOTTEN = timedelta(days=1)
"""A worker of another machine that is silent for longer is not told any more."""


class FlowRun(Record):
    """A flow run of ours, as far as a command wants to know it."""

    id: str
    name: str
    """The id of a run; the name of a step."""
    kind: Literal["run", "step"]
    state: str
    """Prefect's type of it, such as SCHEDULED."""
    called: str
    """Prefect's name of the state, such as `Late` or `AwaitingRetry`."""
    message: str
    due: str | None
    """When it is to begin, UTC."""
    key: str = ""
    """Of a step."""
    resources: Resources | None = None
    """What a step wants."""

    @property
    def final(self) -> bool:
        """Whether it is over."""
        return self.state in FINAL


class Slot(Record):
    """A moment at which a schedule begins a run."""

    deployment: str
    at: str
    """UTC, ISO 8601."""


class Heard(Record):
    """A worker as Prefect knows it."""

    name: str
    heartbeat: str | None
    online: bool


def of_run(api: Api, run: str) -> FlowRun | None:
    """The newest flow run that was submitted under a run's id."""
    asked = {
        "flow_runs": {"name": {"any_": [run]}},
        "work_pools": {"name": {"any_": [pools.RUNS]}},
        "sort": "EXPECTED_START_TIME_DESC",
        "limit": 1,
    }
    found = _flow_runs(api, asked)
    return found[0] if found else None


def unbegun(api: Api, beginning: str = "") -> tuple[FlowRun, ...]:
    """Runs and steps that should work by now and are executed by nobody, the oldest first.

    Only those whose name begins so, where that is said.
    """
    flow_runs: dict[str, Any] = {
        "state": {"type": {"any_": list(UNBEGUN)}},
        "expected_start_time": {"before_": _iso(datetime.now(UTC) + timedelta(seconds=1))},
    }
    if beginning:
        flow_runs["name"] = {"like_": beginning}
    asked = {
        "flow_runs": flow_runs,
        "work_pools": {"name": {"any_": list(pools.ABOUT)}},
        "sort": "EXPECTED_START_TIME_ASC",
        "limit": MOST,
    }
    return tuple(one for one in _flow_runs(api, asked) if one.name.startswith(beginning))


def submitted(api: Api, run: FlowRun) -> Mapping[str, Any]:
    """What a flow run was given when it was submitted."""
    return (api.get(f"/flow_runs/{run.id}") or {}).get("parameters", {})


def state(api: Api, flow_run_id: str) -> FlowRun | None:
    """A flow run as it is now; None where Prefect does not know it."""
    found = api.get(f"/flow_runs/{flow_run_id}")
    return _flow_run(found) if found else None


def cancel(api: Api, flow_run_id: str, message: str) -> FlowRun | None:
    """Ask for the end of a flow run; one that nobody began is cancelled at once."""
    wanted = {"state": {"type": "CANCELLING", "message": message}}
    api.post(f"/flow_runs/{flow_run_id}/set_state", wanted)
    return state(api, flow_run_id)


def workers(api: Api) -> tuple[Heard, ...]:
    """The workers that gave a sign of life within a day."""
    rows = api.post(f"/work_pools/{pools.STEPS}/workers/filter", {}) or []
    since = _iso(datetime.now(UTC) - FORGOTTEN)
    found = (
        Heard(name=row["name"], heartbeat=row["last_heartbeat_time"], online=_online(row))
        for row in rows
    )
    return tuple(one for one in found if one.heartbeat and one.heartbeat > since)


def slots(api: Api) -> tuple[Slot, ...]:
    """The next slots of each schedule that is active."""
    rows = api.post("/deployments/filter", {"limit": MOST}) or []
    active = [
        row
        for row in rows
        if not row["paused"] and any(one["active"] for one in row.get("schedules", ()))
    ]
    if not active:
        return ()
    with ThreadPoolExecutor(max_workers=8) as threads:
        found = list(threads.map(lambda row: _slots(api, row), active))
    return tuple(sorted((slot for some in found for slot in some), key=lambda slot: slot.at))


def _slots(api: Api, deployment: Mapping[str, Any]) -> list[Slot]:
    asked = {
        "flow_runs": {
            "deployment_id": {"any_": [deployment["id"]]},
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "expected_start_time": {"after_": _iso(datetime.now(UTC))},
        },
        "sort": "EXPECTED_START_TIME_ASC",
        "limit": SLOTS,
    }
    rows: Sequence[Mapping[str, Any]] = api.post("/flow_runs/filter", asked) or ()
    return [Slot(deployment=deployment["name"], at=row["expected_start_time"]) for row in rows]


def _flow_runs(api: Api, asked: Mapping[str, Any]) -> list[FlowRun]:
    return [_flow_run(row) for row in api.post("/flow_runs/filter", asked) or ()]


def _flow_run(row: Mapping[str, Any]) -> FlowRun:
    given, now = row.get("parameters") or {}, row.get("state") or {}
    kind: Literal["run", "step"] = "step" if row.get("work_pool_name") == pools.STEPS else "run"
    return FlowRun(
        id=row["id"],
        name=row["name"],
        kind=kind,
        state=row.get("state_type") or "SCHEDULED",
        called=row.get("state_name") or "Scheduled",
        message=now.get("message") or "",
        due=row.get("expected_start_time"),
        key=given.get("key", "") if kind == "step" else "",
        resources=Resources.model_validate(given.get("resources", {})) if kind == "step" else None,
    )


def _online(row: Mapping[str, Any]) -> bool:
    return row.get("status") == "ONLINE"


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
