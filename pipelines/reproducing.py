"""`athanor reproduce`: a registered version made again elsewhere, and held beside the first."""

import math
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from components import project
from components.bundle import origin, provenance
from components.bundle.origin import Differing, Origin
from components.errors import UsageError
from components.records import Record
from pipelines import scratch
from pipelines.divergence import divergence
from pipelines.remaking import Place, has_commit, remake

GOOD = ("identical", "within")
UNSIGNED = "no trusted key signed this version: --allow-unsigned let its code run"


class Wishes(NamedTuple):
    """What a user asks for."""

    reference: str
    """`NAME/VERSION`, `NAME@alias`, or empty."""
    manifest: Path | None = None
    """A bundle's folder or its provenance, in place of a registry."""
    tolerance: float | None = None
    """Points by which scores may differ; None: bytes are compared."""
    keep: bool = False
    """Whether the folder of the remake stays."""
    allow_unsigned: bool = False
    """Whether the code of a version that no trusted key signed may run."""


class Pair(Record):
    """One score, first made and made again, each with its 95 % interval."""

    metric: str
    there: float
    there_low: float
    there_high: float
    here: float
    here_low: float
    here_high: float
    points: float
    """Here minus there."""


class Reproduction(Record):
    """What became of a remake."""

    verdict: Literal["identical", "diverged", "within", "outside"]
    version: str
    commit: str
    patched: bool
    """Whether the version was made from a changed working tree."""
    there: str
    """sha256 of the version's bundle."""
    here: str
    """sha256 of the remade bundle."""
    step: str | None
    """The first step that was made of or came to something else."""
    difference: str | None
    scores: tuple[Pair, ...]
    """Of the served variant on test rows."""
    tolerance: float | None
    notes: tuple[str, ...]
    steps: int
    seconds: float
    folder: str | None
    """Where the remake lies, if it was kept."""


def reproduce(wishes: Wishes) -> Reproduction:
    """Make a version again from its commit, patch, data and config, and compare.

    Raises:
        UsageError: no such version, or this place is not one where it can be remade; every
            difference is named.
        bundle.Unsigned: no trusted key signed it, and that is not allowed.
        AthanorError: what stopped the remake.
    """
    begun = time.monotonic()
    if wishes.tolerance is not None and not 0 <= wishes.tolerance < math.inf:
        raise UsageError(f"--tolerance {wishes.tolerance} is no number of points", "--tolerance 1")
    version, made = _origin(wishes)
    differing = origin.differing(made)
    _demand_place(wishes, version, made, () if wishes.tolerance is not None else differing)
    with _folder(wishes.keep) as place:
        remade = remake(made, place, _tell)
    found = divergence(made, remade)
    pairs = _pairs(made, remade)
    notes = [each.text for each in differing]
    if made.signer is None:
        notes.append(UNSIGNED)
    if found:
        notes += _hints(made, remade)
    return Reproduction(
        verdict=_verdict(wishes.tolerance, found is None, pairs),
        version=version,
        commit=made.commit,
        patched=bool(made.patch),
        there=made.bundle,
        here=remade.bundle,
        step=found.step if found else None,
        difference=found.what if found else None,
        scores=pairs,
        tolerance=wishes.tolerance,
        notes=tuple(notes),
        steps=len(remade.steps) + 1,
        seconds=round(time.monotonic() - begun, 3),
        folder=str(place.folder) if wishes.keep else None,
    )


def document(found: Reproduction) -> dict[str, Any]:
    """The document of `athanor reproduce --json`."""
    return found.model_dump(mode="json")


def text(found: Reproduction) -> str:
    """Notes, scores where they decide, and the verdict as the last line."""
    patch = " and its patch" if found.patched else ""
    lines = [
        f"{found.version}: {found.steps} steps remade in {found.seconds:.1f} s "
        f"from commit {found.commit[:12]}{patch}"
    ]
    lines += [f"note: {note}" for note in found.notes]
    if found.folder:
        lines.append(f"the remake lies in {found.folder}")
    if found.tolerance is not None:
        lines += [
            f"{pair.metric:<10} {pair.there:.4f} [{pair.there_low:.4f}, {pair.there_high:.4f}] "
            f"there, {pair.here:.4f} [{pair.here_low:.4f}, {pair.here_high:.4f}] here, "
            f"{pair.points:+.2f} points"
            for pair in found.scores
        ]
        same = "the same" if found.step is None else "another"
        lines.append(f"{found.verdict.upper()} {found.tolerance:g} points, {same} sha256")
    elif found.verdict == "identical":
        lines.append(f"IDENTICAL sha256={found.here}")
    else:
        lines.append(f"DIVERGED at {found.step}: {found.difference}")
    return "\n".join(lines)


def exit_code(found: Reproduction) -> int:
    """6 where the remake is not the version, else 0."""
    return 0 if found.verdict in GOOD else 6


def _origin(wishes: Wishes) -> tuple[str, Origin]:
    """The version's name and its making.

    Raises:
        UsageError: both or neither of a reference and a file, or there is no such version.
        bundle.Unsigned: no trusted key signed it, and that is not allowed.
    """
    if bool(wishes.reference) == bool(wishes.manifest):
        raise UsageError(
            "reproduce wants a version or --from-manifest, exactly one of them",
            "athanor reproduce NAME/VERSION",
        )
    if wishes.manifest is not None:
        return str(wishes.manifest), origin.read(
            wishes.manifest, allow_unsigned=wishes.allow_unsigned
        )
    from components import registry
    from components.registry import fetching

    where = registry.resolve(wishes.reference)
    bundle = fetching.fetch(where.name, where.version, allow_unsigned=wishes.allow_unsigned)
    return f"{where.name}/{where.version}", origin.of(bundle)


def _demand_place(
    wishes: Wishes, version: str, made: Origin, differing: tuple[Differing, ...]
) -> None:
    """Refuse at once, and name everything that stands in the way.

    Raises:
        UsageError: something does.
    """
    problems = [each.text for each in differing]
    remedies: list[str] = []
    if not made.commit:
        problems.append("commit: the version was made from no git clone")
        remedies.append("register it again from a clone")
    elif not has_commit(made.commit):
        problems.append(f"commit: {made.commit} is not in {provenance.source()}")
        remedies.append(f"git -C {provenance.source()} fetch origin {made.commit}")
    if made.patch and not made.patch.startswith(b"diff "):
        said = made.patch.decode(errors="replace").strip().removeprefix("# ")
        problems.append(f"patch: {said.partition(':')[0]} were not kept with the version")
        remedies.append("commit them where they lie, and run the config again")
    remedies += _remedies(wishes, made, differing)
    if problems:
        raise UsageError(
            "\n  ".join([f"{version} cannot be remade here:", *problems]), "\n     ".join(remedies)
        )


def _remedies(wishes: Wishes, made: Origin, differing: tuple[Differing, ...]) -> Iterator[str]:
    """The commands that mend what differs, each kind once."""
    kinds = {each.kind for each in differing}
    command = ["reproduce", wishes.reference]
    if wishes.manifest is not None:
        command = ["reproduce", "--from-manifest", str(wishes.manifest.resolve())]
    if wishes.allow_unsigned:
        command.append("--allow-unsigned")
    if "libraries" in kinds:
        folder = f"{provenance.source()}-{made.commit[:8]}"
        home = f"ATHANOR_HOME={project.home()} " if wishes.reference else ""
        yield (
            f"git -C {provenance.source()} worktree add {folder} {made.commit[:12]} && "
            f"make -C {folder} setup && {home}{folder}/.venv/bin/athanor {shlex.join(command)}"
        )
    if "variable" in kinds:
        yield f"unset {' '.join(e.text.split(':')[0] for e in differing if e.kind == 'variable')}"
    if "machine" in kinds:
        yield f"ask on such a machine, or: athanor {shlex.join(command)} --tolerance 1"


def _verdict(
    tolerance: float | None, same: bool, pairs: tuple[Pair, ...]
) -> Literal["identical", "diverged", "within", "outside"]:
    if tolerance is None:
        return "identical" if same else "diverged"
    # A score is a sum of few parts: its last digits are rounding, not points.
    within = [abs(pair.points) <= tolerance + 1e-9 for pair in pairs]
    return "within" if within and all(within) else "outside"


def _pairs(made: Origin, remade: Origin) -> tuple[Pair, ...]:
    """Scores of the served variant, on test rows."""
    there, here = (each.facts["scores"].get("test", {}) for each in (made, remade))
    return tuple(
        Pair(
            metric=name,
            there=there[name]["value"],
            there_low=there[name]["low"],
            there_high=there[name]["high"],
            here=here[name]["value"],
            here_low=here[name]["low"],
            here_high=here[name]["high"],
            points=100 * (here[name]["value"] - there[name]["value"]),
        )
        for name in sorted(there.keys() & here.keys())
    )


def _hints(made: Origin, remade: Origin) -> Iterator[str]:
    """What differs and was no ground to refuse."""
    models = [each.facts["processor"].get("model", "") for each in (made, remade)]
    if models[0] != models[1]:
        yield f"processor: {models[0] or 'unknown'} there, {models[1] or 'unknown'} here"
    pythons = [each.facts["python"] for each in (made, remade)]
    if pythons[0] != pythons[1]:
        yield f"Python: {pythons[0]} there, {pythons[1]} here"


@contextmanager
def _folder(keep: bool) -> Iterator[Place]:
    """A private folder that goes when the block ends, also by Ctrl-C, unless it is to stay."""
    if not keep:
        with scratch.passing() as folder:
            yield Place(folder)
        return
    place = Place(scratch.lasting())
    try:
        yield place
    finally:
        _tell(f"kept: {place.folder}")


def _tell(said: str) -> None:
    sys.stderr.write(f"athanor: {said}\n")
    sys.stderr.flush()
