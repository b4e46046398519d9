"""Shows a step's journal at the door while the step works: every line once, however often cut.

How much of it is there, the door says; so nothing is kept here but the stream's name, which lies
beside the journal and is lost only together with it.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from components import files
from components.errors import AthanorError, UsageError
from pipelines.door.talk import PORTION_BYTES, SIGN_S, Received
from pipelines.remote.server import Away, NotWanted, Server

LOOK_S = 0.5


class Mirror:
    """The journal of one try of a step."""

    def __init__(self, server: Server, flow_run_id: str, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.path = f"/steps/{flow_run_id}"
        self._stream = _stream(folder)
        self._received: int | None = None
        self._spoke = -SIGN_S
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, unwanted: Callable[[], None]) -> None:
        """Mirror beside the work; `unwanted` is called when nobody waits for the step any more."""
        self._thread = threading.Thread(target=self._work, args=(unwanted,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Mirror no more; what is not there yet is left to `flush`."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def flush(self) -> None:
        """Bring all of it.

        Raises:
            Away: the door does not answer.
            NotWanted: nobody waits for the step.
        """
        while self._portion():
            pass

    def _work(self, unwanted: Callable[[], None]) -> None:
        while not self._over.wait(LOOK_S):
            try:
                while self._portion() and not self._over.is_set():
                    pass
            except Away:
                self._over.wait(2.0)
            except NotWanted:
                unwanted()
                return
            except AthanorError:
                self._over.wait(SIGN_S)

    def _portion(self) -> bool:
        """Send the next whole lines; whether there were some."""
        if self._received is None:
            self._say(0, b"")
        at = self._received or 0
        lines = self._lines(at)
        if not lines:
            if time.monotonic() - self._spoke > SIGN_S:
                self._say(at, b"")
            return False
        self._files(lines)
        self._say(at, lines)
        return True

    def _say(self, at: int, data: bytes) -> None:
        query = f"{self.path}/journal?stream={self._stream}&at={at}"
        answer = self.server.ask("POST", query, data=data)
        self._received = Received.model_validate(answer.json()).received
        self._spoke = time.monotonic()

    def _lines(self, at: int) -> bytes:
        try:
            with (self.folder / "journal.jsonl").open("rb") as file:
                file.seek(at)
                data = file.read(PORTION_BYTES)
        except FileNotFoundError:
            return b""
        return data[: data.rfind(b"\n") + 1]

    def _files(self, lines: bytes) -> None:
        """Bring the files that these lines name, before the lines: who reads finds them."""
        for line in lines.splitlines():
            with suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                if entry["kind"] == "file":
                    self._file(self.folder / entry["path"])

    def _file(self, path: Path) -> None:
        if not path.is_file() or not path.is_relative_to(self.folder):
            return
        name = quote(str(path.relative_to(self.folder)))
        with path.open("rb") as file, suppress(UsageError):  # a name that the door does not keep
            content = file if path.stat().st_size else b""
            self.server.ask("PUT", f"{self.path}/files/{name}", data=content)


def _stream(folder: Path) -> str:
    path = folder / "stream"
    try:
        return path.read_text().strip()
    except OSError:
        made = uuid.uuid4().hex
        files.write_bytes(path, made.encode())
        return made
