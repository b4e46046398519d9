"""Which due run starts, waits or is skipped: a pure function of what is due and what is at work.

Slots of a schedule obey `on_late` and `overlap`. A run that a person asked for is never skipped:
it waits. Runs that events asked for are worth one run together, for it works on the newest data.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal

from components.records import Record

OnLate = Literal["latest", "all", "skip"]
Overlap = Literal["skip", "queue", "replace"]
MadeBy = Literal["schedule", "event", "hand"]

LATE_AFTER_S = 60.0
TOGETHER_S = 60.0
"""An event that names no data and comes so soon after a run began that it was counted in it."""
ONCE = ("run_failed",)
"""Events that start one run for one digest, however that ends: else a failure fails for ever."""


class Rules(Record):
    """What a deployment says of late and overlapping slots."""

    on_late: OnLate = "latest"
    overlap: Overlap = "skip"
    late_after_s: float = LATE_AFTER_S


class Due(Record):
    """A run that nobody started yet."""

    id: str
    time: datetime
    """Its slot, or when it was asked for."""
    made_by: MadeBy
    cause: str = ""
    """The event."""
    about: str = ""
    """Digest of what the event is about."""


class AtWork(Record):
    """A run that was started and lives."""

    id: str
    begun: datetime
    ending: bool = False
    """It was told to stop."""
    made_by: MadeBy = "schedule"
    cause: str = ""
    about: str = ""


class Past(Record):
    """A run that was at work and ended."""

    id: str
    begun: datetime
    ended: datetime
    how: Literal["well", "badly", "dead"]
    """dead: its process went away, and nobody knows when."""
    cause: str = ""
    about: str = ""


class Known(Record):
    """The other runs of the deployment."""

    working: tuple[AtWork, ...] = ()
    past: tuple[Past, ...] = ()


class Decision(Record):
    """What becomes of one due run."""

    run: str
    do: Literal["start", "wait", "skip", "replace"]
    """replace: the runs in `replaces` are told to stop; it starts when they have."""
    reason: str = ""
    replaces: tuple[str, ...] = ()
    late: bool = False
    """Skipped because nobody was there in time."""


def decide(rules: Rules, due: Sequence[Due], known: Known, now: datetime) -> tuple[Decision, ...]:
    """One decision for each due run, in the order of their times; at most one starts."""
    at_work = {run.id for run in known.working}
    waiting = sorted(
        (run for run in due if run.id not in at_work), key=lambda run: (run.time, run.id)
    )
    skipped: dict[str, Decision] = {}
    for rule in (_merged, _overlapping, _late):
        left = [run for run in waiting if run.id not in skipped]
        skipped |= {each.run: each for each in rule(rules, left, known, now)}
    left = [run for run in waiting if run.id not in skipped]
    begins = _events_begin(waiting, now)
    ready = [run for run in left if (begins if run.made_by == "event" else run.time <= now)]
    decided = skipped | {each.run: each for each in _next(rules, ready, known)}
    early = "its time has not come"
    return tuple(decided.get(run.id) or _wait(run, early) for run in waiting)


def _merged(_rules: Rules, due: Sequence[Due], known: Known, now: datetime) -> Iterator[Decision]:
    """Of what events asked for one run remains: the newest, for data that are not worked on yet."""
    left = []
    for run in (run for run in due if run.made_by == "event"):
        if reason := _counted(run, known):
            yield _skip(run, reason)
        else:
            left.append(run)
    for run in left[:-1]:
        yield _skip(run, f"counted in run {left[-1].id}, which a newer event asked for")


def _counted(run: Due, known: Known) -> str:
    """Which other run did, or does, what an event asked for."""
    for other in known.working:
        if run.about and run.about == other.about:
            return f"run {other.id} is at work on the same {run.about}"
        soon = 0 <= (run.time - other.begun).total_seconds() < TOGETHER_S
        if not run.about and soon and not other.ending:
            return f"counted in run {other.id}, which had just begun"
    for done in known.past:
        same = run.about and run.about == done.about
        if same and (done.how == "well" or (run.cause in ONCE and run.cause == done.cause)):
            return f"run {done.id} was for the same {run.about}"
    return ""


def _events_begin(waiting: Sequence[Due], now: datetime) -> bool:
    """Whether the first of the events that wait together is due: later ones cannot put it off."""
    return any(run.made_by == "event" and run.time <= now for run in waiting)


def _overlapping(
    rules: Rules, due: Sequence[Due], known: Known, now: datetime
) -> Iterator[Decision]:
    """Slots that came while a run was at work."""
    if rules.overlap != "skip" or not known.working:
        return
    first = min(known.working, key=lambda run: run.begun)
    for run in due:
        if run.made_by == "schedule" and first.begun <= run.time <= now:
            yield _skip(run, f"run {first.id} was still at work")


def _late(rules: Rules, due: Sequence[Due], known: Known, now: datetime) -> Iterator[Decision]:
    """Slots that nobody was there for."""
    slots = [run for run in due if run.made_by == "schedule" and run.time <= now]
    if rules.on_late == "latest":
        for run in slots[:-1]:
            yield _missed(run, f"late, and the slot of {slots[-1].time:%Y-%m-%d %H:%M:%S} is due")
    if rules.on_late == "skip":
        for run in slots:
            late_s = (now - _free_since(run, known, rules.late_after_s, now)).total_seconds()
            if late_s > rules.late_after_s:
                yield _missed(run, f"{late_s:.0f} s late, allowed are {rules.late_after_s:.0f}")


def _free_since(run: Due, known: Known, late_after_s: float, now: datetime) -> datetime:
    """Since when a slot could have started: runs that were at work from its time on held it up.

    A run whose process died held nothing up: nobody was there.
    """
    free = run.time
    for done in sorted(known.past, key=lambda done: done.begun):
        on_time = (done.begun - free).total_seconds() <= late_after_s
        if done.how != "dead" and on_time and done.ended <= now:
            free = max(free, done.ended)
    for other in known.working:
        if (other.begun - free).total_seconds() <= late_after_s:
            return now
    return free


def _next(rules: Rules, ready: Sequence[Due], known: Known) -> Iterator[Decision]:
    """The first one starts when nothing is at work; else all wait, or the newest replaces."""
    if not ready:
        return
    if not known.working:
        yield Decision(run=ready[0].id, do="start")
        yield from (_wait(run, f"after run {ready[0].id}") for run in ready[1:])
        return
    first = min(known.working, key=lambda run: run.begun)
    stop = tuple(run.id for run in known.working if not run.ending)
    newer = [run for run in ready if run.time >= first.begun]
    for run in ready:
        if rules.overlap == "replace" and stop and run in newer[-1:]:
            reason = f"run {', '.join(stop)} makes room"
            yield Decision(run=run.id, do="replace", reason=reason, replaces=stop)
        else:
            yield _wait(run, f"run {first.id} is at work")


def _wait(run: Due, reason: str) -> Decision:
    return Decision(run=run.id, do="wait", reason=reason)


def _skip(run: Due, reason: str) -> Decision:
    return Decision(run=run.id, do="skip", reason=reason)


def _missed(run: Due, reason: str) -> Decision:
    return Decision(run=run.id, do="skip", reason=reason, late=True)
