"""The recorded state of `data/`: `configs/data/tree.json`, proven by the hash in `data.dvc`."""

import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from components import files
from components.data.tree import File, Tree
from components.errors import IntegrityError, UsageError

POINTER = "data.dvc"
LISTING = "configs/data/tree.json"
RESTORE = f"restore both from one commit: git checkout {POINTER} {LISTING}"


def recorded(root: Path) -> Tree:
    """Every file that `data/` holds in this version of the project.

    Raises:
        IntegrityError: the listing is not the one that `data.dvc` names, or one is unreadable.
    """
    return read(_bytes(root, POINTER), _bytes(root, LISTING))


def read(pointer: bytes, listing: bytes) -> Tree:
    """The same from the two files' bytes, as git may give them of any commit.

    Raises:
        IntegrityError: as in `recorded`.
    """
    tree, out = _listed(listing), _out(pointer)
    if tree.digest != out["md5"]:
        raise IntegrityError(
            f"{LISTING} hashes to {tree.digest[:12]}, {POINTER} names {out['md5'][:12]}", RESTORE
        )
    for name, value in _counts(tree).items():
        if out.get(name, value) != value:
            raise IntegrityError(f"{POINTER} says {name}: {out[name]}, it is {value}", RESTORE)
    return tree


def write_listing(root: Path, tree: Tree) -> None:
    """Record a tree as the project's listing, one file a line."""
    lines = [
        f"  {json.dumps(path, ensure_ascii=False)}: "
        + json.dumps({"md5": file.md5, "size_bytes": file.size_bytes})
        for path, file in sorted(tree.files.items())
    ]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    files.write_bytes(root / LISTING, text.encode())


def write_pointer(root: Path, tree: Tree) -> None:
    """Let `data.dvc` name a tree; its comments and other keys stay."""
    text = (root / POINTER).read_text()
    for name, value in {"md5": tree.digest, **_counts(tree)}.items():
        text = re.sub(rf"(?m)^(- |  ){name}: .*$", rf"\g<1>{name}: {value}", text, count=1)
    files.write_bytes(root / POINTER, text.encode())


def chosen(tree: Tree, names: Sequence[str]) -> tuple[str, ...]:
    """The data sets of these names, sorted; all of them when none is named.

    Raises:
        UsageError: a name is not recorded.
    """
    for name in names:
        if name not in tree.names:
            near = difflib.get_close_matches(name, tree.names, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(
                f"no data set is called {name!r}", f"{hint}there are: {', '.join(tree.names)}"
            )
    return tuple(sorted(set(names))) or tree.names


def _bytes(root: Path, name: str) -> bytes:
    try:
        return (root / name).read_bytes()
    except OSError as error:
        raise IntegrityError(f"{name} cannot be read: {error}", RESTORE) from error


def _listed(text: bytes) -> Tree:
    try:
        entries = json.loads(text)
        return Tree({name: File(**entry) for name, entry in entries.items()})
    except (ValueError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{LISTING} cannot be read: {error}", RESTORE) from error


def _out(text: bytes) -> dict[str, Any]:
    """What DVC wrote of the folder."""
    try:
        [out] = yaml.safe_load(text)["outs"]
        if out["path"] != "data":
            raise ValueError(f"it is about {out['path']!r}, not about 'data'")
        return {**out, "md5": str(out["md5"])}
    except KeyError as error:
        raise IntegrityError(f"{POINTER} cannot be read: it has no {error}", RESTORE) from error
    except (ValueError, TypeError, yaml.YAMLError) as error:
        reason = getattr(error, "problem", None) or error
        raise IntegrityError(f"{POINTER} cannot be read: {reason}", RESTORE) from error


def _counts(tree: Tree) -> dict[str, int]:
    """What DVC notes of a tree beside its hash, by DVC's names."""
    return {"size": tree.size_bytes, "nfiles": len(tree.files)}
