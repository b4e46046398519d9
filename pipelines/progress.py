"""What a person sees while a run works: one line a step, a bar for whatever takes longer.

On a terminal the bar moves; elsewhere plain lines appear, one when a step starts and one when it
ends. Everything goes to standard error, so that `--json` has standard output for itself.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

BAR_AFTER_S = 2.0
TAIL_BYTES = 1 << 14


class Screen(Protocol):
    """Who is told."""

    def note(self, text: str) -> None:
        """Say something about the run."""

    def step_started(self, name: str, reasons: tuple[str, ...]) -> None:
        """A step begins, and why it is not cached."""

    def step_done(self, name: str, state: str, seconds: float) -> None:
        """A step has its result."""

    def follow(self, journal: Path) -> Callable[[], None]:
        """What to call a few times a second to show a step's journal."""

    def close(self) -> None:
        """Leave the screen tidy."""


def started(name: str, reasons: tuple[str, ...]) -> str:
    """The line of a step that begins."""
    return f"{name} ...  ({reasons[0]})" if reasons else f"{name} ..."


def done(name: str, state: str, seconds: float) -> str:
    """The line of a step that has its result."""
    return f"{name}: {'cached' if state == 'cached' else f'done in {seconds:.1f} s'}"


class Plain:
    """Lines for a log or a pipe."""

    def __init__(self) -> None:
        self.begun = time.monotonic()

    def note(self, text: str) -> None:
        self._line(text)

    def step_started(self, name: str, reasons: tuple[str, ...]) -> None:
        self._line(started(name, reasons))

    def step_done(self, name: str, state: str, seconds: float) -> None:
        self._line(done(name, state, seconds))

    def follow(self, journal: Path) -> Callable[[], None]:
        return lambda: None

    def close(self) -> None:
        sys.stderr.flush()

    def _line(self, text: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - self.begun:6.1f}s] {text}\n")
        sys.stderr.flush()


class Live:
    """A terminal: the running step has a bar that its journal moves."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self.console = Console(stderr=True, highlight=False)
        self.bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        self.bars.start()
        self.bar: Any = None

    def note(self, text: str) -> None:
        self.console.print(f"  [dim]{text}[/dim]")

    def step_started(self, name: str, reasons: tuple[str, ...]) -> None:
        self._drop()
        self.bar = self.bars.add_task(name, total=None, text=reasons[0] if reasons else "")

    def step_done(self, name: str, state: str, seconds: float) -> None:
        self._drop()
        if state == "cached":
            self.console.print(f"  [cyan]=[/cyan] {name:<28} [dim]cached[/dim]")
        else:
            self.console.print(f"  [green]✓[/green] {name:<28} {seconds:6.1f} s")

    def follow(self, journal: Path) -> Callable[[], None]:
        tail = Tail(journal)

        def watch() -> None:
            for line in tail.lines():
                if line["kind"] == "progress" and self.bar is not None:
                    self.bars.update(
                        self.bar,
                        completed=line["done"],
                        total=line["total"],
                        text=line["text"],
                    )

        return watch

    def close(self) -> None:
        self._drop()
        self.bars.stop()

    def _drop(self) -> None:
        if self.bar is not None:
            self.bars.remove_task(self.bar)
            self.bar = None


class Tail:
    """The lines that were added to a journal since the last look, at first from its present end."""

    def __init__(self, journal: Path, offset: int | None = None) -> None:
        self.journal = journal
        present = journal.stat().st_size if journal.exists() else 0
        self.offset = present if offset is None else offset

    def lines(self) -> list[dict[str, Any]]:
        """Whole lines only: a line being written waits for the next look."""
        if not self.journal.exists():
            return []
        with self.journal.open("rb") as file:
            file.seek(self.offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.offset += len(whole)
        return list(_entries(whole))


def last(journal: Path, since: float = 0.0) -> dict[str, Any]:
    """The last progress that a journal's end tells; empty where it is older, or there is none."""
    try:
        with journal.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            told = [e for e in _entries(file.read()) if e["kind"] == "progress"]
    except OSError:
        return {}
    return told[-1] if told and told[-1]["time"] >= since and told[-1]["total"] else {}


def _entries(whole: bytes) -> Iterator[dict[str, Any]]:
    """What the lines say; one that a kill or a full disk tore says nothing, and stops no run."""
    for line in whole.split(b"\n"):
        with suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and "kind" in entry:
                yield entry


def screen() -> Screen:
    """Bars on a terminal, lines elsewhere."""
    return Live() if sys.stderr.isatty() else Plain()
