"""Prefect's API by plain HTTP: for commands that answer in less than Prefect's import takes."""

import base64
import http.client
import json
import os
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from components import processes
from components.errors import ServiceUnreachable
from pipelines import servers, starting

TIMEOUT_S = 5.0
PAGE_S = 1.0
"""Patience for what is only shown on a page: nobody's work waits for it."""
AWAY_S = 60.0
"""After an answer that failed, nothing is shown for so long."""
FORBIDDEN, MISSING = 403, 404


class Api:
    """The API of one server; it is asked without any retry."""

    def __init__(self, url: str, secret: str = "", patience_s: float | None = None) -> None:
        """`secret` is `user:password`; `patience_s` is for all questions together."""
        self.url = url.rstrip("/")
        self._secret = secret
        self._until = None if patience_s is None else time.monotonic() + patience_s
        self._client = uuid.uuid4().hex
        self._token: str | None = None

    def get(self, path: str) -> Any:
        """The document there; None where there is none.

        Raises:
            ServiceUnreachable: the server is away, slow or refuses.
        """
        return self._asked("GET", path, None)

    def post(self, path: str, document: Any) -> Any:
        """The answer to a document; None where nobody knows the place.

        Raises:
            ServiceUnreachable: the server is away, slow or refuses.
        """
        return self._written("POST", path, document)

    def patch(self, path: str, document: Any) -> None:
        """Change what is there.

        Raises:
            ServiceUnreachable: the server is away, slow or refuses.
        """
        self._written("PATCH", path, document)

    def _written(self, method: str, path: str, document: Any) -> Any:
        """The server takes a change, and any filter, only with a token of its own."""
        if self._token is None:
            self._token = self._fresh_token()
        try:
            return self._asked(method, path, document)
        except _Refused:
            self._token = self._fresh_token()  # tokens end, and a new server knows none
            return self._asked(method, path, document)

    def _fresh_token(self) -> str:
        try:
            told = self._asked("GET", f"/csrf-token?client={self._client}", None)
        except _Refused:
            raise
        except ServiceUnreachable as error:
            if isinstance(error.__cause__, urllib.error.HTTPError):
                return ""  # a server without this protection
            raise
        return str(told["token"]) if told else ""

    def _asked(self, method: str, path: str, document: Any) -> Any:
        request = urllib.request.Request(
            self.url + path,
            data=None if document is None else json.dumps(document).encode(),
            method=method,
            headers=self._headers(),
        )
        try:
            with urllib.request.urlopen(request, timeout=self._left_s()) as reply:
                told = reply.read()
        except urllib.error.HTTPError as error:
            if error.code == MISSING:
                return None
            said = error.read()[:300].decode(errors="replace")
            kind = _Refused if error.code == FORBIDDEN else ServiceUnreachable
            raise kind(
                f"Prefect at {self.url} answers {error.code} to {path}: {said}", "athanor doctor"
            ) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ServiceUnreachable(
                f"Prefect at {self.url} does not answer", "athanor up"
            ) from error
        return json.loads(told) if told else None

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self._secret:
            coded = base64.b64encode(self._secret.encode()).decode()
            headers["Authorization"] = f"Basic {coded}"
        if self._token:
            headers["Prefect-Csrf-Token"] = self._token
            headers["Prefect-Csrf-Client"] = self._client
        return headers

    def _left_s(self) -> float:
        if self._until is None:
            return TIMEOUT_S
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s


class _Refused(ServiceUnreachable):
    """The server answered 403."""


def of(home: Path, patience_s: float | None = None) -> Api | None:
    """The API that the home's runs and workers use; None where none was started or named."""
    if named := servers.chosen("PREFECT_API_URL"):
        return Api(named, os.environ.get("PREFECT_API_AUTH_STRING", ""), patience_s)
    standing = servers.known(home).get("prefect")
    if standing is None or processes.dead(standing.owner):
        return None
    return Api(f"{standing.url}/api", starting.secret(home), patience_s)
