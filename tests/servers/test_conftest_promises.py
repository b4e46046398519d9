"""The walls around every test stand."""

import os
import socket
from pathlib import Path

import pytest
from pytest_socket import SocketConnectBlockedError

from components import project as projects
from components.data import pointer


def test_home_is_the_tests_own(home: Path) -> None:
    assert os.environ["ATHANOR_HOME"] == str(home)
    assert projects.home() == home
    assert home.stat().st_mode & 0o777 == 0o700


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_the_network_is_closed() -> None:
    with pytest.raises(SocketConnectBlockedError, match=r"192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


def test_this_machine_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


def test_project_fixture_is_a_project(project: Path) -> None:
    assert projects.root() == project
    assert pointer.recorded(project).names == ()
