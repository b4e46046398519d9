"""The log of a run's page: what the screen shows, brought when there is somebody to take it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.errors import DataRejected, ServiceUnreachable
from pipelines import api, run_log
from pipelines.run_log import Logged


class Server:
    """Takes lines while it is up."""

    def __init__(self) -> None:
        self.up = True
        self.asked = 0
        self.lines: list[dict[str, Any]] = []

    def post(self, path: str, document: list[dict[str, Any]]) -> None:
        assert path == "/logs/"
        self.asked += 1
        if not self.up:
            raise ServiceUnreachable("it does not answer", "athanor up")
        self.lines += document

    @property
    def told(self) -> list[tuple[str, str, int]]:
        return [(one["flow_run_id"], one["message"], one["level"]) for one in self.lines]


class Screen:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def note(self, text: str) -> None:
        self.told.append((text,))

    def step_started(self, name: str, reasons: tuple[str, ...]) -> None:
        self.told.append((name, reasons))

    def step_done(self, name: str, state: str, seconds: float) -> None:
        self.told.append((name, state, seconds))

    def follow(self, journal: Path) -> Callable[[], None]:
        return lambda: self.told.append((journal,))

    def close(self) -> None:
        self.told.append(())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(api, "of", lambda _home, _patience_s: made)
    return made


def test_every_line_of_the_screen_is_brought_once(server: Server) -> None:
    screen = Screen()
    logged = Logged(screen)
    logged.note("before the flow run is known")
    logged.bring()
    assert server.asked == 0, "nobody knows yet whose page it is"
    logged.belongs("a-flow-run")
    logged.step_started("prepare", ("it never ran here",))
    logged.step_done("prepare", "executed", 1.25)
    logged.failed(DataRejected("row 3 is empty", "fill it"))
    logged.bring()
    logged.bring()
    assert server.told == [
        ("a-flow-run", "before the flow run is known", 20),
        ("a-flow-run", "prepare ...  (it never ran here)", 20),
        ("a-flow-run", "prepare: done in 1.2 s", 20),
        ("a-flow-run", "row 3 is empty; fill it", 40),
    ]
    assert screen.told == [
        ("before the flow run is known",),
        ("prepare", ("it never ran here",)),
        ("prepare", "executed", 1.25),
    ]


def test_lines_are_brought_while_a_step_works_but_not_at_each_look(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, now = Screen(), 1000.0
    monkeypatch.setattr(run_log.time, "monotonic", lambda: now)
    logged = Logged(screen)
    logged.belongs("a-flow-run")
    look = logged.follow(Path("journal.jsonl"))
    for number in range(60):
        logged.note(f"line {number}")
        look()
        now += run_log.EVERY_S / 20
    assert server.asked == 3
    assert screen.told.count((Path("journal.jsonl"),)) == 60
    assert [message for _, message, _ in server.told] == [f"line {n}" for n in range(41)]
    now += run_log.EVERY_S
    look()
    look()
    now += run_log.EVERY_S
    look()
    assert server.asked == 4, "nothing is kept, so nobody is asked"


def test_a_server_that_was_away_gets_the_lines_later_and_is_seldom_asked_meanwhile(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(run_log.time, "monotonic", lambda: now)
    logged = Logged(Screen())
    logged.belongs("a-flow-run")
    look = logged.follow(Path("journal.jsonl"))
    server.up = False
    for number in range(100):
        logged.note(f"line {number}")
        look()
        now += 1.0
    assert (server.asked, server.lines) == (2, [])
    server.up = True
    logged.bring()  # the run ends
    assert [message for _, message, _ in server.told] == [f"line {n}" for n in range(100)]
