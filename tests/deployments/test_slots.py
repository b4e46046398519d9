"""The next slots, and what a change of the clock does to them within a year."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pipelines.deployments import slots, times
from pipelines.deployments.slots import warned
from pipelines.deployments.times import Schedule

START = datetime(2027, 1, 10, tzinfo=UTC)


def said(**schedule: str) -> list[tuple[str, str]]:
    return [(one.what, one.text) for one in warned("a", Schedule(**schedule), START)]


def test_a_slot_in_the_hour_that_is_left_out_moves() -> None:
    """It fires an hour early, at 01:30: measured with the server's class."""
    text = "2027-03-28 02:30 fires at 01:30: the clock goes from 02:00 to 03:00"
    assert said(cron="30 2 * * *", timezone="Europe/Berlin") == [("moved", text)]
    [day] = times.between(
        Schedule(cron="30 2 * * *", timezone="Europe/Berlin"),
        datetime(2027, 3, 27, 12, tzinfo=UTC),
        datetime(2027, 3, 28, 12, tzinfo=UTC),
    )
    assert day == datetime(2027, 3, 28, 0, 30, tzinfo=UTC)


def test_of_a_schedule_of_every_hour_two_slots_are_dropped() -> None:
    found = said(cron="30 * * * *", timezone="Europe/Berlin")
    assert [what for what, _ in found] == ["dropped", "dropped"]
    assert "2027-03-28 02:30 does not fire" in found[0][1]
    assert "2027-10-31 02:30 fires at the first 02:30 and not at the second" in found[1][1]


@pytest.mark.parametrize(
    "schedule",
    [
        {"cron": "30 4 * * *", "timezone": "Europe/Berlin"},
        {"cron": "30 2 * * *", "timezone": "Asia/Tokyo"},
        {"cron": "30 2 * * *"},
        {"every": "1h"},
    ],
)
def test_a_safe_schedule_is_not_warned_of(schedule: dict[str, str]) -> None:
    assert said(**schedule) == []


def test_other_zones_and_rules_are_seen_too() -> None:
    assert said(cron="0 2 * * *", timezone="Australia/Lord_Howe")[0][0] == "moved"
    rule = "FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0"
    assert said(rrule=rule, timezone="America/New_York")[0][1].startswith("2027-03-14 02:30 fires")


def test_changes_of_the_clock_are_found_to_the_second() -> None:
    found = list(slots.shifts(ZoneInfo("Europe/Berlin"), START, START + slots.YEAR))
    assert [shift.at for shift in found] == [
        datetime(2027, 3, 28, 1, tzinfo=UTC),
        datetime(2027, 10, 31, 1, tzinfo=UTC),
    ]


def test_the_plan_is_the_next_ten_slots_of_all(deployments: Callable[[str], Path]) -> None:
    deployments(
        "deployments:\n"
        "  - name: often\n    config: configs/digits.yaml\n    schedule: {every: 6h}\n"
        "  - name: nightly\n    config: configs/digits.yaml\n    paused: true\n"
        "    schedule: {cron: '30 2 * * *', timezone: Europe/Berlin}\n"
        "  - name: asked\n    config: configs/digits.yaml\n"
    )
    plan = slots.plan(START)
    assert len(plan.slots) == 10
    assert [slot.utc for slot in plan.slots] == sorted(slot.utc for slot in plan.slots)
    nightly = [slot for slot in plan.slots if slot.deployment == "nightly"]
    assert (nightly[0].local, nightly[0].utc) == ("2027-01-10 02:30:00", "2027-01-10 01:30:00")
    assert {slot.state for slot in nightly} == {"paused"}
    assert [one.what for one in plan.warnings] == ["moved"]
    text = slots.text(plan)
    assert "nightly  2027-01-10 02:30:00  Europe/Berlin  2027-01-10 01:30:00 UTC  paused" in text
    assert "moved    nightly: 2027-03-28 02:30 fires at 01:30" in text


def test_an_interval_that_is_deployed_again_keeps_its_moments() -> None:
    schedule = Schedule(every="7h")
    first = times.slots(schedule, START, 4)
    assert times.slots(schedule, first[1], 3) == first[1:]
