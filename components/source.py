"""One source file, read but not run: its symbols, and what the text of each mentions.

Comments, docstrings and layout do not count, nor do annotations of functions.
"""

import ast
import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

BODY = "<import>"
"""Name of what a module does when it is imported, beyond defining names."""

TRIES = 5
"""Of making one syntax tree."""

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
        for statement in _flat(_tree(text).body):
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self.imports.update(_imports(statement, name, folder))
                continue
            for defined in _defines(statement) or (BODY,):
                if defined != BODY or not _is_text(statement):
                    self.symbols.setdefault(defined, []).append(_Bare().visit(statement))

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


def _tree(text: str) -> ast.Module:
    """The syntax tree of a text, tried again where Python miscounts.

    Until 3.11.8 all threads count the depth of their trees in one place; where one is interrupted
    in that, the sound tree of another is a SystemError (python/cpython#106905).
    """
    for _ in range(TRIES - 1):
        with suppress(SystemError):
            return ast.parse(text)
    return ast.parse(text)


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
    text = "\n".join(map(ast.dump, nodes))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
