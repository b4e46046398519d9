"""Ctrl-C and SIGTERM, held back until a training has written its checkpoint.

The process that runs a step calls `install()` once. Outside a training a signal ends the step at
once; inside, the loop looks at `requested()` after every optimizer step, writes a checkpoint and
calls `leave()`. A second signal does not wait.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_state = {"signal": 0, "holding": 0}


def install() -> None:
    """Route SIGINT and SIGTERM through this module; only a main thread may."""
    signal.signal(signal.SIGINT, _received)
    signal.signal(signal.SIGTERM, _received)


def requested() -> bool:
    """Whether a signal waits for the loop to leave."""
    return bool(_state["signal"])


def leave() -> None:
    """End the step as the waiting signal asked.

    Raises:
        KeyboardInterrupt: it was SIGINT.
        SystemExit: it was SIGTERM, with code 143.
    """
    number = _state["signal"]
    _state["signal"] = 0
    _raise(number)


@contextmanager
def held() -> Iterator[None]:
    """Inside, the first signal is only noted."""
    _state["holding"] += 1
    try:
        yield
    finally:
        _state["holding"] -= 1


def _received(number: int, frame: FrameType | None) -> None:
    if _state["holding"] and not _state["signal"]:
        _state["signal"] = number
        return
    _raise(number)


def _raise(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
