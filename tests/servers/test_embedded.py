"""The embedded Prefect server lives exactly as long as somebody uses it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components import processes
from components.errors import ResourceError, ServiceUnreachable
from pipelines import embedded, kernel, servers

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import sys, time
from pathlib import Path
from pipelines import embedded
server = embedded.start_embedded(Path(sys.argv[1]))
print(server.pid, server.url, flush=True)
time.sleep(300)
"""


def within(seconds: float, true: Callable[[], bool]) -> bool:
    """Whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.1)
    return true()


def run(home: Path) -> "tuple[subprocess.Popen[str], int, str]":
    """A process that uses the embedded server of a home: itself, the server's number and URL."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(home)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    pid, url = process.stdout.readline().split()
    return process, int(pid), url


def gone(pid: int) -> bool:
    return not kernel.command(pid)


def claimable(home: Path) -> bool:
    """Whether the claim is free; the kernel frees it a moment after the process is gone."""
    try:
        embedded.claim(home).close()
    except ResourceError:
        return False
    return True


@pytest.mark.slow
def test_it_serves_two_runs_and_ends_with_the_last_though_all_are_killed(
    built: None, home: Path
) -> None:
    first, server, url = run(home)
    second, shared, same = run(home)
    try:
        assert (shared, same) == (server, url)
        assert within(60, lambda: embedded.answers(f"{url}/health"))
        assert set(embedded.users(home)) == {first.pid, second.pid}

        first.send_signal(signal.SIGKILL)
        first.wait()
        time.sleep(1.5)
        assert embedded.answers(f"{url}/health"), "it ended although the second run uses it"
        with pytest.raises(ResourceError, match=rf"a run uses .* process {second.pid} "):
            servers.up(home)

        second.send_signal(signal.SIGKILL)
        second.wait()
        assert within(15, lambda: gone(server)), "it outlived its last run"
        assert within(5, lambda: claimable(home)), "the database stayed claimed"
    finally:
        kernel.end((first.pid, second.pid, server))
        first.wait()
        second.wait()


@pytest.mark.slow
def test_a_killed_server_is_replaced_at_the_next_start(built: None, home: Path) -> None:
    first = embedded.start_embedded(home)
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)
    with pytest.raises(ServiceUnreachable, match=f"process {first.pid}"):
        first.ready(20)
    second = embedded.start_embedded(home)
    assert second.pid != first.pid
    second.ready()
    first.stop()
    second.stop()
    assert within(15, lambda: processes.dead(processes.of(second.pid)) or gone(second.pid))
    os.waitpid(second.pid, 0)


def test_the_claim_is_exclusive_and_freed_by_the_kernel(home: Path) -> None:
    with embedded.claim(home), pytest.raises(ResourceError, match=f"process {os.getpid()} "):
        embedded.claim(home)
    embedded.claim(home).close()
