"""What a run says, as the log of its page in Prefect."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components import project
from components.errors import ServiceUnreachable
from pipelines import api, progress
from pipelines.progress import Screen

EVERY_S = 2.0
INFO, ERROR = 20, 40


class Logged:
    """A screen that also keeps its lines for the page of a flow run, and brings them there."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._flow_run = ""
        self._kept: list[dict[str, Any]] = []
        self._next = 0.0

    def belongs(self, flow_run_id: str) -> None:
        """Whose page it is; what was said before is for it too."""
        self._flow_run = flow_run_id

    def note(self, text: str) -> None:
        """Say something about the run."""
        self._screen.note(text)
        self._keep(INFO, text)

    def step_started(self, name: str, reasons: tuple[str, ...]) -> None:
        """A step begins, and why it is not cached."""
        self._screen.step_started(name, reasons)
        self._keep(INFO, progress.started(name, reasons))

    def step_done(self, name: str, state: str, seconds: float) -> None:
        """A step has its result."""
        self._screen.step_done(name, state, seconds)
        self._keep(INFO, progress.done(name, state, seconds))

    def follow(self, journal: Path) -> Callable[[], None]:
        """What to call a few times a second to show a step's journal, and to bring what is kept.

        Meanwhile another process works: no step waits for the page.
        """
        watch = self._screen.follow(journal)

        def look() -> None:
            watch()
            if self._kept and time.monotonic() >= self._next:
                self.bring()

        return look

    def close(self) -> None:
        """Leave the screen tidy."""
        self._screen.close()

    def failed(self, error: Exception) -> None:
        """What ended the run; the command tells it on the screen by itself."""
        self._keep(ERROR, str(error) or type(error).__name__)

    def bring(self) -> None:
        """What is kept goes to the page; where nobody answers it stays for the next time."""
        server = api.of(project.home(), api.PAGE_S)
        if server is None or not self._flow_run or not self._kept:
            return
        try:
            server.post("/logs/", [{**one, "flow_run_id": self._flow_run} for one in self._kept])
            self._kept.clear()
            self._next = time.monotonic() + EVERY_S
        except ServiceUnreachable:
            self._next = time.monotonic() + api.AWAY_S

    def _keep(self, level: int, message: str) -> None:
        now = datetime.now(UTC).isoformat()
        self._kept.append({"name": "athanor", "level": level, "message": message, "timestamp": now})
