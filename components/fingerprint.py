"""What a step's result depends on in the project's source, found from syntax trees alone.

Starting at a step's function, every project symbol that the code mentions is followed: functions,
classes with all their methods, module constants, and what a module does when it is imported.
Objects that arrive as arguments (records, options) bring their class along when the code reads one
of its methods or class constants. Comments, docstrings and layout do not count, nor do annotations
of functions. Nothing is imported or run: the answer costs milliseconds, the same in every process.

A call that the text cannot resolve (a computed `getattr`, a computed import) takes the whole
module that holds it and is named in `Closure.opaque`. Options need no such guess: the edge from a
step to an option's file comes from the config.
"""

import hashlib
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from itertools import count
from pathlib import Path

from components.records import Record
from components.source import BODY, Module, Target

PACKAGES = ("components",)
"""Packages whose source counts; all else is a library, known by its version."""

CONFIGURED = ("components.options",)
"""Modules whose computed imports follow the config, which the caller hands in as options."""


class Closure(Record):
    """Symbols (`module:name` -> digest of their syntax), libraries with versions, blind spots."""

    symbols: dict[str, str]
    libraries: dict[str, str]
    opaque: tuple[str, ...]
    """`module:name` of code that could not be resolved, so that its whole module counts."""


def closure(
    entry: str, types: Mapping[str, frozenset[str]] | None = None, root: Path | None = None
) -> Closure:
    """All that `module:function` reaches, under a source root.

    `types` are the classes of the objects that it gets, as `module:Class`, each with the names of
    its methods and class constants: a class counts when reached code reads one of these names.

    Raises:
        LookupError: no such module or symbol.
    """
    offered = tuple(sorted((types or {}).items()))
    return _closure(entry, offered, root or source_root(), 0)


def closure_now(entry: str, types: Mapping[str, frozenset[str]] | None = None) -> Closure:
    """The same, from what stands in the files at this moment.

    `closure` reads every file once and keeps to that, as a process keeps to the code that it has
    imported; whoever edits in between makes the two differ.
    """
    offered = tuple(sorted((types or {}).items()))
    return _closure(entry, offered, source_root(), next(_readings))


_readings = count(1)


def source_root() -> Path:
    """The folder that holds the project's packages."""
    return Path(__file__).resolve().parent.parent


@cache
def _closure(
    entry: str, types: tuple[tuple[str, frozenset[str]], ...], root: Path, reading: int
) -> Closure:
    module_name, _, symbol = entry.partition(":")
    walk = _Walk(root, reading)
    first = walk.module(module_name)
    if first is None or symbol not in first.symbols:
        raise LookupError(f"no {symbol!r} in the source of {module_name}")
    walk.reach(module_name, symbol)
    waiting = dict(types)
    while used := [name for name, members in waiting.items() if members & walk.attributes]:
        for name in used:
            del waiting[name]
            walk.reach(*name.split(":"))
    return Closure(
        symbols=dict(sorted(walk.found.items())),
        libraries={name: version for name in sorted(walk.libraries) if (version := _version(name))},
        opaque=tuple(sorted(walk.opaque)),
    )


class _Walk:
    """Collects symbols until nothing new is mentioned."""

    def __init__(self, root: Path, reading: int) -> None:
        self.root = root
        self.reading = reading
        self.found: dict[str, str] = {}
        self.libraries: set[str] = set()
        self.opaque: set[str] = set()
        self.attributes: set[str] = set()

    def module(self, name: str) -> Module | None:
        """The source of a project module, in this reading; None where there is none."""
        return _module(self.root, name, self.reading)

    def reach_all(self, module_name: str) -> None:
        """Take every symbol of a module."""
        module = self.module(module_name)
        if module is None:
            raise LookupError(f"no source for {module_name}")
        for symbol in module.symbols:
            self.reach(module_name, symbol)

    def reach(self, module_name: str, symbol: str) -> None:
        """Take a symbol and all that it mentions; a name that is a submodule takes its body."""
        module = self.module(module_name)
        key = f"{module_name}:{symbol}"
        if module is None or key in self.found:
            return
        self._import(module_name)
        if symbol not in module.symbols:
            if symbol in module.imports:  # a name passed on by an __init__
                self._follow(module.imports[symbol])
            elif self.module(f"{module_name}.{symbol}") is not None:
                self._import(f"{module_name}.{symbol}")
            return
        self._take(module, symbol)

    def _take(self, module: Module, symbol: str) -> None:
        """A symbol and all that its text mentions."""
        key, said = f"{module.name}:{symbol}", module.mentions(symbol)
        self.found[key] = said.digest
        self.attributes |= said.attributes
        for target, tail in said.imported:
            self._follow(target, tail)
        for name in said.own:
            self.reach(module.name, name)
        for text in said.texts:
            self._data_file(module, text)
        if said.computed:
            self._unresolved(module, key)

    def _import(self, module_name: str) -> None:
        """Importing a module runs its body and those of the packages above it."""
        parts = module_name.split(".")
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            module = self.module(name)
            key = f"{name}:{BODY}"
            if module is not None and BODY in module.symbols and key not in self.found:
                self._take(module, BODY)

    def _follow(self, target: Target, tail: tuple[str, ...] = ()) -> None:
        """Resolve an imported name and the attributes read from it."""
        module_name, attribute = target
        path = ((attribute,) if attribute else ()) + tail
        if module_name.split(".")[0] not in PACKAGES:
            self.libraries.add(module_name.split(".")[0])
            return
        while path and self.module(f"{module_name}.{path[0]}") is not None:
            parent = self.module(module_name)
            if parent is not None and path[0] in parent.symbols:
                break
            module_name, path = f"{module_name}.{path[0]}", path[1:]
        if path:
            self.reach(module_name, path[0])
        else:
            self._import(module_name)

    def _unresolved(self, module: Module, key: str) -> None:
        if module.name not in CONFIGURED and key not in self.opaque:
            self.opaque.add(key)
            self.reach_all(module.name)

    def _data_file(self, module: Module, text: str) -> None:
        """A string that names a file beside the module makes that file count."""
        path = module.folder / text
        if path.is_file() and path.resolve().is_relative_to(self.root):
            name = f"{module.name}:{text}"
            self.found[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@cache
def _module(root: Path, name: str, reading: int) -> Module | None:
    """The source of a project module, read once per `reading`; None where there is none."""
    if name.split(".")[0] not in PACKAGES:
        return None
    path = root.joinpath(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.is_file():
        return None
    return _parsed(name, file.parent, file.read_text())


_parsed = cache(Module)
"""A text that stands there again, in whatever reading, is the module that it was."""


@cache
def _version(package: str) -> str | None:
    """Version of the distribution that provides an import name; None for the standard library."""
    if package in sys.stdlib_module_names:
        return None
    try:
        return metadata.version(_DISTRIBUTIONS.get(package, package))
    except metadata.PackageNotFoundError:
        return "absent"


_DISTRIBUTIONS = {"sklearn": "scikit-learn", "PIL": "pillow", "yaml": "pyyaml"}
