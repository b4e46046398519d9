"""What a worker of another machine and the door say to each other, as JSON."""

from typing import Any

from components.records import Record
from pipelines.resources import Resources
from pipelines.workers.inventory import Inventory

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
"""A worker's name: it becomes the name of a file."""
SHA256 = r"[0-9a-f]{64}"
MD5 = r"[0-9a-f]{32}"

PORTION_BYTES = 256 << 10
"""Of a journal, in one request."""
MOST_WORDS_BYTES = 1 << 20
"""Of one beat."""
MOST_OUTCOME_BYTES = 64 << 20
MOST_FILE_BYTES = 256 << 20
"""Of a report or plot that a journal names."""
MOST_OBJECT_BYTES = 64 << 30

SIGN_S = 10.0
"""A step's process gives a sign of life at least this often."""
SILENT_S = 60.0
"""A step that nobody heard of for this long is taken for dead."""


class Beat(Record):
    """What a worker says of itself, about twice a second."""

    inventory: Inventory
    at_work: tuple[str, ...] = ()
    """Steps whose process lives, or whose outcome is on its way; ids of flow runs."""
    ended: tuple[str, ...] = ()
    """Steps whose process died and left no outcome."""


class Due(Record):
    """A step that waits for a worker."""

    flow_run_id: str
    name: str
    key: str
    resources: Resources


class Heard(Record):
    """The door's answer to a beat."""

    code: str
    """Of the door's clone: a worker with other code takes no step."""
    due: tuple[Due, ...] = ()
    stop: tuple[str, ...] = ()
    """Steps of this worker that nobody waits for any more."""


class Given(Record):
    """A step that a worker may execute; nobody else does."""

    flow_run_id: str
    name: str
    key: str
    entry: str
    arguments: dict[str, Any]
    resources: dict[str, Any]
    place: str
    """Digest that changes when what the step left so far is dropped: a forced step begins anew."""
    home: str
    """Where errors may send a reader: the home of the run."""


class Received(Record):
    """How much of a journal is here."""

    received: int
