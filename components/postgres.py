"""The PostgreSQL that keeps a home's records instead of its files, once one was named.

One server, one user, a database for each of Prefect, MLflow and Optuna. Its address stands in the
home, its password in a file of libpq's own kind beside it, for its owner alone: addresses that
appear in logs, pages and process lists hold none.
"""

import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pydantic import Field, ValidationError

from components import files, project
from components.errors import AthanorError, IntegrityError, ServiceUnreachable, UsageError
from components.records import Record

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

Store = Literal["prefect", "mlflow", "optuna"]

DATABASES: dict[Store, str] = {
    "prefect": "athanor_prefect",
    "mlflow": "athanor_mlflow",
    "optuna": "athanor_optuna",
}

MIGRATIONS: dict[Store, tuple[str, ...]] = {
    "prefect": ("prefect", "server", "database", "_migrations", "versions", "postgresql"),
    "mlflow": ("mlflow", "store", "db_migrations", "versions"),
    "optuna": ("optuna", "storages", "_rdb", "alembic", "versions"),
}
"""Where each library keeps the layouts that it knows, below its package."""

PATIENCE_S = 10
PASSWORDS = "database.passwords"
"""As libpq reads it: host, port, database, user, password, between colons."""

CREDENTIALS = "PGUSER and PGPASSWORD, or a file of mode 0600 that PGPASSFILE names"


class Address(Record):
    """Where a server answers, and as whom."""

    host: str
    """A name, or the folder of a socket."""
    port: int = Field(default=5432, ge=1, le=65535)
    user: str

    def url(self, store: Store) -> str:
        """For SQLAlchemy; without a password, which stands in the file that it names."""
        driver = "asyncpg" if store == "prefect" else "psycopg2"
        where = f"{self.host}:{self.port}"
        query = f"passfile={quote(str(password_file()), safe='/')}"
        if self.host.startswith("/"):
            where, query = "", f"host={quote(self.host, safe='/')}&port={self.port}&{query}"
        user = quote(self.user, safe="")
        return f"postgresql+{driver}://{user}@{where}/{DATABASES[store]}?{query}"

    @property
    def shown(self) -> str:
        """For a person."""
        return f"{self.host}:{self.port}"


def address() -> Address | None:
    """The server that the home's records lie on; None: they lie in its own files.

    Raises:
        IntegrityError: the note of it is damaged.
    """
    home = project.standing_home()
    try:
        text = (home / "database.json").read_bytes() if home else None
    except FileNotFoundError:
        return None
    if text is None:
        return None
    try:
        return Address.model_validate_json(text)
    except ValidationError as error:
        raise IntegrityError(
            f"{home}/database.json is damaged", "athanor up --database HOST  writes it anew"
        ) from error


def parsed(text: str) -> Address:
    """The address that `HOST[:PORT]` and the environment describe.

    Raises:
        UsageError: it is none.
    """
    host, port = text, os.environ.get("PGPORT", "5432")
    if found := re.fullmatch(r"(.+):(\d+)", text):
        host, port = found[1], found[2]
    plain = re.fullmatch(r"/[^@]+|[A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\]", host)
    if not plain or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise UsageError(
            f"--database {text.rpartition('@')[2]!r} is no HOST[:PORT]",
            f"name the server alone; user and password are in {CREDENTIALS}",
        )
    return Address(host=host, port=int(port), user=os.environ.get("PGUSER") or "athanor")


def remember(there: Address) -> None:
    """Keep the address, and the password that the environment names, in the home.

    Raises:
        UsageError: the password cannot be kept.
    """
    home = project.home()
    if named := os.environ.get("PGPASSFILE"):
        files.write_bytes(home / PASSWORDS, Path(named).read_bytes(), 0o600)
    elif password := os.environ.get("PGPASSWORD"):
        known = [there.host, str(there.port), "*", there.user, password]
        line = ":".join(re.sub(r"([\\:])", r"\\\1", part) for part in known)
        if "\n" in line:
            raise UsageError("PGPASSWORD holds a line break", "set it to the password alone")
        files.write_bytes(home / PASSWORDS, f"{line}\n".encode(), 0o600)
    files.write_bytes(home / "database.json", files.canonical(there.model_dump()), 0o600)


def password_file() -> Path:
    """Where libpq finds the password: the file that the user names, else the home's own."""
    return Path(os.environ.get("PGPASSFILE") or project.home() / PASSWORDS)


def make(there: Address) -> tuple[str, ...]:
    """The three databases; gives the names of those that were not there.

    Raises:
        As `connected`.
    """
    made = []
    with connected(there, "postgres") as connection:
        for name in DATABASES.values():
            if not _rows(connection, "SELECT 1 FROM pg_database WHERE datname = %s", (name,)):
                _rows(connection, f'CREATE DATABASE "{name}"')
                made.append(name)
    return tuple(made)


def examine(there: Address) -> None:
    """Nothing, where every database is there and of a layout that the installed libraries know.

    Raises:
        As `connected`.
    """
    for store, name in DATABASES.items():
        with connected(there, name) as connection:
            [known] = _rows(connection, "SELECT to_regclass('alembic_version') IS NOT NULL")
            if not known[0]:
                continue
            for (revision,) in _rows(connection, "SELECT version_num FROM alembic_version"):
                if not _knows(store, revision):
                    raise IntegrityError(
                        f"{name} at {there.shown} was made by a newer {store}: its layout"
                        f" {revision} is unknown to the installed one",
                        "update the clone (git pull) and its libraries: make setup",
                    )


@contextmanager
def connected(there: Address, database: str) -> Iterator["Connection"]:
    """A connection that commits each statement.

    Raises:
        ServiceUnreachable: the server is away, or does not let the user in.
        IntegrityError: the database is gone.
        UsageError: the user may not do what was asked.
    """
    import psycopg2

    try:
        connection = psycopg2.connect(
            host=there.host.strip("[]"),
            port=there.port,
            user=there.user,
            dbname=database,
            passfile=str(password_file()),
            connect_timeout=PATIENCE_S,
        )
    except psycopg2.OperationalError as error:
        raise _refused(there, database, str(error)) from None
    connection.autocommit = True
    try:
        yield connection
    except psycopg2.errors.InsufficientPrivilege as error:
        raise UsageError(
            f"{there.user} at {there.shown} may not do this: {_first(str(error))}",
            f'as its administrator: ALTER ROLE "{there.user}" CREATEDB',
        ) from None
    except psycopg2.OperationalError as error:
        raise _refused(there, database, str(error)) from None
    finally:
        connection.close()


def listens(there: Address, timeout_s: float) -> bool:
    """Whether something accepts a connection there."""
    family = socket.AF_UNIX if there.host.startswith("/") else socket.AF_INET
    try:
        if family == socket.AF_INET:
            socket.create_connection((there.host.strip("[]"), there.port), timeout_s).close()
        else:
            with socket.socket(family) as asked:
                asked.settimeout(timeout_s)
                asked.connect(f"{there.host}/.s.PGSQL.{there.port}")
    except OSError:
        return False
    return True


def rows(store: Store, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """What a database of the home's server answers.

    Raises:
        As `connected`.
    """
    there = address()
    if there is None:
        raise RuntimeError(f"no PostgreSQL keeps this home's {store}")
    with connected(there, DATABASES[store]) as connection:
        return _rows(connection, statement, values)


def _rows(
    connection: "Connection", statement: str, values: Sequence[Any] = ()
) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, tuple(values) or None)
        return cursor.fetchall() if cursor.description else []


def _refused(there: Address, database: str, said: str) -> AthanorError:
    """What a failed connection means to the user."""
    words = said.lower()
    if "authentication failed" in words or "no password supplied" in words or "role" in words:
        return ServiceUnreachable(
            f"PostgreSQL at {there.shown} does not let {there.user!r} in: {_first(said)}",
            f"put user and password into {CREDENTIALS}, then: athanor up --database {there.shown}",
        )
    if "does not exist" in words:
        return IntegrityError(
            f"the database {database} is gone from {there.shown}",
            f"restore it, or begin with an empty one: athanor up --database {there.shown}",
        )
    return ServiceUnreachable(
        f"PostgreSQL at {there.shown} does not answer: {_first(said)}",
        "start it, or name where it is: athanor up --database HOST[:PORT]",
    )


def _first(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip())[:200]


def _knows(store: Store, revision: str) -> bool:
    """Whether the installed library has the migration that made this layout."""
    package, *folders = MIGRATIONS[store]
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        return False
    folder = Path(found.submodule_search_locations[0], *folders)
    line = re.compile(rf"^revision\b.*= *['\"]{re.escape(revision)}['\"]", re.MULTILINE)
    return any(line.search(path.read_text()) for path in folder.rglob("*.py"))
