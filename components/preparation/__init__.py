"""Family: what is fitted on training rows and turns raw rows into arrays."""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, NamedTuple

from components.options import Option
from components.records import Record
from components.spec import DataSpec


class Fitted(Record):
    """What a preparation wrote into its folder."""

    spec: DataSpec
    rows: dict[str, int]
    """Rows per array file, by split (`train`, `val`, `test`, `pretrain`)."""


class Earlier(NamedTuple):
    """What such a preparation fitted before, for a model that goes on with other rows."""

    spec: DataSpec
    folder: Path
    """Holds `inputs.json` and what it names."""


class Preparation(Option):
    """Turns the data folders of one run into arrays; fits on training rows only."""

    family: ClassVar[str] = __name__

    @abstractmethod
    def prepare(
        self, sources: dict[str, Path], target: Path, earlier: Earlier | None = None
    ) -> Fitted:
        """Write array files, rows and the reader's files into `target`.

        `sources` are data folders by name, the labelled one first. With `earlier` nothing is
        fitted anew: rows are turned into arrays as they were then.
        """
