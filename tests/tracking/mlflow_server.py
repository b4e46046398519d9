"""A real MLflow server that a test starts, freezes and kills."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from components import mlflow_store


class Server:
    """An MLflow server that keeps its files itself, as one for a team does."""

    def __init__(self, folder: Path, store: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.folder, self.store = folder, store
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.store]
        command += ["--artifacts-destination", str(self.folder), "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--allowed-hosts", "*"]
        environment = {**os.environ, **mlflow_store.settings()}
        environment.pop("MLFLOW_TRACKING_URI", None)
        self.process = subprocess.Popen(
            command,
            env=environment,
            cwd=self.folder,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(3000):
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                    return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError("the server did not come up")

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Stop it with all that it started, as it stands."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGCONT)
