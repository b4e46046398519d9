"""A step's workspace: a folder named by the step's key, and the journal that others follow.

The journal is append-only JSON lines. Whoever starts a step opens its workspace; the progress
bar, MLflow and the tests read the journal, and a step that runs in a notebook writes to a
temporary one. Scratch files such as checkpoints lie beside the journal and outlive a kill.
"""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from components import files

WORKERS = "workers"
"""Where the folders of those lie who work on one step side by side."""


class Workspace:
    """Folder for scratch files plus the step's journal."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.journal = folder / "journal.jsonl"

    @property
    def step(self) -> Path:
        """The folder of the step, named by its key: each of several workers has one inside it."""
        return self.folder.parent.parent if self.folder.parent.name == WORKERS else self.folder

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record values of one training step or of the whole; names such as `train/loss`."""
        self._write("metrics", values=dict(values), step=step)

    def progress(self, done: float, total: float, text: str = "") -> None:
        """Say how far the step is."""
        self._write("progress", done=done, total=total, text=text)

    def file(self, path: Path, name: str) -> None:
        """Offer a file to whoever keeps the run's files, under a name such as `plots/roc.png`."""
        inside = path.is_relative_to(self.folder)  # then it is found wherever the home lies later
        shown = path.relative_to(self.folder) if inside else path
        self._write("file", path=str(shown), name=name)

    def params(self, values: Mapping[str, Any]) -> None:
        """Record what the step settled on itself."""
        self._write("params", values=dict(values))

    def trial(self, number: int, **facts: Any) -> None:
        """Record one finished search trial: state, value, params, seconds."""
        self._write("trial", number=number, **facts)

    def _write(self, kind: str, **fields: Any) -> None:
        line = json.dumps({"kind": kind, "time": time.time(), **fields})
        files.append_line(self.journal, line.encode(), durable=False)


_current: ContextVar[Workspace | None] = ContextVar("workspace", default=None)


def current() -> Workspace:
    """The workspace of the running step; a temporary one outside any run."""
    here = _current.get()
    if here is None:
        here = Workspace(Path(tempfile.mkdtemp(prefix="athanor-")))
        _current.set(here)
    return here


@contextmanager
def opened(folder: Path) -> Iterator[Workspace]:
    """Make the folder the workspace of everything inside the block."""
    here = Workspace(folder)
    token = _current.set(here)
    try:
        yield here
    finally:
        _current.reset(token)
