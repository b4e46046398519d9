"""The processes of a remake: none is left, and nobody hears how they were interrupted."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import inner, kernel

COMMAND = """\
import pathlib, signal, subprocess, sys, time

def stop(*_):
    sys.stderr.write("Traceback (most recent call last): told late\\n")
    sys.stderr.flush()
    pathlib.Path("told").touch()
    sys.exit(143)

signal.signal(signal.SIGTERM, stop)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
sys.stderr.write("at work\\n")
sys.stderr.flush()
print("an answer")
pathlib.Path("ready").touch()
time.sleep(float(sys.argv[1]))
sys.exit(5)
"""
PATIENCE_S = 60.0


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder whose command starts a process that does not end with it, as a fork server."""
    folder = tmp_path / "checkout"
    (folder / "pipelines").mkdir(parents=True)
    (folder / "pipelines/__init__.py").touch()
    (folder / "pipelines/cli.py").write_text(COMMAND)
    return folder


@pytest.fixture
def in_a_terminal() -> Iterator[None]:
    """A shell starts its background jobs deaf to SIGINT, and the tests may be one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def run(checkout: Path, seconds: str) -> int:
    home = {"ATHANOR_HOME": str(checkout / "home"), "PYTHONPATH": str(checkout)}
    return inner.athanor((seconds,), checkout, home, checkout / "answer")


def at_work(checkout: Path) -> tuple[int, ...]:
    return kernel.marked(f"ATHANOR_HOME={checkout / 'home'}")


def test_a_command_is_heard_and_what_it_left_is_ended(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = time.monotonic()
    assert run(checkout, "0") == 5
    assert time.monotonic() - begun < PATIENCE_S
    assert at_work(checkout) == ()
    assert (checkout / "answer").read_text() == "an answer\n"
    assert capsys.readouterr().err == "at work\n"


def test_an_interruption_ends_all_of_it_and_tells_nothing_of_its_inside(
    in_a_terminal: None, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before: list[tuple[int, ...]] = []

    def interrupt() -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not (checkout / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)  # the line before is passed on
        before.append(at_work(checkout))
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run(checkout, "300")
    assert len(before[0]) == 2, "the signal fell outside its work"
    assert at_work(checkout) == ()
    assert (checkout / "told").exists(), "it was not asked to end in order"
    assert capsys.readouterr().err == "at work\n"
