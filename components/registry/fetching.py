"""The files of a registered version, fetched once and verified each time."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from components import bundle, disk, files, mlflow_store, project
from components.artifacts import Exported
from components.bucket import asking
from components.errors import IntegrityError, UsageError
from components.registry import Version, connection, known

FOLDER = "artifacts/bundle"
"""Where the bundle lies inside the logged model."""
BUCKET = "s3://"


def version(name: str, number: int) -> Version:
    """What the registry says of a version.

    Raises:
        UsageError: there is no such version.
    """
    for found in known(name):
        if found.version == number:
            return found
    raise UsageError(f"{name} has no version {number}", f"athanor history {name} lists them")


def fetch(name: str, number: int, *, allow_unsigned: bool = False) -> bundle.Bundle:
    """The verified bundle of a version, kept at `<home>/bundles/<digest>`.

    Raises:
        UsageError: there is no such version.
        bundle.Unsigned: no key that is trusted here signed it, and that is not allowed.
        IntegrityError: it was not registered by Athanor, or its files are not what was registered.
        ServiceUnreachable: its files cannot be fetched.
    """
    found = version(name, number)
    folder = kept(found)
    with files.locked(folder.with_suffix(".lock")):
        if folder.is_dir():
            # The same weights may be kept as signed by nobody who is trusted here; who signed this
            # version, only the registry's copy says.
            with suppress(bundle.Unsigned):
                return bundle.open(folder, found.bundle, allow_unsigned=allow_unsigned)
        _put(found, folder, allow_unsigned)
        return bundle.open(folder, found.bundle, allow_unsigned=allow_unsigned)


def _put(found: Version, folder: Path, allow_unsigned: bool) -> None:
    """Fetch the registry's copy of a bundle and put it in place, verified."""
    with downloaded(found, allow_unsigned=allow_unsigned) as got:
        if folder.is_dir():
            folder.rename(got.folder.with_name("before"))
        got.folder.rename(folder)
        files.sync_folder(folder.parent)


def kept(found: Version) -> Path:
    """Where the bundle of a version is kept in this home.

    Raises:
        IntegrityError: it was not registered by Athanor.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", found.bundle):
        raise IntegrityError(
            f"{found.name}/{found.version} was not registered by Athanor: nothing says what its "
            "files must be",
            "register it with a run, or open it yourself with mlflow",
        )
    return project.home() / "bundles" / found.bundle


def exported(name: str, number: int) -> Exported:
    """The record of a version's graph, its files in the object store, so that steps can use it.

    Raises:
        As `fetch`.
    """
    return fetch(name, number).adopt()


@contextmanager
def downloaded(found: Version, *, allow_unsigned: bool = False) -> Iterator[bundle.Bundle]:
    """The registry's own copy of a bundle, verified, in a folder that goes away afterwards."""
    place = kept(found).parent
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=place) as temporary:
        copy = Path(_copy(found, temporary))
        try:
            got = bundle.open(copy, found.bundle, allow_unsigned=allow_unsigned)
            if files.digest(copy / bundle.PROVENANCE) != found.provenance:
                raise bundle.damaged(copy / bundle.PROVENANCE, "another one was registered")
        except IntegrityError as error:
            where = f"the registry's copy of {found.name}/{found.version}"
            message = error.message.replace(str(copy), where)
            restore = f"restore its files, or take another version: athanor history {found.name}"
            remedy = error.remedy if isinstance(error, bundle.Unsigned) else restore
            raise type(error)(message, remedy) from error
        yield got


def source(found: Version) -> Path | None:
    """The logged model that a version was made from, where it is a folder of this machine."""
    local = Path(_uri(found).removeprefix("file://"))
    return local if local.is_absolute() else None


@contextmanager
def logged(found: Version) -> Iterator[Path | None]:
    """What lies around the bundle, as a folder: the logged model's own, or a copy from a bucket.

    None where it is on a server.
    """
    if (local := source(found)) or not (uri := _uri(found)).startswith(BUCKET):
        yield local
        return
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=kept(found).parent) as temporary:
        asking.download(uri, Path(temporary), without=FOLDER)
        try:
            yield Path(temporary)
        except IntegrityError as error:
            message = error.message.replace(temporary, uri)
            raise type(error)(message, error.remedy) from error


def part(found: Version, name: str, target: str) -> str:
    """A copy of one folder or file of the logged model below `target`, not verified.

    Raises:
        As `asking.download`, from a bucket; else what MLflow raises.
    """
    uri = f"{_uri(found)}/{name}"
    if uri.startswith(BUCKET):
        place = Path(target) / Path(name).name
        asking.download(uri, place)
        return str(place)
    from mlflow.artifacts import download_artifacts

    return download_artifacts(
        artifact_uri=uri, dst_path=target, tracking_uri=mlflow_store.tracking_uri()
    )


def _uri(found: Version) -> str:
    with connection() as client:
        return client.get_model_version_download_uri(found.name, str(found.version)).rstrip("/")


def _copy(found: Version, target: str) -> str:
    """A writable copy of the version's bundle folder below `target`.

    Raises:
        IntegrityError: the registry has it no more, or cannot read it.
    """
    try:
        if local := source(found):
            place = Path(target) / "bundle"
            return str(shutil.copytree(local / FOLDER, place, copy_function=_file))
        with connection():
            return part(found, FOLDER, target)
    except OSError as error:
        raise IntegrityError(
            f"the registry's files of {found.name}/{found.version} cannot be read: {_which(error)}",
            f"restore them, or take another version: athanor history {found.name}",
        ) from error


def _file(source: str, target: str) -> str:
    """A file's copy; a disk that is full is told as that, not as a file that cannot be read."""
    with disk.told(Path(target)):
        return shutil.copy2(source, target)


def _which(error: OSError) -> str:
    """The file that could not be read, and why."""
    if isinstance(error, shutil.Error):
        path, _, reason = error.args[0][0]
        return f"{path}: {reason}"
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
