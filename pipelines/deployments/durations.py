"""Durations as people write them: 30s, 15m, 6h, 7d."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_D = 3660


def _checked(value: Any) -> str:
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", str(value))
    if not match or not int(match[1]):
        raise ValueError("is no duration; write 30s, 15m, 6h or 7d")
    if seconds(match[0]) > LONGEST_D * UNITS_S["d"]:
        raise ValueError("is more than ten years; write a shorter one")
    return match[0]


Duration = Annotated[str, BeforeValidator(_checked)]


def seconds(duration: str) -> float:
    """A duration in seconds."""
    return float(int(duration[:-1]) * UNITS_S[duration[-1]])


def shown(seconds: float) -> str:
    """A number of seconds in the largest unit that leaves no long tail."""
    for unit in ("d", "h", "m"):
        if seconds >= 2 * UNITS_S[unit]:
            return f"{seconds / UNITS_S[unit]:.3g} {unit}"
    return f"{seconds:.3g} s"
