"""Ctrl-C and SIGTERM, held back until a training has written its checkpoint.

The process that runs a step calls `install()` once. Outside a training a signal ends the step at
once; inside, the loop looks at `pending()` after every optimizer step, writes a checkpoint and
calls `leave()`. A second signal does not wait.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_state = {"signal": 0, "holding": 0}
_tell: list[Callable[[int], None]] = []


def install() -> None:
    """Route SIGINT and SIGTERM through this module; only a main thread may."""
    signal.signal(signal.SIGINT, _received)
    signal.signal(signal.SIGTERM, _received)


def listen(number: signal.Signals) -> None:
    """Take another signal for a SIGTERM."""
    signal.signal(number, lambda _, frame: _received(signal.SIGTERM, frame))


def pending() -> int:
    """The signal that waits for the loop to leave; 0 where there is none."""
    return _state["signal"]


def leave(number: int) -> None:
    """End the step as this signal asked.

    Raises:
        KeyboardInterrupt: it was SIGINT.
        SystemExit: it was SIGTERM, with code 143.
    """
    _state["signal"] = 0
    _raise(number)


@contextmanager
def held(tell: Callable[[int], None] | None = None) -> Iterator[None]:
    """Inside, the first signal is only noted, and told to whoever should know."""
    _state["holding"] += 1
    told = [tell] if tell else []
    _tell.extend(told)
    try:
        yield
    finally:
        _state["holding"] -= 1
        del _tell[len(_tell) - len(told) :]


def _received(number: int, frame: FrameType | None) -> None:
    if _state["holding"] and not _state["signal"]:
        _state["signal"] = number
        for tell in _tell:
            tell(number)
        return
    _raise(number)


def _raise(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
