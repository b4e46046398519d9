"""Flow runs of a deployment, by API, and as the policy knows them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from pipelines.deployments import server
from pipelines.deployments.policy import AtWork, Due, MadeBy, Past
from pipelines.deployments.words import EVENTS

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

WORKING = ("PENDING", "RUNNING", "PAUSED", "CANCELLING")
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
NOTHING = "nothing_registered"
"""The cause of a run that starts because no version came."""


def runs_of(
    client: "SyncPrefectClient",
    deployment: UUID,
    types: Iterable[str],
    before: datetime | None = None,
) -> list["FlowRun"]:
    """A deployment's runs in states of these types, those due first before the others."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterDeploymentId,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    kinds = FlowRunFilterStateType(any_=[StateType(name) for name in types])
    wanted = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        state=FlowRunFilterState(type=kinds),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=before) if before else None,  # type: ignore[arg-type]
    )
    return server.pages(
        client.read_flow_runs,
        flow_run_filter=wanted,
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
    )


def made_by(run: "FlowRun") -> MadeBy:
    """Who asked for a run."""
    if run.auto_scheduled:
        return "schedule"
    by_event = run.created_by is not None and run.created_by.type == "AUTOMATION"
    return "event" if by_event or _cause(run) in (*EVENTS, NOTHING) else "hand"


def began(run: "FlowRun") -> datetime:
    """When a run that is at work began."""
    at = run.start_time or (run.state.timestamp if run.state else None)
    return utc(at or run.created)


def ended(client: "SyncPrefectClient", deployment: UUID, after: datetime) -> list["FlowRun"]:
    """A deployment's runs that ended after a moment, the last first."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterDeploymentId,
        FlowRunFilterEndTime,
    )
    from prefect.client.schemas.sorting import FlowRunSort

    wanted = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        end_time=FlowRunFilterEndTime(after_=after),  # type: ignore[arg-type]
    )
    return client.read_flow_runs(
        flow_run_filter=wanted, sort=FlowRunSort.END_TIME_DESC, limit=server.PAGE
    )


def scheduled(
    client: "SyncPrefectClient", deployment: UUID, window: tuple[datetime, datetime]
) -> list["FlowRun"]:
    """A deployment's runs of a schedule's slots between two moments, whatever became of them."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterDeploymentId,
        FlowRunFilterExpectedStartTime,
    )

    after, before = window
    wanted = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        expected_start_time=FlowRunFilterExpectedStartTime(after_=after, before_=before),  # type: ignore[arg-type]
    )
    found = server.pages(client.read_flow_runs, flow_run_filter=wanted)
    return [run for run in found if run.auto_scheduled]


def slot(run: "FlowRun") -> datetime:
    """When a run was to begin."""
    return utc(run.next_scheduled_start_time or run.expected_start_time)


def due(run: "FlowRun") -> Due:
    return Due(
        id=str(run.id),
        time=slot(run),
        made_by=made_by(run),
        cause=_cause(run),
        about=_about(run),
    )


def working(run: "FlowRun") -> AtWork:
    return AtWork(
        id=str(run.id),
        begun=began(run),
        ending=run.state_type is not None and run.state_type.value == "CANCELLING",
        made_by=made_by(run),
        cause=_cause(run),
        about=_about(run),
    )


def past(run: "FlowRun", now: datetime) -> Past:
    """How a run ended; one that is crashed just now ended now."""
    kind = run.state_type.value if run.state_type else ""
    dead = kind == "CRASHED" or kind not in ENDED
    return Past(
        id=str(run.id),
        begun=began(run),
        ended=utc(run.end_time) if run.end_time else now,
        how="dead" if dead else "well" if kind == "COMPLETED" else "badly",
        cause=_cause(run),
        about=_about(run),
    )


def _cause(run: "FlowRun") -> str:
    return str(run.parameters.get("reason", ""))


def _about(run: "FlowRun") -> str:
    return str(run.parameters.get("digest", ""))


def utc(moment: datetime | None) -> datetime:
    """A moment of Prefect's as a plain one; now where there is none."""
    found = moment or datetime.now(UTC)
    return datetime.fromtimestamp(found.timestamp(), UTC)
