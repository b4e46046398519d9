"""A real door on a free port, served by a thread of the test."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvicorn

from pipelines.door import app
from pipelines.door.desk import Desk
from pipelines.remote.server import Server

TOKEN = "the-token-of-this-very-test-and-no-other"


class Door(NamedTuple):
    """A door and who asks at it."""

    url: str
    server: Server
    desk: Desk


@pytest.fixture
def door(home: Path, project: Path) -> Iterator[Door]:
    """The door of the test's home; no Prefect stands behind it: nothing is due."""
    nobody: Any = None
    desk = Desk(home, nobody)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app.make(desk, TOKEN), log_level="error")
    served = uvicorn.Server(config)
    thread = threading.Thread(target=served.run, args=([listening],), daemon=True)
    thread.start()
    while not served.started:
        time.sleep(0.01)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    yield Door(url, Server(url, TOKEN), desk)
    served.should_exit = True
    thread.join(10)
