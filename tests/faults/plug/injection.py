"""Faults at the commits and writes of a process, put in from outside: our packages know nothing.

A commit is the moment from which work counts: a file takes its place, a line stands in an
append-only file, a row stands in a database. A write is each call that brings bytes of ours to the
disk: create, write, flush, rename, below one folder. The plan comes in the environment as JSON;
the processes that a run starts inherit it and count their passings together.
"""

import builtins
import errno
import fcntl
import fnmatch
import importlib.abc
import importlib.machinery
import io
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ENVIRONMENT = "ATHANOR_FAULT"
RUN = "ATHANOR_FAULT_RUN"
"""Number of the process that the command is: its group dies in a kill."""

FILES = {
    "layout": "layout",
    "store layouts": "stores.json",
    "prefect database": "prefect/prefect.db",
    "optuna database": "optuna/optuna.db",
    "mlflow template": "templates/mlflow.db",
    "mlflow database": "mlflow/mlflow.db",
    "server": "prefect/embedded.json",
    "note of a run": "tracking/*.json",
    "shipped": "work/*/journal.shipped.json",
    "lineage": "work/*/lineage.json",
    "prepared array": "work/*/prepared/*",
    "report": "work/*/re*.*",
    "checkpoint tensors": "work/*/checkpoints/*.safetensors",
    "checkpoint": "work/*/checkpoints/*.json",
    "plot": "work/*/*.png",
    "graph": "work/*/compress/*.onnx",
    "object": "objects/??/*",
    "object mark": "objects/verified/*",
    "result": "cache/*",
    "document": "plans/*/*.json",
    "fetched bundle": "bundles/*",
    "decision": "decisions/*/*.json",
    "run at work": "runs/open/*",
    "run record": "runs/*.json",
    "head of a history": "history/*.json",
    "signing key": "keys/*",
    "shown file": "mlflow/artifacts/**",
}
"""Commits that a rename makes: name -> where the file takes its place, below the home; `**` at the
end is any depth."""

CALLS = {
    "trial": ("components.study", "Study.tell"),
    "version": ("components.registry.registering", "_create"),
    "history": ("components.history", "record"),
    "alias": ("components.history", "move"),
}
"""Commits that a transaction makes: name -> module and function."""

SIDES = ("before", "after")


class Plan(NamedTuple):
    """What happens where."""

    home: str
    """Only what lies below counts."""
    at: str
    """`write`, `commit`, or a commit and its side: `result after`."""
    nth: int
    """At which passing, from 1; 0 is never: passings are only recorded."""
    action: str
    """`kill`, `power`, `ENOSPC`, `EIO`, `short`, `fill`."""
    log: str
    """File of the passings, one line each."""
    room: int = 0
    """Bytes that `fill` leaves free."""


class Injector:
    """Counts passings and does what the plan says at its own."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.home = os.path.realpath(plan.home) + os.sep
        self._own = threading.local()

    @property
    def busy(self) -> bool:
        """Whether this thread is at work for the injector: what that writes is no passing.

        Another thread's passing at the same moment is one.
        """
        return getattr(self._own, "busy", False)

    @busy.setter
    def busy(self, busy: bool) -> None:
        self._own.busy = busy

    def inside(self, path: Any) -> str:
        """The path below the home; empty where it lies elsewhere."""
        if not isinstance(path, str | os.PathLike):
            return ""
        whole = os.path.abspath(os.fspath(path))
        return whole.removeprefix(self.home) if whole.startswith(self.home) else ""

    def commit(self, name: str, side: str) -> None:
        """A commit is about to happen, or did."""
        self.passing(f"{name} {side}")

    def passing(self, what: str, torn: Callable[[], None] | None = None) -> None:
        """One passing; `torn` leaves the write half done, where that can be."""
        if self.busy:
            return
        if self.plan.at == "write":
            mine = what.startswith("write ")
        elif self.plan.at == "commit":
            mine = not what.startswith("write ")
        else:
            mine = what == self.plan.at
        if not mine:
            return
        self.busy = True
        try:
            number = self._count(what)
        finally:
            self.busy = False
        if number == self.plan.nth:
            self._act(what, torn)

    def _count(self, what: str) -> int:
        with _open(self.plan.log, "a+") as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            log.seek(0)
            number = sum(1 for _ in log) + 1
            log.write(f"{os.getpid()} {time.time():.3f} {what}\n")
        return number

    def _act(self, what: str, torn: Callable[[], None] | None) -> None:
        action = self.plan.action
        self.busy = True  # what the fault itself writes is no passing
        with _open(self.plan.log + ".fired", "a") as fired:
            fired.write(f"{time.time():.3f} {action} at {what}\n")
        if action == "fill":
            fill(Path(self.plan.home), self.plan.room)
            self.busy = False
            return
        if torn is not None and action in ("short", "kill"):
            torn()
        if action == "kill":
            _kill_run()
        if action == "power":
            _kill_all(self.plan.home)
        self.busy = False
        number = errno.EIO if action == "EIO" else errno.ENOSPC
        raise OSError(number, os.strerror(number), what)


def fill(folder: Path, room: int) -> None:
    """Take all of a small file system's free space but `room` bytes, in `folder/.filling`."""
    place = folder / ".filling"
    free = shutil.disk_usage(folder).free - room
    with _open(place, "ab") as file:
        while free > 0:
            try:
                free -= file.write(bytes(min(free, 1 << 20)))
                file.flush()
            except OSError:
                break


def _kill_run() -> None:
    """SIGKILL for the process group of the command; a step's own process is left to see it."""
    os.killpg(int(os.environ[RUN]), signal.SIGKILL)
    time.sleep(600)  # whoever watches the run must end this process


def _kill_all(home: str) -> None:
    """SIGKILL for every process of the home at once, this one last."""
    mark = f"ATHANOR_HOME={home}".encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                with _open(f"/proc/{entry}/environ", "rb") as file:
                    if mark in file.read().split(b"\0"):
                        os.kill(int(entry), signal.SIGKILL)
            except OSError:
                continue
    os.kill(os.getpid(), signal.SIGKILL)


_open = open
_injector: Injector | None = None


def arm() -> None:
    """Read the plan of the environment and put its faults into this process."""
    global _injector
    os.environ.setdefault(RUN, str(os.getpid()))
    _injector = Injector(Plan(**json.loads(os.environ[ENVIRONMENT])))
    _renames(_injector)
    if _injector.plan.at == "write":
        _writes(_injector)
    else:
        sys.meta_path.insert(0, _Finder(_injector))


def commits() -> tuple[str, ...]:
    """Every commit with its side."""
    names = (*FILES, *CALLS)
    return tuple(f"{name} {side}" for name in names for side in SIDES)


def name_of(path: str, table: dict[str, str]) -> str:
    """The commit that a path below the home belongs to; `unnamed` where no one does."""
    parts = path.split("/")
    for name, pattern in table.items():
        wanted = pattern.split("/")
        if wanted[-1] == "**" and parts[: len(wanted) - 1] == wanted[:-1]:
            return name
        if len(parts) == len(wanted) and all(map(fnmatch.fnmatch, parts, wanted)):
            return name
    return f"unnamed {path}"


def _renames(injector: Injector) -> None:
    for function in ("replace", "rename"):
        setattr(os, function, _renaming(injector, getattr(os, function)))


def _renaming(injector: Injector, real: Callable[..., None]) -> Callable[..., None]:
    def rename(source: Any, target: Any, **more: Any) -> None:
        inside = injector.inside(target)
        if not inside:
            real(source, target, **more)
        elif injector.plan.at == "write":
            injector.passing(f"write rename {inside}")
            real(source, target, **more)
        else:
            name = name_of(inside, FILES)
            injector.commit(name, "before")
            real(source, target, **more)
            injector.commit(name, "after")

    return rename


def _writes(injector: Injector) -> None:
    """Create, write and flush of Python's files, and the writers of tensors, below the home."""
    real_open, real_fsync, real_os_open = io.open, os.fsync, os.open
    real_sendfile = os.sendfile

    def opened(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
        inside = injector.inside(file)
        if not inside or not set(mode) & set("wax+"):
            return real_open(file, mode, *more, **named)
        injector.passing(f"write open {inside}")
        return _File(real_open(file, mode, *more, **named), injector, inside)

    def fsync(handle: int) -> None:
        inside = injector.inside(os.readlink(f"/proc/self/fd/{handle}"))
        if inside:
            injector.passing(f"write fsync {inside}")
        real_fsync(handle)

    def created(path: Any, flags: int, *more: Any, **named: Any) -> int:
        inside = injector.inside(path) if flags & os.O_CREAT else ""
        if inside:
            injector.passing(f"write create {inside}")
        return real_os_open(path, flags, *more, **named)

    def sendfile(out: int, source: int, offset: int, count: int, *more: Any) -> int:
        inside = injector.inside(os.readlink(f"/proc/self/fd/{out}"))
        if inside and offset == 0:
            half = os.fstat(source).st_size // 2
            torn = lambda: real_sendfile(out, source, 0, half)  # noqa: E731
            injector.passing(f"write copy {inside}", torn)
        return real_sendfile(out, source, offset, count, *more)

    io.open = builtins.open = opened
    os.fsync, os.open, os.sendfile = fsync, created, sendfile
    _tensors(injector)


def _tensors(injector: Injector) -> None:
    """safetensors writes from Rust, which no function of Python sees."""
    import safetensors.torch

    real = safetensors.torch.save_file

    def save_file(tensors: Any, filename: Any, *more: Any, **named: Any) -> None:
        inside = injector.inside(filename)

        def torn() -> None:
            real(tensors, filename, *more, **named)
            os.truncate(filename, os.path.getsize(filename) // 2)

        if inside:
            injector.passing(f"write tensors {inside}", torn)
        real(tensors, filename, *more, **named)

    safetensors.torch.save_file = save_file


class _File:
    """An open file whose writes are counted."""

    def __init__(self, real: Any, injector: Injector, inside: str) -> None:
        self._real, self._injector, self._inside = real, injector, inside

    def write(self, data: Any) -> int:
        def torn() -> None:
            self._real.write(data[: len(data) // 2])
            self._real.flush()

        self._injector.passing(f"write bytes {self._inside}", torn)
        return self._real.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __enter__(self) -> "_File":
        self._real.__enter__()
        return self

    def __exit__(self, *details: Any) -> Any:
        return self._real.__exit__(*details)

    def __iter__(self) -> Any:
        return iter(self._real)


class _Finder(importlib.abc.MetaPathFinder):
    """Puts the commits of `CALLS` around their functions when their module is imported."""

    def __init__(self, injector: Injector) -> None:
        self.injector = injector
        self.wanted = {module for module, _ in CALLS.values()}

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name not in self.wanted:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return spec
        real = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            real(module)
            for commit, (owner, place) in CALLS.items():
                if owner == name:
                    _around(module, place, commit, self.injector)

        spec.loader.exec_module = exec_module
        return spec


def _around(module: Any, place: str, commit: str, injector: Injector) -> None:
    *holders, name = place.split(".")
    holder = module
    for part in holders:
        holder = getattr(holder, part)
    real = getattr(holder, name)

    def counted(*args: Any, **named: Any) -> Any:
        injector.commit(commit, "before")
        result = real(*args, **named)
        injector.commit(commit, "after")
        return result

    setattr(holder, name, counted)
