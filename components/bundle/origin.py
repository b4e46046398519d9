"""What a version says of its making, read back: from where, of what, under which circumstances."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

from components import bundle
from components.bundle import Bundle, provenance
from components.errors import UsageError
from components.signing import PublicKey

PATCH = "source.patch"
UNNAMED = frozenset({"athanor"})
"""Libraries of which the version says nothing: the commit does."""
FACTS = frozenset(
    {
        "commit",
        "config",
        "environment",
        "libraries",
        "lock",
        "processor",
        "python",
        "scores",
        "steps",
    }
)
STEP = frozenset({"code", "files", "function", "inputs", "key", "libraries", "order", "result"})
"""What a remake needs to be told of a version, and of each of its steps."""


class Origin(NamedTuple):
    """A version's making, as its bundle vouches for it."""

    bundle: str
    """The digest that a remake must come to."""
    facts: dict[str, Any]
    patch: bytes
    """What the working tree added to the commit."""
    manifest: dict[str, Any] | None
    """None where only `provenance.json` is at hand."""
    signer: PublicKey | None = None
    """The trusted key that vouches for it; None only where an unsigned one was allowed."""

    @property
    def commit(self) -> str:
        """Full hash of the commit; empty where the source lay in no clone."""
        return self.facts["commit"]

    @property
    def config(self) -> dict[str, Any]:
        """The whole run config."""
        return self.facts["config"]

    @property
    def steps(self) -> dict[str, dict[str, Any]]:
        """What each step was made of and came to, in running order."""
        steps = self.facts["steps"]
        return {name: steps[name] for name in sorted(steps, key=lambda name: steps[name]["order"])}


class Differing(NamedTuple):
    """One circumstance that is another here."""

    kind: Literal["libraries", "variable", "machine"]
    """Who can mend it: an environment, the shell, nobody."""
    text: str


def of(found: Bundle) -> Origin:
    """The making of a verified bundle.

    Raises:
        UsageError: it was registered before the run's config was kept.
    """
    patch = found.folder / PATCH
    changes = patch.read_bytes() if PATCH in found.provenance["files"] else b""
    facts = found.provenance["facts"]
    return _whole(Origin(found.digest, facts, changes, found.manifest, found.signer))


def read(path: Path, *, allow_unsigned: bool = False) -> Origin:
    """The making of the bundle in a folder, or of a `provenance.json` without its bundle.

    Raises:
        bundle.Unsigned: no trusted key signed it, and that is not allowed.
        IntegrityError: a file is not what the lists say.
        UsageError: there is no such file, or it lacks what a remake needs.
    """
    lists = (bundle.MANIFEST, bundle.PROVENANCE)
    folder = path if path.is_dir() else path.parent
    if not path.exists() or not (path.is_dir() or path.name in lists):
        raise UsageError(
            f"{path} is no bundle", f"name its folder, or its {bundle.PROVENANCE} in any folder"
        )
    if (folder / bundle.MANIFEST).exists():
        return of(bundle.open(folder, allow_unsigned=allow_unsigned))
    said, signer = bundle.read_provenance(folder, allow_unsigned=allow_unsigned)
    changes = b""
    if PATCH in said["files"]:
        if not (folder / PATCH).is_file():
            raise UsageError(
                f"{path} was made from a changed working tree, and {PATCH} is not beside it",
                f"put {PATCH} of the same bundle into {folder}",
            )
        bundle.verify(folder / PATCH, said["files"][PATCH])
        changes = (folder / PATCH).read_bytes()
    return _whole(Origin(said["bundle"], said["facts"], changes, None, signer))


def differing(origin: Origin) -> tuple[Differing, ...]:
    """In what Python, libraries, threads and processor here are not those of the making."""
    there, here = origin.facts, provenance.circumstances()
    return (*_libraries(there, here), *_variables(there, here), *_machine(there, here))


def _libraries(there: dict[str, Any], here: dict[str, Any]) -> list[Differing]:
    pythons = [".".join(said["python"].split(".")[:2]) for said in (there, here)]
    pairs = [("Python", *pythons)] if pythons[0] != pythons[1] else []
    old, new = there["libraries"], here["libraries"]
    pairs += [
        (name, old.get(name, "absent"), new.get(name, "absent"))
        for name in sorted(old.keys() - UNNAMED)
        if old.get(name) != new.get(name)
    ]
    return [Differing("libraries", f"{n}: {a} there, {b} here") for n, a, b in pairs]


def _variables(there: dict[str, Any], here: dict[str, Any]) -> list[Differing]:
    """Variables that are set here to something else; one that is not set gets its value."""
    old, new = there["environment"], here["environment"]
    return [
        Differing("variable", f"{name}: {old.get(name, 'unset')} there, {value} here")
        for name, value in sorted(new.items())
        if old.get(name) != value
    ]


def _machine(there: dict[str, Any], here: dict[str, Any]) -> list[Differing]:
    old, new = there["processor"], here["processor"]
    found = []
    if old["machine"] != new["machine"]:
        found.append(f"machine: {old['machine']} there, {new['machine']} here")
    lost = sorted(set(old["flags"]) - set(new["flags"]))
    more = sorted(set(new["flags"]) - set(old["flags"]))
    if lost or more:
        parts = [f"{' '.join(lost)} there alone"] * bool(lost)
        parts += [f"{' '.join(more)} here alone"] * bool(more)
        found.append(f"processor flags: {', '.join(parts)}")
    return [Differing("machine", text) for text in found]


def _whole(origin: Origin) -> Origin:
    facts = origin.facts
    told = facts.keys() >= FACTS and facts["config"] and facts["steps"]
    if not told or any(not step.keys() >= STEP for step in facts["steps"].values()):
        raise UsageError(
            f"the version with bundle {origin.bundle[:12]} was registered before versions kept "
            "the run that made them",
            "register it under another name: athanor run CONFIG --set name=NAME",
        )
    return origin
