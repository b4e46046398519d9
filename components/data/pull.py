"""What is recorded comes into `data/`: whole, proven, and never over a file of the user's."""

import logging
from collections.abc import Sequence
from enum import StrEnum
from itertools import count
from pathlib import Path

from components import files, project
from components.data import check, dvc, placing, pointer
from components.data.check import DataSet, Look
from components.data.obtain import Network, Offered, obtain
from components.data.tree import Tree
from components.errors import IntegrityError
from components.records import Record

log = logging.getLogger(__name__)


class Existing(StrEnum):
    """What happens to files of the user's that are not the recorded ones."""

    REFUSED = "refused"
    """Nothing is done at all."""
    ASIDE = "aside"
    """They are moved to `data.old-<n>/`."""


class Pulled(Record):
    """What lies in `data/` now, and where it came from."""

    data_sets: tuple[DataSet, ...]
    came: dict[str, str]
    """Data set -> `dvc`, `server` or `archives`; those that were here already are not named."""
    moved: tuple[str, ...]
    """Where files of the user's lie now, relative to the project."""
    in_dvc_cache: bool
    """Whether plain `dvc status`, `push` and `checkout` run clean: after a full pull they do."""


def pull(
    names: Sequence[str] = (),
    *,
    network: Network = Network.ALLOWED,
    existing: Existing = Existing.REFUSED,
    offered: Offered | None = None,
) -> Pulled:
    """These data sets under `data/`, byte for byte as recorded; without names, all of them.

    `offered` is asked after the team's remote and before the archives. Two pulls at once wait for
    each other. A kill leaves whole files only; the next pull goes on.

    Raises:
        IntegrityError: a file in the way is not the recorded one, what was obtained is not what
            is recorded, or the records disagree.
        ResourceError: the disk is short.
        ServiceUnreachable: nothing that may be asked gives the data.
        UsageError: a name is not recorded.
    """
    root = project.root()
    placing.settle(root)
    with files.locked(project.home() / "data.lock"):
        tree = pointer.recorded(root)
        wanted = pointer.chosen(tree, names)
        looks = [check.look(root, tree, name) for name in wanted]
        if existing is Existing.REFUSED:
            for one in looks:
                _demand_room(one)
        came, moved = _fill(root, tree, looks, (network, offered))
        kept = wanted == tree.names and _keep(root, tree)
        return Pulled(
            data_sets=tuple(check.look(root, tree, name).record for name in wanted),
            came=came,
            moved=moved,
            in_dvc_cache=kept,
        )


def _fill(
    root: Path,
    tree: Tree,
    looks: Sequence[Look],
    sources: tuple[Network, Offered | None],
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Obtain beside `data/`, move aside what is in the way, and put in place."""
    lacking = [one.name for one in looks if one.differences.missing or one.differences.changed]
    came: dict[str, str] = {}
    with placing.beside(root) as folder:
        if lacking:
            came = obtain(root, tree.only(lacking), folder, *sources)
        moved = _move_aside(root, looks)
        for one in looks:
            _place(one, folder / one.name, root / "data" / one.name)
    return came, moved


def _place(one: Look, source: Path, target: Path) -> None:
    """Rename files into `data/`: the whole folder where there is none yet."""
    wanted = one.differences.missing + one.differences.changed
    if not wanted:
        return
    target.parent.mkdir(exist_ok=True)
    if not target.exists():
        source.replace(target)
    for path in wanted:
        if (source / path).exists():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).replace(target / path)
            files.sync_folder((target / path).parent)
    files.sync_folder(target.parent)
    log.info("data/%s: %d files", one.name, len(wanted))


def _demand_room(one: Look) -> None:
    """Let pass what lacks files only: those of the user's are not touched."""
    if one.differences.changed or one.differences.unlisted:
        check.refuse(one)


def _move_aside(root: Path, looks: Sequence[Look]) -> tuple[str, ...]:
    paths = [
        f"{one.name}/{path}"
        for one in looks
        for path in one.differences.changed + one.differences.unlisted
    ]
    if not paths:
        return ()
    old = next(place for number in count(1) if not (place := root / f"data.old-{number}").exists())
    for path in paths:
        (old / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "data" / path).replace(old / path)
    files.sync_folder(old)
    return tuple(f"{old.name}/{path}" for path in paths)


def _keep(root: Path, tree: Tree) -> bool:
    """Put a complete `data/` into DVC's cache; whether that could be done.

    Raises:
        IntegrityError: DVC rewrote its pointer, which is put back.
    """
    if not dvc.used(root) or check.unrecorded(root, tree):
        return False
    path = root / pointer.POINTER
    before = path.read_bytes()
    dvc.commit(root)
    if path.read_bytes() != before:
        files.write_bytes(path, before)
        raise IntegrityError(f"DVC rewrote {pointer.POINTER}; it was put back", "dvc status")
    return True
