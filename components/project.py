"""Where a project and its state live.

The state is in `.athanor/` of the project; the environment variable ATHANOR_HOME overrides it.
"""

import os
from pathlib import Path

from components.errors import IntegrityError, UsageError
from components.files import write_bytes

LAYOUT = 1
"""Version of the home's layout; a newer one is refused, an older one has its upgrade."""


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
        IntegrityError: a newer Athanor made it.
    """
    folder = _place()
    layout = folder / "layout"
    if not layout.is_file():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        write_bytes(layout, f"{LAYOUT}\n".encode())
    elif (found := layout.read_text(errors="replace").strip()) != str(LAYOUT):
        raise IntegrityError(
            f"{layout} says {found!r}, this Athanor knows layout {LAYOUT}",
            "update the clone (git pull), or name another folder in ATHANOR_HOME",
        )
    return folder


def standing_home() -> Path | None:
    """The home where one stands already; nothing is made, and nothing is wrong without one."""
    try:
        folder = _place()
    except UsageError:
        return None
    return folder if (folder / "layout").is_file() else None


def _place() -> Path:
    named = os.environ.get("ATHANOR_HOME")
    return Path(named).expanduser().resolve() if named else root() / ".athanor"
