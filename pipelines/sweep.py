"""`athanor gc`: what of the home nobody needs any more, and freeing it.

First every root is gathered (see `roots`); then, with the store held alone, each thing is held
against the roots and the clock. What is freed goes in an order in which nothing that stays names
anything that is gone: a kill in between leaves a home in which every remaining thing is valid.
"""

import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

from components import leases, project
from components.records import Record
from pipelines import roots, studies
from pipelines.roots import Roots, when
from pipelines.things import (
    TRASH,
    Found,
    all_but_results,
    results,
    size_bytes,
)

DAY_S = 86400.0
KINDS = {
    "plan": "plans",
    "result": "results",
    "workspace": "workspaces",
    "study": "studies",
    "note": "notes",
    "object": "objects",
    "bundle": "bundles",
    "archive": "archives",
    "temporary": "temporaries",
}
"""Kind -> its plural, in the order of freeing: what names others goes before what it names."""
ORDER = tuple(KINDS)
TEMPORARY_DAYS = 1.0
"""What somebody may still write, outside any run."""
SHOWN = 20


NEVER = ("mlflow", "history", "decisions", "prefect", "runs", "templates", "logs")
"""Parts of the home that are not Athanor's to free, or too small and too dear."""


class Thing(Record):
    """One thing that could be freed."""

    kind: str
    name: str
    size_bytes: int
    used: str
    """UTC: when it was last made or looked up."""
    needed: bool
    reasons: tuple[str, ...]
    """Why it is needed, or why not."""


class Swept(Record):
    """What was found, and with `applied` freed."""

    applied: bool
    older_than_days: float
    things: tuple[Thing, ...]
    left_alone: dict[str, int]
    """Parts of the home that are never freed, with their bytes."""
    notes: tuple[str, ...]


class Clock(NamedTuple):
    """What is too young to be freed."""

    now: float
    older_than_days: float
    lease: float | None
    """Since when the oldest living run works."""
    since: float
    """Before the roots were read: a run that ended meanwhile may have made one of these needed."""

    def spares(self, found: Found) -> tuple[str, ...]:
        """Why the thing stays for its age; empty where it does not."""
        days = max((self.now - found.used) / DAY_S, 0.0)
        least = self.older_than_days
        if found.kind == "temporary":
            least = max(least, TEMPORARY_DAYS)
        if self.lease is not None and found.used >= self.lease - leases.MARGIN_S:
            return ("used since a run began that still works",)
        if found.used >= self.since:
            return ("used by a run that ended while the roots were read",)
        return (f"used {days:.1f} days ago",) if days < least else ()


def sweep(older_than_days: float, apply: bool) -> Swept:
    """Everything that could be freed, with the reason why it is needed or not; freed on demand.

    Raises:
        ResourceError: a backup holds the store.
        ServiceUnreachable: the registry does not answer.
    """
    lease = leases.oldest()
    since = time.time() if lease is None else lease - leases.MARGIN_S
    return swept(roots.gather(), older_than_days, apply, since)


def swept(needed: Roots, older_than_days: float, apply: bool, since: float = float("inf")) -> Swept:
    """The same for roots that are known; what was used since then stays."""
    if apply:
        with leases.alone():
            found = survey(needed, _clock(older_than_days, since))
            for each, thing in found:
                if not thing.needed:
                    _free(each)
    else:
        found = survey(needed, _clock(older_than_days, since))
    return Swept(
        applied=apply,
        older_than_days=older_than_days,
        things=tuple(thing for _, thing in found),
        left_alone=_left_alone(),
        notes=tuple(needed.notes),
    )


def survey(needed: Roots, clock: Clock) -> list[tuple[Found, Thing]]:
    """Every thing of the home that could be freed, judged, in the order of freeing.

    What a result names is needed as long as the result stays, for whatever reason that does.
    """
    found = [(each, _judged(each, clock)) for each in results(needed)]
    kept = {each.name: thing.reasons for each, thing in found if thing.needed}
    every = [*found, *((each, _judged(each, clock)) for each in all_but_results(needed, kept))]
    return sorted(every, key=lambda pair: ORDER.index(pair[0].kind))


def document(of: Swept) -> dict[str, Any]:
    """The same as JSON, with sums."""
    return {
        "applied": of.applied,
        "older_than_days": of.older_than_days,
        "freed_bytes": sum(thing.size_bytes for thing in of.things if not thing.needed),
        "kinds": [
            {"kind": kind, "kept": kept, "kept_bytes": stays, "free": free, "free_bytes": goes}
            for kind, kept, stays, free, goes in _sums(of)
        ],
        "things": [thing.model_dump(mode="json") for thing in of.things],
        "left_alone": of.left_alone,
        "notes": list(of.notes),
    }


def text(of: Swept) -> str:
    """A line a kind, the things that go, and what is never freed."""
    lines = [f"{'':<12}{'kept':>7}{'':>12}{'freed' if of.applied else 'would go':>12}"]
    for kind, kept, stays, free, goes in _sums(of):
        lines.append(f"{KINDS[kind]:<12}{kept:>7}{_shown(stays):>12}{free:>12}{_shown(goes):>12}")
    gone = [thing for thing in of.things if not thing.needed]
    for thing in gone[:SHOWN]:
        lines.append(f"  {thing.kind} {thing.name[:16]}: {'; '.join(thing.reasons)}")
    if len(gone) > SHOWN:
        lines.append(f"  and {len(gone) - SHOWN} more: --json names all, with every reason")
    alone = ", ".join(f"{name} {_shown(size)}" for name, size in of.left_alone.items())
    lines.append(f"never freed: {alone}")
    lines += [f"note: {note}" for note in of.notes]
    total = _shown(sum(thing.size_bytes for thing in gone))
    if of.applied:
        lines.append(f"freed {total}")
    else:
        lines.append(f"would free {total}" + ("; add --apply to do it" if gone else ""))
    return "\n".join(lines)


def _clock(older_than_days: float, since: float) -> Clock:
    return Clock(time.time(), older_than_days, leases.oldest(), since)


def _judged(found: Found, clock: Clock) -> Thing:
    reasons = (*sorted(found.needed_by), *clock.spares(found))
    because = f"nothing needs it, and it was not used for {clock.older_than_days:g} days"
    return Thing(
        kind=found.kind,
        name=found.name,
        size_bytes=sum(size_bytes(path) for path in found.paths),
        used=when(found.used),
        needed=bool(reasons),
        reasons=reasons or (because,),
    )


def _free(found: Found) -> None:
    for path in found.paths:
        _remove(path)
    if found.kind == "study":
        studies.drop(found.name)


def _remove(path: Path) -> None:
    """A file at once; a folder under another name first, so that it is whole or absent."""
    if path.is_dir() and not path.is_symlink():
        aside = path if path.name.startswith(TRASH) else path.with_name(f"{TRASH}{path.name}")
        if aside != path:
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
        shutil.rmtree(aside)
    else:
        path.unlink(missing_ok=True)


def _left_alone() -> dict[str, int]:
    home = project.home()
    return {name: size_bytes(home / name) for name in NEVER if (home / name).exists()}


def _sums(of: Swept) -> list[tuple[str, int, int, int, int]]:
    sums = []
    for kind in KINDS:
        these = [thing for thing in of.things if thing.kind == kind]
        stays = [thing.size_bytes for thing in these if thing.needed]
        goes = [thing.size_bytes for thing in these if not thing.needed]
        sums.append((kind, len(stays), sum(stays), len(goes), sum(goes)))
    return sums


def _shown(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
