"""The files of a data set, proven to be the recorded ones, and the manifest made from them."""

from pathlib import Path
from typing import TYPE_CHECKING

from components import project
from components.artifacts import RawData
from components.data import check, pointer
from components.data.tree import scan
from components.errors import IntegrityError

if TYPE_CHECKING:
    from pandas import DataFrame


def folder(raw: RawData) -> Path:
    """The folder of a data set, every byte of it as the record says.

    Raises:
        IntegrityError: it is absent or not what was recorded; the message names the files.
    """
    root = project.root()
    place = root / "data" / raw.name
    found = scan(place).digest
    if found != raw.tree:
        if raw.name in pointer.recorded(root).names:
            check.verify([raw.name])
        raise IntegrityError(
            f"data/{raw.name} is {found[:12]}, this run was planned for {raw.tree[:12]}",
            "the data changed meanwhile: run the command again",
        )
    return place


def manifest(place: Path) -> "DataFrame":
    """One row per example of every split; texts also `normalised`, to find those that say the same.

    Raises:
        DataRejected: a file is malformed.
    """
    from components.datasets import reader
    from components.validation.checks import normalised

    frame = reader(place).frame(place)
    if "text" in frame:
        frame["normalised"] = normalised(frame["text"])
    return frame
