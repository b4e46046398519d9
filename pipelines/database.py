"""`athanor up --database`: a home's records go to a PostgreSQL, and from then on stay there."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from components import databases, mlflow_store, postgres, project
from components.errors import AthanorError, ResourceError, UsageError
from components.keeping import backup, moved
from components.postgres import Address
from pipelines import servers

Say = Callable[[str], None]


def use(text: str, say: Say) -> Address:
    """Three databases with their tables at `HOST[:PORT]`, remembered in the home.

    Runs that lie in the home's files stay there and are not read any more.

    Raises:
        As `postgres.connected`; ResourceError: servers or runs of the home are at work;
        UsageError: the home has versions.
    """
    there, before = postgres.parsed(text), postgres.address()
    if there != before:
        demand_idle(project.home())
    if before is None:
        _demand_no_version(project.home())
    for name in postgres.make(there):
        say(f"database {name} made at {there.shown}")
    postgres.examine(there)
    postgres.remember(there)
    _tables(there, say)
    return there


def demand() -> None:
    """Nothing, where the home's PostgreSQL answers and is known, or the home names none.

    Raises:
        As `postgres.connected`.
    """
    if there := postgres.address():
        postgres.examine(there)


def answers() -> bool | None:
    """Whether the home's PostgreSQL lets us in; None: there is none."""
    there = postgres.address()
    if there is None:
        return None
    try:
        with postgres.connected(there, postgres.DATABASES["optuna"]):
            return True
    except AthanorError:
        return False


def dump(folder: Path) -> list[Path]:
    """A file per database, as pg_restore reads it; none where the home names no PostgreSQL.

    Raises:
        ResourceError: pg_dump is missing, or cannot do it.
    """
    if (there := postgres.address()) is None:
        return []
    program = _program("pg_dump")
    made = []
    for name in postgres.DATABASES.values():
        file = folder / f"{name}.dump"
        where = ["--host", there.host, "--port", str(there.port), "--username", there.user]
        done = subprocess.run(
            [program, *where, "--no-password", "--format", "custom", "--file", file, name],
            env={**os.environ, "PGPASSFILE": str(postgres.password_file())},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ResourceError(
                f"{name} could not be copied: {(done.stderr.strip().splitlines() or [''])[-1]}",
                f"with a pg_dump as new as the server at {there.shown}: athanor backup FILE",
            )
        made.append(file)
    return made


def restore_lines(home: Path) -> list[str]:
    """What is still to be done by hand for a home that was put back with its dumps."""
    dumps = sorted((home / backup.DUMPS).glob("*.dump"))
    if not dumps:
        return []
    lines = ["its databases lie on a PostgreSQL and are not touched; to put them back as well:"]
    for file in dumps:
        lines.append(f"  pg_restore --clean --if-exists --no-owner --dbname {file.stem} {file}")
    return lines


def _program(name: str) -> str:
    """A program of PostgreSQL's: the newest of this machine.

    Raises:
        ResourceError: there is none.
    """
    own = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=_major)
    found = str(own[-1]) if own else shutil.which(name)
    if found is None:
        raise ResourceError(
            f"{name} is not installed, and without it databases on a PostgreSQL cannot be copied",
            "install the PostgreSQL client programs (Debian: apt-get install postgresql-client)",
        )
    return found


def _major(program: Path) -> int:
    version = program.parent.parent.name
    return int(version) if version.isdecimal() else 0


def demand_idle(home: Path) -> None:
    """Raises ResourceError where somebody writes to the stores that are left."""
    if servers.running(home):
        raise ResourceError(
            "the servers of this home serve the stores that it has now",
            "athanor down, then the same command again",
        )
    open_ = home / "runs" / "open"
    if open_.is_dir() and (runs := [name for name in os.listdir(open_) if name[0] != "."]):
        raise ResourceError(
            f"a run writes to the stores that this home has now: {', '.join(runs)}",
            "wait until it ends, then the same command again",
        )


def _demand_no_version(home: Path) -> None:
    """Raises UsageError where stored results name versions that the new registry would not have."""
    file = home / "mlflow" / mlflow_store.DATABASE
    if not file.is_file():
        return
    with databases.reading(file) as asked:
        [versions] = asked.execute("SELECT count(*) FROM model_versions").fetchone()
    if versions:
        raise UsageError(
            f"the registry in {file} holds {versions} versions, and none of them moves along",
            "begin in a home of its own: ATHANOR_HOME=FOLDER athanor up --database HOST",
        )


def _tables(there: Address, say: Say) -> None:
    """MLflow's and Optuna's tables; Prefect's server makes its own when it starts."""
    from components.history import database
    from components.study import storage

    say("making the tables of MLflow and Optuna")
    mlflow_store.apply_settings()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    uri = there.url("mlflow")
    SqlAlchemyStore(uri, str(project.home() / moved.ARTIFACTS)).engine.dispose()
    database.prepare(uri)
    with storage.opened():
        pass
