"""What a run that executes something starts: Prefect, MLflow's thread, the flow itself."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from components import project
from components.errors import ServiceUnreachable
from pipelines.config import RunConfig
from pipelines.holding import Held
from pipelines.plan import Forced
from pipelines.progress import Screen

if TYPE_CHECKING:
    from pipelines.flow import Result


class Engines(NamedTuple):
    """A Prefect API that answers."""

    screen: Screen

    def execute(self, config: RunConfig, forced: Forced, held: Held, file: Path) -> "Result":
        """Read the chain with Prefect: one flow run, one task run a step."""
        from pipelines import flow, reaping

        with reaping.stores(self.screen.note):
            return flow.execute(config, forced, held, self.screen, file)


@contextmanager
def running(screen: Screen) -> Iterator[Engines]:
    """Engines for one run: the servers that are up, else an embedded Prefect of its own."""
    from pipelines import embedded, servers, templates

    begun = time.monotonic()
    home = project.home()
    templates.install(home)
    if not templates.fresh(templates.folder()):
        screen.note("no database templates: a first start takes longer (make setup)")
    servers.adopt(home)
    if servers.running(home) is not None:
        screen.note("using the servers that `athanor up` started")
    # A step's error is told once, by the command line; Prefect would add its own traceback to it.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.update(templates.prefect_settings(home))
    if address := os.environ.get("PREFECT_API_URL"):
        if not embedded.answers(f"{address.rstrip('/')}/health", timeout_s=5.0):
            raise ServiceUnreachable(
                f"the Prefect server at {address} (PREFECT_API_URL) does not answer",
                "start it, or unset PREFECT_API_URL to run with an embedded one",
            )
        yield Engines(screen)
        return
    screen.note("starting the embedded Prefect engine")
    server = embedded.start_embedded(home)
    try:
        os.environ["PREFECT_API_URL"] = server.url  # Prefect reads its settings when imported
        import prefect  # noqa: F401  while the server starts on another core

        server.ready()
        screen.note(f"Prefect engine up after {time.monotonic() - begun:.1f} s")
        yield Engines(screen)
    finally:
        server.stop()
