"""The door of another machine, as a worker speaks to it."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from components import files, project
from components.errors import AthanorError, IntegrityError, ServiceUnreachable, UsageError
from pipelines import opening
from pipelines.likeness import About

if TYPE_CHECKING:
    import requests

T = TypeVar("T")

TIMEOUT_S = 30.0
LONGEST_PAUSE_S = 10.0


class Away(ServiceUnreachable):
    """The door does not answer now; what waits for it is kept."""


class NotWanted(AthanorError):
    """Nobody waits for this step any more: it may stop."""

    exit_code = 6


class Lacking(AthanorError):
    """The door wants objects before it takes an outcome."""

    def __init__(self, shas: tuple[str, ...]) -> None:
        super().__init__(f"{len(shas)} objects lack")
        self.shas = shas


class Server:
    """One door; every thread speaks over a connection of its own."""

    def __init__(self, url: str, token: str) -> None:
        self.url = _checked(url)
        self._token = token
        self._own = threading.local()

    def __reduce__(self) -> Any:
        return Server, (self.url, self._token)

    def about(self) -> About:
        """What the clone behind the door is.

        Raises:
            Away: nothing answers there.
            UsageError: what answers is no door.
            IntegrityError: the token is another.
        """
        with suppress(ValueError):  # no JSON, or of another shape: then it is no door
            told = self.ask("GET", "/athanor").json()
            if isinstance(told, dict) and told.get("athanor") == "door":
                return About.model_validate(told)
        raise UsageError(
            f"{self.url} answers, and is no door of Athanor",
            "on the server: athanor up --host ADDRESS  prints the door's URL",
        )

    def ask(self, method: str, path: str, **content: Any) -> "requests.Response":
        """The answer to one request.

        Raises:
            Away: none, or one that says: ask again.
            NotWanted: nobody waits for the step that this is about.
            IntegrityError: the token is another.
            UsageError: it is refused.
        """
        import requests

        try:
            answer = self._session().request(
                method,
                self.url + path,
                timeout=(5.0, TIMEOUT_S),
                allow_redirects=False,  # the token is for this address alone
                **content,
            )
        except requests.exceptions.SSLError as error:
            raise UsageError(
                f"{self.url} shows no certificate that is trusted here ({error})",
                "trust its authority: export REQUESTS_CA_BUNDLE=FILE",
            ) from None
        except (requests.RequestException, OSError) as error:
            raise Away(
                f"the door at {self.url} does not answer ({type(error).__name__})",
                "on the server: athanor up --host ADDRESS; between them: firewall, tunnel",
            ) from None
        if answer.ok:
            return answer
        raise self._refused(answer, path)

    def ask_whether(self, path: str) -> bool:
        """Whether something is there.

        Raises:
            Away: the door does not answer.
        """
        try:
            self.ask("HEAD", path)
        except UsageError:
            return False
        return True

    def patiently(self, act: Callable[[], T], enough: Callable[[], bool]) -> T:
        """What an act gives, tried until the door answers.

        Raises:
            Away: it is `enough`, and the door was away all the time.
        """
        pause_s = 0.5
        while True:
            try:
                return act()
            except Away:
                if enough():
                    raise
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def fetch(self, path: str, target: Path) -> None:
        """Put what an address gives into a file, whole or not at all."""
        answer = self.ask("GET", path, stream=True)
        try:
            with answer, files.replacing(target) as temporary, temporary.open("wb") as file:
                for part in answer.iter_content(1 << 20):
                    file.write(part)
        except OSError as error:
            import requests

            if isinstance(error, requests.RequestException):
                raise Away(f"{self.url}: a download ended early", "") from None
            raise

    def _refused(self, answer: "requests.Response", path: str) -> AthanorError:
        try:
            told = answer.json()
        except ValueError:
            told = {}
        told = told if isinstance(told, dict) else {}
        message = str(told.get("message", "")) or f"{answer.status_code} for {path}"
        if answer.status_code == 401:
            return IntegrityError(
                f"the door at {self.url} has another token",
                f"copy the server's door/token into {opening.TOKEN} or {token_file()}",
            )
        if answer.status_code == 410:
            return NotWanted(message, "")
        if "lacking" in told:
            return Lacking(tuple(map(str, told["lacking"])))
        if answer.status_code >= 500:
            return Away(f"the door at {self.url}: {message}", str(told.get("remedy", "")))
        if "message" not in told:
            return UsageError(
                f"{self.url} answers {answer.status_code}, and is no door of Athanor",
                "on the server: athanor up --host ADDRESS  prints the door's URL",
            )
        return UsageError(message, str(told.get("remedy", "")))

    def _session(self) -> "requests.Session":
        import requests

        if not hasattr(self._own, "session"):
            session = requests.Session()
            session.auth = self._signed  # a .netrc would else put its own in place of it
            self._own.session = session
        return self._own.session

    def _signed(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def token_file() -> Path:
    """Where a worker looks for the token of the door that it joins."""
    return project.place() / "worker" / "token"


def token() -> str:
    """The token of the door, from the environment or a private file; never from a command line.

    Raises:
        UsageError: there is none.
        IntegrityError: others can read the file.
    """
    if named := os.environ.get(opening.TOKEN, "").strip():
        return named
    if token_file().is_file():
        return opening.private(token_file())
    raise UsageError(
        "no token for the door",
        f"copy door/token of the server's home into {token_file()} (chmod 600), or into the"
        f" variable {opening.TOKEN}",
    )


def open_way(url: str) -> bool:
    """Whether anybody on the way could read the token: plain HTTP to another machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1")


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise UsageError(f"--server {url}: no URL of a door", "for example http://box:4280")
    return url.rstrip("/")
