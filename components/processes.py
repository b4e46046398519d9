"""Who a process is, beyond its number: host, boot, pid and start time together."""

import os
import socket
from pathlib import Path


def this() -> str:
    """This process, as `host boot pid start`."""
    return of(os.getpid())


def of(pid: int) -> str:
    """The process that has this number now, as `host boot pid start`."""
    return f"{socket.gethostname()} {_boot()} {pid} {_started(pid)}"


def host(owner: str) -> str:
    """The host of the process named by `this`."""
    return owner.partition(" ")[0]


def dead(owner: str) -> bool:
    """Whether the process named by `this` is certainly gone; on another host nobody here knows."""
    try:
        host, boot, pid, started = owner.split(" ")
    except ValueError:
        return False
    if host != socket.gethostname():
        return False
    return boot != _boot() or _started(int(pid)) != started


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "-"


def _started(pid: int) -> str:
    """Clock ticks between boot and the process's start; `-` where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "-"
    state, *fields = text.rpartition(")")[2].split()
    return "-" if state in "ZX" else fields[18]
