"""`athanor deploy`: the file against the server, and the server made like the file.

The whole file is checked before anything is written. What somebody paused stays paused; what
somebody edited stays as it is and is named, unless the command says otherwise.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from components import files, project
from components.errors import UsageError
from components.records import Record
from pipelines import pools
from pipelines.deployments import difference, facts, server
from pipelines.deployments.difference import Change
from pipelines.deployments.entries import Entry, load
from pipelines.deployments.facts import POOL, SLUG, Live

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


class Ask(Record):
    """What a deploy may do."""

    mode: Literal["show", "apply"] = "apply"
    unlisted: Literal["keep", "remove"] = "keep"
    overwrite: tuple[str, ...] = ()
    """Deployments that are put back, whatever was edited."""


class Deployed(Record):
    """What a deploy found and did."""

    mode: Literal["show", "apply"]
    changes: tuple[Change, ...]


def deploy(ask: Ask, file: Path | None = None) -> Deployed:
    """Every deployment of the file, and every one of ours that the file does not name.

    Raises:
        ConfigError: the file has a problem; nothing was written.
        UsageError: a name to overwrite is no deployment.
        ServiceUnreachable: no server is up.
    """
    entries = load(file)
    with files.locked(project.home() / "locks" / "deploy.lock"), server.connected() as client:
        known = deployed(client)
        _demand_names(ask.overwrite, [*(entry.name for entry in entries), *known])
        if ask.mode == "apply" and entries:
            _demand_pool(client)
        changes = [_listed(client, ask, entry, known.get(entry.name)) for entry in entries]
        names = {entry.name for entry in entries}
        rest = [live for name, live in sorted(known.items()) if name not in names]
        changes += [_unlisted(client, ask, live) for live in rest]
    return Deployed(mode=ask.mode, changes=tuple(changes))


def deployed(client: "SyncPrefectClient") -> dict[str, Live]:
    """Our deployments as the server has them, by name."""
    automations = server.pages(client.read_automations)
    found = [facts.live(each, automations) for each in server.pages(client.read_deployments)]
    return {live.name: live for live in found if live is not None}


def text(found: Deployed) -> str:
    """For a person."""
    lines = []
    for one in found.changes:
        note = {"kept": ", left as it is", "removed": ", removed"}.get(one.done, "")
        lines.append(f"{one.what:<9} {one.name}{note}")
        lines += [f"            {line}" for line in one.lines]
        if one.what == "edited" and one.done != "applied":
            lines.append(f"            -> to put the file's back: --overwrite {one.name}")
        if one.what == "unlisted" and one.done != "removed":
            lines.append(f"            -> to remove it: {_removing(one)}")
    applied = sum(one.done in ("applied", "removed") for one in found.changes)
    pending = sum(one.what in ("new", "changed") for one in found.changes)
    if found.mode == "show":
        return "\n".join([*lines, f"{pending} to apply; nothing was written (--dry-run)"])
    return "\n".join([*lines, f"{applied} applied" if applied else "nothing changed"])


def _removing(one: Change) -> str:
    return f"--prune --overwrite {one.name}" if one.lines else "--prune"


def _listed(client: "SyncPrefectClient", ask: Ask, entry: Entry, live: Live | None) -> Change:
    found = difference.change(entry, live)
    if found.what == "same":
        return found
    if found.what == "edited" and entry.name not in ask.overwrite:
        return found.model_copy(update={"done": "kept"})
    if ask.mode == "show":
        return found
    if live is not None and live.flow != entry.flow:
        _remove(client, live)
        live = None
    _write(client, entry, live)
    return found.model_copy(update={"done": "applied"})


def _unlisted(client: "SyncPrefectClient", ask: Ask, live: Live) -> Change:
    found = difference.unlisted(live)
    untouched = not found.lines or live.name in ask.overwrite
    if ask.unlisted == "keep" or not untouched:
        return found.model_copy(update={"done": "kept"})
    if ask.mode == "show":
        return found
    _remove(client, live)
    return found.model_copy(update={"done": "removed"})


def _write(client: "SyncPrefectClient", entry: Entry, live: Live | None) -> None:
    """Make the deployment and its automations as the entry says; on and off as they were."""
    from prefect.client.schemas.actions import DeploymentCreate, DeploymentScheduleCreate

    active = not entry.paused
    if live is not None and live.entry.get("paused", False) == entry.paused:
        active = live.active
    fields = facts.wanted(entry)
    schedules = []
    if entry.schedule:
        schedule = facts.prefects(entry.schedule)
        schedules = [DeploymentScheduleCreate(schedule=schedule, active=active, slug=SLUG)]
    wanted = DeploymentCreate(
        flow_id=client.create_flow_from_name(entry.flow),
        name=entry.name,
        paused=not active and not schedules,
        schedules=schedules,
        concurrency_limit=None,
        enforce_parameter_schema=False,
        parameters=fields["parameters"],
        parameter_openapi_schema=_schema(fields["parameters"]),
        tags=fields["tags"],
        labels=facts.labels(entry, fields),
        pull_steps=[],
        work_pool_name=POOL,
        description=fields["description"],
        path=fields["path"],
        entrypoint=fields["entrypoint"],
        job_variables={},
    )
    answer = client.request(
        "POST", "/deployments/", json=wanted.model_dump(mode="json", exclude_unset=True)
    )
    _write_automations(client, entry, UUID(answer.json()["id"]), live)


def _write_automations(
    client: "SyncPrefectClient", entry: Entry, deployment: UUID, live: Live | None
) -> None:
    known = dict(live.automations) if live else {}
    switched = live is None or live.entry.get("paused", False) != entry.paused
    for wanted in facts.automations(entry, deployment):
        there = known.pop(wanted.name, None)
        if there is None:
            client.create_automation(wanted)
            continue
        now = client.read_automation(there)
        if now is not None and not switched:
            wanted = wanted.model_copy(update={"enabled": now.enabled})
        # The client's own call leaves out what was not set, and the server refuses that (3.8.8).
        whole = wanted.model_dump(mode="json", exclude={"owner_resource"})
        client.request("PUT", "/automations/{id}", path_params={"id": there}, json=whole)
    for left in known.values():
        client.delete_automation(left)


def _remove(client: "SyncPrefectClient", live: Live) -> None:
    for automation in live.automations.values():
        client.delete_automation(automation)
    client.delete_deployment(live.id)


def _schema(parameters: dict[str, object]) -> dict[str, object]:
    """So that Prefect's page shows a field for each parameter."""
    text = {"type": "string"}
    fields = {
        name: {
            "title": name,
            **({"type": "array", "items": text} if isinstance(value, list) else text),
        }
        for name, value in parameters.items()
    }
    return {"type": "object", "properties": fields}


def _demand_pool(client: "SyncPrefectClient") -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    pool = WorkPoolCreate(name=POOL, type=pools.TYPE, base_job_template=pools.CLOSED)
    try:
        client.create_work_pool(pool)
    except ObjectAlreadyExists:
        return


def _demand_names(wanted: Sequence[str], known: Sequence[str]) -> None:
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            names = ", ".join(sorted(set(known))) or "none"
            raise UsageError(f"no deployment is called {name!r}", f"{hint}there are: {names}")
