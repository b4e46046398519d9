"""What a deploy would change: the file, what was deployed, and what somebody edited since."""

from typing import Literal

from components.records import Record
from pipelines.deployments.entries import Entry
from pipelines.deployments.facts import Live, document, wanted
from pipelines.keys import differing


class Change(Record):
    """One deployment: what is the matter with it, and what was done."""

    name: str
    what: Literal["new", "changed", "same", "edited", "unlisted"]
    """edited: not as it was deployed; unlisted: deployed, and not in the file."""
    lines: tuple[str, ...] = ()
    done: Literal["nothing", "applied", "kept", "removed"] = "nothing"


def change(entry: Entry, live: Live | None) -> Change:
    """What becomes of an entry."""
    if live is None:
        when = [f"schedule: {entry.schedule}"] if entry.schedule else []
        triggers = [f"trigger: {each.word}" for each in entry.triggers]
        lines = (f"{entry.flow} {entry.config}", *when, *triggers)
        return Change(name=entry.name, what="new", lines=lines)
    if edits := edited(live):
        return Change(name=entry.name, what="edited", lines=tuple(edits))
    changes = differing(live.entry, document(entry)) or differing(live.applied, wanted(entry))
    return Change(name=entry.name, what="changed" if changes else "same", lines=tuple(changes))


def unlisted(live: Live) -> Change:
    """A deployment of which the file says nothing."""
    return Change(name=live.name, what="unlisted", lines=tuple(edited(live)))


def edited(live: Live) -> list[str]:
    """What somebody changed in Prefect since it was deployed. Turning off and on is no edit."""
    return differing(live.applied, live.facts)
