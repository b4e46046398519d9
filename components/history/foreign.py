"""The ledger beside an MLflow server of somebody else's: a file in the home. It is not atomic.

The server has no compare-and-set. A lease (a tag of the model) and a lock in the home hold other
promoters off; then: read, write, read again. Who does not ask for the lease is not held off, and
a kill between alias and entry leaves an alias that nobody wrote down: `verify` names both.
"""

import hashlib
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import files, mlflow_store, project
from components.errors import IntegrityError, ServiceUnreachable, UsageError
from components.history.chain import (
    Draft,
    Event,
    State,
    findings,
    read,
    rolled_back,
    sealed,
    version_text,
)
from components.history.database import NOTE, note, noted
from components.history.place import ALIAS, MEANWHILE, TAKEN_BACK, NotMoved, refuse

if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel

LEASE = "athanor.lease"
LEASE_S = 30.0
PATIENCE_S = 60.0


class Foreign:
    """A ledger of this home alone, for one server."""

    atomic = False

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.key = hashlib.sha256(mlflow_store.shown_uri(uri).encode()).hexdigest()[:16]

    def read(self, name: str) -> State:
        """Chain and note of a name, and the alias as the server says."""
        events = self._events(name)
        model = self._model(name)
        if model is None:
            return State(events, None, None)
        version = model.aliases.get(ALIAS)
        anchor = note(model.tags.get(_note_key(events)), "the registry's tag")
        return State(events, anchor, None if version is None else int(version))

    def append(self, name: str, draft: Draft) -> Event:
        """Write an entry that moves nothing."""
        with files.locked(self._file(name).with_suffix(".lock")):
            return self._write(name, draft)

    def move(self, name: str, draft: Draft, expected: int | None, by_hand: bool) -> Event:
        """Lease, read, write, verify; see `place.Ledger`."""
        with files.locked(self._file(name).with_suffix(".lock")), self._lease(name):
            now = self.read(name)
            refuse(name, findings(now))
            against = ""
            if now.champion != expected:
                against = MEANWHILE
            elif not by_hand and rolled_back(now.events, draft.version or 0):
                against = TAKEN_BACK
            if against:
                facts = {"event": "refused", "why": against, "previous": now.champion}
                self._write(name, draft.model_copy(update=facts))
                raise NotMoved(now.champion, against)
            self._point(name, draft.version)
            found = self.read(name).champion
            if found != draft.version:
                raise IntegrityError(
                    f"the champion of {name} was set to {version_text(draft.version)}, but reads "
                    f"as {version_text(found)}: somebody else moved it at the same moment",
                    f"look: athanor history {name} --verify",
                )
            return self._write(name, draft)

    def _write(self, name: str, draft: Draft) -> Event:
        before = self.read(name)
        event = sealed(name, before, draft, datetime.now(UTC))
        files.append_line(self._file(name), files.canonical(event.model_dump(mode="json")))
        if noted(before, draft) and self._model(name) is not None:
            value = f"{event.number} {event.sha256}"
            with _answering(self.uri) as client:
                client.set_registered_model_tag(name, _note_key(self._events(name)), value)
        return event

    def _point(self, name: str, version: int | None) -> None:
        from mlflow.exceptions import MlflowException

        with _answering(self.uri) as client:
            try:
                client.set_registered_model_alias(name, ALIAS, str(version))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                raise UsageError(
                    f"{name} has no version {version}", f"athanor history {name}"
                ) from error

    @contextmanager
    def _lease(self, name: str) -> Iterator[None]:
        """Ask for the name until nobody else has it; the server compares nothing, so look twice."""
        mine = uuid.uuid4().hex
        deadline = time.monotonic() + PATIENCE_S
        with _answering(self.uri) as client:
            while True:
                holder, _, until = (
                    client.get_registered_model(name).tags.get(LEASE, "").partition(" ")
                )
                if holder == mine:
                    break
                if not holder or float(until or 0) < time.time():
                    value = f"{mine} {time.time() + LEASE_S:.0f}"
                    client.set_registered_model_tag(name, LEASE, value)
                elif time.monotonic() > deadline:
                    raise ServiceUnreachable(
                        f"another promotion of {name} holds its lease on the server",
                        "try again when it has ended",
                    )
                time.sleep(0.3)
            try:
                yield
            finally:
                client.delete_registered_model_tag(name, LEASE)

    def _events(self, name: str) -> tuple[Event, ...]:
        """Every line; a torn last one, left by a power cut, is none."""
        try:
            text = self._file(name).read_bytes()
        except FileNotFoundError:
            return ()
        lines = text[: text.rfind(b"\n") + 1].splitlines()
        return tuple(read(_parsed(line)) for line in lines)

    def _model(self, name: str) -> "RegisteredModel | None":
        from mlflow.exceptions import MlflowException

        with _answering(self.uri) as client:
            try:
                return client.get_registered_model(name)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise

    def _file(self, name: str) -> Path:
        return project.home() / "history" / self.key / f"{name}.jsonl"


def _note_key(events: tuple[Event, ...]) -> str:
    """Each home has a chain of its own on such a server; its first entry tells them apart."""
    return f"{NOTE}.{events[0].sha256[:8]}" if events else NOTE


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"line": line.decode(errors="replace")}


@contextmanager
def _answering(uri: str) -> Iterator[Any]:
    from mlflow.exceptions import MlflowException

    client = mlflow_store.client(uri)
    try:
        yield client
    except MlflowException as error:
        if error.error_code not in mlflow_store.AWAY:
            raise
        raise ServiceUnreachable(
            f"the model registry at {mlflow_store.shown_uri(uri)} does not answer",
            "start it, or unset MLFLOW_TRACKING_URI to use the store in the home",
        ) from error
