"""MLflow's registry in a database, with champions that only a promotion moves."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from components.history import chain, database
from components.history.chain import Draft
from components.history.place import ALIAS

FIXED = ("athanor.run_key", "athanor.bundle", "athanor.provenance")
"""Tags of a version that say what its files are."""


class GuardedStore(SqlAlchemyStore):
    """Refuses with 403, never 500, for which MLflow's clients would try again for minutes."""

    def __init__(self, store_uri: str, tracking_uri: str | None = None) -> None:
        super().__init__(database.plain(store_uri))
        database.prepare(self.db_uri)
        self._open: ContextVar[Any] = ContextVar("open", default=None)
        self.ManagedSessionMaker: Callable[..., Any] = self._joining(self.ManagedSessionMaker)

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """Any alias but the champion."""
        _demand(alias != ALIAS, f"the alias {ALIAS!r} moves by promotion only: athanor promote")
        super().set_registered_model_alias(name, alias, version)

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Any alias but the champion."""
        _demand(alias != ALIAS, f"the alias {ALIAS!r} moves by promotion only: athanor rollback")
        super().delete_registered_model_alias(name, alias)

    def delete_model_version(self, name: str, version: str) -> None:
        """Any version but the champion; its end goes into the history, in one transaction."""
        with self._locked(name) as (connection, state):
            live = state.champion == int(version)
            _demand(not live, f"{name} v{version} is the champion; promote another first")
            super().delete_model_version(name, version)
            draft = Draft(
                event="archived",
                version=int(version),
                why="it was deleted in MLflow",
                who="mlflow server",
            )
            database.write(connection, name, draft)

    def delete_registered_model(self, name: str) -> None:
        """Any name without a champion."""
        with self._locked(name) as (_, state):
            _demand(state.champion is None, f"{name} has a champion: it cannot be deleted")
            super().delete_registered_model(name)

    def rename_registered_model(self, name: str, new_name: str) -> Any:
        """Any name without a history, for that is kept under the name."""
        with self._locked(name) as (_, state):
            known = bool(state.events) or state.champion is not None
            _demand(not known, f"{name} has a history under this name: it cannot be renamed")
            return super().rename_registered_model(name, new_name)

    def set_registered_model_tag(self, name: str, tag: RegisteredModelTag) -> None:
        """Any tag but the note of the last entry."""
        _demand(tag.key != database.NOTE, f"the tag {tag.key!r} belongs to the history")
        super().set_registered_model_tag(name, tag)

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Any tag but the note of the last entry."""
        _demand(key != database.NOTE, f"the tag {key!r} belongs to the history")
        super().delete_registered_model_tag(name, key)

    def set_model_version_tag(self, name: str, version: str, tag: ModelVersionTag) -> None:
        """Any tag but those that say what the files are."""
        _demand(tag.key not in FIXED, f"the tag {tag.key!r} is set when a version is registered")
        super().set_model_version_tag(name, version, tag)

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        """Any tag but those that say what the files are."""
        _demand(key not in FIXED, f"the tag {key!r} says what the version's files are")
        super().delete_model_version_tag(name, version, key)

    @contextmanager
    def _locked(self, name: str) -> Iterator[tuple[Any, chain.State]]:
        """One transaction for a look at the champion and what MLflow then does."""
        with self.ManagedSessionMaker(read_only=False) as session:
            connection = session.connection()
            database.lock(connection, name)
            token = self._open.set(session)
            try:
                yield connection, database.state(connection, name)
            finally:
                self._open.reset(token)

    def _joining(self, begin: Callable[..., Any]) -> Callable[..., Any]:
        """MLflow's sessions; inside `_locked` its methods work in the open one."""

        @contextmanager
        def session(read_only: bool = True) -> Iterator[Any]:
            outer = self._open.get()
            if outer is not None:
                yield outer
                outer.flush()
                return
            with begin(read_only=read_only) as made:
                yield made

        return session


def _demand(allowed: bool, message: str) -> None:
    if not allowed:
        raise MlflowException(message, PERMISSION_DENIED)
