"""A project with deployments, and a standing Prefect server."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from components.keeping import layouts
from pipelines import servers, starting, templates

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

ROOT = Path(__file__).resolve().parents[2]
QUICK = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "true",
}


@pytest.fixture
def deployments(project: Path) -> Callable[[str], Path]:
    """Writes configs/deployments.yaml of a project that has one config, `configs/digits.yaml`."""
    (project / "configs/digits.yaml").write_bytes((ROOT / "configs/digits.yaml").read_bytes())

    def write(text: str) -> Path:
        file = project / "configs/deployments.yaml"
        file.write_text(text)
        return file

    return write


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a Prefect server that answers; the secret and the port are its own."""
    home = tmp_path_factory.mktemp("server")
    templates.build(templates.folder())
    (home / "layout").write_text(f"{layouts.LAYOUT}\n")
    templates.install(home)
    with pytest.MonkeyPatch.context() as patch, socket.socket() as free:
        for name, value in QUICK.items():
            patch.setenv(name, value)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        started = {"prefect": starting.start(home, "prefect", port)}
    try:
        servers._write(home, started)
        starting.await_answers(home, started, lambda text: None)
        yield home
    finally:
        servers.down(home)


@pytest.fixture
def up(server: Path, home: Path) -> Iterator[Path]:
    """The server's home as the home of the test; the environment is what it was afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        before = dict(os.environ)
        patch.setenv("ATHANOR_HOME", str(server))
        yield server
        for name in os.environ.keys() - before.keys():
            del os.environ[name]


@pytest.fixture
def client(up: Path) -> Iterator["SyncPrefectClient"]:
    """A client of the server."""
    from pipelines.deployments.server import connected

    with connected() as one:
        yield one
