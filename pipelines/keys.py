"""The key of a step's result, the result kept under it, and what changed since the last one.

A key is the digest of a document: the step's inputs and config, the project code that it reaches
and the versions of the libraries that this code imports. The device that it ran on is recorded
with a result and is no part of its key.
"""

import hashlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from components import files, fingerprint, leases, objects, project
from components.artifacts import RawData, RegisteredModel
from components.datasets import reader
from components.records import Record, content

Document = dict[str, Any]


class Call(NamedTuple):
    """A step about to be called: its name in the run, its function, its arguments by name."""

    name: str
    function: Callable[..., Record]
    arguments: dict[str, Any]

    @property
    def entry(self) -> str:
        """`module:function`, as the fingerprint wants it."""
        return f"{self.function.__module__}:{self.function.__name__}"


def bind(name: str, function: Callable[..., Record], args: tuple, kwargs: dict) -> Call:
    """A call with its arguments by name, defaults filled in."""
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    return Call(name, function, dict(bound.arguments))


def document(call: Call) -> Document:
    """All that the result of a call depends on."""
    reached = fingerprint.closure(call.entry, _offered(call))
    return {
        "function": call.entry,
        "inputs": {name: _plain(value) for name, value in call.arguments.items()},
        "code": reached.symbols,
        "libraries": {"python": "{}.{}".format(*sys.version_info), **reached.libraries},
    }


def changed_meanwhile(call: Call, of: Document) -> tuple[str, ...]:
    """Code of a step that was edited since its document was made, while it ran."""
    now = fingerprint.closure_now(call.entry, _offered(call)).symbols
    before = of["code"]
    return tuple(sorted(n for n in before.keys() | now.keys() if before.get(n) != now.get(n)))


def key(of: Document) -> str:
    """The name of a result: 64 hex digits."""
    return hashlib.sha256(files.canonical(of)).hexdigest()


def result_folder() -> Path:
    """Prefect's result storage: one JSON file a key."""
    return project.home() / "cache"


def stored(name: str) -> Record | None:
    """The result kept under a key, if it is whole and all objects that it names are.

    To look is to use: a living run's results are not freed.
    """
    with leases.using():
        record = _whole(name)
        if record is not None:
            leases.touch(result_folder() / name)
        return record


def _whole(name: str) -> Record | None:
    try:
        wrapped = files.read_sealed(result_folder() / name)
        if Path(wrapped["metadata"]["storage_key"]).name != name:
            return None
        value = json.loads(wrapped["result"])
        module, _, kind = value["__class__"].rpartition(".")
        record = vars(import_module(module))[kind].model_validate(value["data"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError):
        return None
    whole = all(objects.intact(sha) for sha in named_objects(record)) and _registered(record)
    return record if whole else None


def keep(name: str, record: Record) -> None:
    """Keep a result under a key as Prefect does, for whoever reads the chain without it."""
    kind = f"{type(record).__module__}.{type(record).__name__}"
    text = json.dumps({"__class__": kind, "data": record.model_dump(mode="json")})
    wrapped = {"metadata": {"storage_key": name}, "result": text}
    files.write_sealed(result_folder() / name, wrapped)


def named_objects(value: Any) -> Iterator[str]:
    """sha256 of every object that a record names, at any depth."""
    for named in every(value, "files"):
        yield from named.values()


def every(value: Any, wanted: str) -> Iterator[Any]:
    """What the fields of this name hold in a record, and in the records inside it."""
    if isinstance(value, Record):
        for field in type(value).model_fields:
            part = vars(value)[field]
            if field == wanted:
                yield part
            else:
                yield from every(part, wanted)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from every(part, wanted)
    elif isinstance(value, dict):
        yield from every(list(value.values()), wanted)


def _registered(record: Record) -> bool:
    """Whether a version's bundle is here as it was registered; any other record has none."""
    if not isinstance(record, RegisteredModel):
        return True
    manifest = project.home() / "bundles" / record.bundle / "manifest.json"
    return manifest.is_file() and files.digest(manifest) == record.bundle


def remember(run: str, step: str, of: Document) -> None:
    """Keep the document of a step's latest result in a run, for `why`."""
    files.write_sealed(_memory(run, step), {**of, "step": f"{run}/{step}"})


def remembered(path: Path, step: str = "") -> Document:
    """The document that `remember` kept in a file, if it is whole and, where named, the step's.

    Raises:
        ValueError: it is damaged, or another step's.
        OSError: it cannot be read.
    """
    before = files.read_sealed(path)
    theirs = before.pop("step", "")
    if step and theirs != step:
        raise ValueError("it is another step's")
    return before


def changes(run: str, step: str, of: Document) -> tuple[str, ...]:
    """What differs from the last time that this step of this run had a result, in words."""
    try:
        before = remembered(_memory(run, step), f"{run}/{step}")
    except FileNotFoundError:
        return ("it never ran here",)
    except (OSError, ValueError):
        return ("what its last result was made of is damaged, so nobody can compare",)
    return tuple(_differences(before, json.loads(files.canonical(of))))


def differing(before: Any, after: Any) -> list[str]:
    """Leaves of two documents that differ, as `path: old -> new`."""
    return [line.removeprefix(".") for line in differences("", before, after)]


def differences(path: str, before: Any, after: Any) -> Iterator[str]:
    """Differing leaves of two plain values, as `path: old -> new`."""
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from differences(f"{path}.{name}", before.get(name), after.get(name))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from differences(f"{path}.{index}", old, new)
    elif isinstance(before, list) and isinstance(after, list):
        yield f"{path}: {len(before)} -> {len(after)} entries"
    else:
        yield f"{path}: {_short(before)} -> {_short(after)}"


def _memory(run: str, step: str) -> Path:
    return project.home() / "plans" / run / f"{step.replace('/', '-').replace(' ', '-')}.json"


def _differences(before: Document, after: Document) -> Iterator[str]:
    if before["function"] != after["function"]:
        yield f"the step is now {after['function']}, was {before['function']}"
    for name in sorted(before["inputs"].keys() | after["inputs"].keys()):
        yield from differences(name, before["inputs"].get(name), after["inputs"].get(name))
    yield from _named(before["code"], after["code"], "code")
    for name in sorted(before["libraries"].keys() | after["libraries"].keys()):
        old, new = before["libraries"].get(name, "none"), after["libraries"].get(name, "none")
        if old != new:
            yield f"library {name}: {old} -> {new}"


def _named(before: dict[str, str], after: dict[str, str], what: str) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield f"{what} no longer reached: {name}"
        elif name not in before:
            yield f"{what} newly reached: {name}"
        elif before[name] != after[name]:
            yield f"{what} changed: {name}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    if re.fullmatch(r"[0-9a-f]{32,}(\.dir)?", text):
        return text[:12]
    return text if len(text) <= 40 else f"{text[:37]}..."


def _plain(value: Any) -> Any:
    """An argument as JSON of its content."""
    if isinstance(value, Record):
        return content(value.model_dump(mode="json"))
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return value


def _offered(call: Call) -> dict[str, frozenset[str]]:
    """Classes whose objects a call gets, with the names that code may read from them."""
    types = _types(call.arguments)
    for value in call.arguments.values():
        if isinstance(value, RawData):  # its card names the reader, which no text of ours does
            option = type(reader(project.root() / "data" / value.name))
            types[f"{option.__module__}:{option.__name__}"] = _members(option)
    return types


def _types(value: Any) -> dict[str, frozenset[str]]:
    """Classes of the records inside a value, with the names that code may read from the class."""
    found: dict[str, frozenset[str]] = {}
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Record):
            name = f"{type(part).__module__}:{type(part).__name__}"
            if name not in found:
                found[name] = _members(type(part))
            waiting.extend(vars(part).values())
        elif isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, tuple | list):
            waiting.extend(part)
    return found


def _members(kind: type[Record]) -> frozenset[str]:
    """Methods, properties and class constants of a record's class, its project bases included."""
    names: set[str] = set()
    for owner in kind.__mro__:
        if owner.__module__.split(".")[0] in fingerprint.PACKAGES and owner is not Record:
            names.update(n for n in vars(owner) if not n.startswith("_"))
    return frozenset(
        names - kind.model_fields.keys() - {"model_config", "family", "kind", "source"}
    )
