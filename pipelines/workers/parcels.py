"""What travels between a run and a worker: arguments there, an outcome back; JSON, never code.

A class is named by its module and looked up among the project's own records, so a parcel can
choose which of our records are built, and nothing else.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from components import errors, files
from components.errors import AthanorError, IntegrityError
from components.records import Record
from pipelines.child import StepBroken

PACKAGES = ("components.", "pipelines.")


class Outcome(Record):
    """How a step on a worker ended."""

    flow_run_id: str
    """Which try this is about."""
    state: Literal["done", "error", "broken"]
    value: Any
    """The packed record; of an error its class, message and remedy; of our bug the traceback."""
    seconds: float | None = None
    """What the step itself took; the rest of its time in the run is the way there and back."""


def packed(value: Any) -> Any:
    """A record, or a tuple or dictionary of some, as JSON that says which classes they are.

    Raises:
        TypeError: it holds something else.
    """
    if isinstance(value, Record):
        kind = f"{type(value).__module__}:{type(value).__qualname__}"
        return {"class": kind, "value": value.model_dump(mode="json")}
    if isinstance(value, tuple | list):
        return {"tuple": [packed(part) for part in value]}
    if isinstance(value, dict):
        return {"items": {str(name): packed(part) for name, part in value.items()}}
    if value is None or isinstance(value, str | int | float | bool):
        return {"plain": value}
    raise TypeError(f"{type(value).__name__} cannot be sent to a worker")


def unpacked(parcel: Any) -> Any:
    """What was packed.

    Raises:
        IntegrityError: it is no parcel of ours, or of other code.
    """
    match parcel:
        case {"plain": value}:
            return value
        case {"tuple": list(parts)}:
            return tuple(unpacked(part) for part in parts)
        case {"items": dict(parts)}:
            return {name: unpacked(part) for name, part in parts.items()}
        case {"class": str(kind), "value": value}:
            return _record(kind, value)
    raise IntegrityError("a parcel for a worker is malformed", "run again")


def write(path: Path, outcome: Outcome) -> None:
    """Keep an outcome, whole, with its own sha256."""
    files.write_sealed(path, outcome.model_dump(mode="json"))


def read(path: Path, flow_run_id: str) -> Outcome | None:
    """The outcome of this try; None where there is none that is whole."""
    try:
        found = Outcome.model_validate(files.read_sealed(path))
    except (OSError, ValueError):
        return None
    return found if found.flow_run_id == flow_run_id else None


def told(error: AthanorError) -> dict[str, Any]:
    """An error of ours as JSON."""
    return {"class": type(error).__name__, "message": error.message, "remedy": error.remedy}


def opened(outcome: Outcome) -> Record:
    """The record that a step came to.

    Raises:
        AthanorError: the step's own error.
        StepBroken: it raised what no step should.
    """
    if outcome.state == "done":
        return unpacked(outcome.value)
    if outcome.state == "broken":
        raise StepBroken(str(outcome.value))
    kind = vars(errors).get(outcome.value["class"])
    known = kind if isinstance(kind, type) and issubclass(kind, AthanorError) else AthanorError
    raise known(outcome.value["message"], outcome.value["remedy"])


def _record(kind: str, value: Any) -> Record:
    module, _, name = kind.partition(":")
    if not module.startswith(PACKAGES):
        raise IntegrityError(f"a parcel names {kind}, which is no record of the project", "")
    try:
        found = vars(import_module(module))[name]
        if not (isinstance(found, type) and issubclass(found, Record)):
            raise KeyError(name)
        return found.model_validate_json(json.dumps(value))
    except (ImportError, KeyError, ValidationError) as error:
        raise IntegrityError(
            f"{kind} of a parcel does not fit this code ({type(error).__name__})",
            "give the worker the commit of the run",
        ) from None
