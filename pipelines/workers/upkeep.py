"""What `up` and `down` do for the worker of a home."""

from collections.abc import Callable
from pathlib import Path

from components.errors import UsageError
from pipelines import devices
from pipelines.wording import counted
from pipelines.workers import keeper, standing
from pipelines.workers.standing import Standing, Wanted

WAITING = Wanted(slots=0)
"""A worker of runs alone: their steps are done on other machines."""


def wanted(home: Path, slots: int | None, named: str | None) -> Wanted | None:
    """The worker that a command line asks for; what it leaves open stays as it was.

    None: no worker.

    Raises:
        UsageError: there is no such device, or the number of slots cannot be.
    """
    if slots is not None and slots < 0:
        raise UsageError(f"--slots: {slots} is no number of slots", "name 0 or more")
    if slots == 0 and not named:
        return None
    known = standing.known(home)
    usual = known.wanted if known else standing.usual()
    chosen = usual.devices
    if named is not None:
        chosen = devices.chosen([word.strip() for word in named.split(",") if word.strip()])
    return Wanted(slots=usual.slots if slots is None else slots, devices=chosen)


def up(home: Path, wanted: Wanted | None) -> Standing | None:
    """The worker and its keeper, started or left as they are; both stopped where none is wanted."""
    if wanted is None:
        down(home)
        return None
    found = standing.up(home, wanted)
    keeper.ensure(home)
    return found


def down(home: Path, say: Callable[[str], None] = lambda text: None) -> tuple[str, ...]:
    """Stop the keeper, then the worker once its steps left checkpoints; names of what ran."""
    kept = keeper.stop(home)
    worked = standing.drain(home, say)
    return tuple(name for name, ran in (("keeper", kept), ("worker", worked)) if ran)


def text(found: Standing) -> str:
    """One line for a person."""
    given = [counted(found.wanted.slots, "slot")]
    if found.wanted.devices:
        given.append(f"devices {', '.join(each.name for each in found.wanted.devices)}")
    return f"{found.name} (process {found.pid}), {' and '.join(given)}"
