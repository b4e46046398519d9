"""`athanor schedule`: the next slots, and those that a change of the clock doubles, moves or drops.

Both are computed with Prefect's classes, as the server will: around a change these follow rules
of their own (a cron of 02:30 fires at 01:30 on the day when there is no 02:30).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from components.errors import AthanorError
from components.records import Record
from pipelines.deployments import applying, server, times
from pipelines.deployments.entries import Entry, load
from pipelines.deployments.times import Schedule

NUMBER = 10
YEAR = timedelta(days=365)
DAY = timedelta(days=1)
SHOWN = 4
"""Warnings of one schedule at one change that are written out."""


class Slot(Record):
    """One moment at which a deployment starts."""

    deployment: str
    local: str
    """In the schedule's own zone."""
    zone: str
    utc: str
    state: Literal["on", "paused", "not deployed"]
    """Of the deployment; `on` where no server can be asked and the file says nothing else."""


class Warned(Record):
    """What a change of the clock does to a slot."""

    deployment: str
    what: Literal["doubled", "moved", "dropped"]
    meant: str
    """The time of day that the schedule means, in its own zone."""
    text: str


class Plan(Record):
    """The near future of all deployments."""

    slots: tuple[Slot, ...]
    warnings: tuple[Warned, ...]


class Shift(NamedTuple):
    """A change of a zone's clock."""

    at: datetime
    before: timedelta
    """Offsets from UTC."""
    after: timedelta


def plan(now: datetime | None = None) -> Plan:
    """The next ten slots of all deployments together, and a year of warnings.

    Raises:
        ConfigError: the file has a problem.
    """
    start = now or datetime.now(UTC)
    entries = [entry for entry in load() if entry.schedule]
    states = _states(entries)
    found: list[tuple[datetime, Slot]] = []
    for entry in entries:
        found += _next(entry, start, states[entry.name])
    warnings = [
        one
        for entry in entries
        if entry.schedule
        for one in warned(entry.name, entry.schedule, start)
    ]
    ordered = sorted(found, key=lambda pair: (pair[0], pair[1].deployment))
    return Plan(slots=tuple(slot for _, slot in ordered[:NUMBER]), warnings=tuple(warnings))


def warned(name: str, schedule: Schedule, start: datetime) -> Iterator[Warned]:
    """What the changes of the clock within a year do to a schedule; `every` knows no clock."""
    if schedule.every:
        return
    for shift in shifts(ZoneInfo(schedule.timezone), start, start + YEAR):
        found = list(_at(name, schedule, shift))
        yield from found[:SHOWN]
        if len(found) > SHOWN:
            rest = f"and {len(found) - SHOWN} more on that day"
            yield found[SHOWN].model_copy(update={"text": f"{found[SHOWN].text}; {rest}"})


def shifts(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[Shift]:
    """The changes of a zone's clock between two moments."""
    day = start
    while day < end:
        after = min(day + DAY, end)
        if _offset(zone, day) != _offset(zone, after):
            low, high = day, after
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) / 2
                same = _offset(zone, middle) == _offset(zone, day)
                low, high = (middle, high) if same else (low, middle)
            at = high.replace(microsecond=0)
            yield Shift(at, _offset(zone, day), _offset(zone, after))
        day = after


def text(found: Plan) -> str:
    """For a person."""
    if not found.slots:
        return "no deployment has a schedule: see configs/deployments.yaml"
    wide = max(len(slot.deployment) for slot in found.slots)
    far = max(len(slot.zone) for slot in found.slots)
    lines = []
    for slot in found.slots:
        state = "" if slot.state == "on" else f"  {slot.state}"
        lines.append(
            f"{slot.deployment:<{wide}}  {slot.local}  {slot.zone:<{far}}  {slot.utc} UTC{state}"
        )
    lines += [f"{one.what:<8} {one.deployment}: {one.text}" for one in found.warnings]
    return "\n".join(lines)


def _next(entry: Entry, start: datetime, state: str) -> list[tuple[datetime, Slot]]:
    schedule = entry.schedule
    if schedule is None:
        return []
    found = []
    for at in times.slots(schedule, start, NUMBER):
        local = at.astimezone() if schedule.every else times.in_zone(schedule, at)
        found.append(
            (
                at,
                Slot.model_validate(
                    {
                        "deployment": entry.name,
                        "local": f"{local:%Y-%m-%d %H:%M:%S}",
                        "zone": f"{local:%Z}" if schedule.every else schedule.timezone,
                        "utc": f"{at:%Y-%m-%d %H:%M:%S}",
                        "state": state,
                    }
                ),
            )
        )
    return found


def _states(entries: Sequence[Entry]) -> dict[str, str]:
    """Whether each schedule is on: as the server says, or, where none is up, the file."""
    said = {entry.name: "paused" if entry.paused else "on" for entry in entries}
    if server.address() is None:
        return said
    try:
        with server.connected() as client:
            known = applying.deployed(client)
    except AthanorError:
        return said
    live = {name: "on" if each.active else "paused" for name, each in known.items()}
    return {name: live.get(name, "not deployed") for name in said}


def _at(name: str, schedule: Schedule, shift: Shift) -> Iterator[Warned]:
    """What becomes of the slots of the day before and after a change."""
    clock = (shift.at + shift.before).replace(tzinfo=None)
    meant = times.wall(schedule, clock - DAY, clock + DAY)
    # The server computes a few days ahead: so is it computed here.
    real = times.between(schedule, shift.at - 2 * DAY, shift.at + 2 * DAY)
    shown = [times.in_zone(schedule, at).replace(tzinfo=None) for at in real]
    fired = Counter(at for at in shown if clock - DAY < at <= clock + DAY)
    lost = [at for at in meant if not fired[at]]
    extra = [at for at in fired if at not in meant]
    for at in meant:
        if fired[at] > 1:
            yield _warned(name, "doubled", at, f"fires {fired[at]} times, the clock goes back")
    for at in lost:
        near = [other for other in extra if abs(other - at) < DAY / 2]
        if near:
            extra.remove(near[0])
            clock = f"{near[0]:%H:%M}" if near[0].date() == at.date() else f"{near[0]:%m-%d %H:%M}"
            yield _warned(name, "moved", at, f"fires at {clock}: {_why(at, shift)}")
        else:
            yield _warned(name, "dropped", at, f"does not fire: {_why(at, shift)}")
    yield from _paused(name, shift, meant, fired)


def _paused(
    name: str, shift: Shift, meant: Sequence[datetime], fired: Counter[datetime]
) -> Iterator[Warned]:
    """Slots of the hour that comes twice, of a schedule that fires in every hour: once only."""
    if shift.after >= shift.before:
        return
    begin, end = ((shift.at + each).replace(tzinfo=None) for each in (shift.after, shift.before))
    hour = end - begin
    for at in meant:
        often = any(at - hour <= other < at for other in meant)
        often = often and any(at < other <= at + hour for other in meant)
        if begin <= at < end and fired[at] == 1 and often:
            why = f"fires at the first {at:%H:%M} and not at the second: the clock goes back"
            yield _warned(name, "dropped", at, why)


def _why(at: datetime, shift: Shift) -> str:
    begin, end = ((shift.at + each).replace(tzinfo=None) for each in (shift.before, shift.after))
    if begin <= at < end:
        return f"the clock goes from {begin:%H:%M} to {end:%H:%M}"
    return "the clock changes on that day"


def _warned(
    name: str, what: Literal["doubled", "moved", "dropped"], at: datetime, text: str
) -> Warned:
    said = f"{at:%Y-%m-%d %H:%M}"
    return Warned(deployment=name, what=what, meant=said, text=f"{said} {text}")


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()
