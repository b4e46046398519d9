"""How far a long step is, on the page of its run in Prefect."""

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import project
from components.errors import ServiceUnreachable
from components.records import Record
from pipelines import api, progress
from pipelines.keys import Call

if TYPE_CHECKING:
    from pipelines.steps import Elsewhere

FIRST_S = 10.0
"""A step that ends before shows nothing."""
EVERY_S = 5.0


def shown(elsewhere: "Elsewhere") -> "Elsewhere":
    """The same, with a progress artifact for each step that takes long."""

    def execute(call: Call, key: str, watch: Callable[[], None]) -> Record:
        page = Page(call.name, project.home() / "work" / key / "journal.jsonl")

        def look() -> None:
            watch()
            page.look()

        try:
            return elsewhere(call, key, look)
        finally:
            page.close()

    return execute


class Page:
    """The progress of one step."""

    def __init__(self, step: str, journal: Path) -> None:
        self._step = step
        self._journal = journal
        self._begun = time.time()
        self._next = time.monotonic() + FIRST_S
        self._artifact: str | None = None
        self._percent = 0.0

    def look(self) -> None:
        """Show how far the step is, now and then."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + EVERY_S
        if at := progress.last(self._journal, self._begun):
            self._show(100.0 * at["done"] / at["total"])

    def close(self) -> None:
        """The step is over; where it ended well, its last word was the whole."""
        if self._artifact is not None and (at := progress.last(self._journal, self._begun)):
            self._show(100.0 * at["done"] / at["total"])

    def _show(self, percent: float) -> None:
        shown = round(min(100.0, percent), 1)
        server = api.of(project.home(), api.PAGE_S)
        if server is None or (self._artifact and shown == self._percent):
            return
        try:
            if self._artifact is None:
                made = server.post("/artifacts/", self._document(shown))
                self._artifact = made["id"]
            else:
                server.patch(f"/artifacts/{self._artifact}", {"data": shown})
            self._percent = shown
        except ServiceUnreachable:
            self._next = time.monotonic() + api.AWAY_S

    def _document(self, percent: float) -> dict[str, Any]:
        from prefect.context import FlowRunContext, TaskRunContext

        flow, task = FlowRunContext.get(), TaskRunContext.get()
        run = flow.flow_run if flow is not None else None
        name = run.name if run is not None else "a run"
        return {
            "key": f"progress-{re.sub(r'[^a-z0-9]+', '-', self._step.lower())}",
            "type": "progress",
            "description": f"{self._step} of {name}",
            "data": percent,
            "flow_run_id": str(run.id) if run is not None else None,
            "task_run_id": str(task.task_run.id) if task is not None else None,
        }


def named(name: str, tags: Sequence[str]) -> None:
    """Give this process's flow run a name that says what it is, and tags beside those it has."""
    from prefect.context import FlowRunContext

    flow = FlowRunContext.get()
    server = api.of(project.home(), api.PAGE_S)
    if server is None or flow is None or flow.flow_run is None:
        return
    wanted = sorted({*flow.flow_run.tags, *tags})
    with suppress(ServiceUnreachable):  # a page is no reason to wait
        server.patch(f"/flow_runs/{flow.flow_run.id}", {"name": name, "tags": wanted})


def cancelling() -> bool:
    """Whether somebody wants the end of this process's flow run, and not of its worker."""
    from prefect.context import FlowRunContext

    flow = FlowRunContext.get()
    server = api.of(project.home(), api.PAGE_S)
    if server is None or flow is None or flow.flow_run is None:
        return False
    with suppress(ServiceUnreachable):
        found = server.get(f"/flow_runs/{flow.flow_run.id}") or {}
        return found.get("state_type") in ("CANCELLING", "CANCELLED")
    return False


def tags() -> tuple[str, ...]:
    """The tags that a step has from its run: its config, its data, and which run it is."""
    from prefect.context import FlowRunContext

    flow = FlowRunContext.get()
    if flow is None or flow.flow_run is None:
        return ()
    own = [tag for tag in flow.flow_run.tags if tag.startswith(("config:", "data:"))]
    return (*own, f"run:{flow.flow_run.name}")
