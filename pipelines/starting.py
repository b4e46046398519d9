"""How each standing server is started: what it serves, on which port, and whom it keeps out.

A page in the user's browser must not reach them: MLflow answers only to its own address, Prefect
asks for a secret, for a CSRF token and for its own origin.
"""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from components import files, mlflow_store, processes
from components.errors import ResourceError, ServiceUnreachable, UsageError
from components.records import Record
from pipelines import embedded, kernel, opening, templates

PATIENCE_S = 180.0
LOCAL = "127.0.0.1"
EVERYWHERE = ("0.0.0.0", "::")
PORTS = {"prefect": 4200, "mlflow": 5000}
"""Usual ports; Prefect first, for a run may hold its database: then nothing is started."""
DOOR_PORT = 4280
HEALTH = {"mlflow": "/health", "prefect": "/api/health", "door": "/health"}
LEASES = "prefect.server.concurrency.lease_storage.filesystem"
"""Leases in memory are lost with the server, and the runs that hold them are killed (3.8.8)."""


class Server(Record):
    """One server that was started."""

    owner: str
    """Host, boot, number and start of its process."""
    pid: int
    url: str
    host: str = LOCAL
    """The address that it listens on."""

    @property
    def port(self) -> int:
        """The TCP port that it listens on."""
        return int(self.url.rpartition(":")[2])

    @property
    def near(self) -> str:
        """Its URL for this machine: one that listens everywhere does so at 127.0.0.1 too."""
        return f"http://{_named(LOCAL if self.host in EVERYWHERE else self.host)}:{self.port}"


def start(home: Path, name: str, port: int) -> Server:
    """Start one server; it does not answer yet.

    Raises:
        ResourceError: a run or another server holds the Prefect database.
    """
    pid = (_start_mlflow if name == "mlflow" else _start_prefect)(home, port)
    return Server(owner=processes.of(pid), pid=pid, url=f"http://127.0.0.1:{port}")


def open_door(home: Path, at: tuple[str, int], environment: dict[str, str]) -> Server:
    """Start the door for workers of other machines; it does not answer yet.

    It speaks to the standing Prefect server, which its environment names.
    """
    host, port = at
    environment = {**environment, **_marking(home, "door")}
    pid = opening.start(home, at, environment, log(home, "door"))
    shown = socket.gethostname() if host in EVERYWHERE else host
    return Server(owner=processes.of(pid), pid=pid, url=f"http://{_named(shown)}:{port}", host=host)


def marked(home: Path, name: str) -> tuple[int, ...]:
    """Numbers of the processes of a home's server: itself and what it started."""
    return kernel.marked(_mark(home, name))


def await_answers(home: Path, servers: dict[str, Server], say: Callable[[str], None]) -> None:
    """Return when all answer; one that cannot is stopped and named.

    Raises:
        ServiceUnreachable: a server ended, or does not answer in time.
    """
    deadline = time.monotonic() + PATIENCE_S
    waiting = dict(servers)
    while waiting:
        for name, server in tuple(waiting.items()):
            if embedded.answers(server.near + HEALTH[name]):
                say(f"{name} answers at {server.url}")
                del waiting[name]
            elif processes.dead(server.owner) or time.monotonic() > deadline:
                kernel.end(marked(home, name))
                raise ServiceUnreachable(
                    f"the {name} server did not come up at {server.url}",
                    f"read the end of {log(home, name)}, then: athanor up",
                )
        time.sleep(0.2)


def healthy(name: str, server: Server) -> bool:
    """Whether its process lives and answers."""
    alive = not processes.dead(server.owner)
    return alive and embedded.answers(server.near + HEALTH[name], timeout_s=20)


def listens(server: Server) -> bool:
    """Whether its process lives and accepts a connection; milliseconds if the machine is idle."""
    if processes.dead(server.owner):
        return False
    try:
        socket.create_connection(
            (urlsplit(server.near).hostname or LOCAL, server.port), timeout=2
        ).close()
    except OSError:
        return False
    return True


def port(named: int | None, usual: int, patience_s: float = 0.0, host: str = LOCAL) -> int:
    """The named port, or the first free one from the usual one on.

    The usual one gets `patience_s` to become free: the kernel closes what a killed process had
    open a moment after the process is gone.

    Raises:
        UsageError: no such port can be.
        ResourceError: the named port is in use; the message says by whom.
    """
    if named is None:
        deadline = time.monotonic() + patience_s
        while not _free(usual, host) and time.monotonic() < deadline:
            time.sleep(0.05)
        for one in range(usual, usual + 100):
            if _free(one, host):
                return one
        raise ResourceError(f"no port is free from {usual} to {usual + 99}", "name a free port")
    if not 1 <= named <= 65535:
        raise UsageError(f"{named} is no port", "name one from 1024 to 65535, or none")
    if not _free(named, host):
        holder = kernel.listener(named)
        who = f"process {holder} ({kernel.command(holder)})" if holder else "another user's process"
        raise ResourceError(
            f"port {named} is in use by {who}", "name another port, or none: a free one is found"
        )
    return named


def secret(home: Path) -> str:
    """User and password of the home's Prefect server, made on first use."""
    path = secret_file(home)
    if not path.is_file():
        files.write_bytes(path, f"athanor:{secrets.token_urlsafe(24)}\n".encode(), 0o600)
    return path.read_text().strip()


def secret_file(home: Path) -> Path:
    """Where user and password of the Prefect server stand."""
    return home / "prefect" / "secret"


def log(home: Path, name: str) -> Path:
    """Where a server writes what goes wrong."""
    return home / "logs" / f"{name}.log"


def _start_mlflow(home: Path, port: int) -> int:
    """MLflow's own command; artifacts are read and written beside the database, not through it."""
    _demand_plugin()
    names = ("127.0.0.1", "localhost")
    database = mlflow_store.embedded_uri()
    options = {
        "--backend-store-uri": database,
        "--registry-store-uri": f"athanor+{database}",
        "--app-name": "athanor",
        "--default-artifact-root": mlflow_store.artifact_root(),
        "--host": "127.0.0.1",
        "--port": str(port),
        "--workers": "1",
        "--allowed-hosts": ",".join(f"{name}:{port}" for name in names),
        "--cors-allowed-origins": ",".join(f"http://{name}:{port}" for name in names),
        "--x-frame-options": "DENY",
    }
    words = [word for option in options.items() for word in option]
    path = log(home, "mlflow")
    for folder in (path.parent, home / "mlflow"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = {
        **os.environ,
        **mlflow_store.settings(),
        **templates.import_path(),
        **_marking(home, "mlflow"),
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    with path.open("ab") as sink:
        return subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--no-serve-artifacts", *words],
            env=environment,
            cwd=home / "mlflow",
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        ).pid


def _demand_plugin() -> None:
    """MLflow finds our registry store and application by what the installed distribution says.

    Raises:
        ResourceError: an older installation does not name them.
    """
    for group in ("mlflow.app", "mlflow.model_registry_store"):
        if not any(each.value.startswith("components.") for each in entry_points(group=group)):
            raise ResourceError(
                f"this installation of Athanor names no {group} to MLflow", "make setup"
            )


def _start_prefect(home: Path, port: int) -> int:
    with _claim(home) as claimed, socket.create_server(("127.0.0.1", port)) as listening:
        origins = ",".join(f"http://{name}:{port}" for name in ("127.0.0.1", "localhost"))
        environment = {
            **templates.prefect_settings(home),
            **embedded.migration(home),
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_SERVER_API_AUTH_STRING": secret(home),
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origins,
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
            "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "60",
            "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_UI_STATIC_DIRECTORY": str(home / "prefect" / "ui"),
            **_marking(home, "prefect"),
        }
        options = {"socket": listening.fileno(), "claim": claimed.fileno()}
        return embedded.spawn(home, options, environment)


def _claim(home: Path, patience_s: float = 10.0) -> IO[str]:
    """The Prefect database, unless a run holds it; an embedded server that ends gets its time."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return embedded.claim(home)
        except ResourceError:
            if runs := embedded.users(home):
                who = ", ".join(f"{pid} ({kernel.command(pid)})" for pid in runs)
                raise ResourceError(
                    f"a run uses the Prefect database of {home}: process {who}",
                    "wait until it ends, then: athanor up",
                ) from None
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _free(port: int, host: str) -> bool:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        socket.create_server((host, port), family=family).close()
    except OSError:
        return False
    return True


def _named(host: str) -> str:
    """A host as a URL writes it."""
    return f"[{host}]" if ":" in host else host


def _mark(home: Path, name: str) -> str:
    return f"ATHANOR_SERVER={name} {home}"


def _marking(home: Path, name: str) -> dict[str, str]:
    variable, _, value = _mark(home, name).partition("=")
    return {variable: value}
