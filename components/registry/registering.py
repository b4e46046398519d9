"""Putting a bundle into the registry, once per run key."""

import json
import warnings
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from components import bucket, files, mlflow_store, project
from components.bucket import asking
from components.bundle import Bundle, Unsigned
from components.bundle.provenance import versions as installed
from components.registry import (
    BUNDLE,
    PROVENANCE,
    RUN_KEY,
    Version,
    by_run_key,
    connection,
    served,
)
from components.registry.fetching import fetch

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

NEEDS = {"text": ("tokenizers",), "image": ("pillow",)}
"""What the reader of raw input needs beside the libraries that every version needs."""


def add(name: str, run_key: str, bundle: Bundle, facts: dict[str, Any]) -> Version:
    """The version that was registered from this run key, made if there is none yet.

    One that no trusted key signed does not count: it is left as it is, and the next one is signed.

    `facts` are `metrics` and `params` of the run that shows the version in MLflow. The version
    and its tags are written in one transaction: a kill before it leaves a run that nothing points
    to, a kill after it leaves a version that the next call finds.
    """
    with files.locked(project.home() / "locks" / f"registry-{name}.lock"):
        found = _trusted(name, run_key)
        if found is not None:
            return found
        with connection() as client, TemporaryDirectory(prefix="athanor-register-") as folder:
            logged = Path(folder) / "model"
            _save(logged, bundle)
            _demand_place()
            _create(client, name, run_key, bundle, {**facts, "folder": str(logged)})
        made = by_run_key(name, run_key)
        if not made:
            raise LookupError(f"version of {name} with run key {run_key} vanished")
        return made[-1]


def _trusted(name: str, run_key: str) -> Version | None:
    """The first version of a run key that a trusted key signed.

    Raises:
        IntegrityError: it is damaged.
    """
    for found in by_run_key(name, run_key):
        with suppress(Unsigned):
            fetch(name, found.version)
            return found
    return None


def requirements(reader: str) -> list[str]:
    """Exact versions of what loads the model: `mlflow-skinny` is enough, and there is no torch."""
    there = installed()
    wanted = ("numpy", "pandas", "onnxruntime", *NEEDS[reader])
    pins = [f"mlflow-skinny=={there['mlflow']}"]
    return pins + [f"{each}=={there.get(each) or version(each)}" for each in wanted]


def signature(inputs: dict[str, Any]) -> "ModelSignature":
    """What `predict` takes and gives, as MLflow states it."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema, TensorSpec

    text = inputs["reader"] == "text"
    given: list[ColSpec | TensorSpec] = [
        ColSpec("string", "text") if text else ColSpec("binary", "image")
    ]
    answers: list[ColSpec | TensorSpec] = [
        ColSpec("string", "label"),
        ColSpec("double", "probability"),
    ]
    answers += [ColSpec("double", f"probability/{label}") for label in inputs["labels"]]
    return ModelSignature(Schema(given), Schema(answers))


def _save(folder: Path, bundle: Bundle) -> None:
    """Write MLflow's own description around the bundle, without loading or running a model."""
    from mlflow import pyfunc

    inputs = json.loads((bundle.folder / "inputs.json").read_bytes())
    with warnings.catch_warnings():
        # An input example would be a row of somebody's data; the signature says enough.
        warnings.simplefilter("ignore", UserWarning)
        pyfunc.save_model(
            str(folder),
            python_model=str(bundle.folder / "served_model.py"),
            artifacts={"bundle": str(bundle.folder)},
            model_config={"variant": "model", "threads": 1},
            signature=signature(inputs),
            pip_requirements=requirements(inputs["reader"]),
        )
    _forget_paths(folder / "MLmodel")
    served.seal(folder)


def _demand_place() -> None:
    """Nothing, where files can be put now: else each try would leave a run that failed.

    Raises:
        As `asking.examine`.
    """
    own = mlflow_store.store(mlflow_store.tracking_uri()) == mlflow_store.embedded_uri()
    if own and (there := bucket.address()):
        asking.examine(there)


def _forget_paths(description: Path) -> None:
    """MLmodel names absolute paths of the machine that wrote it; loading needs none of them."""
    import yaml

    value = yaml.safe_load(description.read_bytes())
    flavor = value["flavors"]["python_function"]
    flavor["model_code_path"] = "served_model.py"
    flavor["artifacts"]["bundle"]["uri"] = "artifacts/bundle"
    text = yaml.safe_dump(value, sort_keys=True, allow_unicode=True)
    files.write_bytes(description, text.encode())


def _create(
    client: "MlflowClient", name: str, run_key: str, bundle: Bundle, facts: dict[str, Any]
) -> None:
    from mlflow.entities import LoggedModelOutput, Metric, Param

    uri = mlflow_store.tracking_uri()
    experiment = mlflow_store.experiment_id(client, uri, name)
    tags = {
        RUN_KEY: run_key,
        BUNDLE: bundle.digest,
        PROVENANCE: files.digest(bundle.folder / "provenance.json"),
        "athanor.variant": bundle.selected,
        "athanor.git_commit": bundle.provenance["facts"]["commit"][:12],
    }
    run = client.create_run(
        experiment, tags={**tags, **mlflow_store.owner_tags()}, run_name=f"version-{run_key[:8]}"
    )
    run_id = run.info.run_id
    status = "FAILED"
    try:
        model = client.create_logged_model(
            experiment, name=name, source_run_id=run_id, tags=tags, model_type="pyfunc"
        )
        client.log_model_artifacts(model.model_id, facts["folder"])
        client.finalize_logged_model(model.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
        now = run.info.start_time
        client.log_batch(
            run_id,
            metrics=[
                Metric(key, value, now, 0, model_id=model.model_id)
                for key, value in facts["metrics"].items()
            ],
            params=[Param(key, str(value)) for key, value in facts["params"].items()],
        )
        _create_name(client, name)
        client.create_model_version(
            name,
            source=_source(uri, model.model_id, model.artifact_location),
            run_id=run_id,
            tags=tags,
            model_id=model.model_id,
            description=f"{bundle.selected}, bundle {bundle.digest[:12]}",
        )
        status = "FINISHED"
    finally:
        client.set_terminated(run_id, status)


def _source(uri: str, model_id: str, location: str) -> str:
    """Where the version's files are.

    MLflow's embedded registry looks a `models:/` source up in the process-wide tracking URI, which
    may be another store (mlflow 3.17.2, `SqlAlchemyStore.create_model_version`): there it gets the
    path itself.
    """
    own = uri.startswith(mlflow_store.SCHEME) or uri == mlflow_store.embedded_uri()
    return location if own else f"models:/{model_id}"


def _create_name(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
