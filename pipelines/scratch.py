"""The folder in which a remake works: it goes with its end, and after a kill with the next one."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from components import files, processes
from pipelines import kernel

PREFIX = "athanor-reproduce-"
OWNER = "owner"
"""File with the process that works there; a folder that is to stay has none."""


@contextmanager
def passing() -> Iterator[Path]:
    """A private folder that goes when the block ends, also by Ctrl-C; the dead's go first."""
    clear()
    folder = lasting()
    files.write_bytes(folder / OWNER, processes.this().encode())
    try:
        yield folder
    finally:
        _drop(folder)


def lasting() -> Path:
    """A private folder that nobody removes."""
    return Path(tempfile.mkdtemp(prefix=PREFIX))


def clear() -> None:
    """Remove the folders of processes that were killed, once what they started has ended too."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, or just removed
            if folder.is_symlink() or folder.lstat().st_uid != os.geteuid():
                continue
            left = processes.dead((folder / OWNER).read_text())
            if left and not kernel.marked(f"ATHANOR_HOME={folder / 'home'}"):
                _drop(folder)


def _drop(folder: Path) -> None:
    """Whose it was goes last: a removal that is cut off is finished by the next remake."""
    for each in folder.iterdir():
        if each.name != OWNER:
            shutil.rmtree(each, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
