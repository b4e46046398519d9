"""What a run or a step waits for, in words: a place, memory, a worker, its time."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from components import project
from components.errors import ServiceUnreachable
from components.records import Record
from pipelines import api, places, runs
from pipelines.places import Place
from pipelines.resources import Resources
from pipelines.runs import RunRecord
from pipelines.workers import inventory, process, queue, standing
from pipelines.workers.queue import FlowRun

NOBODY = {True: "a step that begins", False: "a step that begins, or by another project"}
"""Who holds a place that no process of ours says that it has: of a slot, and of a device."""
PATIENCE_S = 2.0
"""A server that answers later is away."""


class PlaceAtWork(Record):
    """One slot or device of this machine's worker, and who holds it."""

    place: str
    """Such as `slot 0` or `device 1`."""
    memory_gb: float | None
    """Of a device."""
    free: bool
    step: str | None = None
    run: str | None = None
    pid: int | None = None


def held(found: standing.Standing | None, of: Mapping[str, str]) -> tuple[PlaceAtWork, ...]:
    """The places of a worker; `of` says which run a step's key belongs to."""
    if found is None:
        return ()
    given = standing.of(found.wanted)
    free = {place.path for place in places.free(given)}
    at_work = [one for one in process.at_work() if one.flow == "step" and not one.dead]
    return tuple(_held(place, place.path in free, at_work, of) for place in given)


def at_work() -> tuple[RunRecord, ...]:
    """The runs that somebody works on."""
    marks = runs.folder() / "open"
    names = sorted(one.name for one in marks.glob("*") if not one.name.startswith("."))
    found = (runs.load(name) for name in names)
    return tuple(one for one in found if one is not None and one.state == "running")


def keys(records: Sequence[RunRecord]) -> dict[str, str]:
    """Key of each step at work -> its run."""
    steps = ((step, record) for record in records for step in record.last.steps)
    return {str(step.key): record.id for step, record in steps if step.state == "running"}


def reason(waits: FlowRun, worker: standing.Standing | None, given: Sequence[PlaceAtWork]) -> str:
    """Why a flow run is not executed yet."""
    if waits.state == "PENDING":
        return f"its process, on {waits.message}" if waits.message else "its process"
    if waits.message and waits.called not in ("Scheduled", "Late"):
        return waits.message
    if worker is None:
        return "a worker: athanor up"
    if waits.kind == "run":
        at_work = sum(one.flow != "step" and not one.dead for one in process.at_work())
        enough = at_work >= inventory.most_runs(project.home())
        return f"its turn: {at_work} runs are at work" if enough else "the worker's next look"
    if waits.resources is None:
        return "the worker's next look"
    return _place(waits.resources, given)


def _place(wanted: Resources, given: Sequence[PlaceAtWork]) -> str:
    able = [one for one in given if _able(wanted, one)]
    number = wanted.gpus or 1
    what = _what(wanted, number)
    if len(able) < number:
        return f"{what}: this machine has {len(able)}"
    busy = [one for one in able if not one.free]
    if len(able) - len(busy) >= number:
        if not wanted.gpus and places.memory_gb("MemAvailable") < wanted.memory_gb:
            free_gb = places.memory_gb("MemAvailable")
            return f"{wanted.memory_gb:g} GB of memory: {free_gb:.1f} GB are free"
        return "the worker's next look"
    return f"{what}: {'; '.join(_holder(one) for one in busy)}"


def _what(wanted: Resources, number: int) -> str:
    if not wanted.gpus:
        return "a slot"
    size = f" of {wanted.memory_gb:g} GB" if wanted.memory_gb else ""
    return f"{number} devices{size}" if number > 1 else f"a device{size}"


def _able(wanted: Resources, one: PlaceAtWork) -> bool:
    if not wanted.gpus:
        return one.memory_gb is None
    return one.memory_gb is not None and one.memory_gb >= wanted.memory_gb


def _holder(one: PlaceAtWork) -> str:
    if one.step is None:
        return f"{one.place} is held by {NOBODY[one.memory_gb is None]}"
    return f"{one.step} of {one.run or 'another run'} holds {one.place}"


def _held(
    place: Place, free: bool, at_work: Sequence[process.AtWork], of: Mapping[str, str]
) -> PlaceAtWork:
    facts = {"place": place.name, "memory_gb": place.device.memory_gb if place.device else None}
    mine = [one for one in at_work if place.name in one.places]
    if free or not mine:
        return PlaceAtWork(**facts, free=free)
    holder = mine[0]
    return PlaceAtWork(
        **facts,
        free=False,
        step=holder.step or None,
        run=of.get(holder.key),
        pid=int(holder.owner.split(" ")[2]),
    )


def queued(name: str) -> FlowRun | None:
    """The run of this id, or of the only one that begins so, that no worker has begun."""
    server = api.of(project.home(), PATIENCE_S)
    if server is None or name in ("", "latest"):
        return None
    with suppress(ServiceUnreachable):
        matching = [one for one in queue.unbegun(server, name) if one.kind == "run"]
        if len({one.name for one in matching}) == 1:
            return matching[-1]
    return None


def now(flow_run: FlowRun) -> str:
    """Why a flow run is not executed at this moment."""
    found = worker()
    return reason(flow_run, found, held(found, keys(at_work())))


def worker() -> standing.Standing | None:
    """The worker that this home started, if it lives."""
    return standing.running(project.home())
