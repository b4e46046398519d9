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

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import NamedTuple

from components.records import Record

PACKAGES = ("components",)
"""Packages whose source counts; all else is a library, known by its version."""

CONFIGURED = ("components.options",)
"""Modules whose computed imports follow the config, which the caller hands in as options."""

BODY = "<import>"
"""Name of what a module does when it is imported, beyond defining names."""


class Closure(Record):
    """Symbols (`module:name` -> digest of their syntax), libraries with versions, blind spots."""

    symbols: dict[str, str]
    libraries: dict[str, str]
    opaque: tuple[str, ...]
    """`module:name` of code that could not be resolved, so that its whole module counts."""


Target = tuple[str, str | None]
"""A module and one of its attributes; None for the module itself."""


class Mentions(NamedTuple):
    """What the text of a symbol says, whoever reaches it."""

    digest: str
    attributes: frozenset[str]
    imported: frozenset[tuple[Target, tuple[str, ...]]]
    """Imported names, and the attributes that are read from each."""
    own: frozenset[str]
    """Symbols of the same module."""
    texts: frozenset[str]
    """Strings that may name a file."""
    computed: bool
    """Whether a call cannot be resolved."""


class Module:
    """One source file, read but not run."""

    def __init__(self, name: str, folder: Path, text: str) -> None:
        self.name, self.folder = name, folder
        self.symbols: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, Target] = {}
        """By local name."""
        self._mentions: dict[str, Mentions] = {}
        for statement in _flat(ast.parse(text).body):
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self.imports.update(_imports(statement, name, folder))
                continue
            for defined in _defines(statement) or (BODY,):
                if defined != BODY or not _is_text(statement):
                    self.symbols.setdefault(defined, []).append(statement)

    def mentions(self, symbol: str) -> Mentions:
        """What a symbol's text says; worked out once."""
        if symbol not in self._mentions:
            self._mentions[symbol] = self._said(self.symbols[symbol])
        return self._mentions[symbol]

    def _said(self, nodes: list[ast.stmt]) -> Mentions:
        attributes: set[str] = set()
        imported: set[tuple[Target, tuple[str, ...]]] = set()
        own: set[str] = set()
        texts: set[str] = set()
        computed = False
        for node in nodes:
            local = dict(_imports(node, self.name, self.folder))
            for part in _executed(node):
                if isinstance(part, ast.Attribute | ast.Name):
                    if isinstance(part, ast.Attribute):
                        attributes.add(part.attr)
                    base, *tail = _chain(part) or [""]
                    if target := local.get(base) or self.imports.get(base):
                        imported.add((target, tuple(tail)))
                    elif base in self.symbols:
                        own.add(base)
                elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                    if _may_name_a_file(part.value):
                        texts.add(part.value)
                elif isinstance(part, ast.Call) and _computed(part):
                    computed = True
        return Mentions(
            digest=_digest(nodes),
            attributes=frozenset(attributes),
            imported=frozenset(imported),
            own=frozenset(own),
            texts=frozenset(texts),
            computed=computed,
        )


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


def _flat(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Top-level statements, those under `if` and `try` included; types-only imports left out."""
    for statement in statements:
        if isinstance(statement, ast.If):
            if "TYPE_CHECKING" not in ast.dump(statement.test):
                yield ast.Expr(statement.test)
                yield from _flat(statement.body)
            yield from _flat(statement.orelse)
        elif isinstance(statement, ast.Try):
            handlers = [inner for handler in statement.handlers for inner in handler.body]
            yield from _flat(statement.body + handlers + statement.orelse + statement.finalbody)
        else:
            yield statement


def _defines(statement: ast.stmt) -> tuple[str, ...]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return (statement.name,)
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    else:
        return ()
    return tuple(n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))


def _imports(node: ast.stmt, module: str, folder: Path) -> Iterator[tuple[str, Target]]:
    """Names that the import statements inside a node bind, and what they stand for."""
    is_package = folder.name == module.rpartition(".")[2]
    for part in ast.walk(node):
        if isinstance(part, ast.Import):
            for alias in part.names:
                top = alias.name.split(".")[0]
                yield (alias.asname, (alias.name, None)) if alias.asname else (top, (top, None))
        elif isinstance(part, ast.ImportFrom):
            parents = module.split(".")[: -part.level + int(is_package) or None]
            above = parents if part.level else []
            source = ".".join(above + ([part.module] if part.module else []))
            for alias in part.names:
                yield alias.asname or alias.name, (source, alias.name)


def _chain(node: ast.AST) -> list[str]:
    """`a.b.c` as its names; empty when it does not start at a name."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else []


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a statement but for the annotations of functions, which run nothing."""
    waiting = [(node, False)]
    while waiting:
        part, inside = waiting.pop()
        yield part
        is_function = isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for field, value in ast.iter_fields(part):
            is_note = field == "returns" or (
                field == "annotation" and (inside or isinstance(part, ast.arg))
            )
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not is_note:
                    waiting.append((child, inside or is_function))


def _may_name_a_file(text: str) -> bool:
    return "." in text and len(text) <= 100 and "\n" not in text and "\0" not in text


def _computed(call: ast.Call) -> bool:
    """Whether a call reaches code by a name that is worked out at run time."""
    name = (_chain(call.func) or [""])[-1]
    if isinstance(call.func, ast.Name) and name in ("eval", "exec", "__import__", "globals"):
        return True
    position = {"getattr": 1, "import_module": 0}.get(name)
    if position is None or len(call.args) <= position:
        return False
    return not isinstance(call.args[position], ast.Constant)


def _digest(nodes: list[ast.stmt]) -> str:
    text = "\n".join(ast.dump(_Bare().visit(_copy(node))) for node in nodes)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _copy(node: ast.stmt) -> ast.stmt:
    return ast.parse(ast.unparse(node)).body[0]


class _Bare(ast.NodeTransformer):
    """Takes out every statement that is only a text: docstrings and field comments."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_text(part)] or [ast.Pass()]  # type: ignore[attr-defined]
        return node


def _is_text(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


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
