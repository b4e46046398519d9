"""New files of one data set come into `data/` with their record: all of it, whenever it is killed.

What is to come is written into a folder beside `data/`, flushed, with a plan of every step. That
folder takes the name `data.taking` in one rename: before it nothing has happened, after it every
command that reads data goes on with the plan first. Each step of a plan may be done twice.
"""

import logging
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from components import files, project
from components.data import dvc, pointer
from components.data.tree import File, Tree, scan
from components.errors import AthanorError, IntegrityError, ResourceError
from components.records import Record

TAKING = "data.taking"
PLAN = "plan.json"
FILES = "files"
"""Folder beside the plan that holds what is to come."""

log = logging.getLogger(__name__)


class Move(Record):
    """A file of the user's that goes aside once its rows are in `data/`."""

    source: str
    target: str
    """Both relative to the project."""
    sha256: str
    """Of the bytes that were taken in; a file that is another by now stays where it is."""


class Plan(Record):
    """What is to come into one data set."""

    data_set: str
    before: str
    """md5 of the whole recorded tree with `.dir`, and below what is to be recorded."""
    listing: dict[str, dict[str, str | int]]
    """Of all of `data/` afterwards, as `configs/data/tree.json` holds it."""
    paths: tuple[str, ...]
    """Files that come, by their path under the data set's folder."""
    moves: tuple[Move, ...] = ()
    notes: dict[str, str] = {}
    """Text files that say what was taken in: path in the project -> content."""

    @property
    def tree(self) -> Tree:
        """The tree that is to be recorded."""
        return Tree({path: File(**entry) for path, entry in self.listing.items()})  # type: ignore[arg-type]


@contextmanager
def beside(root: Path) -> Iterator[Path]:
    """An empty folder on the file system of `data/`; what a killed command left is removed."""
    for left in root.glob("data.new-*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="data.new-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def place(root: Path, folder: Path, plan: Plan) -> None:
    """Bring what lies in `folder/files` into `data/`; `data.lock` of the home is held.

    Raises:
        ResourceError: `data/` is on another file system; nothing was done.
        AthanorError: a step could not be done; the next command goes on with it.
    """
    if (root / "data").stat().st_dev != folder.stat().st_dev:
        raise ResourceError(
            f"{root / 'data'} lies on another file system than the project: nothing can take its "
            "place there in one step",
            "put data/ and the project on one file system",
        )
    files.write_json(folder / PLAN, plan.model_dump(mode="json"))
    files.sync_folder(folder)
    folder.rename(root / TAKING)
    files.sync_folder(root)
    _go_on(root)


def settle(root: Path) -> None:
    """End what a killed command left half done in `data/`; nothing else than a look otherwise.

    Raises:
        IntegrityError: `data/` was recorded anew meanwhile, so the plan fits no more.
    """
    if not (root / TAKING).is_dir():
        return
    with files.locked(project.home() / "data.lock"):
        if (root / TAKING).is_dir():
            log.warning("going on with what was being taken into data/ when it was interrupted")
            _go_on(root)


def tree_with(root: Path, name: str, new: dict[str, bytes]) -> Tree:
    """The recorded tree with files of one data set added or replaced."""
    from hashlib import md5

    recorded = dict(pointer.recorded(root).files)
    for path, text in new.items():
        found = File(md5(text, usedforsecurity=False).hexdigest(), len(text))
        recorded[f"{name}/{path}"] = found
    return Tree(recorded)


def _go_on(root: Path) -> None:
    """Each step of the plan, those done already once more."""
    taking = root / TAKING
    plan = _plan(taking)
    _demand_same(root, plan)
    for path in plan.paths:
        source, target = taking / FILES / path, root / "data" / plan.data_set / path
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
            files.sync_folder(target.parent)
    if plan.paths:
        pointer.write_listing(root, plan.tree)
        pointer.write_pointer(root, plan.tree)
        _into_cache(root, plan.tree)
    for path, text in plan.notes.items():
        files.write_bytes(root / path, text.encode())
    for move in plan.moves:
        _aside(root, move)
    done = Path(tempfile.mkdtemp(prefix="data.new-", dir=root))
    taking.rename(done / TAKING)  # one rename ends the plan
    shutil.rmtree(done, ignore_errors=True)


def _plan(taking: Path) -> Plan:
    try:
        return Plan.model_validate_json((taking / PLAN).read_bytes())
    except (OSError, ValidationError, ValueError) as error:
        raise IntegrityError(
            f"{taking / PLAN} cannot be read: {error}",
            f"look into it, then move it aside: mv {taking.name} {taking.name}.aside",
        ) from None


def _demand_same(root: Path, plan: Plan) -> None:
    """Let pass a project that records what it did when the plan was made, or what it shall."""
    known = {plan.before, plan.tree.digest}
    named = re.search(r"[0-9a-f]{32}\.dir", (root / pointer.POINTER).read_text())
    if named is None or named[0] not in known:
        raise IntegrityError(
            f"{TAKING}/ was to come into data/ {plan.before[:12]}, which is no more what "
            f"{pointer.POINTER} records",
            f"mv {TAKING} {TAKING}.aside, then take the same files in again",
        )


def _aside(root: Path, move: Move) -> None:
    """Move a file of the user's, unless it is gone or another by now."""
    source, target = root / move.source, root / move.target
    if source.is_file() and files.digest(source) == move.sha256:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
        files.sync_folder(target.parent)
        files.sync_folder(source.parent)


def _into_cache(root: Path, tree: Tree) -> None:
    """Let plain `dvc status` and `dvc push` know a complete `data/`."""
    if not dvc.used(root):
        return
    try:
        if scan(root / "data").digest == tree.digest:
            dvc.commit(root)
    except AthanorError as error:  # the data are recorded; DVC's cache can be filled later
        log.warning("not in DVC's cache yet: %s", error.message)
