"""Workers, places, queue and schedules on one screen, for `athanor status`."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from components import processes
from components.errors import ServiceUnreachable
from components.records import Record
from pipelines import api, places
from pipelines.api import Api
from pipelines.wording import counted
from pipelines.workers import queue, standing, waiting
from pipelines.workers.queue import FlowRun, Heard, Slot
from pipelines.workers.standing import Standing
from pipelines.workers.waiting import PlaceAtWork

PATIENCE_S = 0.6
"""What Prefect may take for all of its answers: the status stays within a second."""
SILENT_S = 30.0
"""Three heartbeats."""


class Worker(Record):
    """A worker, of this machine or of another."""

    name: str
    state: Literal["up", "silent", "down"]
    """silent: it gave no sign for three heartbeats; down: its process is gone."""
    pid: int | None
    """None: on another machine."""
    heartbeat: str | None
    """UTC; None where Prefect does not tell."""
    slots: int | None
    """None where only the worker itself knows."""
    devices: tuple[str, ...]
    memory_gb: float | None
    """Free on this machine."""


class Queued(Record):
    """A run, or a step of one, that nobody executes yet."""

    run: str
    step: str | None
    since: str | None
    waits_for: str


class Crew(Record):
    """Who executes runs, what they hold, and what comes next."""

    workers: tuple[Worker, ...]
    places: tuple[PlaceAtWork, ...]
    queued: tuple[Queued, ...]
    slots: tuple[Slot, ...]
    """Of schedules, the next first."""
    trouble: str
    """Why queue, slots and heartbeats are not told; empty where they are."""


class _Told(Record):
    """What Prefect said."""

    unbegun: tuple[FlowRun, ...] = ()
    workers: tuple[Heard, ...] = ()
    slots: tuple[Slot, ...] = ()
    trouble: str = ""


def crew(home: Path) -> Crew:
    """What this home's worker and Prefect tell, within a second whoever is slow."""
    known = standing.known(home)
    server = api.of(home, PATIENCE_S)
    told = _told(server) if server or known else _Told()
    living = standing.running(home)
    of = waiting.keys(waiting.at_work())
    held = waiting.held(living, of)
    return Crew(
        workers=tuple(_workers(known, told.workers)),
        places=held,
        queued=tuple(
            Queued(
                run=of.get(one.key, "") if one.key else one.name,
                step=one.name if one.key else None,
                since=one.due,
                waits_for=waiting.reason(one, living, held),
            )
            for one in told.unbegun
        ),
        slots=told.slots,
        trouble=told.trouble,
    )


def lines(found: Crew) -> list[str]:
    """Workers and places, for a person."""
    told = [_worker_line(one) for one in found.workers]
    for one in found.places:
        size = f" ({one.memory_gb:g} GB)" if one.memory_gb else ""
        holder = f"{one.step} of {one.run or 'a run'} (process {one.pid})"
        taken = holder if one.step else waiting.NOBODY[one.memory_gb is None]
        at = "free" if one.free else taken
        told.append(f"  {one.place + size:<22} {at}")
    return told


def queue_lines(found: Crew) -> list[str]:
    """What waits and what comes, for a person."""
    told = []
    for one in found.queued:
        what = f"{one.step} of {one.run or 'a run'}" if one.step else f"run {one.run}"
        told.append(f"queued {what}: waits for {one.waits_for}")
    told += [f"next   {slot.deployment} at {_short(slot.at)} UTC" for slot in found.slots]
    if found.trouble:
        told.append(f"queue and schedules are not known: {found.trouble}")
    return told


def _told(server: Api | None) -> _Told:
    if server is None:
        return _Told(trouble="no Prefect server is up: athanor up")
    asks: tuple[Callable[[Api], Any], ...] = (queue.unbegun, queue.workers, queue.slots)
    try:
        server.post("/flow_runs/count", {"flow_runs": {"name": {"any_": ["-"]}}})  # the token
        with ThreadPoolExecutor(max_workers=len(asks)) as threads:
            unbegun, workers, slots = threads.map(lambda ask: ask(server), asks)
    except ServiceUnreachable as error:
        return _Told(trouble=error.message)
    return _Told(unbegun=unbegun, workers=workers, slots=slots)


def _workers(known: Standing | None, heard: Sequence[Heard]) -> list[Worker]:
    mine = [one for one in heard if known and one.name == known.name]
    found = [_mine(known, mine[0] if mine else None)] if known else []
    others = [one for one in heard if not known or one.name != known.name]
    return found + [
        Worker(
            name=one.name,
            state="up" if one.online and not _silent(one.heartbeat) else "silent",
            pid=None,
            heartbeat=one.heartbeat,
            slots=None,
            devices=(),
            memory_gb=None,
        )
        for one in others
    ]


def _mine(known: Standing, heard: Heard | None) -> Worker:
    state: Literal["up", "silent", "down"] = "up"
    if processes.dead(known.owner):
        state = "down"
    elif heard is not None and _silent(heard.heartbeat):
        state = "silent"
    free_gb = places.memory_gb("MemAvailable")
    return Worker(
        name=known.name,
        state=state,
        pid=known.pid,
        heartbeat=heard.heartbeat if heard else None,
        slots=known.wanted.slots,
        devices=tuple(one.name for one in known.wanted.devices),
        memory_gb=None if free_gb == float("inf") else round(free_gb, 1),
    )


def _worker_line(one: Worker) -> str:
    parts = [f"process {one.pid}"] if one.pid else []
    if one.slots is not None:
        parts.append(counted(one.slots, "slot"))
    if one.devices:
        parts.append(f"devices {', '.join(one.devices)}")
    if one.memory_gb is not None:
        parts.append(f"{one.memory_gb:g} GB of memory free")
    if one.heartbeat:
        parts.append(f"heartbeat {_ago_s(one.heartbeat):.0f} s ago")
    return f"{'worker':<17} {one.state:<8} {one.name} ({', '.join(parts)})"


def _silent(heartbeat: str | None) -> bool:
    return heartbeat is not None and _ago_s(heartbeat) > SILENT_S


def _ago_s(at: str) -> float:
    with suppress(ValueError):
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds())
    return 0.0


def _short(at: str) -> str:
    return at[:19].replace("T", " ")
