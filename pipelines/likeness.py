"""What a step's result depends on besides its inputs: the clone's code, its data, its libraries.

Two machines that work on one run must be alike in it. Each step is held to it by its key; this
page of facts is compared before the first one, so that a difference has a name.
"""

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Literal

from components import files, project
from components.errors import AthanorError
from components.records import Record

PROTOCOL = 1
"""How a door is spoken to; raised when an older worker could not understand a newer door."""
FRESH_S = 2.0
QUIET_S = 3.0
"""A checkout writes one file after the other."""
PACKAGES = ("components", "pipelines")


class About(Record):
    """One clone and its environment."""

    athanor: Literal["door"] = "door"
    """By this a worker knows that it found a door, and no other server."""
    protocol: int = PROTOCOL
    host: str
    commit: str
    """Of the clone, for a person; the code may be edited."""
    code: str
    """sha256 over every source file."""
    data: str
    """DVC digest of the recorded data."""
    libraries: dict[str, str]
    """Python's version and those of every declared dependency."""


def here() -> About:
    """This clone and this environment, as they are now."""
    return About(
        host=socket.gethostname(),
        commit=_commit(),
        code=code(),
        data=_data(),
        libraries=_libraries(),
    )


def code() -> str:
    """sha256 over the source of the running project; an edit counts within two seconds."""
    if time.monotonic() < _known.until:
        return _known.code
    stamp = tuple((str(path), status.st_mtime_ns, status.st_size) for path, status in _sources())
    if stamp != _known.stamp:
        listed = {str(path.relative_to(_place())): files.digest(path) for path, _ in _sources()}
        _known.stamp, _known.code = stamp, hashlib.sha256(files.canonical(listed)).hexdigest()
        _known.since = time.monotonic()
    _known.until = time.monotonic() + FRESH_S
    return _known.code


def edited(before: str) -> bool:
    """Whether the source is another than it was, and nobody is about to edit it further."""
    return code() != before and time.monotonic() - _known.since > QUIET_S


def differences(theirs: About, ours: About) -> tuple[str, ...]:
    """What would give steps other keys on the two machines, in words; theirs first."""
    found = []
    if theirs.protocol != ours.protocol:
        found.append(f"protocol {theirs.protocol}, here {ours.protocol}")
    if theirs.code != ours.code:
        edited = theirs.commit == ours.commit
        commits = f"commit {theirs.commit[:12]}, here {ours.commit[:12]}"
        found.append(f"edited code at commit {ours.commit[:12]}" if edited else commits)
    for name in sorted(theirs.libraries.keys() | ours.libraries.keys()):
        there, own = theirs.libraries.get(name, "none"), ours.libraries.get(name, "none")
        if there != own:
            found.append(f"{name} {there}, here {own}")
    return tuple(found)


def _place() -> Path:
    return Path(__file__).resolve().parents[1]


def _sources() -> Iterator[tuple[Path, os.stat_result]]:
    for package in PACKAGES:
        for path in sorted((_place() / package).rglob("*.py")):
            with suppress(FileNotFoundError):
                yield path, path.stat()


def _commit() -> str:
    """The commit of the project's clone; `unknown` where that is none."""
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=project.root(),
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, AthanorError, subprocess.SubprocessError):
        return "unknown"
    return asked.stdout.strip()


def _data() -> str:
    from components.data import pointer

    try:
        return pointer.recorded(project.root()).digest
    except (AthanorError, OSError):
        return "unknown"


def _libraries() -> dict[str, str]:
    from packaging.requirements import Requirement

    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for line in metadata.requires("athanor") or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        with suppress(metadata.PackageNotFoundError):
            found[requirement.name] = metadata.version(requirement.name)
    return found


class _Known:
    """The last answer of `code`, and until when nobody looks again."""

    until = 0.0
    since = 0.0
    stamp: tuple[tuple[str, int, int], ...] = ()
    code = ""


_known = _Known()
