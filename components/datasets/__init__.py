"""Family: how the rows of a data folder are read. One file is one modality."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from components.data.cards import Card, read_card
from components.data.splits import SPLITS
from components.errors import DataRejected
from components.options import Option, kinds, load

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class Rows:
    """Examples of one split, column by column: `id` always, and what the modality has."""

    columns: Mapping[str, Sequence[Any]]
    """Name -> one value per example; pictures are one array with the examples first."""

    def __len__(self) -> int:
        return len(self.columns["id"])

    def __getitem__(self, column: str) -> Sequence[Any]:
        return self.columns[column]


class Dataset(Option):
    """Reads `data/<name>`: its card `dataset.json` and one folder of shards per split."""

    family: ClassVar[str] = __name__

    @abstractmethod
    def read(self, folder: Path, split: str) -> Rows:
        """Every example of a split, shards in the order of their names.

        Raises:
            DataRejected: a file is malformed (it is named, with the line and the reason), holds
                nothing, or the split does not exist.
        """

    @abstractmethod
    def frame(self, folder: Path) -> "DataFrame":
        """The manifest that validation reads: one row per example of every split.

        Columns `id`, `split`, `label` where there are labels, and features of the content.

        Raises:
            DataRejected: as in `read`.
        """


def reader(folder: Path) -> Dataset:
    """The option that the folder's own `dataset.json` names as its modality.

    Raises:
        DataRejected: there is no such file, it is malformed, or no option has that name.
    """
    card = read_card(folder)
    if card.modality not in kinds(Dataset.family):
        raise DataRejected(
            f"{folder.name}/dataset.json: modality {card.modality!r} has no reader",
            f"there are: {', '.join(kinds(Dataset.family))}",
        )
    return load(Dataset, card.modality)()


def card(folder: Path) -> Card:
    """What the data set says of itself in `dataset.json`.

    Raises:
        DataRejected: there is no such file, or it is malformed.
    """
    return read_card(folder)


def splits(folder: Path) -> tuple[str, ...]:
    """The splits that a data folder has, in the order train, val, test.

    Raises:
        DataRejected: it has none.
    """
    found = tuple(split for split in SPLITS if (folder / split).is_dir())
    if not found:
        raise DataRejected(
            f"{folder.name} has no folder of a split ({', '.join(SPLITS)})",
            f"athanor data pull {folder.name}",
        )
    return found


def shards(folder: Path, split: str, pattern: str) -> list[Path]:
    """The files of a split in the order of their names: `0000.jsonl`, `0001.jsonl`, ...

    Raises:
        DataRejected: there is no such split, or it holds no such file.
    """
    if split not in splits(folder):
        raise DataRejected(
            f"{folder.name} has no split {split!r}",
            f"there are: {', '.join(splits(folder))}",
        )
    found = sorted((folder / split).glob(pattern))
    if not found:
        raise DataRejected(f"{folder.name}/{split} holds no {pattern}")
    return found
