"""Is `data/` what the project recorded? Every file hashed, every difference named."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components import project
from components.data import placing, pointer
from components.data.tree import Differences, Tree, compare, scan, walk
from components.errors import IntegrityError
from components.records import Record

SHOWN = 5
"""Files named in one message; the rest are counted."""


class DataSet(Record):
    """One recorded data set and what lies in its folder."""

    name: str
    tree: str
    """md5 of the recorded sub-tree with `.dir`, the DVC digest."""
    state: Literal["present", "absent", "differs"]
    files: int
    size_bytes: int
    """Of the recorded files."""
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()


class Status(Record):
    """All data sets that the project records, and what else lies in `data/`."""

    tree: str
    """md5 of the whole recorded tree, as in data.dvc."""
    data_sets: tuple[DataSet, ...]
    unrecorded: tuple[str, ...]
    """Names directly under `data/` that no record knows."""

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the data sets that are not here."""
        return tuple(one.name for one in self.data_sets if one.state == "absent")


class Verified(Record):
    """Data sets whose every byte is the recorded one."""

    data_sets: tuple[DataSet, ...]
    absent: tuple[str, ...] = ()
    """Recorded data sets that were not asked for by name and are not here."""


@dataclass(frozen=True)
class Look:
    """One data set's folder beside its record."""

    name: str
    recorded: Tree
    found: Tree
    differences: Differences

    def line(self, path: str) -> str:
        """What is wrong with one file, with the first letters of both md5."""
        shown = f"data/{self.name}/{path}"
        if path in self.differences.missing:
            return f"{shown} is missing"
        if path in self.differences.unlisted:
            return f"{shown} is not in {pointer.LISTING}"
        expected, found = self.recorded.files[path], self.found.files[path]
        return (
            f"{shown} has md5 {found.md5[:8]} ({found.size_bytes} bytes), "
            f"recorded is {expected.md5[:8]} ({expected.size_bytes} bytes)"
        )

    def says(self, paths: Sequence[str]) -> str:
        """What is wrong with these files, in one line."""
        lines = [self.line(path) for path in paths[:SHOWN]]
        more = len(paths) - len(lines)
        return "; ".join(lines) + (f"; and {more} more files" if more else "")

    @property
    def record(self) -> DataSet:
        """The look as a record."""
        differs = "differs" if self.found.files else "absent"
        return DataSet(
            name=self.name,
            tree=self.recorded.digest,
            state=differs if self.differences else "present",
            files=len(self.recorded.files),
            size_bytes=self.recorded.size_bytes,
            missing=self.differences.missing,
            changed=self.differences.changed,
            unlisted=self.differences.unlisted,
        )


def look(root: Path, tree: Tree, name: str) -> Look:
    """Hash one data set's folder and hold it beside the record."""
    recorded, found = tree.part(name), scan(root / "data" / name)
    return Look(name, recorded, found, compare(recorded, found))


def status() -> Status:
    """What of the recorded data is here, absent or different; refuses nothing.

    Raises:
        IntegrityError: the records themselves disagree.
    """
    root = project.root()
    placing.settle(root)
    tree = pointer.recorded(root)
    return Status(
        tree=tree.digest,
        data_sets=tuple(look(root, tree, name).record for name in tree.names),
        unrecorded=unrecorded(root, tree),
    )


def verify(names: Sequence[str] = ()) -> Verified:
    """Proof by hashing that these data sets are the recorded ones; without names, all here.

    Raises:
        IntegrityError: a file is missing, changed or unlisted; a named data set, or every one,
            is absent; or the records disagree.
        UsageError: a name is not recorded.
    """
    root = project.root()
    placing.settle(root)
    tree = pointer.recorded(root)
    looks = [look(root, tree, name) for name in pointer.chosen(tree, names)]
    absent = tuple(one.name for one in looks if not one.found.files)
    if absent and (names or len(absent) == len(looks)):
        raise IntegrityError(
            f"not in data/: {', '.join(absent)}", f"athanor data pull {' '.join(absent)}"
        )
    here = [one for one in looks if one.found.files]
    for one in here:
        refuse(one)
    return Verified(data_sets=tuple(one.record for one in here), absent=absent)


def refuse(one: Look) -> None:
    """Let a data set pass only if it is the recorded one.

    Raises:
        IntegrityError: it is not; the message names the files and both hashes.
    """
    if not one.differences:
        return
    wrong = one.differences.changed + one.differences.unlisted
    remedy = f"athanor data pull {one.name}"
    if wrong:
        remedy = (
            f"move yours aside and take the recorded files: {remedy} --replace "
            "(to record yours instead, see docs/data.md)"
        )
    raise IntegrityError(one.says(wrong + one.differences.missing), remedy)


def unrecorded(root: Path, tree: Tree) -> tuple[str, ...]:
    """What lies directly under `data/` and belongs to no recorded data set."""
    folder = root / "data"
    tops = {path.relative_to(folder).parts[0] for path in walk(folder)}
    return tuple(sorted(tops - set(tree.names)))
