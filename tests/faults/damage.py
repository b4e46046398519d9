"""Damage to one file of a finished project, and what the commands that use it then answer."""

import hashlib
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults import commands
from tests.faults.commands import Answer
from tests.pipelines import small_project

KINDS = ("flip", "truncate", "empty", "delete", "swap", "chmod")
"""`flip` turns one bit and puts the time of change back, as a disk does that rots."""

MAY_CHANGE = ("home/objects/verified/", "home/locks/", "home/logs/", "home/prefect/")
"""What reading commands may write: marks, locks, logs, the server's own files."""


class Use(NamedTuple):
    """Files of one sort, what uses them, and whether damage to them must be found."""

    prefix: str
    """Of the path below the project's parent: `home/...` or `project/...`."""
    commands: tuple[str, ...]
    must_find: bool = True
    note: str = ""


USES = (
    Use("project/data/", ("data verify", "plan")),
    Use("project/data.dvc", ("data verify", "plan")),
    Use("project/configs/data/", ("data verify", "plan")),
    Use("home/bundles/*.lock", ("predict",), False, "an empty lock file"),
    Use("home/bundles/", ("predict", "verify")),
    Use("home/cache/", ("plan",)),
    Use("home/decisions/", ("plan",)),
    Use("home/history/", ("history --verify",)),
    Use("home/keys/lock", ("keys",), False, "an empty lock file"),
    Use("home/keys/", ("verify", "keys")),
    Use("home/layout", ("models",)),
    Use("home/mlflow/mlflow.db", ("models", "predict", "verify", "run")),
    Use("home/mlflow/artifacts/*/models/", ("verify", "predict")),
    Use("home/mlflow/artifacts/", ("verify", "plan"), False, "shown by MLflow's page alone"),
    Use("home/mlflow/mlflow.lock", ("models",), False, "an empty lock file"),
    Use("home/mlflow/moved.lock", ("models",), False, "an empty lock file"),
    Use("home/objects/verified/", ("plan",), False, "a mark: the object is hashed again"),
    Use("home/objects/", ("plan", "use")),
    Use("home/optuna/optuna.db", ("study",)),
    Use("home/optuna/", ("study",), False, "an empty lock file"),
    Use("home/plans/", ("why",)),
    Use("home/prefect/prefect.db", ("engine",)),
    Use("home/prefect/", ("engine",), False, "of a server that ended"),
    Use("home/runs/", ("runs",)),
    Use("home/stores.json", ("engine",), False, "layouts are looked up again"),
    Use("home/templates/", ("models",), False, "for a home that has no databases yet"),
    Use("home/work/", ("plan",), False, "shown in MLflow already"),
    Use("home/locks/", ("plan",), False, "an empty lock file"),
    Use("home/logs/", ("plan",), False, "for people"),
    Use("home/stores.lock", ("plan",), False, "an empty lock file"),
)
"""In order: the first that fits. The run's YAML files are no state: git keeps them."""


class Case(NamedTuple):
    """One damage to one file."""

    path: str
    kind: str
    seed: int

    @property
    def use(self) -> Use:
        """What uses the file."""
        return use_of(self.path)

    @property
    def replay(self) -> str:
        """The command that does this one again."""
        return (
            f"python -m benchmarks.damage FOLDER --seed {self.seed} "
            f"--only {self.path} --kind {self.kind}"
        )


class Result(NamedTuple):
    """What became of a case."""

    case: Case
    outcome: str
    """`named`, `remade`, `unused`, `not injected`, or `WRONG`."""
    said: str
    """The line that named it, or what is wrong."""


def use_of(path: str) -> Use:
    """The first sort that a path belongs to."""
    for use in USES:
        head, star, tail = use.prefix.partition("*")
        if path.startswith(head) and (not star or tail in path[len(head) :]):
            return use
    raise LookupError(f"nobody says what uses {path}")


UNNOTICED = "nobody noticed"
RUNS_AGAIN = "its step runs again"


class Finished:
    """A small project after its run, at one place; every case leaves it as it was."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home, self.project = root / "home", root / "project"
        self.control: dict[str, Answer] = {}

    @classmethod
    def made(cls, root: Path) -> "Finished":
        """Write the project and run it once."""
        found = cls(root)
        small_project.write(found.project)
        said = small_project.athanor(
            found.project, found.home, ["run", "configs/tiny.yaml"], timeout_s=1500
        )
        assert said.code == 0, said.err
        return found

    def files(self) -> list[str]:
        """Every file that belongs to the finished project, configs of the run excepted."""
        folders = (self.home, self.project)
        every = (path for folder in folders for path in folder.rglob("*") if path.is_file())
        names = sorted(str(path.relative_to(self.root)) for path in every)
        ours = ("project/configs/tiny.yaml", "project/configs/expectations/")
        return [name for name in names if not name.startswith(ours)]

    def learn(self, *commands: str) -> None:
        """Ask the undamaged project: the control of every case."""
        for command in commands:
            if command in self.control:
                continue
            self.ask(command)  # whatever a first call writes is written then
            found = self.ask(command)
            assert found.code == 0, (command, found.err)
            assert "Traceback" not in found.err
            self.control[command] = found

    def ask(self, command: str, powerless: bool = False, path: str = "") -> Answer:
        """The answer of a command in a process of its own."""
        return commands.ask(self.project, self.home, command, powerless, path)

    def case(self, case: Case) -> Result:
        """Damage, ask, judge, mend."""
        self.learn(*(command for command in case.use.commands if command != "use"))
        before = self.state()
        with self.damaged(case) as (injected, other):
            if not injected:
                return Result(case, "not injected", "the file cannot be damaged in this way")
            if case.kind != "delete" and case.kind != "chmod":
                assert before[case.path] != self.state()[case.path], "the damage did not land"
            damaged = self.state()
            answers = {
                command: self.ask(command, case.kind == "chmod", case.path)
                for command in case.use.commands
            }
            after = self.state()
        touched = {
            name
            for name in damaged.keys() | after.keys()
            if damaged.get(name) != after.get(name) and name not in (case.path, other)
        }
        stray = sorted(name for name in touched if not name.startswith(MAY_CHANGE))
        self.mend(before)
        judged = self.judged(case, answers, stray, tuple(filter(None, (case.path, other))))
        if judged.said == UNNOTICED and after.get(case.path) == before[case.path]:
            return Result(case, "remade", "a command put it there again, with its bytes")
        return judged

    def judged(
        self, case: Case, answers: dict[str, Answer], stray: list[str], hurt: tuple[str, ...]
    ) -> Result:
        """What the answers to a project with these hurt files amount to."""
        for command, answer in answers.items():
            if (
                answer.code not in self._codes(case)
                or "Traceback" in answer.err
                or "a bug" in answer.err
            ):
                last = (answer.err.strip().splitlines() or ["nothing"])[:1]
                return Result(case, "WRONG", f"{command} ended with {answer.code}: {last}")
        stray = [name for name in stray if not name.endswith((".lock", "-journal", "-wal", "-shm"))]
        if stray:
            return Result(case, "WRONG", f"changed besides: {', '.join(stray[:5])}")
        refused = [answer for answer in answers.values() if answer.code]
        if refused:
            line = refused[0].err.strip().splitlines()[0]
            if not any(_names(path, answer.err) for answer in refused for path in hurt):
                return Result(case, "WRONG", f"refused without its name: {line}")
            return Result(case, "named", line)
        differ = [c for c, a in answers.items() if c in self.control and self._differs(c, a)]
        if not differ:
            if case.use.must_find and not self._harmless(case):
                return Result(case, "WRONG", UNNOTICED)
            return Result(case, "unused", case.use.note)
        if any(_names(path, answers[command].out) for command in differ for path in hurt):
            return Result(case, "named", f"{differ[0]} names it")
        said = ""
        for command in differ:
            said = _what_is_remade(command, answers[command].content)
            if not said:
                return Result(case, "WRONG", f"{command} answers otherwise, and gives no reason")
        return Result(case, "remade", said)

    def _codes(self, case: Case) -> tuple[int, ...]:
        """How a command may end: without `data.dvc` a folder is no project any more."""
        return (0, 2, 6) if (case.path, case.kind) == ("project/data.dvc", "delete") else (0, 6)

    def _differs(self, command: str, answer: Answer) -> bool:
        return answer.content != self.control[command].content

    def _harmless(self, case: Case) -> bool:
        """Damage that changes no fact which a command tells, told apart from what must be found."""
        if case.path.endswith(("mlflow.db", "optuna.db", "prefect.db")):
            # One bit of a page that is free, or of a value that no command of ours reads.
            return case.kind == "flip" or (case.kind == "delete" and "mlflow" not in case.path)
        if (case.path, case.kind) == ("home/layout", "truncate"):
            return True  # the same number without its newline
        # A file that is not there is no damage to what is made anew without it.
        return case.kind == "delete" and case.path.startswith(("home/layout", "home/keys/"))

    @contextmanager
    def damaged(self, case: Case) -> Iterator[tuple[bool, str]]:
        """The file damaged while the block lasts: whether that is possible, and the other file
        where two were swapped."""
        path = self.root / case.path
        status, data = path.stat(), path.read_bytes()
        other = self._other(case.path, data) if case.kind == "swap" else None
        kept = (other, other.stat(), other.read_bytes()) if other else None
        injected = _inject(path, data, case, other)
        try:
            yield injected, str(other.relative_to(self.root)) if other else ""
        finally:
            _put(path, data, status)
            if kept:
                _put(kept[0], kept[2], kept[1])

    def _other(self, path: str, data: bytes) -> Path | None:
        """Another file of the same sort with other bytes."""
        use = use_of(path)
        for name in self.files():
            place = self.root / name
            if name != path and use_of(name) == use and place.read_bytes() != data:
                return place
        return None

    def state(self) -> dict[str, str]:
        """sha256 of every file, by path."""
        found = {}
        for name in self.files():
            with open(self.root / name, "rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
        return found

    def mend(self, before: dict[str, str]) -> None:
        """Undo what a command wrote: from the copy that `keep_copy` made."""
        now = self.state()
        for name in now.keys() - before.keys():
            (self.root / name).unlink(missing_ok=True)
        for name, sha in before.items():
            if now.get(name) != sha:
                place = self.root / name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.root.with_name(f"{self.root.name}-copy") / name, place)

    def keep_copy(self) -> None:
        """A copy beside the project, from which what commands wrote is undone."""
        copy = self.root.with_name(f"{self.root.name}-copy")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.root, copy)


def _inject(path: Path, data: bytes, case: Case, other: Path | None) -> bool:
    """Do the damage; False where the file cannot have it."""
    chance = random.Random(f"{case.seed} {case.path} {case.kind}")
    status = path.stat()
    if case.kind == "delete":
        path.unlink()
    elif case.kind == "chmod":
        path.chmod(0)
    elif case.kind == "swap":
        if other is None:
            return False
        mine = other.read_bytes()
        other.write_bytes(data)
        path.write_bytes(mine)
    elif not data:
        return False
    elif case.kind == "flip":
        bit = chance.randrange(8 * len(data))
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    else:
        path.write_bytes(
            data[: chance.randrange(1, len(data))]
            if case.kind == "truncate" and len(data) > 1
            else b""
        )
    return True


def _put(path: Path, data: bytes, status: os.stat_result) -> None:
    """The bytes, the mode and the times that a file had; the same inode where there is one."""
    if path.exists():
        path.chmod(0o600)
    path.write_bytes(data)
    path.chmod(status.st_mode & 0o7777)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _names(path: str, said: str) -> bool:
    """Whether a message names the file: by its name, or an object by the head of its sha256."""
    name = Path(path).name
    return name in said or (len(name) == 64 and name[:12] in said)


def _what_is_remade(command: str, content: Any) -> str:
    """What an answer says is made again, and why; empty where it says nothing of the kind."""
    if command == "why":
        reasons = [reason for step in content["steps"] for reason in step["reasons"]]
        told = any("damaged" in reason or "never ran here" in reason for reason in reasons)
        return RUNS_AGAIN if told else ""
    if command == "plan":
        again = [step for step in content["steps"] if step["state"] != "cached"]
        return RUNS_AGAIN if again and all(step["reasons"] for step in again) else ""
    if command == "runs":
        forgotten = not content["runs"]
        return "the run is forgotten, what it made is not" if forgotten else ""
    if command == "keys":
        signs = any(key["signs"] for key in content["keys"])
        return "" if signs else "it signs no more: the next version gets another key"
    return ""
