"""Reads the chain in this process, without Prefect, MLflow and registry, for benchmarks."""

import sys
import time
from collections.abc import Callable
from typing import Any

from components import project, workspace
from components.records import Record
from pipelines.keys import bind, document, keep, key, stored
from pipelines.plan import Forced, Planner, Unknown

LEFT_OUT = ("register", "judge", "promote", "rescore")


class Direct(Planner):
    """Executes a step unless its result is stored; what belongs to the registry stays unknown."""

    def __init__(self, run: str) -> None:
        super().__init__(run, Forced())
        self.results: dict[str, Any] = {}

    def __call__(self, name: str, step: Callable[..., Record], *args: Any, **kwargs: Any) -> Any:
        """The record of a step."""
        if step.__name__ in LEFT_OUT:
            return Unknown(name)
        call = bind(name, step, args, kwargs)
        this = key(document(call))
        record = stored(this)
        if record is None:
            begun = time.monotonic()
            folder = project.home() / "work" / this
            with workspace.opened(folder):
                record = step(*args, **kwargs)
            keep(this, record)
            sys.stderr.write(f"  {name}: {time.monotonic() - begun:.1f} s\n")
        self.results[name] = record
        return record
