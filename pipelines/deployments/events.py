"""Events that start deployments: told to the standing server, to nobody where none is up."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from components.errors import AthanorError, ServiceUnreachable, UsageError
from pipelines.deployments import server

if TYPE_CHECKING:
    from components.artifacts import Promotion

EVERYTHING = "all"
"""The subject of an event that names none."""


def emit(name: str, subject: str = "", payload: Mapping[str, Any] | None = None) -> bool:
    """Whether a server was told; where none is up, nothing happens and nothing is said.

    `digest` in the payload says what the event is about: for one digest one run is started.
    """
    try:
        return _told(name, subject, payload or {})
    except AthanorError:
        return False
    except Exception as error:
        from pipelines import outages

        if outages.away(error):
            return False
        raise


def moved(promotion: "Promotion | None") -> None:
    """Tell that another version is champion, where a promotion made it so."""
    if promotion is None or not promotion.moved:
        return
    version = {"version": promotion.version, "previous": promotion.previous}
    whole = {**version, "digest": f"{promotion.name}/{promotion.version}"}
    with suppress(Exception):  # the champion is moved, whoever hears of it
        emit("champion_changed", promotion.name, whole)


def announce(name: str, subject: str, text: str) -> dict[str, Any]:
    """What `athanor event` sent; `text` is its payload as JSON, or empty.

    Raises:
        UsageError: the payload is no JSON object.
        ServiceUnreachable: no server is up.
    """
    try:
        payload = json.loads(text or "{}")
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        example = """--payload '{"digest": "d1"}'"""
        raise UsageError(f"--payload {text!r} is no JSON object", example)
    if not _told(name, subject, payload):
        raise ServiceUnreachable("no Prefect server is up; an event goes to it", "athanor up")
    return {"event": name, "subject": subject, "payload": payload}


def _told(name: str, subject: str, payload: Mapping[str, Any]) -> bool:
    if server.address() is None:
        return False
    with server.connected() as client:
        from prefect.events.schemas.events import Event, Resource

        about = {
            "prefect.resource.id": f"athanor.{name}.{subject or EVERYTHING}",
            "prefect.resource.name": subject or EVERYTHING,
        }
        # RunDeployment fills both in: what an event does not name is an empty text.
        whole = {"digest": "", **payload, "subject": subject}
        event = Event(event=f"athanor.{name}", resource=Resource(about), payload=whole)
        client.request("POST", "/events", json=[event.model_dump(mode="json")])
    return True


class Failing:
    """Tells of a run that ends with an error of ours or of anybody's, and lets the error pass."""

    def __init__(self, config: str, digest: str) -> None:
        self.config, self.digest = config, digest

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception):
            with suppress(Exception):  # the run's own error is what counts
                said = {"digest": self.digest, "error": str(error)[:500]}
                emit("run_failed", self.config, said)
