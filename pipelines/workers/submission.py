"""Ask for a run that a worker executes; nothing of Prefect is imported for it."""

import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

from components import project
from components.errors import ServiceUnreachable
from components.records import Record
from pipelines import api, outages, pools
from pipelines.api import Api
from pipelines.config import RunConfig
from pipelines.deployments.server import connected
from pipelines.running import Asked, placed
from pipelines.runs import Wishes, new_id
from pipelines.workers import calls, inventory

PATIENCE_S = 30.0
"""A server under load answers 503 now and then."""
DEPLOYMENT = f"/deployments/name/run/{pools.NAME}"


class Submitted(Record):
    """A run as somebody asked for it: its config was read and checked there."""

    file: str
    document: dict[str, Any]
    wishes: Wishes


class Submission(Record):
    """A run that was asked for."""

    run: str
    """Its id in this home, once a worker has begun it."""
    flow_run_id: str


def submit(asked: Asked) -> Submission:
    """Ask for a run, or for one that goes on; returns at once.

    Raises:
        ResourceError: a step wants what no worker can ever give.
        ServiceUnreachable: Prefect is away.
    """
    inventory.demand_all(project.home(), asked.config.resources)
    run = asked.before.id if asked.before else asked.run_id or new_id(asked.config.name)
    submitted = Submitted(
        file=placed(asked.file),
        document=asked.config.model_dump(mode="json"),
        wishes=asked.wishes,
    )
    document = {
        "name": run,
        "parameters": {"run": run, "submitted": submitted.model_dump(mode="json")},
        "state": {"type": "SCHEDULED"},
        "tags": list(tags(asked.config)),
        "idempotency_key": f"{run}-{uuid.uuid4().hex}",  # asked twice, it is made once
    }
    made = outages.patiently(partial(_made, document), _silent, PATIENCE_S)
    calls.call()
    return Submission(run=run, flow_run_id=made["id"])


def _made(document: Mapping[str, Any]) -> Mapping[str, Any]:
    server = reached()
    return server.post(f"/deployments/{_deployment(server)}/create_flow_run", document)


def _silent(text: str) -> None:
    """Nobody is told that a server was asked again."""


def reached() -> Api:
    """The API of this home's Prefect.

    Raises:
        ServiceUnreachable: there is none.
    """
    if (found := api.of(project.home())) is None:
        raise ServiceUnreachable("no Prefect server is up", "athanor up")
    return found


def tags(config: RunConfig) -> tuple[str, ...]:
    """By which a run, and its steps, are found in Prefect's pages."""
    return (f"config:{config.name}", *(f"data:{name}" for name in config.data))


def _deployment(server: Api) -> str:
    """Id of the deployment of runs; made now where the home's first worker is still beginning."""
    found = server.get(DEPLOYMENT)
    if found is not None:
        return str(found["id"])
    with connected() as client:
        return str(pools.ensure(client)["run"])
