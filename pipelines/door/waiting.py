"""The steps that wait for a worker, as Prefect tells them."""

import re
from typing import TYPE_CHECKING

from pipelines import pools, searching
from pipelines.door.talk import SHA256, Due
from pipelines.resources import Resources

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun


def waiting(client: "SyncPrefectClient") -> tuple[Due, ...] | None:
    """Those that may be given away, the oldest first; None: there is no pool yet.

    Raises:
        Exception: what `outages.away` knows.
    """
    from prefect.exceptions import ObjectNotFound

    try:
        runs = pools.due(client, pools.STEPS)
    except ObjectNotFound:
        return None
    return tuple(_due(run) for run in runs if _may_leave(run))


def _may_leave(run: "FlowRun") -> bool:
    """Whether its key names a folder and nothing else, and it is not bound to the home."""
    key = str(run.parameters.get("key"))
    return bool(re.fullmatch(SHA256, key)) and run.parameters.get("entry") not in searching.PARTS


def _due(run: "FlowRun") -> Due:
    return Due(
        flow_run_id=str(run.id),
        name=run.name,
        key=str(run.parameters["key"]),
        resources=Resources.model_validate(run.parameters.get("resources", {})),
    )
