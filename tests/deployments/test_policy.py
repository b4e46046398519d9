"""Which due run starts: what `on_late` and `overlap` say, and that no schedule starves."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.deployments.policy import (
    AtWork,
    Decision,
    Due,
    Known,
    MadeBy,
    Past,
    Rules,
    decide,
)

START = datetime(2027, 1, 1, tzinfo=UTC)
TICK_S = 600.0


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def due(name: str, seconds: float, made_by: MadeBy = "schedule", **facts: str) -> Due:
    return Due(id=name, time=at(seconds), made_by=made_by, **facts)


def working(name: str, seconds: float, **facts: object) -> AtWork:
    return AtWork.model_validate({"id": name, "begun": at(seconds), **facts})


def said(decisions: tuple[Decision, ...]) -> dict[str, str]:
    return {each.run: each.do for each in decisions}


class Lived(NamedTuple):
    """What became of a deployment's slots."""

    started: list[str]
    missed: list[str]
    skipped: list[str]
    most: int
    """Runs at work at one time."""


class House:
    """A deployment in simulated time: slots come, a worker looks once a second or is away."""

    def __init__(self, rules: Rules, lengths: list[float], extra: list[Due] | None = None) -> None:
        self.rules, self.lengths = rules, lengths
        self.asked = sorted(extra or [], key=lambda run: run.time)
        self.due: list[Due] = []
        self.working: list[AtWork] = []
        self.past: list[Past] = []
        self.ends: dict[str, float] = {}
        self.lived = Lived([], [], [], 0)

    def run(self, until_s: float, away: tuple[float, float], look_s: float = 5.0) -> Lived:
        slot_s, now_s = TICK_S, 0.0
        while now_s < until_s:
            now_s += look_s
            while slot_s <= now_s:
                self.due.append(due(f"{slot_s / TICK_S:.0f}", slot_s))
                slot_s += TICK_S
            while self.asked and self.asked[0].time <= at(now_s):
                self.due.append(self.asked.pop(0))
            self._end(now_s)
            if not away[0] <= now_s < away[1]:
                self._look(now_s)
        return self.lived

    def _end(self, now_s: float) -> None:
        for run in [run for run in self.working if self.ends[run.id] <= now_s]:
            self.working.remove(run)
            end = at(self.ends[run.id])
            self.past.append(Past(id=run.id, begun=run.begun, ended=end, how="well"))

    def _look(self, now_s: float) -> None:
        known = Known(working=tuple(self.working), past=tuple(self.past))
        for each in decide(self.rules, self.due, known, at(now_s)):
            if each.do == "start":
                length = self.lengths[len(self.lived.started) % len(self.lengths)]
                self.ends[each.run] = now_s + length
                self.working.append(working(each.run, now_s))
                self.lived.started.append(each.run)
            elif each.do == "skip":
                (self.lived.missed if each.late else self.lived.skipped).append(each.run)
            elif each.do == "replace":
                for run in self.working:
                    self.ends[run.id] = min(self.ends[run.id], now_s + 10)
                self.working = [
                    run.model_copy(update={"ending": True}) if run.id in each.replaces else run
                    for run in self.working
                ]
            if each.do in ("start", "skip"):
                self.due = [run for run in self.due if run.id != each.run]
        self.lived = self.lived._replace(most=max(self.lived.most, len(self.working)))


AWAY = (0.0, 10 * TICK_S + 120)
"""Ten slots pass before the worker is back."""


@pytest.mark.parametrize("overlap", ["skip", "queue", "replace"])
def test_after_ten_missed_slots_latest_runs_exactly_one(overlap: str) -> None:
    rules = Rules.model_validate({"on_late": "latest", "overlap": overlap})
    lived = House(rules, [30]).run(AWAY[1] + 60, AWAY)
    assert lived.started == ["10"]
    assert lived.missed == [str(n) for n in range(1, 10)]


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_after_ten_missed_slots_all_runs_ten_in_order_one_at_a_time(overlap: str) -> None:
    rules = Rules.model_validate({"on_late": "all", "overlap": overlap})
    lived = House(rules, [30]).run(AWAY[1] + 11 * 35, AWAY)
    assert lived.started == [str(n) for n in range(1, 11)]
    assert (lived.most, lived.missed, lived.skipped) == (1, [], [])


def test_after_ten_missed_slots_skip_runs_none_and_the_next_one_on_time() -> None:
    lived = House(Rules(on_late="skip"), [30]).run(AWAY[1] + TICK_S, AWAY)
    assert lived.missed == [str(n) for n in range(1, 11)]
    assert lived.started == ["11"]


def test_a_slot_on_time_is_never_late() -> None:
    for on_late in ("latest", "all", "skip"):
        lived = House(Rules(on_late=on_late), [30]).run(5 * TICK_S + 60, (0, 0))
        assert lived.started == ["1", "2", "3", "4", "5"]


def test_a_run_longer_than_its_interval_with_skip_leaves_out_what_came_meanwhile() -> None:
    lived = House(Rules(overlap="skip"), [1.5 * TICK_S]).run(8 * TICK_S, (0, 0))
    assert lived.started == ["1", "3", "5", "7"]
    assert lived.skipped == ["2", "4", "6", "8"]


def test_a_run_longer_than_its_interval_with_queue_waits_for_its_turn() -> None:
    lived = House(Rules(overlap="queue", on_late="all"), [1.5 * TICK_S]).run(8 * TICK_S, (0, 0))
    assert lived.started == ["1", "2", "3", "4", "5"]
    assert lived.most == 1


def test_a_slot_that_waits_behind_a_long_run_is_not_late() -> None:
    lived = House(Rules(overlap="queue", on_late="skip"), [1.5 * TICK_S]).run(4 * TICK_S, (0, 0))
    assert lived.started == ["1", "2", "3"]


def test_a_run_longer_than_its_interval_with_replace_makes_room() -> None:
    lived = House(Rules(overlap="replace"), [1.5 * TICK_S]).run(4 * TICK_S + 60, (0, 0))
    assert lived.started == ["1", "2", "3", "4"]
    assert lived.most == 1


def test_replace_tells_the_run_to_stop_once_and_starts_when_it_has() -> None:
    rules = Rules(overlap="replace")
    first = decide(rules, [due("b", 600)], Known(working=(working("a", 0),)), at(601))
    assert (first[0].do, first[0].replaces) == ("replace", ("a",))
    ending = Known(working=(working("a", 0, ending=True),))
    assert said(decide(rules, [due("b", 600)], ending, at(602))) == {"b": "wait"}
    assert said(decide(rules, [due("b", 600)], Known(), at(612))) == {"b": "start"}


def test_a_dead_run_holds_no_slot_up() -> None:
    dead = Past(id="a", begun=at(0), ended=at(5000), how="dead")
    well = dead.model_copy(update={"how": "well"})
    slots = [due("b", 600)]
    rules = Rules(on_late="skip", overlap="queue")
    assert said(decide(rules, slots, Known(past=(dead,)), at(5001))) == {"b": "skip"}
    assert said(decide(rules, slots, Known(past=(well,)), at(5001))) == {"b": "start"}
    assert said(decide(Rules(), slots, Known(past=(dead,)), at(5001))) == {"b": "start"}


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_what_a_person_asked_for_waits_and_is_never_skipped(overlap: str) -> None:
    rules = Rules.model_validate({"on_late": "skip", "overlap": overlap})
    asked = [due("b", 10, "hand"), due("c", 20, "hand")]
    busy = Known(working=(working("a", 0),))
    assert said(decide(rules, asked, busy, at(9000))) == {"b": "wait", "c": "wait"}
    assert said(decide(rules, asked, Known(), at(9000))) == {"b": "start", "c": "wait"}


def test_a_run_of_the_future_waits() -> None:
    assert said(decide(Rules(), [due("a", 10)], Known(), at(9))) == {"a": "wait"}
    assert said(decide(Rules(), [due("a", 10)], Known(), at(10))) == {"a": "start"}


def event(name: str, seconds: float, about: str = "", cause: str = "data_changed") -> Due:
    return due(name, seconds, "event", cause=cause, about=about)


def test_data_changed_twice_for_one_digest_is_one_run() -> None:
    two = [event("a", 0, "d1"), event("b", 1, "d1")]
    assert said(decide(Rules(), two, Known(), at(2))) == {"a": "skip", "b": "start"}
    busy = Known(working=(working("b", 2, about="d1"),))
    assert said(decide(Rules(), [event("c", 900, "d1")], busy, at(901))) == {"c": "skip"}
    done = Known(past=(Past(id="b", begun=at(2), ended=at(60), how="well", about="d1"),))
    assert said(decide(Rules(), [event("c", 900, "d1")], done, at(901))) == {"c": "skip"}


def test_other_data_are_another_run_and_a_failed_one_is_tried_again() -> None:
    busy = Known(working=(working("b", 2, about="d1"),))
    assert said(decide(Rules(), [event("c", 3, "d2")], busy, at(4))) == {"c": "wait"}
    failed = Known(past=(Past(id="b", begun=at(2), ended=at(60), how="badly", about="d1"),))
    assert said(decide(Rules(), [event("c", 900, "d1")], failed, at(901))) == {"c": "start"}


def test_two_triggers_at_once_are_one_run() -> None:
    two = [event("a", 0, cause="drift"), event("b", 0.4, "d1")]
    assert said(decide(Rules(), two, Known(), at(0.2))) == {"a": "skip", "b": "start"}
    busy = Known(working=(working("b", 1, about="d1"),))
    assert said(decide(Rules(), [event("c", 1.5, cause="drift")], busy, at(2))) == {"c": "skip"}
    assert said(decide(Rules(), [event("c", 120, cause="drift")], busy, at(121))) == {"c": "wait"}


def test_events_that_keep_coming_do_not_put_a_run_off() -> None:
    stream = [event(str(n), n, f"d{n}") for n in range(3)]
    later = event("9", 60, "d9")  # not due yet, and the newest
    assert said(decide(Rules(), [*stream, later], Known(), at(2)))["9"] == "start"


def test_a_failure_asks_for_one_more_try_and_not_for_ever() -> None:
    again = event("b", 100, "c1", cause="run_failed")
    tried = Past(id="a", begun=at(0), ended=at(90), how="badly", cause="run_failed", about="c1")
    assert said(decide(Rules(), [again], Known(past=(tried,)), at(101))) == {"b": "skip"}
    assert said(decide(Rules(), [again], Known(), at(101))) == {"b": "start"}


RULES = st.builds(
    Rules,
    on_late=st.sampled_from(["latest", "all", "skip"]),
    overlap=st.sampled_from(["skip", "queue", "replace"]),
    late_after_s=st.sampled_from([5.0, 60.0]),
)
DUES = st.lists(
    st.builds(
        Due,
        id=st.uuids().map(str),
        time=st.integers(0, 4000).map(at),
        made_by=st.sampled_from(["schedule", "event", "hand"]),
        cause=st.sampled_from(["", "drift"]),
        about=st.sampled_from(["", "d1", "d2"]),
    ),
    max_size=8,
    unique_by=lambda run: run.id,
)
WORKING = st.lists(st.integers(0, 4000).map(lambda s: working(f"w{s}", s)), max_size=2)


@settings(max_examples=120, deadline=None)
@given(RULES, DUES, WORKING)
def test_every_due_run_gets_one_answer_and_at_most_one_starts(
    rules: Rules, runs: list[Due], busy: list[AtWork]
) -> None:
    now = at(4000)
    answers = decide(rules, runs, Known(working=tuple(busy)), now)
    assert sorted(each.run for each in answers) == sorted(run.id for run in runs)
    started = [each for each in answers if each.do == "start"]
    assert len(started) <= (0 if busy else 1)
    kept = [each for each in answers if each.do != "skip"]
    if kept and not busy:
        assert len(started) == 1, "nothing is at work, something is due, and nothing starts"
    by_hand = {run.id for run in runs if run.made_by == "hand"}
    assert all(each.do != "skip" for each in answers if each.run in by_hand)
    assert all(each.reason for each in answers if each.do != "start")


@settings(max_examples=40, deadline=None)
@given(
    RULES,
    st.lists(st.sampled_from([20.0, 400.0, 900.0, 1500.0]), min_size=1, max_size=4),
    st.integers(0, 6),
    st.integers(0, 6),
)
def test_no_schedule_starves_and_no_two_of_its_runs_meet(
    rules: Rules, lengths: list[float], gone: int, missing: int
) -> None:
    away = (gone * TICK_S + 20, (gone + missing) * TICK_S + 20)
    house = House(rules, lengths)
    lived = house.run(16 * TICK_S, away, look_s=20)
    assert lived.most <= 1
    assert lived.started == sorted(lived.started, key=int)
    decided = [*lived.started, *lived.missed, *lived.skipped, *(run.id for run in house.due)]
    assert sorted(decided, key=int) == [str(n) for n in range(1, 17)]
    # Whenever the worker is there, something begins within the longest run and one interval.
    begun = [(run.begun - START).total_seconds() for run in (*house.past, *house.working)]
    longest = max(lengths) + 2 * TICK_S + 60
    gaps = [b - a for a, b in zip([0.0, *begun], [*begun, 16 * TICK_S], strict=True)]
    assert max(gaps) <= longest + (away[1] - away[0])
