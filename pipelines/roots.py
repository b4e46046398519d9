"""What of the home is still needed, and why: a function for each kind of root.

A root is a key of a stored result, the digest of a bundle, or the name of an archive. Every
function gives its roots with the reason in words; `sweep` frees what none of them names.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from components import mlflow_store, project
from components.errors import AthanorError, ServiceUnreachable
from pipelines.keys import key, remembered

Why = dict[str, set[str]]
"""Key or digest -> reasons."""


class Roots(NamedTuple):
    """What is needed, by what it is, each with its reasons."""

    results: Why
    bundles: Why
    archives: Why
    plans: Why
    """By name of a run."""
    notes: list[str]
    """Roots that could not be read in full, and what that means."""


def gather() -> Roots:
    """Every root of the home and the project, as of now.

    Raises:
        IntegrityError: the home's registry is damaged or gone.
        ServiceUnreachable: the registry does not answer: nobody knows what its versions need.
    """
    roots = Roots(defaultdict(set), defaultdict(set), defaultdict(set), defaultdict(set), [])
    of_versions(roots)
    of_ledger(roots)
    of_decisions(roots)
    of_configs(roots)
    of_last_results(roots)
    of_sources(roots)
    return roots


def of_versions(roots: Roots) -> None:
    """Each registered version needs its bundle and the results that it was made from."""
    from components import registry

    if _empty():
        return
    for name in registry.names():
        for version in registry.versions(name):
            label = f"version {name}/{version.version}"
            aliases = ", ".join(version.aliases)
            reason = f"{label} ({aliases})" if aliases else label
            if version.bundle:
                roots.bundles[version.bundle].add(reason)
                for made_by in _lineage(name, version.version, version.bundle, roots):
                    roots.results[made_by].add(reason)


def _empty() -> bool:
    """Whether the home's own registry does not exist yet: to ask it would make it.

    Raises:
        IntegrityError: it did exist, and is gone or damaged: nobody knows what its versions need.
    """
    uri = mlflow_store.tracking_uri()
    in_file = uri == mlflow_store.embedded_uri() and uri.startswith(mlflow_store.SCHEME)
    return in_file and not mlflow_store.exists(project.home() / "mlflow" / mlflow_store.DATABASE)


def of_ledger(roots: Roots) -> None:
    """Each bundle that the history names as evidence."""
    from components import history, registry

    if _empty():
        return
    for name in sorted({*history.names(), *registry.names()}):
        for event in history.history(name):
            for digest in _named(event.evidence, "bundle"):
                roots.bundles[digest].add(f"history of {name}, v{event.version}")


def of_decisions(roots: Roots) -> None:
    """Each bundle that a stored decision is about."""
    folder = project.home() / "decisions"
    for path in sorted(folder.rglob("*.json")):
        for digest in _named(_read(path), "bundle"):
            label = f"{path.parent.relative_to(folder)} v{path.stem.partition('-')[0]}"
            roots.bundles[digest].add(f"decision on {label}")


def of_configs(roots: Roots) -> None:
    """The cached steps of each run config of the project, as the planner reads it today."""
    from pipelines import running
    from pipelines.config import run_files

    try:
        folder = project.root() / "configs"
    except AthanorError as error:
        roots.notes.append(f"no config is read: {error.message}")
        return
    for path in run_files(folder):
        shown = f"configs/{path.name}"
        try:
            outlooks = running.plan(path, running.Wishes())
        except AthanorError as error:
            first = error.message.splitlines()[0]
            roots.notes.append(f"{shown} cannot be planned, its last results count: {first}")
            continue
        for outlook in outlooks:
            if outlook.key is not None:
                roots.results[outlook.key].add(f"{shown}, {outlook.name}")


def of_last_results(roots: Roots) -> None:
    """The last result of each step of each run whose config is here."""
    names = _config_names()
    for folder in _folders(project.home() / "plans"):
        if (config := names.get(folder.name)) is None:
            continue
        roots.plans[folder.name].add(f"{config} is here")
        for path in sorted(folder.glob("*.json")):
            try:
                last = remembered(path)
            except (OSError, ValueError) as error:
                roots.notes.append(f"the last {path.stem} of {config} does not count: {error}")
                continue
            roots.results[key(last)].add(f"last {path.stem} of {config}")


def of_sources(roots: Roots) -> None:
    """The archives that the project pins: data sets are rebuilt from them without a network."""
    from components.data import archives

    with suppress(AthanorError):
        for source in archives.sources(project.root()).values():
            roots.archives[source.filename].add(f"pinned in {archives.LOCK}")


def objects_of(value: Any) -> Iterator[str]:
    """sha256 of every object that a stored result names, at any depth."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name == "files" and isinstance(part, dict):
                yield from (sha for sha in part.values() if isinstance(sha, str))
            else:
                yield from objects_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from objects_of(part)


def bundles_of(value: Any) -> Iterator[str]:
    """Digest of every bundle that a stored result names."""
    return _named(value, "bundle")


def result(path: Path) -> Any:
    """The content of a stored result as plain JSON; None where it cannot be read."""
    wrapped = _read(path)
    try:
        return json.loads(wrapped["result"])
    except (TypeError, KeyError, ValueError):
        return None


def readable(path: Path) -> bool:
    """Whether a file is JSON."""
    return _read(path) is not None


def unshipped() -> set[str]:
    """Names of the folders in `work/` of which MLflow does not show everything yet.

    By name: the home may lie elsewhere than when the note was written, or be reached by a link.
    """
    needed: set[str] = set()
    for path in (project.home() / "tracking").glob("*.json"):
        note = _read(path)
        if isinstance(note, dict) and note.get("journal"):
            needed.add(Path(note["journal"]).parent.name)
    return needed


def _lineage(name: str, number: int, bundle: str, roots: Roots) -> list[str]:
    """Keys of the steps that a version was made by, as its bundle tells them."""
    provenance = project.home() / "bundles" / bundle / "provenance.json"
    try:
        steps = json.loads(provenance.read_bytes())["facts"]["steps"]
        return [step["key"] for step in steps.values()]
    except FileNotFoundError:
        return _lineage_of_registry(name, number, roots)
    except (OSError, ValueError, KeyError, TypeError) as error:
        roots.notes.append(f"{provenance} cannot be read ({error}): athanor verify {name}/{number}")
        return []


def _lineage_of_registry(name: str, number: int, roots: Roots) -> list[str]:
    """The same, where the bundle is not in the home: its one file is fetched and dropped.

    Raises:
        ServiceUnreachable: what it lies in is away: nobody knows what the version needs.
    """
    from components.registry import fetching

    with TemporaryDirectory(prefix="athanor-gc-") as temporary:
        found = fetching.version(name, number)
        try:
            got = fetching.part(found, f"{fetching.FOLDER}/provenance.json", temporary)
            steps = json.loads(Path(got).read_bytes())["facts"]["steps"]
        except ServiceUnreachable:
            raise
        except Exception as error:  # noqa: BLE001  a storage library raises what it likes
            first = (str(error).strip().splitlines() or [""])[0]
            roots.notes.append(f"what {name}/{number} was made by cannot be read: {first[:200]}")
            return []
        return [step["key"] for step in steps.values()]


def _config_names() -> dict[str, str]:
    """Name of a run -> the config that has it, of the configs that can be read."""
    from pipelines.config import load_run, run_files

    found: dict[str, str] = {}
    with suppress(AthanorError):
        for path in run_files(project.root() / "configs"):
            with suppress(AthanorError):
                found[load_run(path).name] = f"configs/{path.name}"
    return found


def _named(value: Any, field: str) -> Iterator[str]:
    """Digests under a field of this name, at any depth."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name == field and isinstance(part, str) and len(part) == 64:
                yield part
            else:
                yield from _named(part, field)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _named(part, field)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_dir())
    except OSError:
        return []


def when(seconds: float) -> str:
    """A time since 1970 as UTC to the second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
