"""What an entry is in Prefect: the fields that are written, and the same read back.

What was written, and from which entry, stands in labels of the deployment. So what somebody
edited in Prefect's pages shows as the difference between a deployment and its own labels.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import ValidationError

from components.records import Record
from pipelines.deployments.durations import seconds
from pipelines.deployments.entries import Entry, Trigger
from pipelines.deployments.policy import LATE_AFTER_S, Rules
from pipelines.deployments.times import ANCHOR, Schedule, settings, shortest_s
from pipelines.pools import RUNS as POOL

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events.schemas.automations import Automation, AutomationCore

ENTRY, APPLIED, RULES = "athanor.entry", "athanor.applied", "athanor.rules"
"""Labels: the entry as JSON, the fields that were written, what the worker asks for."""
SLUG = "athanor"
EVENT = "athanor.{event}"
RESOURCE = "athanor.{event}.{subject}"

Facts = dict[str, Any]


class Live(Record):
    """A deployment of ours as the server has it now."""

    id: UUID
    name: str
    flow: str
    """Of the entry that it was made from."""
    entry: dict[str, Any]
    """The entry that it was made from."""
    applied: Facts
    """What was written."""
    facts: Facts
    """What stands there now."""
    active: bool
    """Its schedule, where it has one, is on."""
    created: datetime
    automations: dict[str, UUID]
    """Ids of its triggers' automations by name."""


def rules(entry: Entry) -> Rules:
    """What the worker goes by."""
    late_s = LATE_AFTER_S
    if entry.late_after:
        late_s = seconds(entry.late_after)
    elif entry.schedule:
        late_s = min(late_s, shortest_s(entry.schedule, ANCHOR) / 2)
    return Rules(on_late=entry.on_late, overlap=entry.overlap, late_after_s=late_s)


def wanted(entry: Entry) -> Facts:
    """The fields of an entry's deployment, in JSON."""
    assignments = list(entry.parameters.assignments)
    parameters: dict[str, Any] = {"config": entry.config, "assignments": assignments}
    if entry.flow == "retrain":
        parameters |= {"data": entry.parameters.data, "reason": "", "digest": "", "subject": ""}
    # A schedule has no parameters of its own: pausing it drops them (3.8.8).
    one = [{"slug": SLUG, "parameters": {}, **_timing(entry.schedule)}] if entry.schedule else []
    return {
        "parameters": parameters,
        "schedules": one,
        "triggers": {_named(entry, each): _trigger(entry, each) for each in _events(entry)},
        "tags": [SLUG],
        "description": _text(entry),
        "work_pool": POOL,
        "entrypoint": f"pipelines/workers/flows.py:{entry.flow}",
        "path": ".",
        "job_variables": {},
        "pull_steps": [],
        "concurrency_limit": None,
    }


def found(deployment: "DeploymentResponse", automations: Sequence["Automation"]) -> Facts:
    """The same fields as the server has them."""
    limit = deployment.global_concurrency_limit
    return {
        "parameters": deployment.parameters,
        "schedules": [
            {"slug": each.slug, "parameters": each.parameters, **_read(each.schedule)}
            for each in deployment.schedules
        ],
        "triggers": {each.name: _read_trigger(each) for each in automations},
        "tags": sorted(deployment.tags),
        "description": deployment.description or "",
        "work_pool": deployment.work_pool_name,
        "entrypoint": deployment.entrypoint,
        "path": deployment.path,
        "job_variables": deployment.job_variables,
        "pull_steps": deployment.pull_steps or [],
        "concurrency_limit": limit.limit if limit else None,
    }


def live(deployment: "DeploymentResponse", automations: Sequence["Automation"]) -> Live | None:
    """A deployment as ours; None for any other."""
    try:
        entry = json.loads(str(deployment.labels[ENTRY]))
        applied = json.loads(str(deployment.labels[APPLIED]))
    except (KeyError, ValueError):
        return None
    prefix = _prefix(deployment.name)
    mine = [each for each in automations if each.name.startswith(prefix)]
    whole = [each for each in mine if _target(each) == deployment.id]
    return Live(
        id=deployment.id,
        name=deployment.name,
        flow=entry.get("flow", "retrain"),
        entry=entry,
        applied=applied,
        facts=found(deployment, whole),
        active=all(each.active for each in deployment.schedules) and not deployment.paused,
        created=deployment.created or ANCHOR,
        automations={each.name: each.id for each in mine},
    )


def labels(entry: Entry, facts: Facts) -> dict[str, str]:
    """What is remembered beside the fields."""
    return {
        ENTRY: json.dumps(document(entry), sort_keys=True),
        APPLIED: json.dumps(facts, sort_keys=True),
        RULES: rules(entry).model_dump_json(),
    }


def document(entry: Entry) -> dict[str, Any]:
    """An entry as JSON, as short as a file may say it: so it reads back."""
    return entry.model_dump(mode="json", exclude_defaults=True)


def entry_of(known: Mapping[str, Any]) -> Entry | None:
    """The entry that labels remember; None for one of another time, or of somebody else."""
    try:
        return Entry.model_validate_json(str(known.get(ENTRY)))
    except ValidationError:
        return None


def rules_of(known: Mapping[str, Any]) -> Rules | None:
    """The rules that labels remember; None where there are none."""
    try:
        return Rules.model_validate_json(str(known[RULES]))
    except (KeyError, ValidationError):
        return None


def automations(entry: Entry, deployment: UUID) -> tuple["AutomationCore", ...]:
    """One for each event that starts the entry's deployment."""
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger

    made = []
    for name, facts in wanted(entry)["triggers"].items():
        trigger = EventTrigger(expect=set(facts["expect"]), match=facts["match"])
        action = RunDeployment(deployment_id=deployment, parameters=facts["parameters"])
        made.append(
            AutomationCore(
                name=name,
                description=f"Starts {entry.flow}/{entry.name}; made by athanor deploy.",
                enabled=not entry.paused,
                tags=[SLUG],
                trigger=trigger,
                actions=[action],
            )
        )
    return tuple(made)


def prefects(schedule: Schedule) -> Any:
    """The schedule as Prefect's client writes it."""
    from datetime import timedelta

    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

    given = settings(schedule)
    if schedule.every:
        interval = timedelta(seconds=given["interval"])
        return IntervalSchedule(interval=interval, anchor_date=ANCHOR, timezone="UTC")
    return CronSchedule(**given) if schedule.cron else RRuleSchedule(**given)


def _events(entry: Entry) -> list[Trigger]:
    return [each for each in entry.triggers if each.event]


def _prefix(name: str) -> str:
    return f"athanor: {name} on "


def _named(entry: Entry, trigger: Trigger) -> str:
    return f"{_prefix(entry.name)}{trigger.word}"


def _trigger(entry: Entry, trigger: Trigger) -> Facts:
    subject = trigger.subject or "*"
    parameters: dict[str, Any] = {}
    if entry.flow == "retrain":
        from_event = {
            name: {"__prefect_kind": "jinja", "template": f"{{{{ event.payload.{name} }}}}"}
            for name in ("digest", "subject")
        }
        parameters = {"reason": trigger.event, **from_event}
    return {
        "expect": [EVENT.format(event=trigger.event)],
        "match": {"prefect.resource.id": RESOURCE.format(event=trigger.event, subject=subject)},
        "parameters": parameters,
    }


def _read_trigger(automation: "Automation") -> Facts:
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import EventTrigger, Posture

    trigger = automation.trigger
    actions = automation.actions
    if not isinstance(trigger, EventTrigger) or [type(each) for each in actions] != [RunDeployment]:
        return {"kind": trigger.type, "actions": [each.type for each in actions]}
    match = trigger.match
    facts: Facts = {
        "expect": sorted(trigger.expect),
        "match": dict(match if isinstance(match, dict) else match.model_dump(mode="json")),
        "parameters": vars(actions[0])["parameters"] or {},
    }
    plain = trigger.posture == Posture.Reactive and trigger.threshold == 1 and not trigger.after
    return facts if plain else {**facts, "posture": str(trigger.posture)}


def _target(automation: "Automation") -> UUID | None:
    from prefect.events.actions import RunDeployment

    named = [each.deployment_id for each in automation.actions if isinstance(each, RunDeployment)]
    return named[0] if named else None


def _timing(schedule: Schedule) -> Facts:
    return _read(prefects(schedule))


def _read(schedule: Any) -> Facts:
    """A schedule of Prefect's client as plain values."""
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

    if isinstance(schedule, IntervalSchedule):
        every_s = schedule.interval.total_seconds()
        return {"every_s": every_s, "from": int(schedule.anchor_date.timestamp())}
    if isinstance(schedule, CronSchedule):
        zone = schedule.timezone
        return {"cron": schedule.cron, "timezone": zone, "day_or": schedule.day_or}
    return {"rrule": schedule.rrule, "timezone": schedule.timezone}


def _text(entry: Entry) -> str:
    """What Prefect's page says of the deployment."""
    said = [f"{entry.flow} {entry.config}", f"late slots: {entry.on_late}"]
    said += [f"overlap: {entry.overlap}"]
    said += [f"timeout: {entry.timeout}"] if entry.timeout else []
    said += [f"nothing registered for {each.nothing_registered_for}" for each in entry.triggers
             if each.nothing_registered_for]  # fmt: skip
    return f"{'; '.join(said)}. From configs/deployments.yaml, by athanor deploy."
