"""The standing servers of a home, MLflow's and Prefect's, for this machine only.

`up` starts what does not run, `down` stops exactly that. Both serve the very stores that a run
without servers writes to. `environment` points the plain commands at these stores.
"""

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path

from components import files, mlflow_store, postgres
from components.keeping import moved
from components.records import Record
from pipelines import kernel, opening, starting, templates
from pipelines.starting import PORTS, Server

PAGES = {
    # Without the parameter MLflow 3.17 opens its pages for language-model applications.
    "mlflow": "/#/experiments?workflowType=machine_learning",
    "prefect": "/v2/runs",  # the older pages at /runs do not lead to the login (3.8.8)
}
EXPORTED = "ATHANOR_EXPORTED"
"""Variable that lists what `athanor env` exported: that is no choice of the user's."""


class Servers(Record):
    """The servers of a home that live."""

    mlflow: Server | None = None
    prefect: Server | None = None
    door: Server | None = None
    """Where workers of other machines are served; None where `up` was not told to."""


class Door(Record):
    """Where the door of a home is wanted."""

    host: str
    port: int | None = None
    """None: the usual one, or the next free one."""


class Up(Record):
    """What `up` leaves behind."""

    servers: Servers
    started: tuple[str, ...]
    """Names of those that did not run before."""
    links: dict[str, str]
    """Page to open, by server."""
    secret: Path
    """File with user and password of the Prefect server."""


def up(
    home: Path,
    ports: dict[str, int] | None = None,
    say: Callable[[str], None] = lambda text: None,
    door: Door | None = None,
) -> Up:
    """Both servers, those started that did not run; returns when both answer.

    `ports` names a server's port; without a name the usual one is taken, or the next free one.
    A door that was opened stays open until `down`; `door` opens it, or moves it.

    Raises:
        ResourceError: a named port is in use, or a run holds the Prefect database.
        ServiceUnreachable: a server did not come up.
        UsageError: the door's address is not this machine's.
    """
    if door is not None:
        opening.demand_own(door.host)
    home.chmod(0o700)
    templates.install(home)
    moved.settle(home)
    with files.locked(home / "servers.lock"):
        known = _read(home)
        last_door = known.pop("door", None)
        servers = {name: it for name, it in known.items() if starting.healthy(name, it)}
        missing = tuple(name for name in PORTS if name not in servers)
        at: dict[str, int] = {}  # all of them known before any starts
        for name in missing:
            kernel.end(starting.marked(home, name))  # what a killed one left behind, on its port
            last, patience_s = (known[name].port, 3.0) if name in known else (PORTS[name], 0.0)
            at[name] = starting.port((ports or {}).get(name), last, patience_s)
        for name, port in at.items():
            servers[name] = starting.start(home, name, port)
            _write(home, servers)
            say(f"{name} starts at {servers[name].url}")
        starting.await_answers(home, {name: servers[name] for name in missing}, say)
        if "prefect" in missing:
            templates.migrated(home, "prefect")
        wanted = door
        if wanted is None and last_door is not None:
            wanted = Door(host=last_door.host, port=last_door.port)
        if wanted is not None:
            if "prefect" in missing:
                kernel.end(starting.marked(home, "door"))  # it speaks to the one that was
            servers["door"], opened = _opened(home, wanted, last_door, say)
            _write(home, servers)
            missing = (*missing, *opened)
    return Up(
        servers=Servers(**servers),
        started=missing,
        links={name: server.url + PAGES.get(name, "") for name, server in servers.items()},
        secret=starting.secret_file(home),
    )


def _opened(
    home: Path, wanted: Door, last: Server | None, say: Callable[[str], None]
) -> tuple[Server, tuple[str, ...]]:
    """The door as it is wanted, and its name where it was opened now; `last` is the one before."""
    before = last if last is not None and last.host == wanted.host else None
    if before is not None and wanted.port in (None, before.port):
        if starting.healthy("door", before):
            return before, ()
        wanted = Door(host=wanted.host)  # its own port, once the kernel has closed it
    kernel.end(starting.marked(home, "door"))
    usual, patience_s = (before.port, 3.0) if before else (starting.DOOR_PORT, 0.0)
    port = starting.port(wanted.port, usual, patience_s, wanted.host)
    found = starting.open_door(home, (wanted.host, port), environment(home))
    starting.await_answers(home, {"door": found}, say)
    return found, ("door",)


def door_text(home: Path, door: Server) -> list[str]:
    """What a person has to know to let another machine join."""
    lines = [
        f"door     {door.url}",
        f"  another machine: athanor worker --server {door.url}",
        f"  with the token in {opening.token_file(home)} (a 0600 file there, or {opening.TOKEN})",
    ]
    if door.host not in (starting.LOCAL, "localhost", "::1"):
        lines.append("  It speaks plain HTTP: TLS or a tunnel before it is yours to put there")
    return lines


def down(home: Path) -> tuple[str, ...]:
    """Stop the home's servers and what they started; gives the names of those that ran."""
    with files.locked(home / "servers.lock"):
        pids = {name: starting.marked(home, name) for name in ("door", *PORTS)}
        kernel.end(tuple(pid for found in pids.values() for pid in found))
        (home / "servers.json").unlink(missing_ok=True)
    return tuple(name for name, found in pids.items() if found)


def known(home: Path) -> dict[str, Server]:
    """The servers that `up` started last, by name, whether they live or not."""
    return _read(home)


def running(home: Path) -> Servers | None:
    """The servers that live and listen now, found in milliseconds; None when there is none."""
    found = {name: server for name, server in _read(home).items() if starting.listens(server)}
    return Servers(**found) if found else None


def environment(home: Path) -> dict[str, str]:
    """What makes the plain `mlflow`, `prefect` and `optuna` commands work on this home's stores."""
    found = running(home) or Servers()
    there = postgres.address()
    studies = there.url("optuna") if there else f"sqlite:///{home / 'optuna' / 'optuna.db'}"
    own = {
        "MLFLOW_TRACKING_URI": found.mlflow.url if found.mlflow else mlflow_store.embedded_uri(),
        "OPTUNA_STORAGE": studies,
    }
    values = {name: chosen(name) or value for name, value in own.items()}
    if named := chosen("PREFECT_API_URL"):
        values["PREFECT_API_URL"] = named  # and never our secret to another server
    elif found.prefect:
        values["PREFECT_API_URL"] = own["PREFECT_API_URL"] = f"{found.prefect.url}/api"
        values["PREFECT_API_AUTH_STRING"] = starting.secret(home)
    ours = {name: own[name] for name in sorted(own) if values[name] == own[name]}
    return {
        "ATHANOR_HOME": str(home),
        **mlflow_store.settings(),
        **templates.prefect_settings(home),
        **values,
        EXPORTED: json.dumps(ours),
    }


def shell(environment: dict[str, str]) -> str:
    """Lines for `eval` in a POSIX shell; an address that holds no longer is unset."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    if "PREFECT_API_URL" not in environment:
        lines += ["unset PREFECT_API_URL PREFECT_API_AUTH_STRING"]
        lines += ["# The Prefect server is not up; the prefect command needs it: athanor up"]
    return "\n".join(lines)


def adopt(home: Path) -> None:
    """Make this process work as `environment` says; before mlflow and prefect are imported.

    An address that an earlier `athanor env` left behind is dropped: its server may be gone.
    """
    values = environment(home)
    if "PREFECT_API_URL" not in values:
        for stale in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
            os.environ.pop(stale, None)
    os.environ.update(values)


def chosen(name: str) -> str | None:
    """What the user set a variable to; None where it is empty or came from `athanor env`."""
    value = os.environ.get(name)
    try:
        exported = json.loads(os.environ.get(EXPORTED, "{}"))
    except ValueError:
        exported = {}
    return None if not value or exported.get(name) == value else value


def _read(home: Path) -> dict[str, Server]:
    try:
        servers = Servers.model_validate_json((home / "servers.json").read_bytes())
    except (OSError, ValueError):
        return {}
    pairs = {"mlflow": servers.mlflow, "prefect": servers.prefect, "door": servers.door}
    return {name: server for name, server in pairs.items() if server is not None}


def _write(home: Path, servers: dict[str, Server]) -> None:
    document = Servers(**servers).model_dump(mode="json")
    files.write_bytes(home / "servers.json", files.canonical(document), 0o600)
