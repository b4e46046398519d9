"""`athanor data pull | verify | status | record | add`, as a person reads them."""

from pathlib import Path

from components.data.check import Status, Verified
from components.data.pull import Pulled
from components.data.record import Recorded
from components.errors import UsageError
from components.intake import INCOMING, TakenIn
from components.records import Record

SHOWN = 5
"""Rows that were left out, on the screen; the note of the intake has all."""


def act(verb: str, names: tuple[str, ...], offline: bool, replace: bool) -> Record:
    """What one verb answers."""
    from components.data import check
    from components.data.obtain import Network
    from components.data.pull import Existing, pull
    from components.data.record import record

    if verb == "status":
        return check.status()
    if verb == "verify":
        return check.verify(names)
    if verb == "record":
        return record()
    if verb == "add":
        return add(names)
    network = Network.OFFLINE if offline else Network.ALLOWED
    existing = Existing.ASIDE if replace else Existing.REFUSED
    return pull(names, network=network, existing=existing)


def add(words: tuple[str, ...]) -> TakenIn:
    """A data set with the rows of new shards: of those named after it, else of those that wait.

    Raises:
        DataRejected: a shard is malformed, or its rows break the data set's expectations.
        UsageError: no data set is named, or there is no shard.
    """
    from components import intake, project
    from components.data import pointer
    from pipelines.config import load_expectations

    if not words:
        raise UsageError("data add wants a data set", "athanor data add DATA_SET [FILE ...]")
    name, *named = words
    pointer.chosen(pointer.recorded(project.root()), [name])
    shards = tuple(map(Path, named)) or intake.waiting(name)
    if not shards:
        raise UsageError(
            f"no shard waits in {INCOMING}/{name}/",
            f"move one there, or name it: athanor data add {name} FILE",
        )
    taken = intake.take_in(name, shards, load_expectations(name))
    if taken.before != taken.after:
        tell_of_change(name, taken.after)
    return taken


def tell_of_change(name: str, digest: str) -> None:
    """Let whoever waits for new data know; nobody does where no deployments stand."""
    from importlib import util

    if util.find_spec("pipelines.deployments") and util.find_spec("pipelines.deployments.events"):
        from importlib import import_module

        events = import_module("pipelines.deployments.events")
        events.emit("data_changed", name, {"digest": digest})


def text(found: Record) -> str:
    """One line a data set."""
    lines = []
    if isinstance(found, Status | Verified | Pulled):
        for one in found.data_sets:
            size = f"{one.files:>3} files {one.size_bytes / 1e6:7.2f} MB"
            lines.append(f"{one.state:<8} {one.name:<20} {size}   {one.tree[:12]}")
    if isinstance(found, Status):
        lines += [f"not recorded: data/{name}" for name in found.unrecorded]
        if found.absent:
            lines.append(f"  -> athanor data pull {' '.join(found.absent)}")
    if isinstance(found, Recorded):
        lines.append(f"data/ is {found.tree} now; commit data.dvc and configs/data/tree.json")
        lines += [
            f"{word} data/{path}"
            for word in ("added", "changed", "removed")
            for path in vars(found)[word]
        ]
    if isinstance(found, TakenIn):
        lines += _taken_lines(found)
    if isinstance(found, Pulled):
        lines += [f"{name} came from the {place}" for name, place in found.came.items()]
        lines += [f"yours was moved to {place}" for place in found.moved]
    return "\n".join(lines)


def _taken_lines(found: TakenIn) -> list[str]:
    added = ", ".join(f"{split} {rows}" for split, rows in found.added.items())
    lines = [
        f"data/{found.data_set}: new rows {added}; {found.repeated} were there already, "
        f"{len(found.left_out)} left out"
    ]
    lines += [f"  {one.place}: {one.reason}: {one.text}" for one in found.left_out[:SHOWN]]
    lines.append(f"all of it stands in {found.note}")
    if found.before == found.after:
        return [*lines, f"data/{found.data_set} stays {found.after[:12]}"]
    lines.append(f"data/{found.data_set} is {found.after[:12]} now, was {found.before[:12]}")
    commit = "git add data.dvc configs/data/tree.json && git commit -m 'Data: new shard'"
    return [*lines, f"  -> {commit}"]


def exit_code(found: Record) -> int:
    """6 where a data set differs from its record, else 0."""
    differs = isinstance(found, Status) and any(o.state == "differs" for o in found.data_sets)
    return 6 if differs else 0
