"""A Prefect server that goes away while a run works: steps go on, and nothing of them is lost.

Prefect's client speaks to the server when a flow begins and when it ends; between the two, states
of tasks travel as events in the background. So a step never waits. A watch looks whether the
server answers, starts an embedded one again on its port, and lets the end of the flow wait for a
standing one. What the server was not told, or forgot when it was killed, is told at the end, or
lies in `prefect/untold/` of the home until a server answers again.
"""

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from components import files, project
from components.errors import AthanorError, ServiceUnreachable
from components.records import Record

T = TypeVar("T")

POLL_S = 2.0
PATIENCE_S = float(os.environ.get("ATHANOR_PATIENCE_S", "60"))
"""How long a run waits where it needs a server: at the end of its flow, and for the registry."""
SILENT_S = 60.0
"""After this an embedded server that lives but does not answer is replaced."""

SETTINGS = {
    "PREFECT_CLIENT_MAX_RETRIES": "3",
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500,504",
    "PREFECT_API_REQUEST_TIMEOUT": "30",
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",  # else a line for each event that has to wait
}
"""Prefect's client in a run: what the user set stays. By itself it would wait seven minutes for a
frozen server, and give up at the first 500 (3.8.8)."""


class Untold(Record):
    """How a flow run and its tasks ended, for a server that may not know it."""

    flow_run_id: str
    store: str
    """Address of the API that knows the flow run; `home` for the home's own database."""
    state: str
    """COMPLETED, FAILED or CRASHED."""
    events: tuple[dict[str, Any], ...]
    """The last state of each task, as Prefect's events; what is known already is not doubled."""


class Watch:
    """Looks after the server of one run, in a thread of its own."""

    def __init__(
        self,
        url: str,
        store: str,
        say: Callable[[str], None],
        restart: Callable[[bool], None] | None = None,
    ) -> None:
        """`restart` brings an embedded server back; its argument says that it is there, but ill."""
        self.url, self.store = url, store
        self.troubled = False
        """Whether it was away at any time."""
        self._say, self._restart = say, restart
        self._away: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="athanor-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join(POLL_S)

    def wait(self, patience_s: float = PATIENCE_S) -> bool:
        """Whether the server answers, now or within this time."""
        deadline = time.monotonic() + patience_s
        told = False
        while not answers(self.url):
            self.troubled = True
            if time.monotonic() > deadline:
                return False
            if not told:
                self._say(f"the run waits up to {patience_s:.0f} s for Prefect at {self.url}")
                told = True
            self._over.wait(0.5)
        return True

    def _look(self) -> None:
        while not self._over.wait(POLL_S):
            if answers(self.url):
                if self._away is not None:
                    away_s = time.monotonic() - self._away
                    self._say(f"Prefect at {self.url} answers again after {away_s:.0f} s")
                self._away = None
                continue
            if self._away is None:
                self._away, self.troubled = time.monotonic(), True
                self._say(f"Prefect at {self.url} does not answer; the steps go on")
            if self._restart is not None:
                with suppress(AthanorError, OSError):  # the next look tries again
                    self._restart(time.monotonic() - self._away > SILENT_S)


def patiently(
    call: Callable[[], T], say: Callable[[str], None], patience_s: float = PATIENCE_S
) -> T:
    """The call's result, asked for again while its server is away.

    Raises:
        ServiceUnreachable: it stayed away.
    """
    deadline = time.monotonic() + patience_s
    pause_s = 1.0
    while True:
        try:
            return call()
        except ServiceUnreachable as error:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise
            say(f"{error.message}; asked again for {left_s:.0f} s")
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, 10.0)


def answers(url: str) -> bool:
    """Whether the API at this address is well."""
    from pipelines.embedded import answers as get

    return get(f"{url.rstrip('/')}/health", timeout_s=5.0)


_ended: list[tuple[Any, Any]] = []
"""Task runs of this process that ended, each with its last state."""


def ended(_task: Any, task_run: Any, state: Any) -> None:
    """Prefect's hook on the end of a task: remember it."""
    _ended.append((task_run, state))


def away(error: BaseException) -> bool:
    """Whether Prefect's client gave up because its server was away or ill."""
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500 or error.response.status_code in (408, 429)
    return isinstance(error, httpx.TransportError) or "Failed to reach API" in str(error)


def account(flow_run_id: str, store: str, state: str) -> Untold:
    """How this process's flow run ended, with all of its tasks."""
    events = tuple(_events(flow_run_id))
    return Untold(flow_run_id=flow_run_id, store=store, state=state, events=events)


def store(home: Path, url: str) -> str:
    """Whose database an API serves: its address, or `home`."""
    from pipelines import embedded, servers

    standing = servers.running(home)
    own = embedded.found(home)
    urls = [own.url] if own else []
    if standing and standing.prefect:
        urls.append(f"{standing.prefect.url}/api")
    return "home" if url.rstrip("/") in urls else url


def keep(untold: Untold) -> None:
    """Put it on the disk until a server is told."""
    files.write_json(_folder() / f"{untold.flow_run_id}.json", untold.model_dump(mode="json"))


def kept() -> tuple[Untold, ...]:
    """What no server was told yet."""
    found = []
    for path in sorted(_folder().glob("*.json")):
        with suppress(OSError, ValueError):
            found.append(Untold.model_validate(json.loads(path.read_bytes())))
    return tuple(found)


def tell(untold: Untold) -> None:
    """Make the server that this process talks to show how it ended; may be repeated.

    A flow run that the server does not know (any more) is forgotten here too.

    Raises:
        Exception: what `away` knows; it stays kept.
    """
    from uuid import UUID

    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.states import State, StateType

    with get_client(sync_client=True) as client, suppress(ObjectNotFound):
        run = client.read_flow_run(UUID(untold.flow_run_id))
        if untold.events:
            client.request("POST", "/events", json=list(untold.events))
        if run.state_type is None or run.state_type.value != untold.state:
            wanted = State(type=StateType(untold.state), message="told after an outage")
            client.set_flow_run_state(run.id, wanted, force=True)
    (_folder() / f"{untold.flow_run_id}.json").unlink(missing_ok=True)


def drop_events() -> None:
    """Stop Prefect's client from delivering events: a process would try for minutes to end.

    For a server that is away; what matters of them is kept as `Untold`.
    """
    from prefect.events.worker import EventsWorker

    for worker in tuple(EventsWorker._instances.values()):
        if worker._task is not None and worker._loop is not None:
            worker._loop.call_soon_threadsafe(worker._task.cancel)


def _events(flow_run_id: str) -> list[dict[str, Any]]:
    """The last state of each task that ended, as Prefect's engine words it."""
    from prefect.utilities.engine import emit_task_run_state_change_event

    found = {}
    for task_run, state in _ended:
        event = emit_task_run_state_change_event(task_run, None, state)
        if event is not None and str(task_run.flow_run_id) == flow_run_id:
            worded = event.model_dump(mode="json")
            flow = {
                "prefect.resource.id": f"prefect.flow-run.{flow_run_id}",
                "prefect.resource.role": "flow-run",
            }
            known = [one for one in worded["related"] if one != flow]
            found[str(task_run.id)] = {**worded, "related": [*known, flow]}
    return list(found.values())


def _folder() -> Path:
    return project.home() / "prefect" / "untold"
