"""Is a version what was signed? Every copy of every file looked at, nothing parsed or run."""

from typing import Any, Literal

from components import bundle
from components.records import Record
from components.registry import fetching, resolve, served


class Checked(Record):
    """One file that is what its signed list says."""

    place: Literal["registry", "mlflow", "home"]
    """The registry's bundle, MLflow's own files around it, or the copy that this home uses."""
    name: str
    size_bytes: int
    sha256: str


class Verification(Record):
    """A version of which every file was found as it was signed."""

    name: str
    version: int
    bundle: str
    """sha256 of its manifest."""
    key: str
    owner: str
    """user@host that made the key."""
    files: tuple[Checked, ...]


def verify(reference: str) -> Verification:
    """Proof that a version is what its signer registered, wherever it lies.

    Raises:
        UsageError: no such version.
        bundle.Unsigned: no trusted key signed it.
        IntegrityError: a file is missing, extra or changed; it is named.
        ServiceUnreachable: the registry does not answer.
    """
    where = resolve(reference)
    found = fetching.version(where.name, where.version)
    with fetching.downloaded(found) as got:
        checked = _listed("registry", got)
    with fetching.logged(found) as folder:
        if folder is not None:
            checked += [_checked("mlflow", *entry) for entry in served.check(folder).items()]
    if (kept := fetching.kept(found)).is_dir():
        checked += _listed("home", bundle.open(kept, found.bundle))
    return Verification(
        name=where.name,
        version=where.version,
        bundle=got.digest,
        key=got.signed["key"],
        owner=got.signed["owner"],
        files=tuple(checked),
    )


def _listed(place: Literal["registry", "home"], of: bundle.Bundle) -> list[Checked]:
    lists = (bundle.MANIFEST, bundle.PROVENANCE, bundle.SIGNATURE)
    entries = {**of.manifest["files"], **of.provenance["files"]}
    entries |= {name: bundle.describe(of.folder / name) for name in lists}
    return [_checked(place, name, facts) for name, facts in sorted(entries.items())]


def _checked(
    place: Literal["registry", "mlflow", "home"], name: str, facts: dict[str, Any]
) -> Checked:
    return Checked(place=place, name=name, **facts)
