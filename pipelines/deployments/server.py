"""The Prefect server that knows the deployments: the one of `athanor up`, or the one named."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from components import project
from components.errors import ServiceUnreachable
from pipelines import embedded, outages, servers, templates

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

PAGE = 200
"""Most rows of one answer of Prefect's."""


def address() -> str | None:
    """Where a standing server answers; None where none is up. Nothing is imported or asked."""
    home = project.home()
    own = embedded.found(home)
    named = servers.chosen("PREFECT_API_URL")
    if named and not (own and own.url == named):  # a run of this process has one of its own
        return named
    found = servers.running(home)
    return f"{found.prefect.url}/api" if found and found.prefect else None


@contextmanager
def connected() -> Iterator["SyncPrefectClient"]:
    """A client of the standing server.

    Raises:
        ServiceUnreachable: none is up, or it went away.
    """
    url = address()
    if url is None:
        raise ServiceUnreachable("no Prefect server is up; deployments live in it", "athanor up")
    home = project.home()
    servers.adopt(home)
    os.environ.update(templates.prefect_settings(home))
    for name, value in outages.SETTINGS.items():
        os.environ.setdefault(name, value)
    if not outages.answers(url):
        raise ServiceUnreachable(
            f"the Prefect server at {url} does not answer", "athanor down, then: athanor up"
        )
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    # Prefect reads the environment when it is imported, and this process may be older.
    secret = os.environ.get("PREFECT_API_AUTH_STRING")
    settings: dict[Any, Any] = {PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: secret}
    try:
        with temporary_settings(settings), get_client(sync_client=True) as client:
            yield client
    except Exception as error:
        if not outages.away(error):
            raise
        raise ServiceUnreachable(
            f"the Prefect server at {url} went away", "when it answers again: the same command"
        ) from error


def pages(read: Callable[..., list[Any]], **wanted: Any) -> list[Any]:
    """All rows of an answer that comes in pages."""
    found: list[Any] = []
    while True:
        page = read(**wanted, limit=PAGE, offset=len(found))
        found += page
        if len(page) < PAGE:
            return found
