"""Who has which step: given to a worker of another machine, heard of, handed in, lost.

A given step is a file until Prefect shows its end, so a door that was killed forgets nothing. One
thread asks Prefect what is due and what was cancelled; a beat is answered from memory.
"""

import logging
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from components import processes
from components.errors import UsageError
from pipelines import likeness, outages, pools
from pipelines.door import streams
from pipelines.door.assignments import Assignment, Assignments, NotWanted
from pipelines.door.talk import SHA256, SILENT_S, Beat, Due, Given, Heard
from pipelines.door.waiting import waiting
from pipelines.workers import calls, inventory, parcels, standing
from pipelines.workers.parcels import Outcome

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State

LOOK_S = 0.3
UNCALLED_S = 1.0
"""How often Prefect is asked where no run of this home called."""
SETTLE_S = 2.0
HEARTBEAT_S = 10.0
IDLE_S = 15.0
"""Without a beat for this long nobody is asked what is due."""
STALLED_S = 10.0
"""A loop that took longer was held up by its machine or by Prefect."""
VAIN_S = 20.0
"""A worker that took a step and does not name it after this time has no process for it."""

log = logging.getLogger(__name__)


GIVEN = ("name", "key", "entry", "arguments", "resources")
"""Parameters of a step's flow run that go to whoever executes it elsewhere."""


class Desk:
    """The memory of the door; safe to be asked by many at once."""

    def __init__(self, home: Path, client: "SyncPrefectClient") -> None:
        self.home = home
        self.client = client
        self._lock = threading.RLock()
        self._begun = time.monotonic()
        self._due: tuple[Due, ...] = ()
        self._called = 0
        self._looked = 0.0
        """When Prefect was asked last; 0: there is no pool yet."""
        self._workers: dict[str, tuple[inventory.Inventory, float]] = {}
        self._heard: dict[str, float] = {}
        self._given: dict[str, float] = {}
        self._named: set[str] = set()
        """Steps whose process was there once."""
        self._cancelled: set[str] = set()
        self._assigned = Assignments(home / "worker" / "elsewhere")

    def beat(self, beat: Beat) -> Heard:
        """What a worker may do now, and what it should stop.

        Raises:
            UsageError: another worker lives under its name.
        """
        now = time.monotonic()
        own = beat.inventory
        with self._lock:
            self._demand_name(own, now)
            self._workers[own.name] = (own, now)
            for each in beat.at_work:
                self._heard[each] = now
                self._named.add(each)
            for each in beat.ended:
                self._assigned.note(each, ended=True)
            stop = tuple(
                each
                for each in beat.at_work
                if each not in self._assigned or each in self._cancelled
            )
            due = tuple(
                each
                for each in self._due
                if inventory.able(each.resources, own) and each.flow_run_id not in self._assigned
            )
        inventory.tell(self.home, own)
        return Heard(code=likeness.code(), due=due if not own.trouble else (), stop=stop)

    def withdraw(self, name: str) -> None:
        """A worker ended in order."""
        with self._lock:
            self._workers.pop(name, None)
        inventory.withdraw(self.home, name)

    def claim(self, flow_run_id: str, worker: str) -> Given | None:
        """A step for this worker alone; asked twice it is given twice. None: it is gone.

        Raises:
            Exception: what `outages.away` knows.
        """
        from prefect.states import Pending, Running

        run = self.client.read_flow_run(UUID(flow_run_id))
        if run.state is None or run.state.is_final() or not self._reserved(run, worker):
            return None
        if run.state.is_scheduled():
            claimed = self.client.set_flow_run_state(run.id, Pending(message=worker))
            if claimed.status.value != "ACCEPT":  # cancelled, or a worker of this home was faster
                with self._lock:
                    self._forget(flow_run_id)
                return None
        self.client.set_flow_run_state(run.id, Running(message=f"on {worker}"))
        folder = self._work(str(run.parameters["key"]))
        folder.mkdir(parents=True, exist_ok=True)
        return Given(
            flow_run_id=flow_run_id,
            place=streams.place(folder),
            home=str(self.home),
            **{name: run.parameters[name] for name in GIVEN if name in run.parameters},
        )

    def _reserved(self, run: "FlowRun", worker: str) -> bool:
        """Whether a step is this worker's, noted before it is claimed: a killed door finds it."""
        name, key = str(run.id), str(run.parameters.get("key"))
        with self._lock:
            known = self._assigned.get(name)
            if known is None:
                waits = run.state is not None and run.state.is_scheduled()
                if not waits or not re.fullmatch(SHA256, key):
                    return False
                known = Assignment(flow_run_id=name, name=run.name, key=key, worker=worker)
                self._assigned.keep(known)
                self._given[name] = time.monotonic()
            self._heard[name] = time.monotonic()
            return known.worker == worker

    def folder(self, flow_run_id: str) -> Path:
        """The folder of a step whose process speaks.

        Raises:
            NotWanted: it is nobody's any more.
        """
        with self._lock:
            found = self._assigned.get(flow_run_id)
            if found is None or found.done or flow_run_id in self._cancelled:
                raise NotWanted("no run waits for this step any more", "")
            self._heard[flow_run_id] = time.monotonic()
            self._named.add(flow_run_id)
            return self._work(found.key)

    def hand_in(self, outcome: Outcome) -> None:
        """Keep what a step came to; asked twice it is kept once.

        Raises:
            NotWanted: it is nobody's any more.
        """
        with self._lock:
            found = self._assigned.get(outcome.flow_run_id)
            if found is None or not found.done:
                folder = self.folder(outcome.flow_run_id)
                streams.close(folder)
                parcels.write(folder / "outcome.json", outcome)
                self._assigned.note(outcome.flow_run_id, done=outcome.state)

    def work(self, over: Callable[[], bool]) -> None:
        """Look again and again, until it is over."""
        settled = told = 0.0
        away = False
        last = time.monotonic()
        while not over():
            now = time.monotonic()
            if now - last > STALLED_S:
                self._begun = now  # who was not heard while the door stood still gets time to speak
            last = now
            try:
                self._look(now)
                if now - settled > SETTLE_S:
                    settled = now
                    self._settle(now)
                if now - told > HEARTBEAT_S and self._looked:
                    told = now
                    self._tell(now)
                away = False
            except Exception as error:
                if not outages.away(error):
                    log.exception("the door stumbled")
                elif not away:
                    log.warning("Prefect does not answer (%s)", type(error).__name__)
                away = True
            time.sleep(LOOK_S)

    def _look(self, now: float) -> None:
        """Steps that wait, the oldest first."""
        if not any(now - at < IDLE_S for _, at in self._workers.values()):
            return
        called = calls.number()
        if called == self._called and now - self._looked < UNCALLED_S:
            return
        found = waiting(self.client)
        if found is not None:
            self._due, self._called, self._looked = found, called, now

    def _settle(self, now: float) -> None:
        """Tell Prefect of ends, and find what was cancelled, lost or never begun."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

        with self._lock:
            ids = [UUID(each) for each in self._assigned.ids]
        if not ids:
            return
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=ids))
        found = self.client.read_flow_runs(flow_run_filter=wanted)
        states = {str(run.id): run.state for run in found}
        for each in map(str, ids):
            with self._lock:  # never while Prefect is asked: a beat must not wait for it
                assignment = self._assigned.get(each)
                if assignment is None:
                    continue
                end = self._end(assignment, states.get(each), now)
            if end is not None:
                if not assignment.done:
                    streams.close(self._work(assignment.key))
                self.client.set_flow_run_state(UUID(each), end, force=True)
            if each not in states or end is not None or _final(states[each]):
                with self._lock:
                    self._forget(each)

    def _end(self, which: Assignment, state: "State | None", now: float) -> "State | None":
        """The state in which a step's flow run now ends; None: not now, or not by us."""
        from prefect.states import Cancelled, Completed, Crashed, Failed, Scheduled

        if state is None or state.is_final():
            return None
        if which.done == "done":
            return Completed(message=f"done on {which.worker}")
        if which.done:
            return Failed(message=f"{which.name} failed on {which.worker}")
        silent_s = now - max(self._heard.get(which.flow_run_id, 0.0), self._begun)
        if which.ended or silent_s > SILENT_S:
            if state.is_cancelling():
                return Cancelled(message="cancelled; its checkpoint is kept where it worked")
            why = "its process died" if which.ended else f"silent for {silent_s:.0f} s"
            return Crashed(message=f"{which.worker}: {why}")
        if state.is_cancelling():
            self._cancelled.add(which.flow_run_id)
        since = max(self._given.get(which.flow_run_id, 0.0), self._begun)
        alive = which.worker in self._workers and now - self._workers[which.worker][1] < VAIN_S
        if alive and which.flow_run_id not in self._named and now - since > VAIN_S:
            return Scheduled(message=f"{which.worker} took it in vain")
        return None

    def _tell(self, now: float) -> None:
        """Show Prefect's pages the workers that live."""
        for name, (_, at) in list(self._workers.items()):
            if now - at < SILENT_S:
                self.client.send_worker_heartbeat(pools.STEPS, name, HEARTBEAT_S)

    def _demand_name(self, own: inventory.Inventory, now: float) -> None:
        other, at = self._workers.get(own.name, (own, now))
        if (local := standing.running(self.home)) is not None and local.name == own.name:
            other, at = own.model_copy(update={"owner": local.owner}), now
        if other.owner != own.owner and now - at < IDLE_S and not processes.dead(other.owner):
            raise UsageError(
                f"a worker named {own.name} is here already, from {processes.host(other.owner)}",
                "give this one another: --name NAME",
            )

    def _forget(self, flow_run_id: str) -> None:
        self._assigned.forget(flow_run_id)
        for known in (self._heard, self._given):
            known.pop(flow_run_id, None)
        self._named.discard(flow_run_id)
        self._cancelled.discard(flow_run_id)

    def _work(self, key: str) -> Path:
        return self.home / "work" / key


def _final(state: "State | None") -> bool:
    return state is not None and state.is_final()
