"""New data become the recorded state: the listing and DVC's pointer are written together."""

from components import files, project
from components.data import dvc, placing, pointer
from components.data.tree import Tree, compare, scan
from components.errors import DataRejected, IntegrityError, UsageError
from components.records import Record


class Recorded(Record):
    """The state that `data.dvc` names now, and what it brought."""

    tree: str
    """md5 of the whole tree with `.dir`."""
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


def record() -> Recorded:
    """Make what lies in `data/` the recorded state; commit both files to git afterwards.

    Raises:
        DataRejected: a recorded data set is absent, a file lies in no data set, or is a link.
        IntegrityError: DVC sees other bytes, because somebody writes at the same time.
        UsageError: the project is not under DVC.
    """
    root = project.root()
    if not dvc.used(root):
        raise UsageError(f"{root} is not under DVC and git", "git init && dvc init")
    placing.settle(root)
    with files.locked(project.home() / "data.lock"):
        before = pointer.recorded(root)
        now = scan(root / "data")
        _demand_data_sets(before, now)
        dvc.add(root)
        pointer.write_listing(root, now)
        if pointer.recorded(root).digest != now.digest:
            raise IntegrityError("data/ changed while it was recorded", "athanor data record")
    differences = compare(before, now)
    return Recorded(
        tree=now.digest,
        added=differences.unlisted,
        changed=differences.changed,
        removed=differences.missing,
    )


def _demand_data_sets(before: Tree, now: Tree) -> None:
    if absent := sorted(set(before.names) - set(now.names)):
        raise DataRejected(
            f"not in data/, so a record would drop them: {', '.join(absent)}",
            f"athanor data pull {' '.join(absent)}",
        )
    if loose := sorted(path for path in now.files if "/" not in path):
        raise DataRejected(f"data/{loose[0]} lies in no data set", "move it into a folder of data/")
