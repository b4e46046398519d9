"""What the home holds that could be freed: each kind found on the disk, with who needs it."""

import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from components import files, objects, project
from pipelines import roots, studies
from pipelines.roots import Roots

TRASH = ".trash-"
UNFINISHED = ("*.part", ".fetch-*", f"{TRASH}*")
"""What a killed process leaves where it was writing or freeing."""

Reasons = Mapping[str, Sequence[str]]


class Found(NamedTuple):
    """A thing before the clock is asked: its files, when it was used, who needs it."""

    kind: str
    name: str
    paths: tuple[Path, ...]
    used: float
    needed_by: Collection[str] = ()


def all_but_results(needed: Roots, kept: Reasons) -> Iterator[Found]:
    """Everything but results, where `kept` are the keys of the results that stay, and why."""
    files_of, bundles_of = _named(kept)
    yield from _plans(needed)
    yield from _workspaces(kept)
    yield from _studies(kept)
    yield from _notes()
    yield from _objects(files_of)
    yield from _bundles(needed, bundles_of)
    yield from _archives(needed)
    yield from _temporaries()


def _plans(needed: Roots) -> Iterator[Found]:
    for folder in _entries("plans", folders=True):
        yield Found("plan", folder.name, (folder,), _latest(folder), needed.plans[folder.name])


def results(needed: Roots) -> Iterator[Found]:
    """Stored results; the one that is a version goes with its bundle."""
    for path in _entries("cache"):
        why = set(needed.results[path.name])
        for digest in roots.bundles_of(roots.result(path)):
            why |= needed.bundles[digest]
        yield Found("result", path.name, (path,), _changed(path), why)


def _workspaces(kept: Reasons) -> Iterator[Found]:
    """The folder of a step: needed with its result, while it runs, and until MLflow shows it."""
    unshipped = roots.unshipped()
    for folder in _entries("work", folders=True):
        why = _of_result(folder.name, kept)
        if folder.name in unshipped:
            why.append("MLflow does not show it yet")
        yield Found("workspace", folder.name, (folder,), _latest(folder), why)


def _studies(kept: Reasons) -> Iterator[Found]:
    """Optuna's studies, named by the key of their search and its inputs."""
    for name, last in studies.last_uses():
        why = _of_result(name.partition("-")[0], kept)
        if studies.held(name):
            why.append("a search holds it")
        yield Found("study", name, (), _seconds(last), why)


def _notes() -> Iterator[Found]:
    """What MLflow does not show yet; a note that is no JSON can never be shown."""
    for path in _entries("tracking"):
        if path.suffix == ".json":
            why = ["MLflow does not show it yet"] if roots.readable(path) else []
            yield Found("note", path.name, (path,), _changed(path), why)


def _objects(named: Reasons) -> Iterator[Found]:
    folder = project.home() / "objects"
    for path in sorted(folder.glob("[0-9a-f][0-9a-f]/*")):
        if path.suffix != ".part":
            with suppress(FileNotFoundError):
                used = objects.used(path.name)
                both = (path, folder / "verified" / path.name)
                yield Found("object", path.name, both, used, named.get(path.name, ()))


def _bundles(needed: Roots, named: Reasons) -> Iterator[Found]:
    for folder in _entries("bundles", folders=True):
        why = {*needed.bundles[folder.name], *named.get(folder.name, ())}
        if files.is_locked(folder.with_suffix(".lock")):
            why.add("it is being fetched")
        yield Found("bundle", folder.name, (folder,), _latest(folder), why)


def _archives(needed: Roots) -> Iterator[Found]:
    for path in _entries("archives"):
        yield Found("archive", path.name, (path,), _changed(path), needed.archives[path.name])


def _temporaries() -> Iterator[Found]:
    home = project.home()
    seen: set[Path] = set()
    for pattern in UNFINISHED:
        for path in sorted(home.rglob(pattern)):
            theirs = path.relative_to(home).parts[:2] == ("mlflow", "artifacts")
            if not theirs and not seen.intersection(path.parents):
                seen.add(path)
                name = str(path.relative_to(home))
                yield Found("temporary", name, (path,), _latest(path))


def _named(kept: Reasons) -> tuple[Reasons, Reasons]:
    """Objects and bundles that these results name, each with why the first of them is kept."""
    files_of: dict[str, tuple[str, ...]] = {}
    bundles_of: dict[str, tuple[str, ...]] = {}
    for name, why in kept.items():
        value = roots.result(project.home() / "cache" / name)
        label = (f"result {name[:12]}: {why[0]}",)
        for sha in roots.objects_of(value):
            files_of.setdefault(sha, label)
        for digest in roots.bundles_of(value):
            bundles_of.setdefault(digest, label)
    return files_of, bundles_of


def _of_result(key: str, kept: Reasons) -> list[str]:
    """Why what belongs to a key is needed: its result is, or a run works on it."""
    why = [f"its result: {kept[key][0]}"] if key in kept else []
    if files.is_locked(project.home() / "locks" / f"{key}.lock"):
        why.append("a run works on it")
    return why


def _seconds(moment: str | datetime | None) -> float:
    """Local time of a trial as Optuna writes it; a study without a trial is as old as can be."""
    known = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return known.timestamp() if known else 0.0


def _entries(name: str, folders: bool = False) -> list[Path]:
    """Plain files, or folders, directly in a part of the home; none that begins with a dot."""
    try:
        found = sorted((project.home() / name).iterdir())
    except FileNotFoundError:
        return []
    return [
        path
        for path in found
        if not path.name.startswith(".")
        and path.suffix != ".lock"
        and (path.is_dir() if folders else path.is_file())
    ]


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def _latest(path: Path) -> float:
    """When anything in a folder changed last."""
    return max((_changed(each) for each in (path, *path.rglob("*"))), default=0.0)


def size_bytes(path: Path) -> int:
    total = 0
    for each in (path, *path.rglob("*")) if path.is_dir() else (path,):
        with suppress(FileNotFoundError):
            status = each.lstat()
            total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total
