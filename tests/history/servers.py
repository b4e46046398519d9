"""An MLflow server with or without our registry store, on a port of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components import mlflow_store
from tests.history import plugin


@contextmanager
def serving(folder: Path, database: str, *, ours: bool = True, workers: int = 1) -> Iterator[str]:
    """The address of a server on a database; it is killed in the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--workers", str(workers)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, **mlflow_store.settings()}
    environment.pop("MLFLOW_TRACKING_URI", None)
    if ours:
        command += ["--app-name", "athanor", "--registry-store-uri", f"athanor+{database}"]
        environment |= plugin.environment(folder / "metadata")
    log = (folder / "server.log").open("ab")
    process = subprocess.Popen(
        command, env=environment, cwd=folder, start_new_session=True, stdout=log, stderr=log
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        _await(uri, process)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def _await(uri: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(900):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"no answer from {uri}")
