"""Reads the chain in this process, without Prefect, MLflow and registry, for benchmarks."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components import files, project, workspace
from components.records import Record
from pipelines.keys import bind, document, key, result_folder, stored
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
            self._keep(this, record)
            sys.stderr.write(f"  {name}: {time.monotonic() - begun:.1f} s\n")
        self.results[name] = record
        return record

    def _keep(self, this: str, record: Record) -> None:
        kind = f"{type(record).__module__}.{type(record).__name__}"
        value = {"__class__": kind, "data": record.model_dump(mode="json")}
        path: Path = result_folder() / this
        files.write_bytes(path, json.dumps({"result": json.dumps(value)}).encode())
