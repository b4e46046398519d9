"""The ledger as a table of our own in the registry's database, SQLite or PostgreSQL.

An entry, the alias that it moves, and the registry's note of the last entry are written in one
transaction. It begins with a write to the model's row: from there on no other promotion of the
same name can read or write (SQLite lets in one writer at all).
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from components import files, mlflow_store
from components.errors import IntegrityError, ServiceUnreachable, UsageError
from components.history.chain import (
    Anchor,
    Draft,
    Event,
    State,
    findings,
    read,
    rolled_back,
    sealed,
)
from components.history.place import ALIAS, MEANWHILE, TAKEN_BACK, NotMoved, refuse

NOTE = "athanor.history"
"""Tag of a registered model: number and sha256 of its last entry."""

WORKSPACE = "default"
DELETED = "Deleted_Internal"
PATIENCE_S = 30

ENTRIES = sa.Table(
    "athanor_history",
    sa.MetaData(),
    sa.Column("name", sa.String(256), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.String(40), nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("event", sa.String(20), nullable=False),
    sa.Column("version", sa.Integer),
    sa.Column("previous", sa.Integer),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),
    sa.Column("before", sa.String(64), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
)

# Of MLflow's own tables what a promotion touches (3.17.2).
MODELS = sa.table("registered_models", *map(sa.column, ("workspace", "name", "last_updated_time")))
VERSIONS = sa.table(
    "model_versions",
    *map(sa.column, ("workspace", "name", "version", "current_stage", "run_id", "creation_time")),
)
VERSION_TAGS = sa.table(
    "model_version_tags", *map(sa.column, ("workspace", "name", "version", "key", "value"))
)
ALIASES = sa.table(
    "registered_model_aliases", *map(sa.column, ("workspace", "name", "alias", "version"))
)
TAGS = sa.table("registered_model_tags", *map(sa.column, ("workspace", "name", "key", "value")))


class Database:
    """The ledger of a registry whose database this process opens itself."""

    atomic = True

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @property
    def key(self) -> str:
        """Under which this home remembers the heads of its chains; a server has no home."""
        return "home" if is_of_home(self.uri) else identity(self.uri)

    def read(self, name: str) -> State:
        """Chain, note and alias of a name, all of one moment."""
        if not _is_there(self.uri):
            return State((), None, None)
        with _reading(self.uri) as connection:
            return state(connection, name)

    def append(self, name: str, draft: Draft) -> Event:
        """Write an entry that moves nothing."""
        with _writing(self.uri) as connection:
            lock(connection, name)
            return write(connection, name, draft)

    def move(self, name: str, draft: Draft, expected: int | None, by_hand: bool) -> Event:
        """Entry and alias in one transaction; see `place.Ledger`."""
        with _writing(self.uri) as connection:
            lock(connection, name)
            now = state(connection, name)
            refuse(name, findings(now))
            against = ""
            if now.champion != expected:
                against = MEANWHILE
            elif not by_hand and rolled_back(now.events, draft.version or 0):
                against = TAKEN_BACK
            if not against:
                _point(connection, name, draft.version, now.champion)
                return write(connection, name, draft)
            facts = {"event": "refused", "why": against, "previous": now.champion}
            write(connection, name, draft.model_copy(update=facts))
        raise NotMoved(now.champion, against)


def versions(uri: str, name: str) -> tuple[dict[str, Any], ...]:
    """Every version of a name, oldest first, without MLflow, which takes seconds to import.

    Each has `version`, `run_id`, `created_ms`, `tags` and `aliases`.
    """
    if not _is_there(uri):
        return ()
    with _reading(uri) as connection:
        there = connection.execute(_of(VERSIONS, name, sa.select(VERSIONS))).mappings().all()
        tags = connection.execute(_of(VERSION_TAGS, name, sa.select(VERSION_TAGS))).mappings().all()
        named = connection.execute(_of(ALIASES, name, sa.select(ALIASES))).mappings().all()
    found = [
        {
            "version": int(row["version"]),
            "run_id": row["run_id"] or "",
            "created_ms": int(row["creation_time"]),
            "tags": {tag["key"]: tag["value"] for tag in tags if tag["version"] == row["version"]},
            "aliases": [one["alias"] for one in named if one["version"] == row["version"]],
        }
        for row in there
        if row["current_stage"] != DELETED
    ]
    return tuple(sorted(found, key=lambda row: row["version"]))


def lock(connection: sa.Connection, name: str) -> None:
    """Keep every other writer of this name out until the transaction ends; its first statement."""
    now = int(time.time() * 1000)
    connection.execute(_of(MODELS, name, sa.update(MODELS)).values(last_updated_time=now))


def state(connection: sa.Connection, name: str) -> State:
    """What the transaction sees of a name."""
    rows: list[Any] = []
    if sa.inspect(connection).has_table(ENTRIES.name):
        asked = sa.select(ENTRIES).where(ENTRIES.c.name == name).order_by(ENTRIES.c.number)
        rows = list(connection.execute(asked).mappings())
    where = ALIASES.c.alias == ALIAS
    alias = connection.execute(_of(ALIASES, name, sa.select(ALIASES.c.version)).where(where))
    version = alias.scalar()
    return State(
        events=tuple(read(dict(row)) for row in rows),
        anchor=note(_note(connection, name), "the registry's tag"),
        champion=None if version is None else int(version),
    )


def write(connection: sa.Connection, name: str, draft: Draft) -> Event:
    """Append an entry and note it as the last one; the transaction holds the lock."""
    before = state(connection, name)
    event = sealed(name, before, draft, datetime.now(UTC))
    row = event.model_dump(mode="json")
    row["evidence"] = files.canonical(row["evidence"]).decode()
    connection.execute(sa.insert(ENTRIES).values(**row))
    if noted(before, draft):
        put_note(connection, name, event)
    return event


def noted(before: State, draft: Draft) -> bool:
    """Whether an entry is noted outside of the chain; a note that is gone shall stay missed."""
    return before.anchor is not None or not before.events or draft.event == "accepted"


def note(value: str | None, where: str) -> Anchor | None:
    """The anchor that a tag's text holds."""
    number, _, sha256 = (value or "").partition(" ")
    if not number.isdigit():
        return None
    return Anchor(where, int(number), sha256, exact=True)


def put_note(connection: sa.Connection, name: str, event: Event) -> None:
    """Note an entry as the last one, where the registry knows the name."""
    value = f"{event.number} {event.sha256}"
    where = TAGS.c.key == NOTE
    if _note(connection, name) is not None:
        connection.execute(_of(TAGS, name, sa.update(TAGS)).where(where).values(value=value))
    elif connection.execute(_of(MODELS, name, sa.select(MODELS.c.name))).first():
        row = {"workspace": WORKSPACE, "name": name, "key": NOTE, "value": value}
        connection.execute(sa.insert(TAGS).values(row))


def identity(uri: str) -> str:
    """A name for a database that says neither its place nor its password."""
    url = sa.make_url(plain(uri))
    database = url.database or ""
    if url.get_backend_name() == "sqlite":
        database = str(Path(database).resolve())
    text = f"{url.get_backend_name()}://{url.host}:{url.port}/{database}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_of_home(uri: str) -> bool:
    """Whether this is the database in the home, wherever the home was moved to."""
    return identity(uri) == identity(mlflow_store.embedded_uri())


def plain(uri: str) -> str:
    """The URI without the prefix that chooses our registry store."""
    return uri.removeprefix("athanor+")


def prepare(uri: str) -> None:
    """Make the table where it is missing, in a transaction of its own."""
    with _engine(plain(uri)).connect() as connection:
        if sa.inspect(connection).has_table(ENTRIES.name):
            return
    # PostgreSQL refuses a table that another process made at the same moment: it is there then.
    with suppress(sa.exc.IntegrityError), _writer(uri) as connection:
        connection.execute(sa.schema.CreateTable(ENTRIES, if_not_exists=True))


def _point(connection: sa.Connection, name: str, version: int | None, now: int | None) -> None:
    """Let the alias name a version that exists."""
    asked = _of(VERSIONS, name, sa.select(VERSIONS.c.current_stage))
    stage = connection.execute(asked.where(VERSIONS.c.version == version)).scalar()
    if stage is None or stage == DELETED:
        raise UsageError(f"{name} has no version {version}", f"athanor history {name}")
    if now is None:
        row = {"workspace": WORKSPACE, "name": name, "alias": ALIAS, "version": version}
        connection.execute(sa.insert(ALIASES).values(row))
    else:
        change = _of(ALIASES, name, sa.update(ALIASES)).where(ALIASES.c.alias == ALIAS)
        connection.execute(change.values(version=version))


def _note(connection: sa.Connection, name: str) -> str | None:
    asked = _of(TAGS, name, sa.select(TAGS.c.value)).where(TAGS.c.key == NOTE)
    return connection.execute(asked).scalar()


def _of(table: sa.TableClause, name: str, statement: Any) -> Any:
    return statement.where(table.c.workspace == WORKSPACE, table.c.name == name)


def _is_there(uri: str) -> bool:
    url = sa.make_url(plain(uri))
    return url.get_backend_name() != "sqlite" or Path(url.database or "").is_file()


@contextmanager
def _reading(uri: str) -> Iterator[sa.Connection]:
    """One moment of the database."""
    level = {} if plain(uri).startswith("sqlite") else {"isolation_level": "REPEATABLE READ"}
    engine = _engine(plain(uri)).execution_options(**level)
    with _answering(uri), engine.begin() as connection:
        yield connection


@contextmanager
def _writing(uri: str) -> Iterator[sa.Connection]:
    if not _is_there(uri):
        mlflow_store.client(plain(uri))
    with _answering(uri):
        prepare(uri)
        with _writer(uri) as connection:
            yield connection


@contextmanager
def _writer(uri: str) -> Iterator[sa.Connection]:
    with _engine(plain(uri)).connect() as connection:
        connection.execution_options(athanor_writes=True)
        with connection.begin():
            yield connection


@contextmanager
def _answering(uri: str) -> Iterator[None]:
    try:
        yield
    except sa.exc.OperationalError as error:
        shown = mlflow_store.shown_uri(uri)
        raise ServiceUnreachable(
            f"the registry's database at {shown} does not answer ({error.orig})",
            "look whether it runs and has space, then try again",
        ) from error
    except sa.exc.DatabaseError as error:
        if type(error) is not sa.exc.DatabaseError:
            raise
        raise IntegrityError(  # SQLite's one for a page that is none, or no database at all
            f"the registry's database at {mlflow_store.shown_uri(uri)} is damaged ({error.orig})",
            "restore it from a backup: athanor restore FILE",
        ) from error


@cache
def _engine(uri: str) -> sa.Engine:
    """Connections that are closed after use: nothing is left open when a process forks."""
    patience = {"timeout": PATIENCE_S} if uri.startswith("sqlite") else {}
    engine = sa.create_engine(uri, poolclass=sa.NullPool, connect_args=patience)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _own_transactions)
        sa.event.listen(engine, "begin", _begin)
    return engine


def _own_transactions(connection: Any, _record: Any) -> None:
    """Python's sqlite3 opens a transaction at the first write: reads would see several moments."""
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("athanor_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
