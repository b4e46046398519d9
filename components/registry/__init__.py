"""Versions of a model in MLflow's registry: names, aliases, and their files, verified.

Works on the home's SQLite store and on a server (MLFLOW_TRACKING_URI). The former answers version
numbers as int, the latter as text: here they are always int.
"""

import difflib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from components import mlflow_store
from components.bucket import asking
from components.errors import ServiceUnreachable, UsageError
from components.records import Record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"

RUN_KEY, BUNDLE, PROVENANCE = "athanor.run_key", "athanor.bundle", "athanor.provenance"
"""Tags of a version: what it was registered from, and the sha256 of its two lists."""

NAME_PATTERN = r"^\w[\w.-]{0,99}$"
"""A name is also a file name and a part of `models:/NAME@alias`."""

_REFERENCE = re.compile(r"(?P<name>[^@/:]+)(?:@(?P<alias>[^@/:]+)|/v?(?P<version>\d+))?")


class Version(Record):
    """One version of a name, as the registry shows it now."""

    name: str
    version: int
    aliases: tuple[str, ...]
    bundle: str
    """sha256 of the bundle's manifest; empty for a version that Athanor did not register."""
    run_key: str
    provenance: str
    run_id: str
    created_ms: int


class Location(Record):
    """A version that exists."""

    name: str
    version: int


@contextmanager
def connection() -> Iterator["MlflowClient"]:
    """A client of the registry; a server or bucket that does not answer becomes our own error.

    Raises:
        ServiceUnreachable: no answer; it says from where.
        As `asking.meaning`.
    """
    client = mlflow_store.client()
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException  # what the transfer of files raises

    try:
        yield client
    except asking.errors() as error:
        raise asking.meaning(error) or error from error
    except (MlflowException, RequestException) as error:
        if told := asking.meaning(error):
            raise told from error
        if isinstance(error, RequestException) or error.error_code in mlflow_store.AWAY:
            first = str(error).strip().splitlines()[0][:200]
            raise ServiceUnreachable(
                f"the model registry at {mlflow_store.shown_uri()} does not answer ({first})",
                "start it, or unset MLFLOW_TRACKING_URI to use the store in the home; then run"
                " again: what is done is kept",
            ) from error
        raise


def names() -> tuple[str, ...]:
    """Every registered name, sorted."""
    with connection() as client:
        found: list[str] = []
        token = None
        while True:
            page = client.search_registered_models(max_results=1000, page_token=token)
            found += [model.name for model in page]
            token = page.token
            if not token:
                return tuple(sorted(found))


def versions(name: str) -> tuple[Version, ...]:
    """Every version of a name, oldest first; empty where the name is unknown."""
    condition = f"name = '{_quoted(name)}'"
    uri = mlflow_store.tracking_uri()
    if not uri.startswith(("http://", "https://")):
        from components.history import database

        return tuple(_row(name, row) for row in database.versions(uri, name))
    with connection() as client:
        return _search(client, condition)


def by_run_key(name: str, run_key: str) -> tuple[Version, ...]:
    """The versions that were registered from exactly this, oldest first.

    There is one, unless the first was signed by nobody whom another home trusts.
    """
    with connection() as client:
        return _search(client, f"name = '{_quoted(name)}' and tag.`{RUN_KEY}` = '{run_key}'")


def alias(name: str, alias: str = CHAMPION) -> int | None:
    """The version that an alias names now; None where it names none."""
    with connection() as client:
        return aliases(client, name).get(alias)


def resolve(reference: str) -> Location:
    """The version that `NAME`, `NAME@alias` or `NAME/version` means; a bare name its champion.

    Raises:
        UsageError: there is none; it names the nearest that exist.
    """
    match = _REFERENCE.fullmatch(reference.removeprefix("models:/"))
    if match is None:
        raise UsageError(
            f"{reference!r} is no reference to a model", "write NAME, NAME@champion or NAME/3"
        )
    name = match["name"]
    if match["version"] is None:
        return _by_alias(name, match["alias"] or CHAMPION)
    wanted = int(match["version"])
    there = [version.version for version in known(name)]
    if wanted not in there:
        nearest = sorted(sorted(there, key=lambda number: abs(number - wanted))[:5])
        raise UsageError(
            f"{name} has no version {wanted}",
            f"there are: {', '.join(f'{name}/{number}' for number in nearest)}",
        )
    return Location(name=name, version=wanted)


def known(name: str) -> tuple[Version, ...]:
    """Every version of a name that exists.

    Raises:
        UsageError: no such name, or it has no version; the nearest names are given.
    """
    found = versions(name)
    if found:
        return found
    every = names()
    near = difflib.get_close_matches(name, every, 3) or every[:5]
    remedy = f"there are: {', '.join(near)}" if near else "none is registered yet: athanor run"
    raise UsageError(f"no model called {name!r} has a version", remedy)


def set_alias(name: str, alias: str, version: int) -> None:
    """Let an alias other than the champion's name a version; that one `moving` moves."""
    from mlflow.exceptions import MlflowException

    if alias == CHAMPION:
        raise UsageError(
            f"the alias {alias!r} moves by promotion only", f"athanor promote {name} {version}"
        )
    with connection() as client:
        try:
            client.set_registered_model_alias(name, alias, str(version))
        except MlflowException:
            # Two first settings of one alias collide in the database: the second try updates.
            client.set_registered_model_alias(name, alias, str(version))


def nest(run_id: str, parent: str) -> None:
    """Show a version's run below the pipeline run that made it."""
    with connection() as client:
        client.set_tag(run_id, "mlflow.parentRunId", parent)


def aliases(client: "MlflowClient", name: str) -> dict[str, int]:
    """Every alias of a name with its version; none where the name is unknown."""
    from mlflow.exceptions import MlflowException

    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise
    return {alias: int(version) for alias, version in model.aliases.items()}


def _by_alias(name: str, alias: str) -> Location:
    with connection() as client:
        there = aliases(client, name)
    if alias in there:
        return Location(name=name, version=there[alias])
    known(name)
    if alias == CHAMPION:
        raise UsageError(
            f"{name} has no champion yet",
            f"write {name}/VERSION, or promote one: athanor promote {name} VERSION",
        )
    listed = ", ".join(f"{name}@{each}" for each in sorted(there)) or "none"
    raise UsageError(f"{name} has no alias {alias!r}", f"there are: {listed}")


def _search(client: "MlflowClient", condition: str) -> tuple[Version, ...]:
    found: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(condition, max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            break
    named: dict[str, dict[str, int]] = {
        name: aliases(client, name) for name in {version.name for version in found}
    }
    read = [_version(version, named[version.name]) for version in found]
    return tuple(sorted(read, key=lambda version: version.version))


def _row(name: str, row: dict[str, Any]) -> Version:
    tags = row["tags"]
    return Version(
        name=name,
        version=row["version"],
        aliases=tuple(sorted(row["aliases"])),
        bundle=tags.get(BUNDLE, ""),
        run_key=tags.get(RUN_KEY, ""),
        provenance=tags.get(PROVENANCE, ""),
        run_id=row["run_id"],
        created_ms=row["created_ms"],
    )


def _version(found: "ModelVersion", named: dict[str, int]) -> Version:
    number = int(found.version)
    tags = found.tags or {}
    return Version(
        name=found.name,
        version=number,
        aliases=tuple(sorted(alias for alias, version in named.items() if version == number)),
        bundle=tags.get(BUNDLE, ""),
        run_key=tags.get(RUN_KEY, ""),
        provenance=tags.get(PROVENANCE, ""),
        run_id=found.run_id or "",
        created_ms=int(found.creation_timestamp),
    )


def _quoted(name: str) -> str:
    if "'" in name or "\\" in name:
        raise UsageError(f"{name!r} is no model name", "names are letters, digits and . _ -")
    return name
