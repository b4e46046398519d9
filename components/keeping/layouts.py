"""Which layout a home has, and whether anybody works in it."""

from pathlib import Path

from components import files
from components.errors import IntegrityError

LAYOUT = 1
"""Version of the home's layout that this Athanor works with."""


def found(home: Path) -> int:
    """The layout of a home.

    Raises:
        IntegrityError: it does not say.
    """
    text = (home / "layout").read_text(errors="replace").strip()
    if not text.isdecimal():
        raise IntegrityError(
            f"{home / 'layout'} holds {text[:20]!r}, which is no layout",
            f"if this is your home, write the number: echo {LAYOUT} > {home / 'layout'}",
        )
    return int(text)


def in_use(home: Path) -> bool:
    """Whether a run or a server works in the home."""
    locks = (*(home / "locks" / "leases").glob("*.lease"), home / "prefect" / "server.lock")
    return any(files.is_locked(path) for path in locks)
