"""What a run tells its tracker, and the one thread that brings it to MLflow."""

import json
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from components import mlflow_store, processes
from components.artifacts import RawData, Variant
from components.bucket import asking
from components.tracking.content import datasets, flat, texts, variant_metrics
from components.tracking.shipping import Shipper, refused
from components.tracking.unshipped import forget_trouble, remember_trouble
from components.tracking.wanted import Wanted, adopt, keep_journal, new_handle

Status = Literal["FINISHED", "FAILED", "KILLED"]

POLL_S = 1.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
MAX_FAILURES = 5
"""Refusals of one run, by a store that is there, before the run is given up."""

log = logging.getLogger(__name__)


class Tracker:
    """Shows a pipeline run and its steps in MLflow without ever making them wait.

    Every call returns at once: it writes a note (see `wanted`), and one thread makes the store
    show it. A store that is away is tried again with growing pauses; what is not shown when the
    tracker closes stays noted, and the next tracker of this home brings it.
    """

    def __init__(self, experiment: str = "", uri: str = "") -> None:
        """Start the thread; MLflow is imported there, beside whatever comes next.

        Without an experiment, a run's tag `athanor.task` names it: one experiment per task.
        """
        self.uri = mlflow_store.store(uri or mlflow_store.tracking_uri())
        self.experiment = experiment
        self.problems: list[str] = []
        self._runs = {wanted.handle: wanted for wanted in adopt(self.uri)}
        self._run_ids: dict[str, str] = {}
        self._experiments: dict[str, str] = {}
        self._failures: dict[str, int] = {}
        self._lock = threading.RLock()
        self._news = threading.Event()
        self._shown = threading.Condition(self._lock)
        self._closing, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="athanor-tracking", daemon=True)
        self._thread.start()

    def start_run(
        self, name: str, tags: Mapping[str, str], params: Mapping[str, Any] | None = None
    ) -> str:
        """Handle of a new run at the top: the pipeline's."""
        experiment = self.experiment or str(tags.get("athanor.task", "athanor"))
        return self._add(
            name, experiment=experiment, tags=texts(tags), params=dict(flat(params or {}))
        )

    def start_step(
        self,
        parent: str,
        step: str,
        config: Mapping[str, Any],
        inputs: Mapping[str, str],
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Handle of a step's run below its pipeline's; `inputs` are digests by role."""
        lineage = {f"athanor.input.{role}": digest for role, digest in inputs.items()}
        shown = {"athanor.stage": step, **lineage, **texts(tags or {})}
        return self._below(parent, step, tags=shown, params=dict(flat(config)))

    def log_data(self, handle: str, raw: RawData) -> None:
        """Tie a run to the splits of a data set, by DVC's digest."""
        self._change(handle, datasets=datasets(raw))

    def log_variant(self, parent: str, variant: Variant, raw: RawData) -> str:
        """Handle of a variant's own run, with the one model that carries its metrics.

        Of two models in one run, the second would show the metrics of the first.
        """
        exported = variant.exported
        metrics = variant_metrics(variant, raw)
        handle = self._below(
            parent,
            f"variant-{exported.name}",
            tags={"athanor.stage": "variant", "athanor.variant": exported.name},
            params={"variant": exported.name},
            datasets=datasets(raw),
            model={
                "name": exported.name,
                "params": {"chain": json.dumps(exported.chain), "of": exported.digest},
                "metrics": metrics,
            },
        )
        self.end(handle, "FINISHED")
        return handle

    def follow(self, handle: str, journal: Path) -> None:
        """Show what a step's journal says, from now until the run ends."""
        self._change(handle, journal=str(journal.resolve()))

    def tag(self, handle: str, tags: Mapping[str, str]) -> None:
        """Add tags to a run."""
        with self._lock:
            self._change(handle, tags={**self._tags(handle), **texts(tags)})

    def end(self, handle: str, status: Status = "FINISHED") -> None:
        """The run is over; its journal is read to the end first."""
        self._end(handle, status)

    def finish(
        self,
        handle: str,
        final: Mapping[str, float],
        tags: Mapping[str, str] | None = None,
        status: Status = "FINISHED",
    ) -> None:
        """The pipeline's run is over; `final` are its summary, such as `test_accuracy`."""
        metrics = {f"final/{name.removeprefix('final/')}": value for name, value in final.items()}
        with self._lock:
            shown = {**self._tags(handle), **texts(tags or {})}
            self._change(handle, metrics=metrics, tags=shown)
            self._end(handle, status)

    def run_id(self, handle: str, timeout_s: float = 0.0) -> str:
        """MLflow's id of a run; empty as long as the store has not shown it."""
        with self._shown:
            self._shown.wait_for(lambda: handle in self._run_ids, timeout_s)
            return self._run_ids.get(handle, "")

    def keep_journal(self, journal: Path) -> None:
        """A journal is about to be deleted: what is not shipped of it is put aside first."""
        with self._lock:
            keep_journal(journal, self._runs.values())

    def unshipped(self) -> list[str]:
        """Names of the runs that the store does not show in full yet."""
        with self._lock:
            return [wanted.name for wanted in self._runs.values()]

    def close(self, timeout_s: float = 30.0) -> list[str]:
        """Bring what is noted to the store, within this time; names of the runs that remain.

        Runs that were not ended are KILLED. What remains stays in the home, and the next tracker
        goes on with it.
        """
        with self._lock:
            for wanted in self._runs.values():
                if not wanted.status:
                    wanted.end("KILLED", _now_ms())
                    wanted.save()
        self._closing.set()
        self._news.set()
        self._thread.join(timeout_s)
        self._stopped.set()
        with self._lock:
            for wanted in self._runs.values():
                wanted.owner = ""
                wanted.save()
        return self.unshipped()

    def _below(self, parent: str, name: str, **fields: Any) -> str:
        experiment = self._experiments[parent]
        return self._add(name, experiment=experiment, parent=parent, **fields)

    def _add(self, name: str, experiment: str, **fields: Any) -> str:
        wanted = Wanted(
            handle=new_handle(),
            uri=self.uri,
            experiment=experiment,
            name=name,
            owner=processes.this(),
            started_ms=_now_ms(),
            **fields,
        )
        with self._lock:
            wanted.save()
            self._runs[wanted.handle] = wanted
            self._experiments[wanted.handle] = experiment
        self._news.set()
        return wanted.handle

    def _tags(self, handle: str) -> dict[str, str]:
        wanted = self._runs.get(handle)
        return wanted.tags if wanted else {}

    def _end(self, handle: str, status: Status) -> None:
        with self._lock:
            if wanted := self._runs.get(handle):
                wanted.end(status, _now_ms())
                wanted.save()
        self._news.set()

    def _change(self, handle: str, **fields: Any) -> None:
        with self._lock:
            wanted = self._runs.get(handle)
            if wanted is None:
                return  # given up, or over already
            for name, value in fields.items():
                setattr(wanted, name, value)
            wanted.save()
        self._news.set()

    def _work(self) -> None:
        """Until closed: make the store show what is wanted; pause when it is away."""
        shipper: Shipper | None = None
        reaped, wait_s = False, FIRST_WAIT_S
        while not self._stopped.is_set():
            self._news.wait(0 if self._closing.is_set() else POLL_S)
            self._news.clear()
            try:
                if shipper is None:
                    shipper = Shipper(self.uri)
                if not reaped:
                    shipper.reap()
                    reaped = True
                self._ship(shipper)
                forget_trouble(self.uri)
                wait_s = FIRST_WAIT_S
            except Exception as error:  # noqa: BLE001 - the edge of the thread: it must not end
                if wait_s == FIRST_WAIT_S:  # once an outage: `athanor status` tells the rest
                    shown = mlflow_store.shown_uri(self.uri)
                    log.warning("tracking waits for %s: %s", shown, _first(error))
                remember_trouble(self.uri, _first(error))
                if self._closing.is_set():
                    self._stopped.wait(FIRST_WAIT_S)
                else:
                    self._closing.wait(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
                continue
            with self._lock:
                if self._closing.is_set() and not self._runs:
                    return

    def _ship(self, shipper: Shipper) -> None:
        """One round over all runs, the older ones first, a run that failed last.

        Raises:
            Exception: the store is away.
        """
        with self._lock:
            runs = list(self._runs.values())
        for wanted in runs:
            if self._stopped.is_set():
                return
            try:
                self._show(shipper, wanted)
            except Exception as error:
                with self._lock:
                    self._runs[wanted.handle] = self._runs.pop(wanted.handle)
                    wanted.doubtful = True
                    wanted.save()
                if not refused(error):
                    raise
                failures = self._failures[wanted.handle] = self._failures.get(wanted.handle, 0) + 1
                if failures >= MAX_FAILURES:
                    self._give_up(wanted, error)

    def _show(self, shipper: Shipper, wanted: Wanted) -> None:
        with self._lock:
            ended = bool(wanted.status)
            if wanted.parent and not wanted.parent_run_id:
                wanted.parent_run_id = self._run_ids.get(wanted.parent, "")
                if not wanted.parent_run_id and wanted.parent in self._runs:
                    return  # its parent comes first
        shipper.run(wanted)
        with self._shown:
            self._run_ids[wanted.handle] = wanted.run_id
            self._shown.notify_all()
        shipper.parts(wanted)
        shipper.journal(wanted)
        if ended:
            shipper.model(wanted)
            shipper.end(wanted)
            with self._lock:
                self._runs.pop(wanted.handle, None)
                wanted.forget()

    def _give_up(self, wanted: Wanted, error: Exception) -> None:
        problem = f"{wanted.name} is not shown in MLflow: {_first(error)}"
        log.warning(problem)
        with self._lock:
            self.problems.append(problem)
            self._runs.pop(wanted.handle, None)
            wanted.forget()


def _now_ms() -> int:
    return int(time.time() * 1000)


def _first(error: Exception) -> str:
    told = asking.meaning(error)
    text = (told.message if told else str(error)).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
