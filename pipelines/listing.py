"""`athanor runs`: each run in a line, the running ones with how far they are."""

import itertools
import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from components import processes, project
from components.errors import IntegrityError, UsageError
from components.records import Record
from pipelines import runs
from pipelines.runs import RunRecord, StepRecord

TAIL_BYTES = 1 << 16


class Row(Record):
    """One run as it is listed; of a damaged record no more is known than its id and its error."""

    id: str
    config: str
    """The config's file."""
    state: str
    step: str | None
    """At work, or where it stopped."""
    done: float | None
    total: float | None
    begun: str
    seconds: float
    """On the clock, of all attempts."""
    attempts: int
    host: str
    exit_code: int | None
    error: str | None
    remedy: str | None
    """The next command after that error."""
    mlflow_run_id: str | None
    prefect_run_id: str | None


def newest(count: int) -> tuple[Row, ...]:
    """The last runs, newest first.

    Raises:
        UsageError: the count is not positive.
    """
    if count < 1:
        raise UsageError(f"-n {count} lists nothing", "give a number from 1 on")
    return tuple(itertools.islice(_rows(), count))


def _rows() -> Iterator[Row]:
    for run in runs.ids():
        try:
            record = runs.read(run)
        except IntegrityError as damage:
            yield _damaged(run, damage)
        else:
            if record is not None:  # else it was removed this moment
                yield row(record)


def _damaged(run: str, damage: IntegrityError) -> Row:
    """What the id of a run tells of it."""
    day, time_of_day = f"{run[:4]}-{run[4:6]}-{run[6:8]}", f"{run[9:11]}:{run[11:13]}:{run[13:15]}"
    return Row(
        id=run,
        config="",
        state="damaged",
        step=None,
        done=None,
        total=None,
        begun=f"{day}T{time_of_day}.000+00:00",
        seconds=0.0,
        attempts=0,
        host="",
        exit_code=None,
        error=damage.message,
        remedy=damage.remedy,
        mlflow_run_id=None,
        prefect_run_id=None,
    )


def row(record: RunRecord) -> Row:
    """A run as it is listed."""
    last = record.last
    stopped = [step for step in last.steps if step.state not in ("executed", "cached")]
    step = stopped[-1] if stopped else None
    done, total = _progress(step) if step else (None, None)
    return Row(
        id=record.id,
        config=record.file,
        state=record.state,
        step=step.name if step else None,
        done=done,
        total=total,
        begun=record.attempts[0].begun,
        seconds=round(sum(_seconds(one.begun, one.ended) for one in record.attempts), 1),
        attempts=len(record.attempts),
        host=processes.host(last.owner),
        exit_code=last.exit_code,
        error=last.error.message if last.error else None,
        remedy=last.error.remedy if last.error else None,
        mlflow_run_id=record.mlflow_run_id,
        prefect_run_id=last.prefect_run_id,
    )


def document(rows: tuple[Row, ...]) -> dict[str, Any]:
    """The rows as JSON."""
    return {"runs": [one.model_dump(mode="json") for one in rows]}


def text(rows: tuple[Row, ...]) -> str:
    """A line a run."""
    if not rows:
        return "nothing ran here yet: athanor run configs/quickstart.yaml"
    lines = [("RUN", "CONFIG", "STATE", "STEP", "BEGUN (UTC)", "SECONDS", "")]
    lines += [_line(one) for one in rows]
    widths = [*(max(len(line[at]) for line in lines) for at in range(6)), 0]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    damaged = [f"{one.error}\n  -> {one.remedy}" for one in rows if one.state == "damaged"]
    return "\n".join((*table, *damaged))


def _line(one: Row) -> tuple[str, ...]:
    step = one.step or ""
    if step and one.total:
        step += f" {one.done or 0:g}/{one.total:g}"
    elsewhere = "" if one.host in ("", socket.gethostname()) else f"on {one.host}"
    begun = one.begun[:19].replace("T", " ")
    return (one.id, one.config, one.state, step, begun, f"{one.seconds:.0f}", elsewhere)


def _seconds(begun: str, ended: str | None) -> float:
    end = datetime.fromisoformat(ended).timestamp() if ended else time.time()
    return max(0.0, end - datetime.fromisoformat(begun).timestamp())


def _progress(step: StepRecord) -> tuple[float | None, float | None]:
    """How far a step said that it is: done and total, from the end of its journal."""
    journal = project.home() / "work" / str(step.key) / "journal.jsonl"
    try:
        with journal.open("rb") as file:
            file.seek(max(0, journal.stat().st_size - TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return None, None
    begun = datetime.fromisoformat(step.begun).astimezone(UTC).timestamp()
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("kind") == "progress" and entry["time"] >= begun:
            return entry["done"], entry["total"]
    return None, None
