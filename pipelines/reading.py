"""YAML without its traps: values with the line that each came from.

Refused: duplicate keys, anchors and aliases, tags, more than 20 levels, more than 1 MB, bytes that
are not UTF-8. Numbers are read as people write them: `1e-4` is a number, `on` is a word, and `010`
and `12:30` are words, not octal and base sixty.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from components.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_DEPTH = 20

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*(_[0-9]+)*)")
_FLOAT = re.compile(r"[-+]?([0-9]+(_[0-9]+)*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}

_OPENING = (
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)

Path_ = tuple[str | int, ...]


class Document(NamedTuple):
    """The values of a file, and where each key comes from, by path."""

    values: Any
    lines: dict[Path_, int]
    file: Path
    assigned: dict[Path_, str]
    """Assignments that were put on top."""

    def at(self, path: Path_) -> str:
        """`configs/a.yaml:12`, or the assignment, of the nearest key at or above a path."""
        for end in range(len(path), -1, -1):
            if assignment := self.assigned.get(path[:end]):
                return f"--set {assignment}"
            if line := self.lines.get(path[:end]):
                return f"{shown(self.file)}:{line}"
        return shown(self.file)


def read(file: Path) -> Document:
    """The values of a YAML file.

    Raises:
        ConfigError: absent, too large, not UTF-8, or not the YAML that we accept.
    """
    text = _text(file)
    try:
        root = _composed(text, shown(file))
    except yaml.YAMLError as error:
        raise ConfigError(*_explain(file, error)) from None
    if root is None:
        raise ConfigError(f"{shown(file)} is empty", "copy one of configs/*.yaml")
    lines: dict[Path_, int] = {}
    return Document(_value(root, (), lines, file), lines, file, {})


def _composed(text: str, name: str) -> yaml.Node | None:
    """The nodes of a text, after a scan that no nesting can exhaust.

    Raises:
        ConfigError: anchors, aliases, tags, or more levels than we accept.
        yaml.YAMLError: it is no YAML.
    """
    depth = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        where = f"{name}:{token.start_mark.line + 1}"
        if isinstance(token, yaml.AnchorToken | yaml.AliasToken | yaml.TagToken):
            kind = type(token).__name__.removesuffix("Token").lower()
            kinds = "aliases" if kind == "alias" else f"{kind}s"
            raise ConfigError(f"{where}: YAML {kinds} are refused", "write the value out")
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > MAX_DEPTH:
            raise ConfigError(f"{where}: nested more than {MAX_DEPTH} deep", "write it flatter")
    return yaml.compose(text, Loader=yaml.SafeLoader)


def override(document: Document, assignment: str) -> Document:
    """The document with `a.b=value` put on top; the value is read as YAML would.

    Raises:
        ConfigError: no `=`, or the path leads through something that is not a mapping.
    """
    dotted, equals, text = assignment.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"--set {assignment!r} is not an assignment", "write --set a.b=value")
    path: Path_ = tuple(int(part) if part.isdigit() else part for part in dotted.split("."))
    node = document.values
    for depth, part in enumerate(path[:-1]):
        node = _step(node, part, ".".join(map(str, path[: depth + 1])), assignment)
    try:
        composed = _composed(text, f"--set {assignment}") if text else None
    except yaml.YAMLError:
        raise ConfigError(f"--set {assignment!r}: the value is not YAML", "quote it") from None
    value = None if composed is None else _value(composed, (), {}, document.file)
    is_item = isinstance(node, list) and isinstance(path[-1], int) and path[-1] < len(node)
    if not is_item and not isinstance(node, dict):
        raise _nowhere(assignment, dotted)
    place: Any = node
    place[path[-1]] = value
    for known in [each for each in document.lines if each[: len(path)] == path]:
        del document.lines[known]
    document.assigned[path] = assignment
    return document


def shown(file: Path) -> str:
    """A path as the user would type it."""
    try:
        return str(file.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(file)


def _step(node: Any, part: str | int, so_far: str, assignment: str) -> Any:
    if isinstance(node, dict):
        return node.setdefault(part, {})
    if isinstance(node, list) and isinstance(part, int) and part < len(node):
        return node[part]
    raise _nowhere(assignment, so_far)


def _nowhere(assignment: str, dotted: str) -> ConfigError:
    return ConfigError(
        f"--set {assignment!r}: {dotted} names no place in the config",
        "name keys of the file, joined by dots; entries of lists by number from 0",
    )


def _text(file: Path) -> str:
    if file.is_dir():
        raise ConfigError(f"{shown(file)} is a folder", "name a .yaml file")
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{shown(file)} is larger than 1 MB", "a run's config is a page")
        return file.read_bytes().decode()
    except FileNotFoundError:
        known = sorted(p.name for p in file.parent.glob("*.yaml")) if file.parent.is_dir() else []
        there = f"there are: {', '.join(known)}" if known else "see configs/"
        raise ConfigError(f"there is no file {shown(file)}", there) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{shown(file)}: byte {error.start} is not UTF-8", "save the file as UTF-8"
        ) from None


def _explain(file: Path, error: yaml.YAMLError) -> tuple[str, str]:
    mark = getattr(error, "problem_mark", None)
    where = f"{shown(file)}:{mark.line + 1}" if mark else shown(file)
    problem = getattr(error, "problem", None) or "not YAML"
    if "\\t" in problem:
        return f"{where}: a tab stands where YAML wants spaces", "indent with two spaces"
    return f"{where}: {problem}", "mend the line; strings with : or # want quotes"


def _value(node: yaml.Node, path: Path_, lines: dict[Path_, int], file: Path) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return dict(_pairs(node, path, lines, file))
    if isinstance(node, yaml.SequenceNode):
        return [_value(n, (*path, i), lines, file) for i, n in enumerate(node.value)]
    try:
        return _scalar(node)
    except ValueError:
        dotted = ".".join(map(str, path))
        text = str(node.value)[:40]
        raise ConfigError(
            f"{shown(file)}:{lines[path]} {dotted}: {text} is too large a number", "quote a text"
        ) from None


def _pairs(
    node: yaml.MappingNode, path: Path_, lines: dict[Path_, int], file: Path
) -> Iterator[tuple[str, Any]]:
    seen: set[str] = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"{shown(file)}:{line}: a key is a list or a mapping", "name a word")
        name = str(key.value)
        if name in seen:
            raise ConfigError(f"{shown(file)}:{line} {name}: stands here twice", "keep one")
        seen.add(name)
        lines[(*path, name)] = line
        yield name, _value(value, (*path, name), lines, file)


def _scalar(node: yaml.Node) -> Any:
    """A value as people mean it.

    Raises:
        ValueError: a number that no float holds, or of thousands of digits.
    """
    text = str(node.value)
    if node.style in ("'", '"', "|", ">"):  # type: ignore[attr-defined]
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and not re.fullmatch(r"[-+]?0\d+", text):
        number = float(text)
        if math.isinf(number):
            raise ValueError(text)
        return number
    return text
