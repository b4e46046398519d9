"""Ask for a run that a worker executes."""

from components import project
from components.records import Record
from pipelines.running import Asked, placed
from pipelines.runs import new_id
from pipelines.workers import calls, inventory, pools
from pipelines.workers.parent import Submitted


class Submission(Record):
    """A run that was asked for."""

    run: str
    """Its id in this home, once a worker has begun it."""
    flow_run_id: str


def submit(asked: Asked) -> Submission:
    """Ask for a run, or for one that goes on; returns at once.

    Raises:
        ResourceError: a step wants what no worker can ever give.
        Exception: what `outages.away` knows.
    """
    from prefect.client.orchestration import get_client

    inventory.demand_all(project.home(), asked.config.resources)
    run = asked.before.id if asked.before else new_id(asked.config.name)
    submitted = Submitted(
        file=placed(asked.file),
        document=asked.config.model_dump(mode="json"),
        wishes=asked.wishes,
    )
    with get_client(sync_client=True) as client:
        made = client.create_flow_run_from_deployment(
            pools.ensure(client)["run"],
            parameters={"run": run, "submitted": submitted.model_dump(mode="json")},
            name=run,
            tags=[f"config:{asked.config.name}", *(f"data:{name}" for name in asked.config.data)],
        )
    calls.call()
    return Submission(run=run, flow_run_id=str(made.id))
