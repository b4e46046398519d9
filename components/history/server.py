"""The ledger behind an MLflow server of ours, which speaks `/api/athanor/1.0/`."""

from typing import TYPE_CHECKING, Any

from components import mlflow_store
from components.errors import IntegrityError, ServiceUnreachable, UsageError
from components.history import database
from components.history.chain import Anchor, Draft, Event, State
from components.history.place import NotMoved

if TYPE_CHECKING:
    from requests import Response

API = "/api/athanor/1.0"


class Server:
    """A ledger that another process keeps in its database."""

    atomic = True

    def __init__(self, uri: str, identity: str) -> None:
        self.uri = uri
        own = database.identity(mlflow_store.embedded_uri())
        self.key = "home" if identity == own else identity

    def read(self, name: str) -> State:
        """Chain, note and alias of a name, all of one moment."""
        told = _answer(self.uri, "GET", f"{API}/ledger", params={"name": name})
        anchor = Anchor(*told["anchor"]) if told["anchor"] else None
        events = tuple(Event.model_validate(event) for event in told["events"])
        return State(events, anchor, told["champion"])

    def append(self, name: str, draft: Draft) -> Event:
        """Write an entry that moves nothing."""
        body = {"name": name, "draft": draft.model_dump(mode="json")}
        return Event.model_validate(_answer(self.uri, "POST", f"{API}/entries", json=body))

    def move(self, name: str, draft: Draft, expected: int | None, by_hand: bool) -> Event:
        """Entry and alias in one transaction of the server's; see `place.Ledger`."""
        told = draft.model_dump(mode="json")
        body = {"name": name, "draft": told, "expected": expected, "by_hand": by_hand}
        return Event.model_validate(_answer(self.uri, "POST", f"{API}/promote", json=body))


def find(uri: str) -> Server | None:
    """The ledger of a server; None where the server is somebody else's.

    Raises:
        ServiceUnreachable: no answer.
    """
    response = _asked(uri, "GET", API)
    if response.status_code == 404:
        return None
    return Server(uri, _told(uri, response)["store"])


def _answer(uri: str, method: str, path: str, **content: Any) -> dict[str, Any]:
    """What the server says.

    Raises:
        NotMoved, IntegrityError, UsageError: as `place.Ledger.move`.
        ServiceUnreachable: it says something else, or nothing.
    """
    response = _asked(uri, method, path, **content)
    told = _told(uri, response)
    if response.ok:
        return told
    message, remedy = told.get("message", ""), told.get("remedy", "")
    if told.get("error_code") == "NOT_MOVED":
        raise NotMoved(told["champion"], message)
    kinds = {"TAMPERED": IntegrityError, "UNKNOWN_VERSION": UsageError}
    if (kind := kinds.get(told.get("error_code", ""))) is not None:
        raise kind(message, remedy)
    raise ServiceUnreachable(
        f"{mlflow_store.shown_uri(uri)} answers {response.status_code} ({message or told})",
        "read the server's log; with accounts: MLFLOW_TRACKING_USERNAME and _PASSWORD",
    )


def _told(uri: str, response: "Response") -> dict[str, Any]:
    try:
        told = response.json()
    except ValueError:
        told = None
    if isinstance(told, dict):
        return told
    raise ServiceUnreachable(
        f"{mlflow_store.shown_uri(uri)} answers {response.status_code}: {response.text[:100]}",
        "see whether MLFLOW_TRACKING_URI names an MLflow server",
    )


def _asked(uri: str, method: str, path: str, **content: Any) -> "Response":
    """One request with MLflow's own credentials, time-outs and retries."""
    mlflow_store.apply_settings()
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        creds = get_default_host_creds(uri)
        response: Any = http_request(creds, path, method, raise_on_status=False, **content)
    except MlflowException as error:
        raise ServiceUnreachable(
            f"the model registry at {mlflow_store.shown_uri(uri)} does not answer",
            "start it, or unset MLFLOW_TRACKING_URI to use the store in the home",
        ) from error
    return response
