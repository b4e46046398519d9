"""How a home of an older layout becomes one of the present layout.

An upgrade changes a home in place from one layout to the next. It may be killed and begins anew
then, so it must be harmless to repeat. Before the first of them the whole home is copied.
"""

from collections.abc import Callable
from pathlib import Path

from components import files
from components.errors import AthanorError, IntegrityError, ResourceError
from components.keeping import backup, layouts

UPGRADES: dict[int, Callable[[Path], None]] = {}
"""Layout -> what makes the next one of it."""


def settle(home: Path) -> Path | None:
    """Bring an older home to the present layout; gives the copy of what it was, if it was older.

    Raises:
        IntegrityError: there is no way from its layout, or an upgrade failed.
        ResourceError: a process of the older version works in it, or the disk is full.
    """
    with files.locked(home / "locks" / "layout.lock"):
        return _upgrade(home, layouts.found(home))


def _upgrade(home: Path, now: int) -> Path | None:
    if now >= layouts.LAYOUT:
        return None
    if lacking := [number for number in range(now, layouts.LAYOUT) if number not in UPGRADES]:
        raise IntegrityError(
            f"{home} has layout {now}, and nothing leads from {lacking[0]} to {lacking[0] + 1}",
            "upgrade it with an Athanor in between, or name another folder in ATHANOR_HOME",
        )
    if layouts.in_use(home):
        raise ResourceError(
            f"{home} has the older layout {now} and a run or a server works in it",
            "stop it (Ctrl-C, athanor down), then run the same command again",
        )
    copy = home / "upgrades" / f"layout-{now}.tar.gz"
    if not copy.exists():
        backup.save(home, copy, inside=True)
    for number in range(now, layouts.LAYOUT):
        try:
            UPGRADES[number](home)
        except AthanorError:
            raise
        except Exception as error:
            raise IntegrityError(
                f"{home} could not be brought from layout {number} to {number + 1}: {error}",
                f"its copy from before is {copy}; the clone that made it takes it back with: "
                f"athanor restore {copy} --replace",
            ) from error
        files.write_bytes(home / "layout", f"{number + 1}\n".encode())
    return copy
