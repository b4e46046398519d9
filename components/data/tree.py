"""What lies in a folder: every file's md5, and the one hash of it all that DVC computes too."""

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from components import files
from components.errors import DataRejected

IGNORED = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""Droppings of file browsers; `.dvcignore` lists the same names."""


@dataclass(frozen=True)
class File:
    """Content of one file: its md5 and its size."""

    md5: str
    size_bytes: int


@dataclass(frozen=True)
class Tree:
    """Files by their path under the folder, with `/` between the parts."""

    files: Mapping[str, File]

    @property
    def digest(self) -> str:
        """md5 of the listing with `.dir`: the hash that DVC gives the same folder."""
        listing = [{"md5": self.files[path].md5, "relpath": path} for path in sorted(self.files)]
        text = json.dumps(listing, sort_keys=True).encode()
        return hashlib.md5(text, usedforsecurity=False).hexdigest() + ".dir"

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(file.size_bytes for file in self.files.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Data sets in the tree, sorted: the first parts of its paths."""
        return tuple(sorted({path.partition("/")[0] for path in self.files if "/" in path}))

    def part(self, name: str) -> "Tree":
        """One data set's files, by their path under its own folder."""
        prefix = f"{name}/"
        return Tree(
            {
                path.removeprefix(prefix): file
                for path, file in self.files.items()
                if path.startswith(prefix)
            }
        )

    def only(self, names: Collection[str]) -> "Tree":
        """The files of these data sets, paths as they are."""
        chosen = set(names)
        return Tree(
            {
                path: file
                for path, file in self.files.items()
                if "/" in path and path.partition("/")[0] in chosen
            }
        )


@dataclass(frozen=True)
class Differences:
    """Paths in which a folder is not the recorded one, each sorted."""

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    unlisted: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.changed or self.unlisted)


def compare(recorded: Tree, found: Tree) -> Differences:
    """Where the found files differ from the recorded ones."""
    return Differences(
        missing=tuple(sorted(recorded.files.keys() - found.files.keys())),
        changed=tuple(
            path
            for path in sorted(recorded.files.keys() & found.files.keys())
            if recorded.files[path] != found.files[path]
        ),
        unlisted=tuple(sorted(found.files.keys() - recorded.files.keys())),
    )


def scan(folder: Path) -> Tree:
    """Every file of a folder, hashed; an absent folder has none.

    Raises:
        DataRejected: it is no folder, or a symbolic link, a socket or the like lies in it.
    """
    return Tree(
        {
            path.relative_to(folder).as_posix(): File(
                files.digest(path, "md5"), path.stat().st_size
            )
            for path in walk(folder)
        }
    )


def walk(folder: Path) -> Iterator[Path]:
    """Paths of all plain files below a folder, file browsers' droppings left out.

    Raises:
        DataRejected: as in `scan`.
    """
    if folder.is_symlink() or not folder.is_dir():
        if folder.is_symlink() or folder.exists():
            raise _no_plain(folder)
        return
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name in IGNORED:
            continue
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from walk(path)
        elif entry.is_file(follow_symlinks=False):
            yield path
        else:
            raise _no_plain(path)


def _no_plain(path: Path) -> DataRejected:
    return DataRejected(
        f"{path} is a link, a special file or a file in place of a folder; "
        "data sets are folders of plain files",
        f"replace it by what it points to, or remove it: rm {path}",
    )
