"""New data of a config come in, the way that was asked for; what is to be said of it."""

from collections.abc import Sequence
from pathlib import Path

from components import intake, project
from components.data import check, dvc, placing, pointer
from components.data.pull import Existing, Pulled, pull
from components.errors import IntegrityError, UsageError
from pipelines import data as commands


def bring(names: Sequence[str], source: str) -> tuple[str, ...]:
    """Bring what is new into `data/`, and say what came.

    Raises:
        DataRejected: a shard breaks a rule; nothing was taken in.
        IntegrityError: a file of the user's, never recorded, is in the way.
        ServiceUnreachable: nobody gives what is recorded.
        UsageError: no data set of this name is recorded.
    """
    root = project.root()
    placing.settle(root)
    pointer.chosen(pointer.recorded(root), names)
    if source == "pull":
        return _pulled(root, names)
    if source == "incoming":
        return _taken_in(names)
    if source != "as-is":
        raise UsageError(f"--data {source!r} is no source", "there are: pull, incoming, as-is")
    return ()


def digests(names: Sequence[str]) -> dict[str, str]:
    """The recorded digest of each data set."""
    tree = pointer.recorded(project.root())
    return {name: tree.part(name).digest for name in names}


def _pulled(root: Path, names: Sequence[str]) -> tuple[str, ...]:
    try:
        found = pull(names)
    except IntegrityError:
        if not _recorded_before(root, names):
            raise
        found = pull(names, existing=Existing.ASIDE)
    for name in found.came:
        commands.tell_of_change(name, _digest(found, name))
    came = [f"data/{name} came from the {place}" for name, place in found.came.items()]
    return (*came, *(f"an earlier state was moved to {place}" for place in found.moved))


def _recorded_before(root: Path, names: Sequence[str]) -> bool:
    """Whether everything in the way is an earlier recorded state: DVC's cache has it."""
    if not dvc.used(root):
        return False
    cache, tree = dvc.cache_folder(root), pointer.recorded(root)
    for name in names:
        one = check.look(root, tree, name)
        for path in one.differences.changed + one.differences.unlisted:
            md5 = one.found.files[path].md5
            if not (cache / md5[:2] / md5[2:]).is_file():
                return False
    return True


def _digest(found: Pulled, name: str) -> str:
    return next(one.tree for one in found.data_sets if one.name == name)


def _taken_in(names: Sequence[str]) -> tuple[str, ...]:
    said: list[str] = []
    for name in names:
        if not intake.waiting(name):
            continue
        try:
            said += commands.text(commands.add((name,))).splitlines()
        except UsageError:
            if intake.waiting(name):
                raise
            said.append(f"another command took in what waited for {name}")
    return tuple(said) or ("no shard waits in incoming/",)
