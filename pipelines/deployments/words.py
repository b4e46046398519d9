"""Names that a config and a command line may say; importing them costs nothing."""

import difflib
from collections.abc import Callable, Iterable
from typing import Any

EVENTS = {
    "data_changed": "a data set has another digest",
    "drift": "what is asked of a model is no longer what it learnt from",
    "champion_changed": "another version answers under the name",
    "run_failed": "a run ended with an error",
}
OCCASIONS = {
    "failed": "a run ended badly, took longer than its timeout, or its process died",
    "completed": "a run ended well",
    "late": "a run is due for longer than it may be, and nobody started it",
    "missed": "a slot passed without a run",
    "worker_silent": "a worker gives no sign of life",
}


def one_of(known: Iterable[str], otherwise: str) -> Callable[[Any], Any]:
    """Checks that a value is one of these names; `otherwise` says what is wrong with another."""
    names = tuple(known)

    def check(value: Any) -> Any:
        if value not in names:
            near = difflib.get_close_matches(str(value), names, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"{otherwise}, {hint}there are: {', '.join(names)}")
        return value

    return check
