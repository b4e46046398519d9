"""The files of a registered version, fetched once and verified each time."""

import shutil
import tempfile
from pathlib import Path

from components import bundle, files, mlflow_store, project
from components.artifacts import Exported
from components.errors import IntegrityError, UsageError
from components.registry import Version, connection, known

FOLDER = "artifacts/bundle"
"""Where the bundle lies inside the logged model."""


def version(name: str, number: int) -> Version:
    """What the registry says of a version.

    Raises:
        UsageError: there is no such version.
    """
    for found in known(name):
        if found.version == number:
            return found
    raise UsageError(f"{name} has no version {number}", f"athanor history {name} lists them")


def fetch(name: str, number: int) -> bundle.Bundle:
    """The verified bundle of a version, kept at `<home>/bundles/<digest>`.

    Raises:
        UsageError: there is no such version.
        IntegrityError: it was not registered by Athanor, or its files are not what was registered.
        ServiceUnreachable: its files cannot be fetched.
    """
    found = version(name, number)
    if not found.bundle:
        raise IntegrityError(
            f"{name}/{number} was not registered by Athanor: nothing says what its files must be",
            "register it with a run, or open it yourself with mlflow",
        )
    folder = project.home() / "bundles" / found.bundle
    with files.locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            _download(found, folder)
        return bundle.open(folder, found.bundle)


def exported(name: str, number: int) -> Exported:
    """The record of a version's graph, its files in the object store, so that steps can use it.

    Raises:
        As `fetch`.
    """
    return fetch(name, number).adopt()


def _download(found: Version, folder: Path) -> None:
    """Fetch into a temporary folder, verify against the registry's tags, then put it in place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as temporary:
        got = Path(_copy(found, temporary))
        if files.digest(got / bundle.PROVENANCE) != found.provenance:
            raise bundle.damaged(got / bundle.PROVENANCE, "it is not the one that was registered")
        bundle.open(got, found.bundle)
        got.rename(folder)
        files.sync_folder(folder.parent)


def _copy(found: Version, target: str) -> str:
    """A writable copy of the version's bundle folder below `target`."""
    with connection() as client:
        source = client.get_model_version_download_uri(found.name, str(found.version))
        local = Path(source.removeprefix("file://"))
        if local.is_absolute():
            return str(shutil.copytree(local / FOLDER, Path(target) / "bundle"))
        from mlflow.artifacts import download_artifacts

        uri = f"{source.rstrip('/')}/{FOLDER}"
        return download_artifacts(
            artifact_uri=uri, dst_path=target, tracking_uri=mlflow_store.tracking_uri()
        )
