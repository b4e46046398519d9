"""What the kernel tells about other processes, and how they are stopped.

Read from /proc, so of the user's own processes on this machine; elsewhere nothing is found.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from components import processes

PROC = Path("/proc")


def command(pid: int) -> str:
    """Its command line in one line, shortened, for messages."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except (OSError, UnicodeDecodeError):
        words = ""
    return words if len(words) <= 80 else words[:77] + "..."


def openers(path: Path) -> tuple[int, ...]:
    """Numbers of the processes that have this file open."""
    wanted = str(path.resolve())
    return tuple(sorted({pid for pid, target in _open_files() if target == wanted}))


def listener(port: int) -> int | None:
    """Number of the process that listens on this TCP port; None if nobody, or another user's."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    return next((pid for pid, target in _open_files() if target in inodes), None)


def marked(mark: str) -> tuple[int, ...]:
    """Live processes whose environment holds this `NAME=value`: a server and what it started."""
    return tuple(
        pid
        for pid in _pids()
        if mark in _environment(pid) and (fields := _status(pid)) and fields[0] not in "ZX"
    )


def end(pids: tuple[int, ...], patience_s: float = 10) -> None:
    """Stop these processes: politely first, by force when the patience is over."""
    targets = {pid: processes.of(pid) for pid in pids}
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in _living(targets):
            os.kill(pid, number)
        deadline = time.monotonic() + patience_s
        while _living(targets) and time.monotonic() < deadline:
            time.sleep(0.05)


def _living(targets: dict[int, str]) -> list[int]:
    return [pid for pid, owner in targets.items() if _status(pid) and not processes.dead(owner)]


def _status(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the state on; the name before it may hold anything."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return []


def _environment(pid: int) -> list[str]:
    try:
        return (PROC / str(pid) / "environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _pids() -> Iterator[int]:
    try:
        return (int(entry) for entry in os.listdir(PROC) if entry.isdigit())
    except OSError:
        return iter(())


def _open_files() -> Iterator[tuple[int, str]]:
    for pid in _pids():
        folder = f"{PROC}/{pid}/fd"
        try:
            for handle in os.listdir(folder):
                yield pid, os.readlink(f"{folder}/{handle}")
        except OSError:
            continue
