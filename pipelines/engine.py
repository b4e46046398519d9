"""What a run that executes something starts: Prefect, MLflow's thread, the flow itself."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from components import project
from components.bucket import asking
from components.errors import ServiceUnreachable
from pipelines.config import RunConfig
from pipelines.holding import Held
from pipelines.plan import Forced
from pipelines.progress import Screen

if TYPE_CHECKING:
    from pipelines.flow import Result
    from pipelines.outages import Watch
    from pipelines.steps import Elsewhere


class Engines(NamedTuple):
    """A Prefect API that answers."""

    screen: Screen
    watch: "Watch"
    elsewhere: "Elsewhere | None" = None

    def execute(self, config: RunConfig, forced: Forced, held: Held, file: Path) -> "Result":
        """Read the chain with Prefect: one flow run, one task run a step."""
        from pipelines import flow, reaping

        around = flow.Surroundings(self.screen, self.watch, self.elsewhere)
        with reaping.stores(self.screen.note):
            return flow.execute(config, forced, held, around, file)


@contextmanager
def running(screen: Screen) -> Iterator[Engines]:
    """Engines for one run: the servers that are up, else an embedded Prefect of its own."""
    from pipelines import database, embedded, outages, servers, templates

    begun = time.monotonic()
    database.demand()
    asking.demand()
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
    for name, value in outages.SETTINGS.items():
        os.environ.setdefault(name, value)
    if address := os.environ.get("PREFECT_API_URL"):
        if not outages.answers(address):
            raise ServiceUnreachable(
                f"the Prefect server at {address} (PREFECT_API_URL) does not answer",
                "start it (athanor down, athanor up), or unset PREFECT_API_URL to run with an"
                " embedded one",
            )
        with _watched(screen, address, None) as engines:
            yield engines
        return
    screen.note("starting the embedded Prefect engine")
    server = embedded.start_embedded(home)
    try:
        os.environ["PREFECT_API_URL"] = server.url  # Prefect reads its settings when imported
        import prefect  # noqa: F401  while the server starts on another core

        server.ready()
        screen.note(f"Prefect engine up after {time.monotonic() - begun:.1f} s")
        restart = partial(embedded.revive, home, server.url)
        with _watched(screen, server.url, restart) as engines:
            yield engines
    finally:
        server.stop()


@contextmanager
def _watched(screen: Screen, url: str, restart: Callable[[bool], None] | None) -> Iterator[Engines]:
    """The engines with a watch over their server, which first hears what it was not told yet."""
    from pipelines import outages

    store = outages.store(project.home(), url)
    for untold in outages.kept():
        if untold.store != store:
            continue
        with suppress(Exception):  # it stays kept: no run stops for an old one's page
            outages.tell(untold)
    watch = outages.Watch(url, store, screen.note, restart)
    try:
        yield Engines(screen, watch)
    finally:
        watch.close()
        if not outages.answers(url):
            outages.drop_events()
