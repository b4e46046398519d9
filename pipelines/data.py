"""`athanor data pull | verify | status | record`, as a person reads them."""

from components.data.check import Status, Verified
from components.data.pull import Pulled
from components.data.record import Recorded
from components.records import Record


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
    network = Network.OFFLINE if offline else Network.ALLOWED
    existing = Existing.ASIDE if replace else Existing.REFUSED
    return pull(names, network=network, existing=existing)


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
    if isinstance(found, Pulled):
        lines += [f"{name} came from the {place}" for name, place in found.came.items()]
        lines += [f"yours was moved to {place}" for place in found.moved]
    return "\n".join(lines)


def exit_code(found: Record) -> int:
    """6 where a data set differs from its record, else 0."""
    differs = isinstance(found, Status) and any(o.state == "differs" for o in found.data_sets)
    return 6 if differs else 0
