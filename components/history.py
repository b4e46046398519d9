"""What became of each version of a model: an append-only file per name."""

import getpass
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from components import files, project
from components.records import Record

What = Literal["registered", "judged", "moving", "promoted", "refused", "rolled back", "forced"]


class Event(Record):
    """One line of a model's history."""

    at: str
    """UTC, ISO 8601."""
    who: str
    """user@host of the process, as the operating system names it."""
    event: What
    version: int
    """The version that the event is about."""
    previous: int | None = None
    """The champion before it, where the alias was to move."""
    why: str = ""
    evidence: dict[str, Any] = {}
    """Digests, p-value, run id: what the event rests on."""


def record(name: str, event: What, version: int, **facts: Any) -> Event:
    """Append an event to the history of a name, on the disk before this returns.

    `facts` are the remaining fields of an Event.
    """
    line = Event(at=_now(), who=_who(), event=event, version=version, **facts)
    files.append_line(_place(name), files.canonical(line.model_dump(mode="json")))
    return line


def history(name: str) -> tuple[Event, ...]:
    """Every event of a name, oldest first; a torn last line, left by a power cut, is none."""
    try:
        text = _place(name).read_bytes()
    except FileNotFoundError:
        return ()
    whole = text[: text.rfind(b"\n") + 1]
    return tuple(Event.model_validate(json.loads(line)) for line in whole.splitlines())


def rolled_back(name: str, version: int) -> bool:
    """Whether this version was taken back and nobody has put it in place by hand since."""
    states = [
        event.event == "rolled back"
        for event in history(name)
        if (event.event == "rolled back" and event.previous == version)
        or (event.event == "forced" and event.version == version)
    ]
    return bool(states) and states[-1]


def _place(name: str) -> Path:
    return project.home() / "history" / f"{name}.jsonl"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user id has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
