"""A Prefect server of the home's own that lives exactly as long as a run needs it.

Starting it is the dearest fixed cost of a run (about 5 CPU seconds of imports), so it is started
first and comes up on another core while the run imports its own libraries. Its socket listens
from the beginning: a request that comes early waits instead of failing.

Lives are tied by kernel locks, which a killed process cannot keep:
- every run holds `users.lock` shared; the server waits for it exclusively and then ends, so that
  it outlives the run that started it while another one works, and nobody by a kill of all;
- whoever serves the SQLite file holds `server.lock`; a second server is never started.
"""

import fcntl
import gc
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any

from components import databases, files, postgres, processes
from components.errors import ResourceError, ServiceUnreachable
from components.records import Record
from pipelines import kernel, templates

PATIENCE_S = 180.0
COLLECT_S = 1.0
"""Between two collections of young garbage; of old garbage twenty times as long."""
SERVICES = (
    "SCHEDULER",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "CANCELLATION_CLEANUP",
    "FOREMAN",
    "REPOSSESSOR",
    "DB_VACUUM",
    "EVENT_PERSISTER",
    "EVENT_LOGGER",
    "TRIGGERS",
)
"""Background services that only a standing server has a use for."""


class Running(Record):
    """The embedded server that a home has now."""

    owner: str
    """Host, boot, number and start of its process."""
    pid: int
    url: str


class EmbeddedServer:
    """A run's share in the home's embedded server; `stop` gives it back, the kernel does too."""

    def __init__(self, running: Running, share: IO[str], home: Path) -> None:
        self.url = running.url
        self.pid = running.pid
        self._owner = running.owner
        self._share = share
        self._home = home

    def ready(self, patience_s: float = PATIENCE_S) -> None:
        """Return when the server answers; the socket listens before, so asking once is waiting.

        Raises:
            ServiceUnreachable: it ended, or does not answer in time.
        """
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if answers(f"{self.url}/health", timeout_s=min(5.0, patience_s)):
                templates.migrated(self._home, "prefect")
                return
            if processes.dead(self._owner):
                break
        raise ServiceUnreachable(
            f"the embedded Prefect server (process {self.pid}) does not answer:"
            f" {_last(self._home)}",
            f"read {log(self._home)}, then run again",
        )

    def stop(self) -> None:
        """Give the share back; the server ends when no run holds one.

        A run may leave this to the end of its process. States of tasks travel in the background:
        those still on their way are delivered first.
        """
        if "prefect.events.worker" in sys.modules:
            from prefect.events.worker import EventsWorker

            EventsWorker.drain_all(timeout=10)
        self._share.close()


def start_embedded(home: Path) -> EmbeddedServer:
    """The home's embedded server, started unless another run has one; returns before it answers.

    Raises:
        ResourceError: the servers of `athanor up` use the database.
    """
    folder = home / "prefect"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    templates.install(home)
    if (database := folder / "prefect.db").is_file():
        remedy = f"move {folder} aside: a new one is made, and only the list of past runs is lost"
        databases.demand_whole(database, remedy)
    share = (folder / "users.lock").open("a")
    fcntl.flock(share, fcntl.LOCK_SH)  # waits while a server that lost its last run ends
    try:
        with files.locked(folder / "start.lock"):
            return EmbeddedServer(found(home) or _launch(home), share, home)
    except BaseException:
        share.close()
        raise


def found(home: Path) -> Running | None:
    """The embedded server that lives now; None when there is none."""
    try:
        running = Running.model_validate_json((home / "prefect/embedded.json").read_bytes())
    except (OSError, ValueError):
        return None
    return None if processes.dead(running.owner) else running


def users(home: Path) -> tuple[int, ...]:
    """Numbers of the processes whose runs hold the embedded server."""
    running = found(home)
    server = running.pid if running else None
    return tuple(pid for pid in kernel.openers(home / "prefect/users.lock") if pid != server)


def claim(home: Path) -> IO[str]:
    """The right to serve the home's Prefect database, as an open file to be inherited.

    Raises:
        ResourceError: another server has it.
    """
    path = home / "prefect/server.lock"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        holders = ", ".join(f"{pid} ({kernel.command(pid)})" for pid in kernel.openers(path))
        raise ResourceError(
            f"the Prefect database in {path.parent} is served by process {holders or 'unknown'}",
            "wait for it to end, or stop it: athanor down",
        ) from None
    return lock


def spawn(home: Path, options: dict[str, Any], environment: dict[str, str]) -> int:
    """Start a Prefect server process that inherits socket and claim; gives its number."""
    own = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    output = log(home)
    output.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with output.open("ab") as sink:
        handles = [options["socket"], options["claim"]]
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.embedded", json.dumps(options)],
            env={**own, **templates.import_path(), **environment},
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            pass_fds=handles,
            start_new_session=True,
        ).pid


def answers(url: str, timeout_s: float = 1.0) -> bool:
    """Whether a GET of the address succeeds."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as reply:
            return reply.status == 200
    except (OSError, ValueError):
        return False


def log(home: Path) -> Path:
    """Where the Prefect server of a home writes what goes wrong."""
    return home / "logs" / "prefect.log"


def migration(home: Path) -> dict[str, str]:
    """Skip Prefect's migrations where the home's own database is known to be up to date."""
    named = "PREFECT_API_DATABASE_CONNECTION_URL" in os.environ
    elsewhere = named or postgres.address() is not None
    known = not elsewhere and templates.current(home, "prefect")
    return {"PREFECT_API_DATABASE_MIGRATE_ON_START": "false"} if known else {}


def revive(home: Path, url: str, ill: bool) -> None:
    """Start the embedded server again on its port; of several runs that want it, one does.

    One that lives stays as it is, unless it is `ill`: then it is killed first. SQLite's log
    (WAL) makes a kill harmless.

    Raises:
        ResourceError: the port or the database is taken by somebody else.
    """
    with files.locked(home / "prefect/start.lock"):
        running = found(home)
        if running is not None and not (ill and not answers(f"{url}/health", timeout_s=5.0)):
            return
        if running is not None:
            kernel.end((running.pid,), patience_s=1.0)
        try:
            _launch(home, int(url.rpartition(":")[2].partition("/")[0]))
        except OSError as error:
            raise ResourceError(f"the embedded Prefect server lost its address: {error}") from error


def _launch(home: Path, port: int = 0) -> Running:
    claimed = _claim_patiently(home)
    listening = socket.create_server(("127.0.0.1", port))
    with claimed, listening:
        options = {
            "socket": listening.fileno(),
            "claim": claimed.fileno(),
            "users": str(home / "prefect/users.lock"),
        }
        environment = {
            **templates.prefect_settings(home),
            **migration(home),
            **{f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in SERVICES},
            "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
            "PREFECT_UI_ENABLED": "false",
            "PREFECT__SERVER_EPHEMERAL": "1",
        }
        pid = spawn(home, options, environment)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
    running = Running(owner=processes.of(pid), pid=pid, url=url)
    files.write_json(home / "prefect/embedded.json", running.model_dump())
    return running


def _claim_patiently(home: Path, patience_s: float = 15.0) -> IO[str]:
    """Claim the database; a server that was just told to end gets time for it."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return claim(home)
        except ResourceError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _last(home: Path) -> str:
    """The last line that the server wrote."""
    try:
        return (log(home).read_text(errors="replace").strip().splitlines() or ["no message"])[-1]
    except OSError:
        return "no message"


def serve(options: dict[str, Any]) -> None:
    """Run Prefect's server on an inherited socket until it is stopped or nobody uses it."""
    gc.disable()  # the imports make many objects and no garbage: one CPU second less
    listening = socket.socket(fileno=options["socket"])
    import uvicorn
    from prefect.server.api.server import create_app

    _lock_at_begin()
    application = create_app(final=True)
    gc.freeze()
    never = threading.Event()
    threading.Thread(target=_collect_garbage, args=(never,), daemon=True).start()
    server = uvicorn.Server(
        uvicorn.Config(
            application, log_level="error", access_log=False, timeout_graceful_shutdown=3
        )
    )
    if "users" in options:
        waiting = threading.Thread(target=_end_unused, args=(server, options["users"]), daemon=True)
        waiting.start()
    server.run(sockets=[listening])
    os._exit(0)  # background threads of Prefect's services must not keep the database


def _lock_at_begin() -> None:
    """Let every transaction on SQLite take the lock for writing when it begins.

    Prefect begins most of them as readers. Where another one has written before such a reader
    writes, SQLite refuses at once, the server answers 503, and the client comes again after 2, 4, 8
    and more seconds: four runs at once met 62 refusals in two minutes (Prefect 3.8.8). It takes the
    lock early itself where that was noticed upstream (`mark_deployments_ready`).
    """
    from prefect.server.database.configurations import AioSqliteConfiguration

    begin = AioSqliteConfiguration.begin_transaction

    def locked(database: Any, session: Any, with_for_update: bool = True) -> Any:
        return begin(database, session, with_for_update=True)

    AioSqliteConfiguration.begin_transaction = locked  # type: ignore[method-assign]


def _collect_garbage(over: threading.Event) -> None:
    """Collect in a thread of its own what Python would else collect in the middle of the loop.

    A cursor among the garbage is reset under the lock of its connection. Where that connection's
    thread waits for the database, and the loop is the one that holds it, the loop waits for the
    cursor, the thread for the loop, and all for SQLite's patience of 60 seconds (Python 3.11.7,
    aiosqlite 0.22.1, Prefect 3.8.8; found in the stacks of a server that stood still).
    """
    for number in itertools.count(1):
        if over.wait(COLLECT_S):
            return
        gc.collect(2 if number % 20 == 0 else 1 if number % 5 == 0 else 0)


def _end_unused(server: Any, path: str) -> None:
    """Stop the server when no process holds the lock shared any more."""
    with open(path, "a") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        server.should_exit = True
        time.sleep(8)
        os._exit(0)


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
