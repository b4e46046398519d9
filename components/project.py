"""Where a project and its state live.

The state is in `.athanor/` of the project; the environment variable ATHANOR_HOME overrides it.
"""

import os
from pathlib import Path

from components.errors import IntegrityError, UsageError
from components.files import write_bytes
from components.keeping import layouts


class OtherLayout(IntegrityError):
    """The home is of another layout; every command brings an older one to the present one."""

    def __init__(self, folder: Path, found: int) -> None:
        newer = "update the clone (git pull), or name another folder in ATHANOR_HOME"
        super().__init__(
            f"{folder} has layout {found}, this Athanor knows {layouts.LAYOUT}",
            newer if found > layouts.LAYOUT else "athanor models  copies it, then upgrades it",
        )
        self.older = found < layouts.LAYOUT

    def __reduce__(self) -> tuple[type[IntegrityError], tuple[str, str]]:
        """Across a process border it is any refusal."""
        return IntegrityError, (self.message, self.remedy)


def root() -> Path:
    """The project's folder: the nearest one upwards that holds `configs/` and `data.dvc`.

    Raises:
        UsageError: the working folder lies in no project.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "configs").is_dir() and (folder / "data.dvc").is_file():
            return folder
    raise UsageError(
        f"{here} is not inside an Athanor project (no configs/ and data.dvc here or above)",
        "cd into your clone of the project",
    )


def home() -> Path:
    """The folder of all state, made private to the user on first use.

    Raises:
        OtherLayout: another Athanor made it.
    """
    folder = place()
    layout = folder / "layout"
    if not layout.is_file():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        write_bytes(layout, f"{layouts.LAYOUT}\n".encode())
    elif (found := layouts.found(folder)) != layouts.LAYOUT:
        raise OtherLayout(folder, found)
    return folder


def standing_home() -> Path | None:
    """The home where one stands already; nothing is made, and nothing is wrong without one."""
    try:
        folder = place()
    except UsageError:
        return None
    return folder if (folder / "layout").is_file() else None


def place() -> Path:
    """Where the home is or will be."""
    named = os.environ.get("ATHANOR_HOME")
    return Path(named).expanduser().resolve() if named else root() / ".athanor"
