"""What a project, its environment and its machine lack, each with the exact remedy.

Nothing heavy is imported: versions come from the installed metadata, databases are read as files.
"""

import importlib.metadata
import os
import re
import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from components import bucket, databases, postgres, project
from components.bucket import asking
from components.errors import AthanorError
from components.keeping import layouts, moved
from components.records import Record
from pipelines.wording import counted

Level = Literal["ok", "warn", "bad"]

MINIMUM_FREE_BYTES = 2_000_000_000
"""Below this a training with checkpoints and exports may fill the disk."""
SETUP = "make setup"


class Finding(Record):
    """One thing that was examined."""

    name: str
    level: Level
    found: str
    fix: str = ""
    """The command or the act that mends it; empty when all is well."""


def examine() -> tuple[Finding, ...]:
    """Everything that a run needs, in the order in which it would be missed."""
    examinations: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python,
        _libraries,
        _unwelcome,
        _home,
        _stores,
        _bucket,
        _templates,
        _servers,
        _data,
        _remote,
        _disk,
        _threads,
        _gpu,
    )
    return tuple(finding for examination in examinations for finding in examination())


def document(findings: tuple[Finding, ...]) -> dict[str, Any]:
    """The same as JSON."""
    return {"findings": [finding.model_dump(mode="json") for finding in findings]}


def text(findings: tuple[Finding, ...]) -> str:
    """One line a finding, its remedy below it."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<4}  {finding.name:<{width}}  {finding.found}")
        if finding.fix:
            lines.append(f"      {'':<{width}}  -> {finding.fix}")
    return "\n".join(lines)


def exit_code(findings: tuple[Finding, ...]) -> int:
    """7 where something is bad, else 0."""
    return 7 if any(finding.level == "bad" for finding in findings) else 0


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] == (3, 11):
        yield Finding(name="python", level="ok", found=f"{version} at {sys.executable}")
    else:
        yield Finding(
            name="python",
            level="bad",
            found=f"{version}; needed is 3.11, the one that is tested",
            fix=f"install it, remove .venv, then: {SETUP}",
        )


def _libraries() -> Iterator[Finding]:
    """Every declared dependency, its installed version inside the declared bounds."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        declared = importlib.metadata.requires("athanor") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding(name="athanor", level="bad", found="is not installed", fix=SETUP)
        return
    wrong = 0
    for line in declared:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        if not version or not requirement.specifier.contains(version, prereleases=True):
            wrong += 1
            found = f"{version or 'absent'}; needed is {requirement.specifier}"
            yield Finding(name=requirement.name, level="bad", found=found, fix=SETUP)
    if not wrong:
        yield Finding(name="libraries", level="ok", found=f"{len(declared)} within their bounds")


def _unwelcome() -> Iterator[Finding]:
    """Packages that break the others only by being there."""
    for name in ("torchvision", "torchaudio"):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        yield Finding(
            name=name,
            level="warn",
            found=f"{version} is installed; its build can clash with the pinned torch",
            fix=f"{sys.executable} -m pip uninstall -y {name}",
        )


def _home() -> Iterator[Finding]:
    try:
        home = project.home()
    except AthanorError as error:
        yield Finding(name="home", level="bad", found=error.message, fix=error.remedy)
        return
    mode = stat.S_IMODE(home.stat().st_mode)
    if mode & 0o077:
        found = f"{home} can be read by others (mode {mode:o})"
        yield Finding(name="home", level="bad", found=found, fix=f"chmod 700 {home}")
    elif not os.access(home, os.W_OK):
        found = f"{home} is not writable"
        yield Finding(name="home", level="bad", found=found, fix=f"chown -R $USER {home}")
    else:
        yield Finding(name="home", level="ok", found=f"{home}, layout {layouts.LAYOUT}, private")


def _stores() -> Iterator[Finding]:
    """Each database: readable, whole, of the installed version's layout."""
    from pipelines import templates

    if (home := _existing_home()) is None:
        return
    if (place := moved.recorded(home)) is not None and place != home:
        found = f"its files are recorded at {place}, the home lies at {home}"
        yield Finding(name="mlflow files", level="warn", found=found, fix="athanor models")
    if there := postgres.address():
        yield _postgresql(there)
        return
    for name in templates.STORES:
        path = home / name / f"{name}.db"
        if not path.is_file():
            yield Finding(name=name, level="ok", found="no database yet; the first run makes it")
            continue
        problem = _damage(path)
        if problem:
            aside = f"mv {path} {path}.damaged (a copy of yours can take its place)"
            found = f"{path} is damaged: {problem}"
            yield Finding(name=name, level="bad", found=found, fix=aside)
        elif stat.S_IMODE(path.stat().st_mode) & 0o077:
            found = f"{path} can be read by others"
            yield Finding(name=name, level="warn", found=found, fix=f"chmod 600 {path}")
        else:
            size = f"{path.stat().st_size / 1e6:.1f} MB"
            yield Finding(name=name, level="ok", found=f"database whole, {size}")


def _postgresql(there: postgres.Address) -> Finding:
    """The server of the home: it lets us in, and knows no layout that we do not."""
    try:
        postgres.examine(there)
    except AthanorError as error:
        return Finding(name="postgresql", level="bad", found=error.message, fix=error.remedy)
    return Finding(name="postgresql", level="ok", found=f"three databases at {there.shown}")


def _bucket() -> Iterator[Finding]:
    """The bucket of the home: it lets us list, write and read."""
    if _existing_home() is None or (there := bucket.address()) is None:
        return
    try:
        asking.examine(there)
    except AthanorError as error:
        yield Finding(name="s3", level="bad", found=error.message, fix=error.remedy)
    else:
        yield Finding(name="s3", level="ok", found=f"artifacts in {there.shown}")


def _damage(path: Path) -> str:
    """What SQLite finds wrong in the file; quick, so not every index entry is compared."""
    try:
        with databases.reading(path, timeout_s=2) as connection:
            [(answer,)] = connection.execute("PRAGMA quick_check(1)")
    except sqlite3.OperationalError as error:
        return "" if "locked" in str(error) else str(error)
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if answer == "ok" else str(answer)


def _templates() -> Iterator[Finding]:
    from pipelines import templates

    folder = templates.folder()
    try:
        fresh = templates.fresh(folder)
    except importlib.metadata.PackageNotFoundError:
        fresh = False
    if fresh:
        yield Finding(name="templates", level="ok", found=f"{folder}, of the installed versions")
    else:
        command = f"{sys.executable} -m pipelines.templates"
        found = "not made for the installed versions: the first run of a home is slower"
        yield Finding(name="templates", level="warn", found=found, fix=command)


def _servers() -> Iterator[Finding]:
    from pipelines import servers

    if (home := _existing_home()) is None:
        return
    found = servers.running(home) or servers.Servers()
    live = {"mlflow": found.mlflow, "prefect": found.prefect}
    up = [f"{name} at {server.url}" for name, server in live.items() if server]
    if not (home / "servers.json").is_file():
        yield Finding(name="servers", level="ok", found="not up; runs work without them")
    elif len(up) == len(live):
        yield Finding(name="servers", level="ok", found=", ".join(up))
    else:
        gone = ", ".join(name for name, server in live.items() if not server)
        yield Finding(name="servers", level="warn", found=f"{gone} died", fix="athanor up")


def _data() -> Iterator[Finding]:
    """Which recorded data sets lie in `data/`, by size only; `athanor data verify` hashes them."""
    from components.data import pointer

    try:
        root = project.root()
        tree = pointer.recorded(root)
    except AthanorError as error:
        yield Finding(name="data", level="bad", found=error.message, fix=error.remedy)
        return
    lacking = [
        name
        for name in tree.names
        if any(
            not _same_size(root / "data" / name / path, file.size_bytes)
            for path, file in tree.part(name).files.items()
        )
    ]
    if lacking:
        found = f"absent or incomplete: {', '.join(lacking)}"
        fix = f"athanor data pull {' '.join(lacking)}"
        yield Finding(name="data", level="warn", found=found, fix=fix)
    else:
        yield Finding(name="data", level="ok", found=f"complete: {', '.join(tree.names)}")


def _same_size(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat().st_size == size_bytes
    except OSError:
        return False


def _remote() -> Iterator[Finding]:
    """DVC's default remote, read from its configuration files without DVC."""
    try:
        folder = project.root() / ".dvc"
    except AthanorError:
        return
    lines = [
        line.strip()
        for name in ("config", "config.local")
        if (folder / name).is_file()
        for line in (folder / name).read_text().splitlines()
        if not line.lstrip().startswith(("#", ";"))
    ]
    remotes = [match[1] for line in lines if (match := re.match(r"remote\s*=\s*(\S+)", line))]
    if not remotes:
        found = "none; data sets are rebuilt from pinned public archives"
        yield Finding(name="dvc remote", level="ok", found=found)
    elif not any(re.match(r"verify\s*=\s*true", line) for line in lines):
        found = f"{remotes[-1]} does not hash what it downloads"
        fix = f"dvc remote modify {remotes[-1]} verify true"
        yield Finding(name="dvc remote", level="warn", found=found, fix=fix)
    else:
        yield Finding(name="dvc remote", level="ok", found=remotes[-1])


def _disk() -> Iterator[Finding]:
    if (home := _existing_home()) is None:
        return
    free = shutil.disk_usage(home).free
    found = f"{free / 1e9:.1f} GB free at {home}"
    if free < MINIMUM_FREE_BYTES:
        need = f"{found}; a run wants {MINIMUM_FREE_BYTES / 1e9:.0f} GB"
        fix = "free some, or point ATHANOR_HOME at another disk"
        yield Finding(name="disk", level="bad", found=need, fix=fix)
    else:
        yield Finding(name="disk", level="ok", found=found)


def _threads() -> Iterator[Finding]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wanted = os.environ.get("OMP_NUM_THREADS")
    found = f"{usable} usable cores, OMP_NUM_THREADS {wanted or 'unset'}"
    if wanted and wanted.isdigit() and int(wanted) > (usable or 1):
        fix = f"export OMP_NUM_THREADS={usable}"
        yield Finding(name="threads", level="warn", found=found, fix=fix)
    else:
        yield Finding(name="threads", level="ok", found=found)


def _gpu() -> Iterator[Finding]:
    """Devices that the kernel shows, and whether the installed torch can use them."""
    devices = sorted(Path("/dev").glob("nvidia[0-9]*"))
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return
    if devices and torch.endswith("+cpu"):
        fix = "make setup TORCH_INDEX=<the index of a CUDA build>"
        found = f"{counted(len(devices), 'device')}, but torch {torch} is built without CUDA"
        yield Finding(name="gpu", level="warn", found=found, fix=fix)
    else:
        found = counted(len(devices), "device") if devices else "none; training on the processor"
        yield Finding(name="gpu", level="ok", found=f"{found}, torch {torch}")


def _existing_home() -> Path | None:
    """The home; None where it cannot be had, which `_home` has said already."""
    try:
        return project.home()
    except AthanorError:
        return None
