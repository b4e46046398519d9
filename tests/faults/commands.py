"""The commands that a damaged project is asked by, each in a forked process of its own."""

import ctypes
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

VOLATILE = {"latency_ms", "seconds"}
"""Keys of answers that differ from call to call."""


class Answer(NamedTuple):
    """What one command answered."""

    code: int
    out: str
    err: str

    @property
    def content(self) -> Any:
        """The document without what differs from call to call."""
        try:
            return _steady(json.loads(self.out))
        except ValueError:
            return self.out


def ask(project: Path, home: Path, command: str, powerless: bool, path: str) -> Answer:
    """What a command answers in a process of its own; `path` is the file that it is about.

    `powerless` takes root's rights away first.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        child = os.fork()
        if not child:
            _child((project, home), command, (out, err), powerless, path)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        return Answer(code, out.read_text(), err.read_text())


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _steady(part) for name, part in value.items() if name not in VOLATILE}
    if isinstance(value, list):
        return [_steady(part) for part in value]
    return value


def _child(
    place: tuple[Path, Path], command: str, sinks: tuple[Path, Path], powerless: bool, path: str
) -> None:
    """The forked process of one command; it never returns."""
    project, home = place
    code = 99
    try:
        signal.alarm(240)
        for number, sink in enumerate(sinks, 1):
            handle = os.open(sink, os.O_WRONLY | os.O_CREAT, 0o600)
            os.dup2(handle, number)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        os.chdir(project)
        os.environ["ATHANOR_HOME"] = str(home)
        if powerless:
            drop_power()
        code = COMMANDS[command](home, path)
    except BaseException:  # noqa: BLE001  the process's edge
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _cli(*words: str) -> Callable[[Path, str], int]:
    def run(_home: Path, _path: str) -> int:
        from pipelines import cli

        return cli.run([*words, "--json"])

    return run


def _caught(work: Callable[[], Any]) -> int:
    """What `athanor` would say of an error of the work."""
    from components.errors import AthanorError

    try:
        sys.stdout.write(json.dumps(work()))
    except AthanorError as error:
        sys.stderr.write(f"athanor: {error.message}\n  -> {error.remedy}\n")
        return error.exit_code
    except PermissionError as error:
        sys.stderr.write(f"athanor: {error.filename}\n  -> {error.strerror}\n")
        return 6
    return 0


def _use(_home: Path, path: str) -> int:
    """What every step does that wants an object."""
    from components import objects

    return _caught(lambda: str(objects.path(Path(path).name)))


def _study(_home: Path, _path: str) -> int:
    """What a search does first."""
    from components import study

    def work() -> list[str]:
        plan = study.Plan("damage", {}, 0, "maximize", study.no_pruner())
        with study.opened(plan) as one:
            return [str(trial) for trial in one.trials]

    return _caught(work)


def _engine(home: Path, _path: str) -> int:
    """What a run that executes something does first."""
    from pipelines import embedded

    def work() -> str:
        server = embedded.start_embedded(home)
        try:
            server.ready(120)
        finally:
            server.stop()
        return "answers"

    return _caught(work)


COMMANDS: dict[str, Callable[[Path, str], int]] = {
    "plan": _cli("plan", "configs/tiny.yaml"),
    "why": _cli("why", "--config", "configs/tiny.yaml"),
    "run": _cli("run", "configs/tiny.yaml"),
    "runs": _cli("runs"),
    "predict": _cli("predict", "tiny@champion", "房间好"),
    "verify": _cli("verify", "tiny@champion"),
    "models": _cli("models"),
    "history": _cli("history", "tiny"),
    "history --verify": _cli("history", "tiny", "--verify"),
    "keys": _cli("keys"),
    "data verify": _cli("data", "verify"),
    "use": _use,
    "study": _study,
    "engine": _engine,
}


def drop_power() -> None:
    """Give up root's right to read and write what the mode of a file forbids."""
    if os.geteuid() != 0:
        return

    class Head(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    class Sets(ctypes.Structure):
        _fields_ = tuple(
            (name, ctypes.c_uint32) for name in ("effective", "permitted", "inherited")
        )

    library = ctypes.CDLL(None, use_errno=True)
    head, sets = Head(0x20080522, 0), (Sets * 2)()
    if library.capget(ctypes.byref(head), sets):
        raise OSError(ctypes.get_errno(), "capget")
    for name in ("effective", "permitted"):
        setattr(sets[0], name, getattr(sets[0], name) & ~0b110)  # DAC_OVERRIDE, DAC_READ_SEARCH
    if library.capset(ctypes.byref(head), sets):
        raise OSError(ctypes.get_errno(), "capset")


def warm() -> None:
    """Import once what the forked commands would each import again."""
    import onnxruntime  # noqa: F401
    import optuna  # noqa: F401
    import tokenizers  # noqa: F401

    from components import mlflow_store

    mlflow_store.apply_settings()
    import mlflow  # noqa: F401
    from mlflow.store.tracking import sqlalchemy_store  # noqa: F401

    from components import fingerprint
    from pipelines import predicting, running, shelf, steps, trust  # noqa: F401

    for name in steps.UNITS:
        fingerprint.closure(f"components.steps.{name}:{name}")
