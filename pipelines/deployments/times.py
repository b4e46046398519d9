"""When a schedule fires: computed by Prefect's own classes, which the server uses too."""

import difflib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import ValidationError, ValidationInfo, field_validator, model_validator

from components.records import Record
from pipelines.deployments.durations import Duration, seconds

if TYPE_CHECKING:
    from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

ANCHOR = datetime(2020, 1, 1, tzinfo=UTC)
"""From here intervals are counted: a schedule that is deployed again fires at the same moments."""
MOST = 1000
"""Slots that Prefect computes at one time."""
KINDS = ("cron", "every", "rrule")
EXAMPLES = {
    "cron": "30 4 * * * is every day at half past four",
    "rrule": "FREQ=WEEKLY;BYDAY=MO;BYHOUR=4;BYMINUTE=30;BYSECOND=0 is every Monday",
}


class Schedule(Record):
    """One of `cron`, `every` and `rrule`."""

    cron: str | None = None
    """Five fields: minute, hour, day of the month, month, day of the week."""
    every: Duration | None = None
    rrule: str | None = None
    """As in RFC 5545; it counts from the first of January 2020."""
    timezone: str = "UTC"
    """Of `cron` and `rrule`; `every` knows no hours of a day."""

    @field_validator("timezone")
    @classmethod
    def _known(cls, zone: str) -> str:
        zones = available_timezones()
        if zone not in zones:
            near = difflib.get_close_matches(zone, zones, 1)
            hint = f"did you mean {near[0]}" if near else "write one such as UTC or Europe/Berlin"
            raise ValueError(f"no such time zone; {hint}")
        return zone

    @field_validator("cron")
    @classmethod
    def _five(cls, cron: str) -> str:
        fields = cron.split()
        if len(fields) != 5:
            what = "seconds are no field; " if len(fields) == 6 else ""
            raise ValueError(
                f"{len(fields)} fields where cron has five; {what}write minute hour day month"
                " weekday, such as 30 4 * * *"
            )
        return " ".join(fields)

    @field_validator("cron", "rrule")
    @classmethod
    def _readable(cls, text: str, info: ValidationInfo) -> str:
        kind = info.field_name or ""
        try:
            _prefects({kind: text})
        except ValidationError as error:
            said = error.errors()[0]["msg"].removeprefix("Value error, ").rstrip(".")
            raise ValueError(f"{said}; {EXAMPLES[kind]}") from None
        return text

    @model_validator(mode="after")
    def _one(self) -> "Schedule":
        given = [kind for kind in KINDS if vars(self)[kind] is not None]
        if len(given) != 1:
            said = " and ".join(given) or "nothing"
            raise ValueError(f"{said} given; write one of {', '.join(KINDS)}")
        if self.every and "timezone" in self.model_fields_set:
            raise ValueError(
                "every counts seconds and knows no time zone; leave timezone out, or write cron"
            )
        return self

    def __str__(self) -> str:
        zone = "" if self.every else f" {self.timezone}"
        return next(f"{kind} {vars(self)[kind]}{zone}" for kind in KINDS if vars(self)[kind])


def slots(schedule: Schedule, start: datetime, number: int) -> tuple[datetime, ...]:
    """The next slots from a moment on, in UTC, at most a thousand."""
    dates = _in_prefect(schedule)._get_dates_generator(n=min(number, MOST), start=start)
    return _utc(dates)


def between(schedule: Schedule, start: datetime, end: datetime) -> tuple[datetime, ...]:
    """The slots after `start` and not after `end`, in UTC, at most a thousand."""
    dates = _in_prefect(schedule)._get_dates_generator(n=MOST, start=start, end=end)
    return tuple(date for date in _utc(dates) if start < date <= end)


def shortest_s(schedule: Schedule, now: datetime) -> float:
    """The shortest time between two of the next slots; without end where there are no two."""
    found = slots(schedule, now, 20)
    gaps = [(b - a).total_seconds() for a, b in pairwise(found)]
    return min(gaps, default=float("inf"))


def wall(schedule: Schedule, start: datetime, end: datetime) -> tuple[datetime, ...]:
    """The times of day that a schedule means, as a clock shows them that is never changed.

    `start` and `end` are such times too: without a zone.
    """
    plain = schedule.model_copy(update={"timezone": "UTC"})
    found = between(plain, start.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
    return tuple(date.replace(tzinfo=None) for date in found)


def in_zone(schedule: Schedule, moment: datetime) -> datetime:
    """A moment as the schedule's own clock shows it."""
    return moment.astimezone(ZoneInfo(schedule.timezone))


def settings(schedule: Schedule) -> dict[str, Any]:
    """The arguments of Prefect's class of this kind, in JSON."""
    if schedule.every:
        return {"interval": seconds(schedule.every), "anchor_date": ANCHOR.isoformat()}
    kind = "cron" if schedule.cron else "rrule"
    return {kind: vars(schedule)[kind], "timezone": schedule.timezone}


def _in_prefect(schedule: Schedule) -> "CronSchedule | IntervalSchedule | RRuleSchedule":
    return _prefects(settings(schedule))


def _prefects(given: dict[str, Any]) -> "CronSchedule | IntervalSchedule | RRuleSchedule":
    from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

    if "interval" in given:
        interval = timedelta(seconds=given["interval"])
        return IntervalSchedule(interval=interval, anchor_date=given["anchor_date"])
    return CronSchedule(**given) if "cron" in given else RRuleSchedule(**given)


def _utc(dates: Iterable[datetime]) -> tuple[datetime, ...]:
    return tuple(sorted(datetime.fromtimestamp(date.timestamp(), UTC) for date in dates))
