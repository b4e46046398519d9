"""Where absent data come from: DVC's cache, the team's remote, or the pinned archives."""

import logging
import shutil
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path

from components import files
from components.data import archives, build, check, dvc
from components.data.archives import Source
from components.data.tree import File, Tree, compare, scan
from components.errors import IntegrityError, ResourceError, ServiceUnreachable

log = logging.getLogger(__name__)


Offered = Callable[[File, Path], bool]
"""Puts the bytes of a recorded file at a path; False where it has none."""


class Network(StrEnum):
    """Whether anything but this machine may be asked."""

    ALLOWED = "allowed"
    OFFLINE = "offline"


def obtain(
    root: Path, tree: Tree, folder: Path, network: Network, offered: Offered | None = None
) -> dict[str, str]:
    """Put every data set of the tree into the folder, proven, and say where each came from.

    A configured remote goes first, then what is `offered`, then the archives; data sets of the
    team's own have no archive.

    Raises:
        IntegrityError: what the archives give is not what is recorded.
        ResourceError: the disk is short.
        ServiceUnreachable: nothing that may be asked gives them.
    """
    _demand_space(folder, tree.size_bytes)
    came: dict[str, str] = {}
    said = "the project is not under DVC"
    if dvc.used(root):
        remote = dvc.remote(root)
        said = f"DVC's cache and its remote {remote!r} do not give it whole"
        if remote or set(tree.names) - build.RECIPES.keys():
            reachable = bool(remote) and network is Network.ALLOWED
            came |= dict.fromkeys(_from_dvc(root, tree, folder, reachable), "dvc")
    if offered is not None:
        left = [name for name in tree.names if name not in came]
        came |= dict.fromkeys(_from_offer(tree, folder, left, offered), "server")
    left = [name for name in tree.names if name not in came]
    for name in left:
        if name not in build.RECIPES:
            raise ServiceUnreachable(
                f"data set {name!r} is built from no archive, and {said}",
                "name the team's storage in .dvc/config, see: dvc remote list; dvc fetch -v",
            )
    if left:
        came |= dict.fromkeys(_from_archives(root, left, folder, network), "archives")
    for name in came:
        _prove(tree.part(name), folder / name, came[name])
    return came


def _from_dvc(root: Path, tree: Tree, folder: Path, reachable: bool) -> list[str]:
    """Names of the data sets that the cache gives whole, the remote asked where it may be."""
    cache = dvc.cache_folder(root)
    whole = [name for name in tree.names if _copied(tree.part(name), cache, folder / name)]
    left = [name for name in tree.names if name not in whole]
    if left and reachable:
        dvc.fetch(root, left)
        whole += [name for name in left if _copied(tree.part(name), cache, folder / name)]
    return whole


def _from_offer(tree: Tree, folder: Path, names: list[str], offered: Offered) -> list[str]:
    """Names of the data sets of which every file is offered."""
    return [
        name
        for name in names
        if all(offered(file, folder / name / at) for at, file in tree.part(name).files.items())
    ]


def _copied(part: Tree, cache: Path, target: Path) -> bool:
    """Copy one data set out of the cache; a damaged object is dropped, so that it comes anew."""
    for path, file in part.files.items():
        source = cache / file.md5[:2] / file.md5[2:]
        if not source.is_file():
            return False
        files.copy(source, target / path)
        if files.digest(target / path, "md5") != file.md5:
            log.warning("DVC's cache held a damaged object for %s: dropped %s", path, source)
            source.unlink()
            return False
    return True


def _from_archives(
    root: Path, names: Iterable[str], folder: Path, network: Network
) -> tuple[str, ...]:
    pinned = archives.sources(root)
    needed = build.needed(names, pinned)
    if network is Network.OFFLINE:
        _demand_kept(needed)
    _demand_space(folder, sum(one.size_bytes for one in needed if not archives.kept(one)))
    paths = {one.name: archives.fetch(one) for one in needed}
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
        build.build(name, paths[build.RECIPES[name].source], folder)
    return tuple(names)


def _demand_kept(needed: Iterable[Source]) -> None:
    absent = [one for one in needed if not archives.kept(one)]
    if absent:
        names = ", ".join(one.filename for one in absent)
        raise ServiceUnreachable(
            f"offline, and absent or damaged in {archives.place(absent[0]).parent}: {names}",
            "put the files there, or run again without --offline",
        )


def _demand_space(folder: Path, size_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < 2 * size_bytes:
        raise ResourceError(
            f"{folder.parent} has {free / 1e6:.0f} MB free, {2 * size_bytes / 1e6:.0f} are needed",
            "free some space and run again",
        )


def _prove(part: Tree, folder: Path, source: str) -> None:
    found = scan(folder)
    differences = compare(part, found)
    if differences:
        one = check.Look(folder.name, part, found, differences)
        wrong = differences.changed + differences.unlisted + differences.missing
        raise IntegrityError(
            f"what {source} give is not what is recorded: {one.says(wrong)}",
            "see what was changed: git status components/data configs/data data.dvc",
        )
