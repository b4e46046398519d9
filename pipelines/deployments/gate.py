"""Before a worker starts a run of a deployment: what is due and at work, by API, to the policy.

Skipped slots get a state of their own with the reason: `Missed` where nobody was there, `Skipped`
where another run was or did the work.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pipelines.deployments import facts, flow_runs
from pipelines.deployments.policy import AtWork, Decision, Known, Past, Rules, decide

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

AGAIN_S = 1.0
"""While the same runs wait, the server is asked again only so often."""
KNOWN_S = 10.0
"""How long the rules of a deployment are believed."""
BACK = timedelta(days=7)
"""How far back a run counts as done for the same data."""
AHEAD = timedelta(seconds=60)
SILENT_S = 600.0
"""A run that gave heartbeats and stopped for so long is dead; a server may be away for minutes."""
PENDING_S = 180.0
"""A run that a worker took and did not start for so long is dead."""
NOT_RUN = ("Missed", "Skipped")


class Gate:
    """A worker's own: asked at each look, it asks the server no more than it must."""

    def __init__(self, client: "SyncPrefectClient") -> None:
        self._client = client
        self._rules: dict[UUID, tuple[float, Rules | None]] = {}
        self._waited: dict[UUID, tuple[float, frozenset[UUID]]] = {}

    def admit(self, due: Sequence["FlowRun"]) -> list["FlowRun"]:
        """The runs to start now, of those that are due; what is skipped or replaced is told.

        Runs of no deployment of ours all start.
        """
        of: dict[UUID | None, list[FlowRun]] = {}
        for run in due:
            of.setdefault(run.deployment_id, []).append(run)
        started: list[FlowRun] = []
        for deployment, runs in of.items():
            rules = self._rules_of(deployment) if deployment else None
            if deployment is None or rules is None:
                started += runs
                continue
            again = [run for run in runs if run.run_count]  # it was at work before: it goes on
            fresh = [run for run in runs if not run.run_count]
            started += again
            if fresh and not self._just_waited(deployment, fresh):
                started += self._decided(deployment, rules, fresh)
        return started

    def _decided(self, deployment: UUID, rules: Rules, runs: list["FlowRun"]) -> list["FlowRun"]:
        now = datetime.now(UTC)
        decisions = look(self._client, deployment, rules, now)
        for each in decisions:
            carry_out(self._client, each)
        names = {each.run for each in decisions if each.do == "start"}
        started = [run for run in runs if str(run.id) in names]
        if not started:
            ids = frozenset(run.id for run in runs)
            self._waited[deployment] = (time.monotonic(), ids)
        return started

    def _just_waited(self, deployment: UUID, runs: list["FlowRun"]) -> bool:
        at, ids = self._waited.get(deployment, (0.0, frozenset()))
        return time.monotonic() - at < AGAIN_S and ids == {run.id for run in runs}

    def _rules_of(self, deployment: UUID) -> Rules | None:
        """The rules of a deployment of ours; None for any other."""
        from prefect.exceptions import ObjectNotFound

        at, rules = self._rules.get(deployment, (0.0, None))
        if at and time.monotonic() - at < KNOWN_S:
            return rules
        try:
            rules = facts.rules_of(self._client.read_deployment(deployment).labels)
        except ObjectNotFound:
            rules = None
        self._rules[deployment] = (time.monotonic(), rules)
        return rules


def admit(client: "SyncPrefectClient", due: Sequence["FlowRun"]) -> list["FlowRun"]:
    """The runs to start now; a worker that looks often keeps a `Gate`."""
    return Gate(client).admit(due)


def look(
    client: "SyncPrefectClient", deployment: UUID, rules: Rules, now: datetime
) -> tuple[Decision, ...]:
    """What the policy says of all due runs of a deployment; dead ones are ended first."""
    # Due first: a run that another worker starts in between is then in both, and counts once.
    scheduled = flow_runs.runs_of(client, deployment, ("SCHEDULED",), now + AHEAD)
    due = [flow_runs.due(run) for run in scheduled if not run.run_count]
    again = tuple(flow_runs.working(run) for run in scheduled if run.run_count)
    known = known_of(client, deployment, now)
    known = known.model_copy(update={"working": (*known.working, *again)})
    return decide(rules, due, known, now)


def known_of(client: "SyncPrefectClient", deployment: UUID, now: datetime) -> Known:
    """The deployment's runs at work and ended; dead ones are made crashed."""
    working: list[AtWork] = []
    dead: list[Past] = []
    for run in flow_runs.runs_of(client, deployment, flow_runs.WORKING):
        if why := _dead(client, run, now):
            _crash(client, run, why)
            dead.append(flow_runs.past(run, now))
        else:
            working.append(flow_runs.working(run))
    began = [
        run
        for run in flow_runs.ended(client, deployment, now - BACK)
        if run.start_time is not None and run.state_name not in NOT_RUN
    ]
    past = tuple(flow_runs.past(run, now) for run in began)
    return Known(working=tuple(working), past=(*past, *dead))


def carry_out(client: "SyncPrefectClient", decision: Decision) -> None:
    """Tell the server of runs that are skipped, and of runs that are told to stop."""
    from prefect.client.schemas.objects import State, StateType
    from prefect.states import Cancelling

    if decision.do == "skip":
        name = "Missed" if decision.late else "Skipped"
        state: State[Any] = State(type=StateType.CANCELLED, name=name, message=decision.reason)
        client.set_flow_run_state(UUID(decision.run), state)
    for other in decision.replaces:
        message = f"run {decision.run} of the same deployment replaces it"
        client.set_flow_run_state(UUID(other), Cancelling(message=message))


def _dead(client: "SyncPrefectClient", run: "FlowRun", now: datetime) -> str:
    """Why a run that the server shows at work is dead; empty for one that may live."""
    state_type = run.state_type.value if run.state_type else ""
    since_s = (now - flow_runs.utc(run.state.timestamp)).total_seconds() if run.state else 0.0
    if state_type == "PENDING":
        return f"taken {since_s:.0f} s ago and never started" if since_s > PENDING_S else ""
    if since_s < SILENT_S:
        return ""
    last = _heartbeat(client, run.id, now)
    silent_s = (now - last).total_seconds() if last else 0.0
    return f"no heartbeat for {silent_s:.0f} s" if silent_s > SILENT_S else ""


def _heartbeat(client: "SyncPrefectClient", run: UUID, now: datetime) -> datetime | None:
    """The last heartbeat of a run; None for one that never gave any: nothing follows from that."""
    from prefect.events.filters import (
        EventFilter,
        EventNameFilter,
        EventOccurredFilter,
        EventResourceFilter,
    )

    wanted = EventFilter(
        event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run}"]),
        occurred=EventOccurredFilter(since=now - BACK),  # type: ignore[arg-type]
    )
    answer = client.read_events(wanted, limit=1)
    return flow_runs.utc(answer.events[0].occurred) if answer.events else None


def _crash(client: "SyncPrefectClient", run: "FlowRun", why: str) -> None:
    from prefect.states import Crashed

    client.set_flow_run_state(run.id, Crashed(message=f"its process died: {why}"), force=True)
