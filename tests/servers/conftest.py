"""Templates once, and one pair of servers for the tests of a module."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import servers, templates


@pytest.fixture(scope="session")
def built() -> None:
    """The environment's templates, made if `make setup` did not."""
    templates.build(templates.folder())


def ports() -> list[int]:
    """Two free ports from a range of this worker's own: a server killed here gets its port back."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    found: list[int] = []
    for port in range(14200 + 100 * int(worker), 14300 + 100 * int(worker)):
        with socket.socket() as tried:
            if len(found) < 2 and tried.connect_ex(("127.0.0.1", port)):
                found.append(port)
    return found


@pytest.fixture(scope="module")
def standing(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Up]:
    """Both servers, up on ports that were free; a module has its own, for one of them ends them."""
    folder = tmp_path_factory.mktemp("standing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATHANOR_HOME", str(folder))
        try:
            yield servers.up(folder, dict(zip(("mlflow", "prefect"), ports(), strict=True)))
        finally:
            servers.down(folder)


@pytest.fixture
def standing_home(standing: servers.Up) -> Path:
    """The home of the standing servers."""
    return standing.secret.parent.parent
