"""What Prefect knows of us: two work pools, one deployment in each.

A pool's template has no variables: whoever may create a flow run can choose its parameters, and
never a command, an environment or a folder. The worker reads neither template nor entrypoint.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

TYPE = "athanor"
RUNS = "athanor-runs"
"""Pool of runs: they wait most of their time, and hold no device."""
STEPS = "athanor-steps"
"""Pool of steps."""
NAME = "athanor"
"""Name of the deployment of each flow, for runs and steps that somebody asks for now."""

WHOLE = ("run", "retrain")
"""Flows of the pool of runs."""

CLOSED: dict[str, Any] = {
    "job_configuration": {"flows": "pipelines.workers.flows"},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}

ABOUT = {
    RUNS: "Runs of Athanor. They submit steps and wait; the worker forks one process for each.",
    STEPS: "Steps of Athanor. Each holds its slot or its devices until its process ends.",
}


def ensure(client: "SyncPrefectClient") -> dict[str, UUID]:
    """Make both pools and their deployments where they lack; ids of the deployments by flow."""
    for pool, text in ABOUT.items():
        _pool(client, pool, text)
    return {"run": _deployment(client, "run", RUNS), "step": _deployment(client, "step", STEPS)}


def deployed(client: "SyncPrefectClient", flow: str) -> UUID:
    """Id of the deployment of a flow, which is only made, with all the others, where it lacks."""
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name(f"{flow}/{NAME}").id
    except ObjectNotFound:
        return ensure(client)[flow]


def due(client: "SyncPrefectClient", pool: str) -> list["FlowRun"]:
    """Flow runs of a pool that may start now, the oldest first."""
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    polled = client.get_scheduled_flow_runs_for_work_pool(pool, scheduled_before=soon)
    return sorted((each.flow_run for each in polled), key=_since)


def _since(run: "FlowRun") -> datetime:
    return run.expected_start_time or run.created or datetime.now(UTC)


def _pool(client: "SyncPrefectClient", name: str, about: str) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    wanted = WorkPoolCreate(name=name, type=TYPE, description=about, base_job_template=CLOSED)
    try:
        client.create_work_pool(wanted)
    except ObjectAlreadyExists:
        return


def _deployment(client: "SyncPrefectClient", flow: str, pool: str) -> UUID:
    flow_id = client.create_flow_from_name(flow)
    return client.create_deployment(
        flow_id=flow_id,
        name=NAME,
        work_pool_name=pool,
        entrypoint=f"pipelines/workers/flows.py:{flow}",
        path=".",
        enforce_parameter_schema=False,
        tags=["athanor"],
    )
