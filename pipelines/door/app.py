"""The addresses of the door. Nothing but its health is told without the token.

A worker sends the token in a header, which no page in a browser can: there is no cookie, no
allowed origin, and a request that names an origin is refused. Bodies have caps, names are
checked, and every object is hashed before it is kept.
"""

import asyncio
import functools
import hashlib
import hmac
import os
import re
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from components import disk, files, objects, project
from components.errors import AthanorError, IntegrityError, ResourceError, UsageError
from pipelines import likeness, outages
from pipelines.door import received as arrivals
from pipelines.door import streams, talk
from pipelines.door.assignments import NotWanted
from pipelines.door.desk import Desk
from pipelines.workers.parcels import Outcome

Handler = Callable[[Request], Awaitable[Response]]


def make(desk: Desk, token: str) -> ASGIApp:
    """The application."""

    def on(path: str, act: Callable[[Desk, Request], Awaitable[Response]], *methods: str) -> Route:
        return Route(path, _told(functools.partial(act, desk)), methods=list(methods))

    routes = [
        Route("/health", _health, methods=["GET"]),
        on("/athanor", _about, "GET"),
        on("/workers/{name}", _beat, "POST"),
        on("/workers/{name}", _withdraw, "DELETE"),
        on("/steps/{step:uuid}/claim", _claim, "POST"),
        on("/steps/{step:uuid}/journal", _journal, "POST"),
        on("/steps/{step:uuid}/outcome", _outcome, "PUT"),
        on("/steps/{step:uuid}/files/{name:path}", _file, "PUT"),
        on("/objects/{sha}", _object, "GET", "HEAD"),
        on("/objects/{sha}", _put_object, "PUT"),
        on("/data/{md5}", _data, "GET"),
    ]
    return Guarded(Starlette(routes=routes), token)


class Guarded:
    """Lets pass who shows the token; before a body is read."""

    def __init__(self, inside: ASGIApp, token: str) -> None:
        self.inside = inside
        self.expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/health":
            headers = dict(scope["headers"])
            refused = None
            if b"origin" in headers:
                refused = _refusal(403, "no page may ask here")
            elif not hmac.compare_digest(headers.get(b"authorization", b""), self.expected):
                refused = _refusal(401, "the token is another")
            if refused is not None:
                await refused(scope, receive, send)
                return
        await self.inside(scope, receive, send)


async def _health(_request: Request) -> Response:
    return JSONResponse({})


async def _about(_desk: Desk, _request: Request) -> Response:
    about = await asyncio.to_thread(likeness.here)
    return JSONResponse(about.model_dump(mode="json"))


async def _beat(desk: Desk, request: Request) -> Response:
    name = _matched(request, "name", talk.NAME)
    beat = talk.Beat.model_validate_json(await _body(request, talk.MOST_WORDS_BYTES))
    if beat.inventory.name != name:
        raise UsageError(f"a beat of {beat.inventory.name!r} under the name {name!r}", "")
    heard = await asyncio.to_thread(desk.beat, beat)
    return JSONResponse(heard.model_dump(mode="json"))


async def _withdraw(desk: Desk, request: Request) -> Response:
    await asyncio.to_thread(desk.withdraw, _matched(request, "name", talk.NAME))
    return JSONResponse({})


async def _claim(desk: Desk, request: Request) -> Response:
    worker = request.query_params.get("worker", "")
    if not re.fullmatch(talk.NAME, worker):
        raise UsageError(f"{worker!r} is no worker's name", "")
    given = await asyncio.to_thread(desk.claim, _step(request), worker)
    if given is None:
        return _refusal(409, "it is gone")
    return JSONResponse(given.model_dump(mode="json"))


async def _journal(desk: Desk, request: Request) -> Response:
    """Bytes of a stream from `at` on; without any it is a sign of life and tells what is here."""
    stream, at = request.query_params.get("stream", ""), request.query_params.get("at", "0")
    if not re.fullmatch(r"[0-9a-f]{32}", stream) or not re.fullmatch(r"\d{1,15}", at):
        raise UsageError("no such stream", "")
    folder = await asyncio.to_thread(desk.folder, _step(request))
    data = await _body(request, talk.PORTION_BYTES)
    try:
        if data:
            here = await asyncio.to_thread(streams.append, folder, stream, int(at), data)
        else:
            here = await asyncio.to_thread(streams.received, folder, stream)
    except streams.Ahead as ahead:
        here = ahead.received
    return JSONResponse(talk.Received(received=here).model_dump())


async def _outcome(desk: Desk, request: Request) -> Response:
    """Kept once every object that it names is here; else those that lack are named."""
    outcome = Outcome.model_validate_json(await _body(request, talk.MOST_OUTCOME_BYTES))
    if outcome.flow_run_id != _step(request):
        raise UsageError("an outcome of another step", "")
    lacking = await asyncio.to_thread(arrivals.lacking, outcome)
    if lacking:
        return JSONResponse({"lacking": list(lacking)}, 409)
    await asyncio.to_thread(desk.hand_in, outcome)
    return JSONResponse({})


async def _file(desk: Desk, request: Request) -> Response:
    folder = await asyncio.to_thread(desk.folder, _step(request))
    target = streams.target(folder, request.path_params["name"])
    with files.replacing(target) as temporary:
        await _into(request, temporary, talk.MOST_FILE_BYTES)
    return JSONResponse({})


async def _object(_desk: Desk, request: Request) -> Response:
    sha = _matched(request, "sha", talk.SHA256)
    if request.method == "HEAD":
        there = await asyncio.to_thread(objects.intact, sha)
        return Response(status_code=200 if there else 404)
    try:
        path = await asyncio.to_thread(objects.path, sha)
    except IntegrityError as error:
        return _refusal(404, error.message)
    return FileResponse(path, media_type="application/octet-stream")


async def _put_object(_desk: Desk, request: Request) -> Response:
    sha = _matched(request, "sha", talk.SHA256)
    folder = project.home() / "door" / "arriving"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    size = _announced(request, talk.MOST_OBJECT_BYTES)
    disk.demand(folder, 2 * size, f"object {sha[:12]}")
    handle, name = tempfile.mkstemp(dir=folder)
    os.close(handle)
    try:
        if await _into(request, Path(name), talk.MOST_OBJECT_BYTES) != sha:
            raise UsageError(f"the bytes are not those of object {sha[:12]}", "")
        await asyncio.to_thread(objects.put, Path(name))
    finally:
        Path(name).unlink(missing_ok=True)
    return JSONResponse({})


async def _data(_desk: Desk, request: Request) -> Response:
    md5 = _matched(request, "md5", talk.MD5)
    path = await asyncio.to_thread(arrivals.recorded_file, md5)
    if path is None:
        return _refusal(404, f"no recorded file of data/ with md5 {md5[:12]} is here")
    return FileResponse(path, media_type="application/octet-stream")


def _told(act: Handler) -> Handler:
    """An error as an answer; 503 alone means: ask again."""

    async def answered(request: Request) -> Response:
        try:
            return await act(request)
        except NotWanted as error:
            return _refusal(410, error.message)
        except ResourceError as error:
            return _refusal(507, error.message, error.remedy)
        except AthanorError as error:
            return _refusal(400, error.message, error.remedy)
        except (ValidationError, ValueError) as error:
            return _refusal(400, f"not understood: {type(error).__name__}")
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            if outages.away(error):
                return _refusal(503, "Prefect does not answer")
            raise

    return answered


def _refusal(status: int, message: str, remedy: str = "") -> JSONResponse:
    return JSONResponse({"message": message, "remedy": remedy}, status)


def _step(request: Request) -> str:
    return str(request.path_params["step"])


def _matched(request: Request, name: str, pattern: str) -> str:
    value = str(request.path_params[name])
    if not re.fullmatch(pattern, value):
        raise UsageError(f"{name} {value[:80]!r} cannot be", "")
    return value


def _announced(request: Request, most: int) -> int:
    """Bytes that the body will have.

    Raises:
        UsageError: it does not say, or says too many.
    """
    size = request.headers.get("content-length", "")
    if not size.isascii() or not size.isdigit() or int(size) > most:
        raise UsageError(f"a body of {size or 'unknown'} bytes; {most} are the most", "")
    return int(size)


async def _body(request: Request, most: int) -> bytes:
    _announced(request, most)
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > most:
            raise UsageError(f"a body of more than {most} bytes", "")
    return bytes(found)


async def _into(request: Request, path: Path, most: int) -> str:
    """The sha256 of the body, which is put at the path."""
    left = _announced(request, most)
    hashed = hashlib.sha256()
    with disk.told(path), path.open("wb") as file:
        async for part in request.stream():
            left -= len(part)
            if left < 0:
                raise UsageError("a longer body than it said", "")
            await asyncio.to_thread(file.write, part)
            hashed.update(part)
    if left:
        raise UsageError("a shorter body than it said", "")
    return hashed.hexdigest()


def sweep() -> None:
    """Drop what was arriving when an earlier door was killed."""
    with suppress(OSError):
        for path in (project.home() / "door" / "arriving").iterdir():
            path.unlink(missing_ok=True)
