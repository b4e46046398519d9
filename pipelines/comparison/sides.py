"""What a word after `athanor compare` means: a version, and what its run left behind."""

import difflib
import re
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from components import objects, registry
from components.artifacts import Exported, Measured, Predictions, Prepared
from components.bundle import Bundle
from components.errors import UsageError
from components.records import Record
from components.registry import Location, fetching
from pipelines import runs
from pipelines.config import load_run
from pipelines.keys import stored

R = TypeVar("R", bound=Record)

RUN_ID = re.compile(r"[0-9a-f]{32}")
RUN_NAME = re.compile(r"\d{8}-\d{6}-(?P<name>.+)-[0-9a-f]{4}")
VERSION = "athanor.version"
"""Tag of a whole run in MLflow: the version that it ended with."""
SHOWN = 5


class Side(NamedTuple):
    """One of the two models."""

    name: str
    version: int
    variant: str
    run_id: str
    """The version's own run in MLflow."""
    bundle: Bundle
    graph: Path
    test: Predictions | None
    """None where this home does not hold them."""
    measured: Measured | None
    prepared: Prepared | None

    @property
    def title(self) -> str:
        """`digits/3`, with the variant where it is not the one that is served."""
        served = self.variant == self.bundle.selected
        return f"{self.name}/{self.version}" + ("" if served else f":{self.variant}")

    @property
    def data(self) -> dict[str, Any]:
        """Name, digest and rows of the labelled data set."""
        return self.bundle.manifest["remake"]["data"][0]

    @property
    def steps(self) -> dict[str, Any]:
        """The steps of its run: key, function and inputs of each."""
        return self.bundle.provenance["facts"].get("steps", {})


def side(reference: str) -> Side:
    """The model that a version, an alias, a run or a config names, its files here and verified.

    Raises:
        UsageError: there is none; the nearest that exist are named.
        IntegrityError: its files are not what was registered.
    """
    where, variant = _resolved(reference)
    version = fetching.version(where.name, where.version)
    bundle = fetching.fetch(where.name, where.version)
    variants: dict[str, str] = bundle.manifest["remake"]["variants"]
    variant = variant or bundle.selected
    if variant not in variants:
        raise UsageError(
            f"{where.name}/{where.version} has no variant {variant!r}",
            "there are: " + ", ".join(f"{where.name}/{where.version}:{v}" for v in variants),
        )
    steps = bundle.provenance["facts"].get("steps", {})
    test = _left(steps, f"test-{variant}", Predictions)
    measured = _left(steps, f"measure-{variant}", Measured)
    prepared = _left(steps, "prepare", Prepared)
    of, data = variants[variant], bundle.manifest["remake"]["prepared"]
    return Side(
        name=where.name,
        version=where.version,
        variant=variant,
        run_id=version.run_id,
        bundle=bundle,
        graph=_graph(bundle, variant, _left(steps, f"compress-{variant}", Exported)),
        test=test if test is not None and (test.of, test.data) == (of, data) else None,
        measured=measured if measured is not None and measured.exported == of else None,
        prepared=prepared if prepared is not None and prepared.digest == data else None,
    )


def _left(steps: dict[str, Any], name: str, kind: type[R]) -> R | None:
    """The result that a step of the version's run left in this home."""
    found = stored(steps[name]["key"]) if name in steps else None
    return found if isinstance(found, kind) else None


def _graph(bundle: Bundle, variant: str, exported: Exported | None) -> Path:
    """The graph of a variant: a bundle holds the served one and the one without compression.

    Raises:
        UsageError: neither the bundle nor this home has it.
    """
    if variant == bundle.selected:
        return bundle.folder / "model.onnx"
    if variant == "fp32" and "fp32.onnx" in bundle.names:
        return bundle.folder / "fp32.onnx"
    digest = bundle.manifest["remake"]["variants"][variant]
    if exported is not None and exported.digest == digest:
        return objects.path(exported.files["model.onnx"])
    raise UsageError(
        f"the graph of variant {variant} is not in the bundle, and this home does not hold it",
        "run its config again (athanor run CONFIG), or compare without the variant",
    )


def _resolved(reference: str) -> tuple[Location, str]:
    """Version and variant; the variant is empty where none is named."""
    word, _, variant = reference.removeprefix("models:/").partition(":")
    if word.endswith((".yaml", ".yml")):
        return _of_run(_latest(Path(word)), reference, variant)
    if RUN_ID.fullmatch(word):
        return _of_run(word, reference, variant)
    if found := RUN_NAME.fullmatch(word):
        return _of_run(_by_run_name(word, found["name"]), reference, variant)
    return registry.resolve(word), variant


def _of_run(run_id: str, reference: str, variant: str) -> tuple[Location, str]:
    """The version that a run ended with; a step's run leads to the run above it.

    Raises:
        UsageError: no such run, or it ended without a version.
    """
    from mlflow.exceptions import MlflowException

    with registry.connection() as client:
        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise UsageError(f"MLflow knows no run {run_id}", _recent(client)) from error
        tags = run.data.tags
        if VERSION in tags:
            return registry.resolve(tags[VERSION]), variant
        if owned := client.search_model_versions(f"run_id = '{run_id}'"):
            return Location(name=owned[0].name, version=int(owned[0].version)), variant
        if above := tags.get("mlflow.parentRunId"):
            return _of_run(above, reference, variant or tags.get("athanor.variant", ""))
        raise UsageError(
            f"run {reference} ended without a version (it is {run.info.status})",
            f"go on with it: athanor run configs/{tags.get('athanor.config', 'CONFIG')}",
        )


def _by_run_name(word: str, experiment: str) -> str:
    """MLflow's id of a run that its name names.

    Raises:
        UsageError: there is no such run; the nearest are named.
    """
    with registry.connection() as client:
        found = client.get_experiment_by_name(experiment)
        where = [found.experiment_id] if found else []
        runs = client.search_runs(where, "tags.`athanor.stage` = 'pipeline'") if where else []
        names = {run.info.run_name: run.info.run_id for run in runs}
        if word in names:
            return names[word]
        near = difflib.get_close_matches(word, names, SHOWN, cutoff=0)
        there = f"there are: {', '.join(near)}" if near else _recent(client)
        raise UsageError(f"no run is called {word!r}", there)


def _recent(client: Any) -> str:
    """The runs of late, as a remedy."""
    where = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(
        where, "tags.`athanor.stage` = 'pipeline'", order_by=["attributes.start_time DESC"]
    )
    names = [run.info.run_name for run in runs[:SHOWN]]
    return f"there are: {', '.join(names)}" if names else "none ran yet: athanor run CONFIG"


def _latest(file: Path) -> str:
    """MLflow's id of the last run of this very config that executed a step.

    Raises:
        ConfigError: it is no config.
        UsageError: it did not run here as it stands, or MLflow does not show that run yet.
    """
    config = load_run(file)
    known = runs.executed_last(config.name, config.digest)
    if known and known.config_digest == config.digest and known.mlflow_run_id:
        return known.mlflow_run_id
    raise UsageError(f"{file} has not run here as it stands", f"athanor run {file}")
