"""The worker of a machine: takes flow runs from both pools, gives each its places and a process.

One loop, one thread. What it knows lies on the disk and in Prefect, so it may be killed at any
moment: the processes that it forked go on, and the next worker finds them by their files. A
server that is away costs nothing but time.
"""

import logging
import multiprocessing
import signal
import threading
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from components import mlflow_store, project
from pipelines import child, likeness, outages, places, pools
from pipelines.deployments.gate import Gate
from pipelines.deployments.looking import keep_looking
from pipelines.places import Held
from pipelines.resources import Resources
from pipelines.workers import calls, ends, forked, inventory, keeper, process, standing
from pipelines.workers.inventory import Machine

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

LOOK_S = 1.0
CALL_S = 0.05
"""How soon a call is heard: a run of this home need not wait for the next look."""
HEARTBEAT_S = 10.0
log = logging.getLogger(__name__)
_context = multiprocessing.get_context("forkserver")


class Worker:
    """Looks for work a few times a second, until it is told to stop."""

    def __init__(self, machine: Machine, client: "SyncPrefectClient") -> None:
        self.machine = machine
        self.client = client
        self.stopping = False
        self._children: dict[str, Any] = {}
        self._told = -HEARTBEAT_S
        self.code = likeness.code()
        self._away = False
        self._gate = Gate(client)
        self._flows: dict[UUID, str] = {}

    def work(self) -> None:
        """One look after the other; returns when the worker is asked to stop or its code is old.

        Code that was edited since the worker was started would run as it was: then somebody
        starts the worker again, which loses nothing.
        """
        while not self.stopping and not likeness.edited(self.code):
            heard = calls.number()
            try:
                self.look()
                self._heard()
            except Exception as error:
                if not outages.away(error):
                    raise
                self._unheard(error)
            until = time.monotonic() + LOOK_S
            while time.monotonic() < until and calls.number() == heard and not self.stopping:
                if self._ended():
                    break  # its places are free
                time.sleep(CALL_S)

    def look(self) -> None:
        """Tell how what ended ended, stop what is to be stopped, start what can be started."""
        for name in self._ended():
            self._children.pop(name).join()
        self._beat()
        ends.settle(self.client, self.machine.name)
        if likeness.code() != self.code:
            return  # what would be forked is the code as it was
        for kind, run in self._due():
            self._start(kind, run)

    def _beat(self) -> None:
        if time.monotonic() - self._told < HEARTBEAT_S:
            return
        if standing.known(project.home()) is not None:
            keeper.ensure(project.home())
        inventory.tell(project.home(), inventory.of(self.machine))
        for pool in pools.ABOUT:
            self.client.send_worker_heartbeat(pool, self.machine.name, HEARTBEAT_S)
        self._told = time.monotonic()

    def _due(self) -> list[tuple[str, "FlowRun"]]:
        """Flow runs that may start now, the oldest of each pool first."""
        found: list[tuple[str, FlowRun]] = []
        for pool, kind in ((pools.RUNS, "runs"), (pools.STEPS, "step")):
            due = pools.due(self.client, pool)
            if kind == "step":
                found += [(kind, run) for run in due]
                continue
            admitted = self._gate.admit(due)
            found += [(flow, run) for run in admitted if (flow := self._flow(run))]
        return found

    def _flow(self, run: "FlowRun") -> str | None:
        """Name of the flow of a run; None for one that no worker executes, which is then failed."""
        from prefect.states import Failed

        if run.flow_id not in self._flows:
            self._flows[run.flow_id] = self.client.read_flow(run.flow_id).name
        name = self._flows[run.flow_id]
        if name in pools.WHOLE:
            return name
        why = Failed(message=f"workers execute {', '.join(pools.WHOLE)}, no flow {name!r}")
        self.client.set_flow_run_state(run.id, why)
        return None

    def _start(self, kind: str, run: "FlowRun") -> None:
        """Fork the process of a flow run, if it gets what it wants now."""
        if kind != "step":
            at_work = sum(each.flow != "step" for each in process.at_work())
            if at_work >= inventory.most_runs(project.home()):
                return
            self._fork(kind, run, None)
            return
        wanted = Resources.model_validate(run.parameters.get("resources", {}))
        held = places.take(wanted, self.machine.places)
        if held is None:
            return
        try:
            self._fork(kind, run, held)
        finally:
            held.drop()

    def _fork(self, kind: str, run: "FlowRun", held: Held | None) -> None:
        from prefect.states import Pending

        claim = Pending(message=self.machine.name)
        if self.client.set_flow_run_state(run.id, claim).status.value != "ACCEPT":
            return  # another worker was faster, or it was cancelled
        name = str(run.id)
        child_process = _context.Process(
            target=forked.main, args=(name, kind, held, self.code), name=name
        )
        child_process.start()
        log.info("%s %s is process %s", kind, run.name, child_process.pid)
        self._children[name] = child_process

    def _ended(self) -> list[str]:
        """Flow runs whose process ended since the last look."""
        return [name for name, each in self._children.items() if not each.is_alive()]

    def _heard(self) -> None:
        if self._away:
            log.warning("Prefect answers again")
        self._away = False

    def _unheard(self, error: Exception) -> None:
        if not self._away:
            log.warning("Prefect does not answer (%s); what runs goes on", type(error).__name__)
        self._away = True


def run(machine: Machine) -> None:
    """Be the worker of this machine until SIGTERM, or until its code is old."""
    from prefect.client.orchestration import get_client

    log.info("%s has %d places", machine.name, len(machine.places))
    mlflow_store.apply_settings()
    child.warm(extra=forked.PRELOAD)
    warmed = _context.Process(target=bool)
    warmed.start()  # comes back when the fork server has imported all: then work is claimed
    warmed.join()
    with get_client(sync_client=True) as client:
        worker = Worker(machine, client)

        def stop(number: int, _frame: object) -> None:
            worker.stopping = True

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        while not worker.stopping:
            try:
                pools.ensure(client)
                break
            except Exception as error:
                if not outages.away(error):
                    raise
                time.sleep(1)
        over = threading.Event()
        looking = threading.Thread(target=keep_looking, args=(over,), daemon=True)
        looking.start()
        worker.work()
        over.set()
