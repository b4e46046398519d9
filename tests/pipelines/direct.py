"""Reads the chain without Prefect: `python direct.py CONFIG UNTIL`.

Executes in its own process and stores as the Runner does, up to a step; prints which steps it
executed and which ones reach a symbol (`module:name`) given as a third argument. Benchmarks read
the chain with it too.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from components import project, workspace
from components.records import Record
from pipelines.config import RunConfig, load_run
from pipelines.keys import bind, document, keep, key, remember, stored
from pipelines.plan import Forced, Planner
from pipelines.train import chain

REGISTRY = "register"
"""The first step that needs MLflow."""


class Enough(Exception):
    """The last step that is wanted was read."""


class Direct(Planner):
    """Executes what is not stored, here."""

    def __init__(self, run: str, until: str = REGISTRY, symbol: str = "") -> None:
        super().__init__(run, Forced())
        self.until = until
        self.symbol = symbol
        self.executed: list[str] = []
        self.reaching: list[str] = []
        self.results: dict[str, Any] = {}

    def read(self, config: RunConfig) -> dict[str, Any]:
        """The record of each step before the last one."""
        with suppress(Enough):
            chain(self, config)
        return self.results

    def __call__(self, name: str, step: Callable[..., Record], *args: Any, **kwargs: Any) -> Record:
        if name == self.until:
            raise Enough
        call = bind(name, step, args, kwargs)
        of = document(call)
        this = key(of)
        if self.symbol in of["code"]:
            self.reaching.append(name)
        found = stored(this)
        if found is None:
            begun = time.monotonic()
            with workspace.opened(project.home() / "work" / this):
                found = step(**call.arguments)
            keep(this, found)
            self.executed.append(name)
            sys.stderr.write(f"  {name}: {time.monotonic() - begun:.1f} s\n")
        remember(self.run, name, of)
        self.results[name] = found
        return found


def main() -> None:
    """Read the chain once; print what happened as JSON."""
    config, until, symbol = (*sys.argv[1:], "")[:3]
    run = load_run(Path(config))
    direct = Direct(run.name, until, symbol)
    direct.read(run)
    sys.stdout.write(json.dumps({"executed": direct.executed, "reaching": direct.reaching}))


if __name__ == "__main__":
    main()
