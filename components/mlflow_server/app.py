"""MLflow's own application with the ledger's few addresses before it."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse

from components.errors import AthanorError, IntegrityError, ServiceUnreachable
from components.history import chain, database
from components.history.place import ALIAS, NotMoved
from components.history.server import API
from components.records import Record


class Entry(Record):
    """An entry that moves nothing."""

    name: str
    draft: chain.Draft


class Promote(Entry):
    """An entry that moves the alias, if that names the expected version."""

    expected: int | None
    by_hand: bool = False


def create_app() -> FastAPI:
    """The entry point `mlflow.app`."""
    from mlflow.server.fastapi_app import app

    router = APIRouter(prefix=API)
    router.add_api_route("", store, methods=["GET"])
    router.add_api_route("/ledger", ledger, methods=["GET"])
    router.add_api_route("/entries", append, methods=["POST"])
    router.add_api_route("/promote", promote, methods=["POST"])
    # MLflow's older application is mounted at "/": what comes after it is never asked.
    app.router.routes[:0] = router.routes
    return app


def store() -> JSONResponse:
    """Which database this is, without its place or password."""
    return JSONResponse({"store": database.identity(_guarded().db_uri)})


def ledger(name: str) -> JSONResponse:
    """Chain, note and alias of a name."""
    return _answered(lambda: _told(database.Database(_guarded().db_uri).read(name)))


def append(asked: Entry) -> JSONResponse:
    """Write an entry."""
    there = database.Database(_guarded().db_uri)
    return _answered(lambda: there.append(asked.name, asked.draft).model_dump(mode="json"))


def promote(asked: Promote) -> JSONResponse:
    """Write an entry and move the alias with it, in one transaction."""

    def act() -> dict[str, Any]:
        there = database.Database(_guarded().db_uri)
        event = there.move(asked.name, asked.draft, asked.expected, asked.by_hand)
        _tell(asked.name, event)
        return event.model_dump(mode="json")

    return _answered(act)


def _answered(act: Callable[[], dict[str, Any]]) -> JSONResponse:
    """The answer, or what stands against it; 500 would make clients try again."""
    try:
        return JSONResponse(act())
    except NotMoved as refused:
        told = {"error_code": "NOT_MOVED", "message": refused.why, "champion": refused.champion}
        return JSONResponse(told, 409)
    except AthanorError as error:
        code, status = "UNKNOWN_VERSION", 400
        if isinstance(error, IntegrityError):
            code, status = "TAMPERED", 409
        elif isinstance(error, ServiceUnreachable):
            code, status = "TEMPORARILY_UNAVAILABLE", 503
        told = {"error_code": code, "message": error.message, "remedy": error.remedy}
        return JSONResponse(told, status)


def _told(state: chain.State) -> dict[str, Any]:
    return {
        "events": [event.model_dump(mode="json") for event in state.events],
        "anchor": state.anchor,
        "champion": state.champion,
    }


def _guarded() -> Any:
    """The server's own registry store."""
    from mlflow.server.handlers import _get_model_registry_store

    return _get_model_registry_store()


def _tell(name: str, event: chain.Event) -> None:
    """MLflow's webhooks hear of the move as of any other alias."""
    from mlflow.entities.webhook import WebhookAction, WebhookEntity, WebhookEvent
    from mlflow.webhooks.delivery import deliver_webhook

    deliver_webhook(
        event=WebhookEvent(WebhookEntity.MODEL_VERSION_ALIAS, WebhookAction.CREATED),
        payload={"name": name, "alias": ALIAS, "version": str(event.version)},
        store=_guarded(),
    )
