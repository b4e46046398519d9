"""`configs/deployments.yaml`: what it may say, and one line with a remedy for what it may not."""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from components.errors import ConfigError
from pipelines.deployments import facts
from pipelines.deployments.difference import change
from pipelines.deployments.entries import Entry, load
from pipelines.deployments.facts import Live
from pipelines.deployments.policy import Rules
from pipelines.deployments.times import ANCHOR

ROOT = Path(__file__).resolve().parents[2]
A_DEPLOYMENT = UUID(int=1)
Write = Callable[[str], Path]
GOOD = """\
deployments:
  - name: nightly
    config: configs/digits.yaml
    schedule: {cron: "30 4 * * *", timezone: Europe/Berlin}
"""
FULL = """\
deployments:
  - name: whole
    flow: retrain
    config: configs/digits.yaml
    schedule: {rrule: "FREQ=MONTHLY;BYDAY=1SU;BYHOUR=5;BYMINUTE=0;BYSECOND=0", timezone: Asia/Tokyo}
    triggers:
      - {event: data_changed, subject: digits}
      - {event: run_failed}
      - {nothing_registered_for: 7d}
    parameters: {assignments: [finetune.budget.epochs=1]}
    on_late: all
    late_after: 5m
    overlap: queue
    timeout: 6h
    notify:
      - {webhook: env:HOOK, token: file:~/token, when: [failed, late]}
      - email: {to: [a@example.org], sender: b@example.org, server: "mail.example.org:587",
          user: env:MAIL_USER, password: env:MAIL_PASSWORD}
      - {command: [notify-send, athanor]}
"""


def test_the_shipped_file_is_a_good_one_and_starts_nothing() -> None:
    entries = load(ROOT / "configs/deployments.yaml")
    assert entries
    assert all(entry.paused for entry in entries)
    automations = [one for entry in entries for one in facts.automations(entry, A_DEPLOYMENT)]
    assert automations
    assert not any(one.enabled for one in automations)


def test_every_key_is_read_and_remembered(deployments: Write) -> None:
    deployments(FULL)
    [entry] = load()
    known = facts.labels(entry, facts.wanted(entry))
    assert facts.entry_of(known) == entry
    assert facts.rules_of(known) == Rules(on_late="all", overlap="queue", late_after_s=300)
    assert entry.parameters.assignments == ("finetune.budget.epochs=1",)


def test_what_is_late_is_half_of_a_short_interval_and_never_more_than_a_minute() -> None:
    often = Entry.model_validate({"name": "a", "config": "c", "schedule": {"every": "10s"}})
    daily = Entry.model_validate({"name": "a", "config": "c", "schedule": {"cron": "0 4 * * *"}})
    assert facts.rules(often).late_after_s == 5
    assert facts.rules(daily).late_after_s == 60


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "30 4 * * *",
            "0 30 4 * * *",
            r":4 deployments.0.schedule.cron: 6 fields .* seconds are no",
        ),
        ("30 4 * * *", "@daily", r":4 .* 1 fields where cron has five"),
        ("30 4 * * *", "61 4 * * *", r":4 .* Invalid cron string"),
        ("Europe/Berlin", "Europe/Berln", r":4 .* no such time zone; did you mean Europe/Berlin"),
        ("Europe/Berlin", "utc", r":4 .* no such time zone"),
        ('cron: "30 4 * * *"', "every: 6h", r":4 .* every counts seconds and knows no time zone"),
        ("timezone: Europe/Berlin", "every: 0", r":4 .*every: is no duration; write 30s"),
        ("timezone: Europe/Berlin", "every: 5", r":4 .*every: is no duration; write 30s"),
        ("timezone: Europe/Berlin", "every: 5m", r":4 .*cron and every given; write one of"),
        (
            "digits.yaml",
            "digit.yaml",
            r":3 .* no file configs/digit.yaml; did you mean configs/dig",
        ),
        ("configs/digits", "../digits", r":3 .* lies outside the project"),
        ("config:", "confg:", r":3 deployments.0.confg: unknown key, did you mean config"),
        ("nightly", "athanor", r":2 .*name: athanor run submits under this name; choose another"),
    ],
)
def test_a_bad_schedule_is_one_line_with_its_place(
    deployments: Write, old: str, new: str, said: str
) -> None:
    assert old in GOOD
    deployments(GOOD.replace(old, new))
    with pytest.raises(ConfigError, match=f"configs/deployments.yaml{said}"):
        load()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("triggers: [{event: data_change}]", "no such event, did you mean data_changed"),
        ("triggers: [{event: drift}, {event: drift}]", "the trigger drift stands twice"),
        ("triggers: [{nothing_registered_for: 7}]", "is no duration"),
        ("triggers: [{}]", "a trigger is either an event or nothing_registered_for"),
        ("{on_late: all, overlap: replace}", "choose overlap queue, or on_late latest"),
        ("parameters: {assignment: [a=1]}", "unknown key, did you mean assignments"),
        ("{flow: run, parameters: {data: pull}}", "flow run takes no parameter data"),
        ("parameters: {assignments: [finetune.lr=1]}", "finetune.lr: unknown key"),
        ("notify: [{webhook: ftp://a/b}]", "is no address; write https://"),
        ("notify: [{webhook: env:A, command: [b]}]", "webhook and command given; write one of"),
        ("notify: [{command: [a], when: [fail]}]", "there are: failed, completed, late"),
        ("timeout: never", "is no duration"),
    ],
)
def test_a_bad_key_is_one_line_with_its_place(deployments: Write, more: str, said: str) -> None:
    lines = more[1:-1].replace(", ", "\n    ") if more[0] == "{" else more
    deployments(f"{GOOD}    {lines}\n")
    with pytest.raises(ConfigError, match=said) as refused:
        load()
    assert "configs/deployments.yaml:" in refused.value.message


@pytest.mark.parametrize(
    "notice",
    [
        "{webhook: 'https://a:hunter2@example.org/x'}",
        "{webhook: 'https://example.org/x?key=hunter2'}",
        "{webhook: 'https://example.org/x', token: hunter2}",
        "{email: {to: [a@b], sender: a@b, server: 'b:25', user: env:U, password: hunter2}}",
    ],
)
def test_a_secret_in_clear_is_refused_and_not_repeated(deployments: Write, notice: str) -> None:
    deployments(f"{GOOD}    notify: [{notice}]\n")
    with pytest.raises(ConfigError, match=r"in clear; write env:NAME or file:PATH") as refused:
        load()
    assert "hunter2" not in str(refused.value)
    deployments(f"{GOOD}    notify: [{{webhook: 'https://example.org/x', token: env:T}}]\n")
    assert load()


def test_two_of_one_name_are_refused(deployments: Write) -> None:
    deployments(GOOD + GOOD.removeprefix("deployments:\n"))
    with pytest.raises(ConfigError, match=r"yaml:5 deployments.1.name: 'nightly' stands twice"):
        load()


def test_every_bad_config_is_named_at_once(deployments: Write) -> None:
    bad = GOOD.replace("digits.yaml", "digit.yaml")
    deployments(bad + bad.removeprefix("deployments:\n").replace("nightly", "weekly"))
    with pytest.raises(ConfigError) as refused:
        load()
    assert len(refused.value.message.splitlines()) == 2


def a_live(entry: Entry, **facts_now: object) -> Live:
    applied = facts.wanted(entry)
    return Live(
        id=A_DEPLOYMENT,
        name=entry.name,
        flow=entry.flow,
        entry=facts.document(entry),
        applied=applied,
        facts={**applied, **facts_now},
        active=True,
        created=ANCHOR,
        automations={},
    )


def test_the_difference_names_what_changed_and_what_was_edited(deployments: Write) -> None:
    deployments(GOOD)
    [entry] = load()
    assert change(entry, None).what == "new"
    assert change(entry, a_live(entry)).what == "same"
    later = entry.model_copy(update={"on_late": "skip"})
    assert change(later, a_live(entry)).lines == ("on_late: nothing -> skip",)
    edited = change(entry, a_live(entry, tags=["mine"]))
    assert (edited.what, edited.lines) == ("edited", ("tags.0: athanor -> mine",))
