"""The steps that wait for a worker, as Prefect tells them."""

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.door.talk import SHA256, Due
from pipelines.resources import Resources
from pipelines.workers import pools

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

AT_HOME = frozenset(f"components.steps.search:{each}" for each in ("open_study", "work", "choose"))
"""Steps that share a study in the home: its database is not carried to another machine."""


def waiting(client: "SyncPrefectClient") -> tuple[Due, ...] | None:
    """Those that may be given away, the oldest first; None: there is no pool yet.

    Raises:
        Exception: what `outages.away` knows.
    """
    from prefect.exceptions import ObjectNotFound

    before = datetime.now(UTC) + timedelta(seconds=0.5)
    try:
        polled = client.get_scheduled_flow_runs_for_work_pool(
            work_pool_name=pools.STEPS, scheduled_before=before
        )
    except ObjectNotFound:
        return None
    runs = sorted((each.flow_run for each in polled), key=_since)
    return tuple(_due(run) for run in runs if _may_leave(run))


def _may_leave(run: "FlowRun") -> bool:
    """Whether its key names a folder and nothing else, and it is not bound to the home."""
    key = str(run.parameters.get("key"))
    return bool(re.fullmatch(SHA256, key)) and run.parameters.get("entry") not in AT_HOME


def _due(run: "FlowRun") -> Due:
    return Due(
        flow_run_id=str(run.id),
        name=run.name,
        key=str(run.parameters["key"]),
        resources=Resources.model_validate(run.parameters.get("resources", {})),
    )


def _since(run: "FlowRun") -> datetime:
    return run.expected_start_time or run.created or datetime.now(UTC)
