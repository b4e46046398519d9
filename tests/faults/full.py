"""A disk that is full: a small tmpfs in a name space of its own, filled at a step's boundary.

The tmpfs is mounted by `unshare --mount` (with `--map-root-user` where the user is not root), so
nothing of it is seen outside; the home's state is read through the holder's `/proc/PID/root`.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.faults import invariants, whole
from tests.faults.plug import injection
from tests.pipelines import small_project

SIZE = "160m"
"""Above what a run needs, so that it is the filling that is in the way."""

ROOM = 8 << 20
"""What the filling leaves: less than a step demands, enough for the stores to say how it ended."""

PATIENCE_S = 500.0


class Boundary(NamedTuple):
    """What a disk that was full at one boundary did."""

    nth: int
    said: str
    wrong: tuple[str, ...]
    over: bool = False
    """The run went through: there was no such boundary left."""


class Ended(NamedTuple):
    """How a run on the disk ended."""

    code: int
    err: str


class Disk(NamedTuple):
    """A small file system that only `within` can see, and its files from outside."""

    holder: int
    mount: Path

    @property
    def outside(self) -> Path:
        """The mount as this process reaches it."""
        return Path(f"/proc/{self.holder}/root{self.mount}")

    def within(self, words: list[str], folder: Path, environment: dict[str, str]) -> Ended:
        """Run a command that sees the disk, in a folder beside which it leaves what it said.

        Raises:
            TimeoutExpired: it does not end; what it said so far lies in `said`.
        """
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        command = ["nsenter", "--target", str(self.holder), *user, "--mount", f"--wd={folder}"]
        said = folder.parent / "said"
        with said.open("w") as sink:
            code = subprocess.run(
                [*command, *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=sink,
                timeout=PATIENCE_S,
                check=False,
            ).returncode
        return Ended(code, said.read_text())

    def copied(self, target: Path) -> Path:
        """The home as it lies on the disk, in a folder where SQLite opens it too."""
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.outside / "home", target, symlinks=True)
        return target

    def free(self) -> None:
        """Take the filling away."""
        (self.outside / "home" / ".filling").unlink(missing_ok=True)


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    """A mounted tmpfs; the kernel takes it away with its holder.

    Raises:
        PermissionError: this system lets the user mount nothing.
    """
    mount = folder / "disk"
    mount.mkdir(parents=True)
    script = f"mount -t tmpfs -o size={SIZE} tmpfs {mount} && echo ready && exec sleep 3600"
    mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
    with subprocess.Popen(
        ["unshare", *mapped, "--mount", "sh", "-c", script], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            if holder.stdout is None or holder.stdout.readline() != "ready\n":
                raise PermissionError("no mount name space for this user")
            yield Disk(holder.pid, mount)
        finally:
            holder.kill()


def filled_at(place: Disk, project: Path, source: Path, nth: int) -> Boundary:
    """A run on a disk that is full once the n-th result is stored."""
    home, log = place.mount / "home", project.parent / "full-passings"
    for path in (log, Path(f"{log}.fired")):
        path.unlink(missing_ok=True)
    plan = injection.Plan(str(home), "result after", nth, "fill", str(log), room=ROOM)
    ended = run(place, project, home, source, plan)
    wrong = []
    fired = Path(f"{log}.fired").exists()
    if not fired:
        wrong.append("the disk was never full")
    lines = [line for line in ended.err.splitlines() if not line.startswith("[")]
    if ended.code != 7:
        wrong.append(f"ended with {ended.code}: {ended.err[-600:]}")
    elif len(lines) != 2 or not lines[1].startswith("  -> "):
        wrong.append(f"said more than one line and its remedy: {lines}")
    place.free()
    wrong += invariants.broken(place.copied(project.parent / "home"))
    return Boundary(nth, "\n".join(lines), tuple(wrong), not fired and ended.code == 0)


def run(
    place: Disk, project: Path, home: Path, source: Path, plan: injection.Plan | None = None
) -> Ended:
    """`athanor run` with its home on the disk."""
    environment = small_project.environment(home, whole.PLUG, source)
    if plan is not None:
        environment[injection.ENVIRONMENT] = json.dumps(plan._asdict())
    words = [sys.executable, "-m", "pipelines.cli", *whole.RUN]
    return place.within(words, project, environment)


def campaign(folder: Path, source: Path, boundaries: Iterable[int]) -> list[Boundary]:
    """Runs that go so many results far, are full, freed and started again; the last to its end."""
    project = small_project.write(folder / "full" / "tiny")
    before = invariants.tree(project)
    with disk(folder / "full") as place:
        found: list[Boundary] = []
        for nth in boundaries:
            found.append(filled_at(place, project, source, nth))
            if found[-1].over:
                break
        last = run(place, project, place.mount / "home", source)
        wrong = [] if last.code == 0 else [f"the last run: {last.err[-600:]}"]
        wrong += invariants.broken(place.copied(folder / "full" / "home"))
        if invariants.tree(project) != before:
            wrong.append("files of the user changed")
    found.append(Boundary(0, re.sub(r"\s+", " ", last.err[-200:]), tuple(wrong)))
    return found
