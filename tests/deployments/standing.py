"""What tests of a standing server share: two entries, looks at the server, a worker's part."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.deployments.applying import Deployed
from pipelines.deployments.facts import POOL

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

NIGHTLY = """\
deployments:
  - name: nightly
    config: configs/digits.yaml
    schedule: {cron: "30 4 * * *", timezone: Europe/Berlin}
    triggers: [{event: drift, subject: digits}]
"""
OTHER = """\
  - {name: other, flow: run, config: configs/digits.yaml, schedule: {every: 6h}}
"""
Write = Callable[[str], Path]
Client = Any
"""A `SyncPrefectClient`."""


def did(found: Deployed) -> dict[str, tuple[str, str]]:
    return {one.name: (one.what, one.done) for one in found.changes}


def named(client: Client, name: str) -> Any:
    [found] = [each for each in client.read_deployments() if each.name == name]
    return found


def wait(until: Callable[[], bool], patience_s: float = 90.0) -> None:
    deadline = time.monotonic() + patience_s
    while not until():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.2)


def due(client: Client, name: str) -> list["FlowRun"]:
    """What a worker's look at the pool gives."""
    now = datetime.now(UTC)
    polled = client.get_scheduled_flow_runs_for_work_pool(POOL, scheduled_before=now)
    mine = named(client, name).id
    found = [each.flow_run for each in polled if each.flow_run.deployment_id == mine]
    return sorted(found, key=lambda run: run.next_scheduled_start_time)


def begin(client: Client, run: "FlowRun") -> None:
    """What a worker and the run's process do."""
    from prefect.states import Pending, Running

    for state in (Pending(), Running()):
        assert client.set_flow_run_state(run.id, state).status.value == "ACCEPT"


def prefect(*words: str) -> str:
    """What the plain command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *words],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def history(home: Path, statement: str, *values: Any) -> None:
    """Make something older than a test can wait for."""
    with sqlite3.connect(home / "prefect/prefect.db", timeout=60) as database:
        assert database.execute(statement, values).rowcount
    database.close()
