"""`athanor status` and `athanor sync`: what runs, what answers, what is still to be shipped.

Nothing heavy is imported for the status: files of the home, and a few requests to each server.
"""

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from components import bucket, mlflow_store, postgres, processes, project
from components.errors import ServiceUnreachable
from components.records import Record
from components.tracking.unshipped import Trouble, Waiting, troubles, waiting
from components.tracking.wanted import Wanted, noted
from pipelines import embedded, outages, progress, servers, starting
from pipelines.wording import counted
from pipelines.workers import overview
from pipelines.workers.overview import Crew

if TYPE_CHECKING:
    from components.tracking.syncing import Synced

TIMEOUT_S = 0.6
"""A server that is well answers in milliseconds."""
FAR_S = 3.0
"""The same, where it may be on another continent."""

State = Literal["up", "frozen", "failing", "down"]


class Service(Record):
    """A server that this home's runs use."""

    name: str
    """`mlflow` or `prefect`, or `embedded prefect`, or `postgresql`, or `s3`."""
    state: State
    """frozen: it is there and says nothing; failing: it answers with an error."""
    url: str
    pid: int | None
    """None where it is not ours."""
    users: tuple[int, ...] = ()
    """Processes whose runs hold the embedded server."""


class Work(Record):
    """A run at work now."""

    run: str
    pid: int
    step: str | None
    done: float | None
    total: float | None
    text: str


class Shipping(Record):
    """What MLflow and Prefect do not show yet."""

    points: int
    runs: tuple[Waiting, ...]
    troubles: tuple[Trouble, ...]
    untold: int
    """Runs of which Prefect does not know how they ended."""


class Status(Record):
    """Each part stands for itself; further parts have their place beside these."""

    servers: tuple[Service, ...]
    crew: Crew
    runs: tuple[Work, ...]
    shipping: Shipping


def status() -> Status:
    """What a look at the home and its servers shows."""
    home = project.home()
    waits = waiting()
    with ThreadPoolExecutor(max_workers=1) as beside:
        crew = beside.submit(overview.crew, home)
        seen = services(home)
    return Status(
        servers=seen,
        crew=crew.result(),
        runs=working(),
        shipping=Shipping(
            points=sum(one.points for one in waits),
            runs=waits,
            troubles=troubles(),
            untold=len(outages.kept()),
        ),
    )


def services(home: Path) -> tuple[Service, ...]:
    """The servers of the home and those that the user's environment names, asked side by side."""
    found: list[tuple[str, str, str, str]] = []  # name, url, path of its health, owner
    known = servers.known(home)
    for name, server in known.items():
        found.append((name, server.near, starting.HEALTH[name], server.owner))
    if own := embedded.found(home):
        found.append(("embedded prefect", own.url, "/health", own.owner))
    for name, variable, path in (
        ("mlflow", "MLFLOW_TRACKING_URI", "/health"),
        ("prefect", "PREFECT_API_URL", "/health"),
    ):
        url = servers.chosen(variable) or ""
        if url.startswith("http"):
            found.append((name, url.rstrip("/"), path, ""))
    with ThreadPoolExecutor(max_workers=max(1, len(found))) as threads:
        states = list(threads.map(lambda one: _state(one[1] + one[2], one[3]), found))
    asked = tuple(
        Service(
            name=name,
            state=state,
            url=mlflow_store.shown_uri(url),
            pid=int(owner.split()[2]) if owner else None,
            users=embedded.users(home) if name.startswith("embedded") else (),
        )
        for (name, url, _, owner), state in zip(found, states, strict=True)
    )
    if there := postgres.address():
        state = "up" if postgres.listens(there, TIMEOUT_S) else "down"
        asked += (Service(name="postgresql", state=state, url=there.shown, pid=None),)
    if place := bucket.address():
        asked += (Service(name="s3", state=_reached(place.server), url=place.shown, pid=None),)
    return asked


def working() -> tuple[Work, ...]:
    """Runs at work now, read from the notes of their trackers and the journals of their steps."""
    live = [one for one in noted() if one.cared_for and not one.status]
    steps = {one.parent: one for one in live if one.parent}
    return tuple(_work(one, steps.get(one.handle)) for one in live if not one.parent)


def text(found: Status) -> str:
    """For a person."""
    lines = []
    for one in found.servers:
        held = f", used by {', '.join(map(str, one.users))}" if one.users else ""
        process = f" (process {one.pid}{held})" if one.pid else ""
        lines.append(f"{one.name:<17} {one.state:<8} {one.url}{process}")
    if not found.servers:
        lines.append("no servers; a run starts what it needs")
    lines += overview.lines(found.crew)
    for work in found.runs:
        share = f" {work.done:.0f}/{work.total:.0f}" if work.total and work.done is not None else ""
        lines.append(f"run {work.run} (process {work.pid}): {work.step or 'between steps'}{share}")
    if not found.runs:
        lines.append("no run at work")
    lines += overview.queue_lines(found.crew)
    lines += shipping_lines(found.shipping.runs, found.shipping.troubles)
    if found.shipping.untold:
        lines.append(f"Prefect does not know how {found.shipping.untold} runs ended: athanor sync")
    return "\n".join(lines)


def shipping_lines(runs: tuple[Waiting, ...], bad: tuple[Trouble, ...]) -> list[str]:
    """What is still to be shipped: one line a store, and its last trouble."""
    if not runs:
        return ["everything is shipped"]
    lines = []
    for store in sorted({one.store for one in runs}):
        mine = [one for one in runs if one.store == store]
        points = sum(one.points for one in mine)
        left = [one for one in mine if not one.cared_for]
        how = ": athanor sync" if left else ", being shipped by their runs"
        oldest = min(one.since for one in mine)
        waits = f"{counted(points, 'point')} of {counted(len(mine), 'run')}"
        lines.append(f"to be shipped to {store}: {waits}, since {oldest}{how}")
        lines += [
            f"  failing since {one.since}, last at {one.at}: {one.message}"
            for one in bad
            if one.store == store
        ]
    return lines


def sync(timeout_s: float, say: Callable[[str], None]) -> "Synced":
    """Ship everything that waits.

    Raises:
        ServiceUnreachable: something remains; it says what, where and why.
    """
    from components.tracking import syncing

    found = syncing.sync(timeout_s, say)
    if found.remaining:
        said = "; ".join(line.strip() for line in shipping_lines(found.remaining, found.troubles))
        raise ServiceUnreachable(
            said.replace(": athanor sync", ""), "when the server answers again: athanor sync"
        )
    if outages.kept():
        from pipelines import engine, progress

        say("telling Prefect how runs ended")
        with engine.running(progress.screen()):
            pass
        if left := outages.kept():
            stores = ", ".join(sorted({one.store for one in left}))
            raise ServiceUnreachable(
                f"Prefect could not be told how {counted(len(left), 'run')} ended ({stores})",
                "with PREFECT_API_URL naming that server: athanor sync",
            )
    return found


def synced_text(found: "Synced") -> str:
    """For a person."""
    lines = [f"{counted(found.shipped, 'run')} shipped, nothing remains"]
    if found.left_to:
        lines.append(f"left to the run that is at work: {counted(len(found.left_to), 'run')}")
    return "\n".join(lines)


def _state(health: str, owner: str) -> State:
    if owner and processes.dead(owner):
        return "down"
    state, code = _asked(health, TIMEOUT_S)
    return "failing" if state == "up" and code != 200 else state


def _reached(url: str) -> State:
    """State of a server that owes nothing to somebody who shows no key."""
    state, code = _asked(url, FAR_S)
    return "failing" if state == "up" and code >= 500 else state


def _asked(url: str, timeout_s: float) -> tuple[State, int]:
    """Whether a server answers, and with which code."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as reply:
            return "up", reply.status
    except urllib.error.HTTPError as error:
        return "up", error.code
    except TimeoutError:
        return "frozen", 0
    except (OSError, http.client.HTTPException) as error:
        late = isinstance(getattr(error, "reason", None), TimeoutError)
        return "frozen" if late else "down", 0


def _work(run: Wanted, step: Wanted | None) -> Work:
    at = progress.last(Path(step.journal)) if step and step.journal else {}
    return Work(
        run=run.name,
        pid=int(run.owner.split()[2]),
        step=step.name if step else None,
        done=at.get("done"),
        total=at.get("total"),
        text=at.get("text", ""),
    )
