"""What must be so before this machine works for another one's runs."""

import os
from collections.abc import Iterator

from components.errors import AthanorError, IntegrityError
from pipelines import devices, likeness
from pipelines.doctor import Finding
from pipelines.likeness import About
from pipelines.remote import server as doors
from pipelines.remote.server import Server

AGAIN = "ATHANOR_WORKER_AGAIN"
"""Set where a worker took its own place with newer code."""


def joined(url: str) -> Server:
    """The door at a URL, which serves a clone like this one.

    A worker that was started again because its code was edited waits until they are alike.

    Raises:
        ServiceUnreachable: nothing answers there.
        UsageError: it is no door, or there is no token.
        IntegrityError: the token is another, or the clones differ.
    """
    server = Server(url, doors.token())
    if AGAIN not in os.environ:
        demand_alike(server.about(), likeness.here())
    return server


def demand_alike(theirs: About, ours: About) -> None:
    """Refuse to work where every step would be refused by its key.

    Raises:
        IntegrityError: code or libraries differ; the message names what.
    """
    if found := likeness.differences(theirs, ours):
        raise IntegrityError(
            f"{theirs.host} runs other code than this clone: {'; '.join(found)}", remedy(theirs)
        )


def remedy(theirs: About) -> str:
    """How this clone becomes like the other."""
    return f"git fetch && git checkout {theirs.commit[:12]} && make setup"


def examine(url: str) -> Iterator[Finding]:
    """What this machine lacks to work for the runs behind a door."""
    try:
        server = Server(url, doors.token())
        theirs = server.about()
    except AthanorError as error:
        yield Finding(name="door", level="bad", found=error.message, fix=error.remedy)
        return
    if doors.open_way(url):
        found = f"{url} answers; the token travels in clear"
        yield Finding(name="door", level="warn", found=found, fix="put TLS or a tunnel before it")
    else:
        yield Finding(name="door", level="ok", found=f"{url} answers, the token is right")
    ours = likeness.here()
    if found := "; ".join(likeness.differences(theirs, ours)):
        yield Finding(name="same code", level="bad", found=found, fix=remedy(theirs))
    else:
        found = f"commit {ours.commit[:12]} and every library, as on {theirs.host}"
        yield Finding(name="same code", level="ok", found=found)
    yield _data(theirs, ours)
    yield _devices()


def _data(theirs: About, ours: About) -> Finding:
    if theirs.data == ours.data:
        return Finding(name="same data", level="ok", found=f"recorded as {ours.data[:12]}")
    return Finding(
        name="same data",
        level="bad",
        found=f"{theirs.host} records {theirs.data[:12]}, this clone {ours.data[:12]}",
        fix="bring data.dvc and configs/data/tree.json to the same commit",
    )


def _devices() -> Finding:
    try:
        found = devices.inventory()
    except AthanorError as error:
        return Finding(name="devices", level="bad", found=error.message, fix=error.remedy)
    shown = ", ".join(f"{each.name} ({each.memory_gb:g} GB)" for each in found)
    return Finding(name="devices", level="ok", found=shown or "none; it has slots to give")
