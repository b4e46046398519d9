"""A search by several processes of this machine: one opens the study, several work, one chooses.

Workers may be killed: another takes the dead one's trial over, and a new process takes the dead
one's place. A trial that kills its process again and again is failed by the study itself.
"""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from components.records import Record
from components.workspace import WORKERS, Workspace
from pipelines import child
from pipelines.progress import Tail

SEARCH, OPEN, WORK, CHOOSE = (
    f"components.steps.search:{name}" for name in ("search", "open_study", "work", "choose")
)
PARTS = (OPEN, WORK, CHOOSE)
"""What a search by several consists of; its key is that of a search by one."""

IDLE_CRASHES = 3
"""Deaths in a row in which a worker came to no trial: it cannot work here."""

Watch = Callable[[], None]


class Stopped(BaseException):
    """Another worker met an error, or the run was interrupted."""


Run = Callable[[str, dict[str, Any], Path, Watch], Record]
"""Executes `module:function` with its arguments in a process of its own, in a folder."""


def search(run: Run, arguments: dict[str, Any], folder: Path, workers: int, watch: Watch) -> Record:
    """The result of a search by so many processes at one time.

    `watch` is called a few times a second; by then the step's journal says what all of them do.

    Raises:
        StepCrashed: a worker dies before it comes to a trial.
        StepBroken: a step raised something that is no error of ours.
        AthanorError: the step's own error.
    """
    run(OPEN, arguments, folder, watch)
    folders = [folder / WORKERS / str(number) for number in range(workers)]
    gathered = Gathered(Workspace(folder), folders, arguments["config"].trials)

    def shown() -> None:
        gathered()
        watch()

    together([partial(_worker, run, arguments, each) for each in folders], shown)
    gathered()
    return run(CHOOSE, arguments, folder, watch)


def together(works: list[Callable[[Watch], None]], watch: Watch) -> None:
    """Do all of this side by side; the first error stops the others and is raised.

    Each work gets what it has to call a few times a second.
    """
    stop = threading.Event()
    errors: list[BaseException] = []

    def look() -> None:
        if stop.is_set():
            raise Stopped

    def do(work: Callable[[Watch], None]) -> None:
        try:
            work(look)
        except BaseException as error:  # noqa: BLE001  it is raised where the others are joined
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=do, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
                watch()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


class Gathered:
    """What the workers' journals say, said in the step's own: trials, and how far all are."""

    def __init__(self, step: Workspace, folders: list[Path], trials: int) -> None:
        self.step, self.trials = step, trials
        own = Tail(step.journal, 0).lines()
        self.said = {line["number"] for line in own if line["kind"] == "trial"}
        self.at: dict[Path, tuple[float, str]] = {}
        self.tails = {folder: Tail(folder / "journal.jsonl") for folder in folders}

    def __call__(self) -> None:
        """Read on."""
        news = [(folder, line) for folder, tail in self.tails.items() for line in tail.lines()]
        for folder, line in news:
            if line["kind"] == "progress":
                self.at[folder] = line["done"], line["text"]
            elif line["kind"] == "trial":
                self.at.pop(folder, None)
                if line["number"] not in self.said:
                    facts = {n: v for n, v in line.items() if n not in ("kind", "time", "number")}
                    self.step.trial(line["number"], **facts)
                    self.said.add(line["number"])
        if news:
            done = len(self.said) + sum(share for share, _ in self.at.values())
            text = "; ".join(text for _, text in self.at.values())
            self.step.progress(min(done, self.trials), self.trials, text)


def _worker(run: Run, arguments: dict[str, Any], folder: Path, look: Watch) -> None:
    """One worker's place, until there is nothing left to begin."""
    idle = 0
    while idle < IDLE_CRASHES:
        before = _length(folder)
        try:
            run(WORK, arguments, folder, look)
        except child.StepCrashed:
            idle = idle + 1 if _length(folder) == before else 0
            if idle == IDLE_CRASHES:
                raise
        else:
            return


def _length(folder: Path) -> int:
    """Of a journal, in bytes: it grows whenever a worker takes a trial."""
    try:
        return (folder / "journal.jsonl").stat().st_size
    except OSError:
        return 0
