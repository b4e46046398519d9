"""Every option that a config can choose, with its parameters, read from the classes themselves."""

import ast
import difflib
import inspect
import sys
from functools import cache
from itertools import pairwise
from typing import Any

from components.architectures import Architecture
from components.compression import Compression
from components.errors import UsageError
from components.objectives import Objective
from components.options import Option, kinds, load
from components.preparation import Preparation
from components.recipe import Augmentation, Budget, Guidance, Optimizer, Recipe, Schedule
from components.records import Record

FAMILIES: dict[str, type[Option]] = {
    "architecture": Architecture,
    "objective": Objective,
    "preparation": Preparation,
    "compression": Compression,
}
"""Name of a choice -> its family."""


PARTS: dict[str, type[Record]] = {
    part.__name__.lower(): part
    for part in (Recipe, Optimizer, Schedule, Budget, Augmentation, Guidance)
}
"""Records of a config that have no kinds, only fields."""


class Parameter(Record):
    """One line that an option takes in YAML."""

    name: str
    type: str
    """Such as `integer > 0 or none`."""
    default: str | None
    """As YAML would write it; None where a value must be given."""
    text: str


class Kind(Record):
    """One option of a family."""

    family: str
    kind: str
    text: str
    source: str
    parameters: tuple[Parameter, ...]


def families() -> tuple[str, ...]:
    """Names of the choices that a config makes."""
    return tuple(FAMILIES)


def describe(family: str, option: str) -> Kind:
    """One option with its parameters.

    Raises:
        UsageError: no such family or option.
    """
    base = FAMILIES[_known(family, families(), "family")]
    name = _known(option, kinds(base.family), f"{family} option")
    chosen = load(base, name)
    return _described(family, name, chosen, chosen.source)


def listed(which: str = "") -> tuple[Kind, ...]:
    """All options, those of one family, or one: `""`, `architecture`, `architecture.encoder`.

    A part of a training, such as `recipe` or `budget`, is described like an option.

    Raises:
        UsageError: no such family or option.
    """
    family, _, option = which.partition(".")
    if option:
        return (describe(family, option),)
    if family in PARTS:
        return (_described("training", family, PARTS[family], ""),)
    wanted = (_known(family, (*families(), *PARTS), "family"),) if family else families()
    return tuple(describe(name, kind) for name in wanted for kind in kinds(FAMILIES[name].family))


def document(found: tuple[Kind, ...]) -> dict[str, Any]:
    """The same as JSON."""
    return {"kinds": [kind.model_dump(mode="json") for kind in found]}


def text(found: tuple[Kind, ...]) -> str:
    """One line an option; a single option with all its parameters."""
    if len(found) == 1:
        return _details(found[0])
    lines: list[str] = []
    width = max((len(kind.kind) for kind in found), default=0)
    for at, kind in enumerate(found):
        if not at or found[at - 1].family != kind.family:
            lines += ["", kind.family] if at else [kind.family]
        lines.append(f"  {kind.kind:<{width}}  {kind.text}")
    lines += ["", "parameters of one: athanor kinds FAMILY.OPTION"]
    return "\n".join([*lines, f"of a training: athanor kinds {' | '.join(PARTS)}"])


def _details(kind: Kind) -> str:
    lines = [f"{kind.family}.{kind.kind}: {kind.text}"]
    lines += [f"  from {kind.source}"] if kind.source else []
    lines += ["", f"  kind: {kind.kind}"] if kind.family in FAMILIES else [""]
    for parameter in kind.parameters:
        value = "(must be given)" if parameter.default is None else parameter.default
        lines.append(f"  {parameter.name}: {value}".ljust(36) + f"  # {parameter.type}")
        lines += [" " * 38 + f"# {parameter.text}"] if parameter.text else []
    return "\n".join(lines)


def _described(family: str, name: str, option: type[Record], source: str) -> Kind:
    schema = option.model_json_schema(mode="validation")
    return Kind(
        family=family,
        kind=name,
        text=_first_line(option),
        source=source,
        parameters=tuple(_parameters(option, schema)),
    )


def _parameters(option: type[Record], schema: dict[str, Any]) -> list[Parameter]:
    import yaml

    found = []
    for name, field in option.model_fields.items():
        default = None
        if not field.is_required():
            value = option.model_construct().model_dump(mode="json").get(name)
            shown = yaml.safe_dump(value, default_flow_style=True, width=1000, allow_unicode=True)
            default = shown.removesuffix("...\n").strip()
        kind = _type(schema["properties"][name], schema.get("$defs", {}))
        text = _field_texts(option).get(name, "")
        found.append(Parameter(name=name, type=kind, default=default, text=text))
    return found


LIMITS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}


def _type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A JSON schema in the words of the field: `number >= 0, < 1`, `list of integer > 0`."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        named = definitions[name]
        return name.lower() if "properties" in named else _type(named, definitions)
    if "anyOf" in schema:
        parts = [_type(part, definitions) for part in schema["anyOf"]]
        return " or ".join(dict.fromkeys(parts))
    if "enum" in schema or "const" in schema:
        return " | ".join(map(str, schema.get("enum", [schema.get("const")])))
    if properties := schema.get("properties"):
        return f"one of: {', '.join(properties.get('kind', {}).get('enum', properties))}"
    if schema.get("type") == "array":
        parts = schema.get("prefixItems") or [schema.get("items", {})]
        return f"list of {', '.join(_type(part, definitions) for part in parts)}"
    if schema.get("type") == "object":
        return "mapping"
    limits = ", ".join(
        f"{sign} {schema[name]:g}" for name, sign in LIMITS.items() if name in schema
    )
    plain = {"null": "none", None: "anything", "string": "text", "boolean": "true | false"}
    kind = plain.get(schema.get("type"), schema.get("type"))
    return f"{kind} {limits}".strip()


@cache
def _field_texts(option: type[Record]) -> dict[str, str]:
    """Docstring of each field, its first sentence or all of it in one line, from the source."""
    found: dict[str, str] = {}
    for owner in reversed(option.__mro__):
        if not issubclass(owner, Record) or owner in (Record, Option):
            continue
        tree = ast.parse(inspect.getsource(sys.modules[owner.__module__]))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == owner.__name__:
                found |= _attribute_texts(node.body)
    return found


def _attribute_texts(body: list[ast.stmt]) -> dict[str, str]:
    return {
        field.target.id: " ".join(following.value.value.split())
        for field, following in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
        and isinstance(following.value.value, str)
    }


def _first_line(option: type[Record]) -> str:
    return (inspect.getdoc(option) or "").partition("\n")[0]


def _known(name: str, names: tuple[str, ...], what: str) -> str:
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"no {what} is called {name!r}", f"{hint}there are: {', '.join(names)}")
    return name
