"""What differs between what two versions were made from, leaf by leaf."""

from collections.abc import Iterator
from typing import Any

from pipelines.comparison.records import Change
from pipelines.comparison.sides import Side


def changes(a: Side, b: Side) -> Iterator[Change]:
    """What differs between what the two were made from: data, config, code, libraries."""
    old, new = a.data, b.data
    for part in ("name", "tree"):
        if old[part] != new[part]:
            yield Change(kind="data", where=part, a=old[part], b=new[part])
    for split in sorted(old["rows"].keys() | new["rows"].keys()):
        counts = old["rows"].get(split), new["rows"].get(split)
        if counts[0] != counts[1]:
            yield Change(kind="data", where=f"rows.{split}", a=counts[0], b=counts[1])
    yield from _changed("config", _settings(a, b), _settings(b, a))
    yield from _changed("code", _code(a), _code(b))
    facts = [one.bundle.provenance["facts"] for one in (a, b)]
    libraries = [{"python": each["python"], **each["libraries"]} for each in facts]
    yield from _changed("library", *libraries)


def _changed(kind: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    for where in sorted(old.keys() | new.keys()):
        before, after = old.get(where), new.get(where)
        twin = where.replace("search.base.", "finetune.recipe.")
        if twin != where and (old.get(twin), new.get(twin)) == (before, after):
            continue  # the search starts from the same recipe
        if before != after:
            yield Change(kind=kind, where=where, a=before, b=after)


def _settings(side: Side, other: Side) -> dict[str, Any]:
    """Every leaf of the config of each step; a step that the other lacks is one leaf."""
    found: dict[str, Any] = {}
    for step, of in side.steps.items():
        verb = of["function"].partition(":")[2]
        if verb in ("evaluate", "judge") or (verb == "measure" and step not in other.steps):
            continue
        if step not in other.steps:
            found[step] = "runs"
            continue
        for name, value in of["inputs"].items():
            if not _made_by_a_step(value):
                found |= dict(_leaves(f"{step}.{name}", value))
    return found


def _made_by_a_step(value: Any) -> bool:
    """Whether an input is a record of another step, and no config."""
    if isinstance(value, dict):
        return bool(value.keys() & {"files", "digest", "tree", "checks"}) or any(
            map(_made_by_a_step, value.values())
        )
    return isinstance(value, list) and any(map(_made_by_a_step, value))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from _leaves(f"{path}.{name}", part)
    elif isinstance(value, list) and value:
        for at, part in enumerate(value):
            yield from _leaves(f"{path}.{at}", part)
    else:
        yield path, value


def _code(side: Side) -> dict[str, Any]:
    patch = side.bundle.provenance["files"].get("source.patch")
    return {
        "commit": side.bundle.provenance["facts"].get("commit", ""),
        "uncommitted changes": patch["sha256"] if patch else None,
    }
