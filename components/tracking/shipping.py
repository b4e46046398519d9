"""Making MLflow show what a note wants: each call may be repeated after any failure."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import mlflow_store, processes
from components.bucket import asking
from components.errors import AthanorError
from components.files import canonical
from components.tracking import journal as journals
from components.tracking.wanted import Wanted

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

HANDLE = "athanor.handle"
PARENT = "mlflow.parentRunId"
MAX_PARAM, MAX_TAG, PER_BATCH = 6000, 8000, 100
MAX_JOURNAL_BYTES = 64 << 20

_REFUSALS = frozenset(
    {
        "INVALID_PARAMETER_VALUE",
        "INVALID_STATE",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_DOES_NOT_EXIST",
    }
)
"""What a store that is there says to a request that it will never take."""


class Shipper:
    """A connection to one store; used by one thread."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.client: MlflowClient = mlflow_store.client(uri)
        self._experiments: dict[str, str] = {}
        self._states: dict[str, journals.State] = {}

    def run(self, wanted: Wanted) -> None:
        """Create the run, unless an earlier try did."""
        if wanted.run_id:
            return
        experiment = self._experiment(wanted.experiment)
        if wanted.tried:
            wanted.doubtful = True  # the lost request may still be on its way: see `_single`
            wanted.run_id = self._find(experiment, {HANDLE: wanted.handle})
        if not wanted.run_id:
            wanted.tried = True
            wanted.save()
            tags = {HANDLE: wanted.handle, **mlflow_store.owner_tags(), **_source(wanted)}
            made = self.client.create_run(experiment, wanted.started_ms, tags, wanted.name)
            wanted.run_id = made.info.run_id
        wanted.save()

    def parts(self, wanted: Wanted) -> None:
        """Send the parts of the note that changed since they were sent."""
        for name, value in wanted.parts.items():
            digest = hashlib.sha256(canonical(value)).hexdigest()
            if value and wanted.sent.get(name) != digest:
                self._part(wanted, name)
                wanted.sent = {**wanted.sent, name: digest}
                wanted.save()

    def journal(self, wanted: Wanted) -> None:
        """Send what the step wrote since."""
        if not wanted.journal:
            return
        path = Path(wanted.journal)
        state = self._states.get(wanted.handle) or journals.load(path, wanted.run_id)
        if path.exists() and path.stat().st_size == state.offset:
            return
        for portion in journals.portions(path, state, wanted.until):
            self.points(wanted.run_id, portion.points)
            self.params(wanted.run_id, portion.params)
            for file in portion.files:
                self.file(wanted.run_id, path.parent / file["path"], file["name"])
            for trial in portion.trials:
                self.trial(wanted, trial)
            journals.save(path, portion.state)
            self._states[wanted.handle] = portion.state

    def end(self, wanted: Wanted) -> None:
        """Send the ends of thinned curves and the whole journal, then close the run."""
        if wanted.journal:
            path = Path(wanted.journal)
            state = self._states.get(wanted.handle) or journals.load(path, wanted.run_id)
            self.points(wanted.run_id, journals.rest(state))
            if path.is_file() and 0 < path.stat().st_size <= MAX_JOURNAL_BYTES:
                self.file(wanted.run_id, path, "journal.jsonl")
        if wanted.doubtful:
            self._single(wanted)
        self.client.set_terminated(wanted.run_id, wanted.status, wanted.ended_ms or None)
        self._states.pop(wanted.handle, None)

    def points(self, run_id: str, points: Sequence[journals.Point]) -> None:
        """Send metrics; a point that is there already is not doubled by MLflow."""
        from mlflow.entities import Metric

        for start in range(0, len(points), journals.BATCH):
            batch = [
                Metric(_key(point.name), point.value, point.time_ms, point.step)
                for point in points[start : start + journals.BATCH]
            ]
            self.client.log_batch(run_id, metrics=batch)

    def params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Send params; MLflow never lets one change, and the first value is the one that held."""
        from mlflow.entities import Param

        known = self.client.get_run(run_id).data.params if params else {}
        new = [
            Param(_key(name), str(value)[:MAX_PARAM])
            for name, value in params.items()
            if _key(name) not in known
        ]
        for start in range(0, len(new), PER_BATCH):
            self.client.log_batch(run_id, params=new[start : start + PER_BATCH])

    def file(self, run_id: str, path: Path, name: str) -> None:
        """Send a file under its name in the run; one that is gone by now is left out."""
        if not path.is_file():
            return
        folder, _, base = name.rpartition("/")
        with tempfile.TemporaryDirectory(prefix="athanor-file-") as temporary:
            if path.name != base:
                path = Path(shutil.copyfile(path, Path(temporary) / base))
            self.client.log_artifact(run_id, str(path), folder or None)

    def trial(self, wanted: Wanted, trial: Mapping[str, Any]) -> None:
        """Show a search trial as a run below its step: four requests, whatever it holds."""
        from mlflow.entities import Metric, Param

        experiment = self._experiment(wanted.experiment)
        tags = {PARENT: wanted.run_id, "athanor.trial": str(trial["number"])}
        run_id = self._find(experiment, tags)
        seconds = float(trial.get("seconds") or 0.0)
        end_ms = int(trial["time"] * 1000)
        if not run_id:
            shown = {**tags, "athanor.stage": "trial", "athanor.state": str(trial.get("state"))}
            name = f"trial-{int(trial['number']):03d}"
            start_ms = int(end_ms - seconds * 1000)
            run_id = self.client.create_run(experiment, start_ms, shown, name).info.run_id
        values = {"value": trial.get("value"), "seconds": seconds}
        self.client.log_batch(
            run_id,
            metrics=[
                Metric(name, float(value), end_ms, 0)
                for name, value in values.items()
                if value is not None
            ],
            params=[
                Param(_key(name), str(value)[:MAX_PARAM])
                for name, value in (trial.get("params") or {}).items()
            ],
        )
        status = "FAILED" if trial.get("state") == "failed" else "FINISHED"
        self.client.set_terminated(run_id, status, end_ms)

    def model(self, wanted: Wanted) -> None:
        """The one LoggedModel of a variant's run, its metrics tied to it and to their data."""
        if not wanted.model or wanted.sent.get("model"):
            return
        from mlflow.entities import LoggedModelOutput, Metric

        if not wanted.model_id and wanted.doubtful:
            wanted.model_id = next(iter(self._models(wanted)), "")
        if not wanted.model_id:
            made = self.client.create_logged_model(
                self._experiment(wanted.experiment),
                name=wanted.model["name"],
                source_run_id=wanted.run_id,
                params={name: str(value) for name, value in wanted.model["params"].items()},
                tags={"athanor.variant": wanted.model["name"]},
            )
            wanted.model_id = made.model_id
            wanted.save()
        self.client.log_outputs(wanted.run_id, [LoggedModelOutput(wanted.model_id, 0)])
        metrics = [
            Metric(
                _key(one["name"]),
                one["value"],
                wanted.started_ms,
                0,
                model_id=wanted.model_id,
                dataset_name=one["dataset"] or None,
                dataset_digest=one["digest"] or None,
                run_id=wanted.run_id,
            )
            for one in wanted.model["metrics"]
        ]
        self.client.log_batch(wanted.run_id, metrics=metrics)
        self.client.finalize_logged_model(wanted.model_id, "READY")
        wanted.sent = {**wanted.sent, "model": wanted.model_id}
        wanted.save()

    def reap(self) -> int:
        """End the runs whose process died without a note as KILLED; their number."""
        experiments = [one.experiment_id for one in self.client.search_experiments()]
        found = self.client.search_runs(
            experiments, "attributes.status = 'RUNNING'", max_results=500
        )
        dead = [
            run.info.run_id
            for run in found
            if processes.dead(run.data.tags.get(mlflow_store.OWNER, ""))
        ]
        for run_id in dead:
            self.client.set_terminated(run_id, "KILLED")
        return len(dead)

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            self._experiments[name] = mlflow_store.experiment_id(self.client, self.uri, name)
        return self._experiments[name]

    def _find(self, experiment: str, tags: Mapping[str, str]) -> str:
        return next(iter(self._run_ids(experiment, tags)), "")

    def _run_ids(self, experiment: str, tags: Mapping[str, str]) -> list[str]:
        return [run.info.run_id for run in self._runs(experiment, tags)]

    def _runs(self, experiment: str, tags: Mapping[str, str]) -> "list[Run]":
        """Runs with these tags, the oldest first."""
        condition = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        order = ["attributes.start_time ASC"]
        found: list[Run] = []
        page = None
        while True:
            page = self.client.search_runs(
                [experiment], condition, max_results=1000, order_by=order,
                page_token=page.token if page else None,
            )  # fmt: skip
            found += page
            if not page.token:
                return found

    def _single(self, wanted: Wanted) -> None:
        """Delete what a request made a second time because the answer to the first was lost.

        A frozen server does what it was asked once it goes on, long after nobody waits for it.
        """
        experiment = self._experiment(wanted.experiment)
        for run_id in self._run_ids(experiment, {HANDLE: wanted.handle}):
            if run_id != wanted.run_id:
                self.client.delete_run(run_id)
        trials: dict[str, str] = {}
        below = self._runs(experiment, {PARENT: wanted.run_id})
        for run in sorted(below, key=lambda run: run.info.status == "RUNNING"):
            number = run.data.tags.get("athanor.trial")
            if number and trials.setdefault(number, run.info.run_id) != run.info.run_id:
                self.client.delete_run(run.info.run_id)
        for model_id in self._models(wanted):
            if model_id != wanted.model_id:
                self.client.delete_logged_model(model_id)

    def _models(self, wanted: Wanted) -> list[str]:
        """Models of a run, the oldest first."""
        if not wanted.model:
            return []
        found = self.client.search_logged_models(
            [self._experiment(wanted.experiment)], f"source_run_id = '{wanted.run_id}'"
        )
        return [one.model_id for one in sorted(found, key=lambda one: one.creation_timestamp)]

    def _part(self, wanted: Wanted, name: str) -> None:
        from mlflow.entities import Metric, RunTag

        run_id = wanted.run_id
        if name == "params":
            self.params(run_id, wanted.params)
        elif name == "tags":
            tags = [RunTag(_key(key), value[:MAX_TAG]) for key, value in wanted.tags.items()]
            for start in range(0, len(tags), PER_BATCH):
                self.client.log_batch(run_id, tags=tags[start : start + PER_BATCH])
        elif name == "datasets":
            self.client.log_inputs(run_id, [_dataset(entry) for entry in wanted.datasets])
        elif name == "metrics":
            at = wanted.ended_ms or wanted.started_ms
            values = [Metric(_key(key), value, at, 0) for key, value in wanted.metrics.items()]
            self.client.log_batch(run_id, metrics=values)


def refused(error: Exception) -> bool:
    """Whether the store is there and will never take this; anything else is tried again later.

    Whatever a bucket says can be mended by its owner, so nothing is given up for it.
    """
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.error_code in _REFUSALS
    if isinstance(error, AthanorError) or asking.meaning(error):
        return False
    return not isinstance(error, (OSError, json.JSONDecodeError))


def _dataset(entry: Mapping[str, Any]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = canonical(entry["source"]).decode()
    profile = canonical(entry["profile"]).decode()
    data = Dataset(entry["name"], entry["digest"], "dvc", source, profile=profile)
    return DatasetInput(data, [InputTag("mlflow.data.context", entry["context"])])


def _source(wanted: Wanted) -> dict[str, str]:
    tags = {"mlflow.source.name": "athanor", "mlflow.source.type": "PROJECT"}
    if wanted.parent_run_id:
        tags[PARENT] = wanted.parent_run_id
    return tags


def _key(name: str) -> str:
    """A name within what MLflow takes: letters, digits and _ - . space : /"""
    kept = "".join(sign if sign.isalnum() or sign in "_-. :/" else "_" for sign in name)
    return kept[:250]
