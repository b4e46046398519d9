"""One folder is one choice, one file is one option, the file's name is its `kind` in YAML.

`kind: encoder` under `architecture:` means the class in `components/architectures/encoder.py`.
The file is imported only when somebody picks it, so an option's heavy dependency costs nothing
to those who do not use it.
"""

import difflib
import importlib
import inspect
import pkgutil
from functools import cache
from typing import Any, ClassVar, Self, TypeVar

from pydantic import ModelWrapValidatorHandler, computed_field, model_validator

from components.records import Record

T = TypeVar("T", bound="Option")


class Option(Record):
    """Base of a family. Parsing `{"kind": "x", ...}` with a family yields the class in `x.py`."""

    family: ClassVar[str]
    """Package that holds the options; a family's base sets it to its `__name__`."""

    source: ClassVar[str] = ""
    """Where the method comes from: a paper with its number, or the library that does the work."""

    @computed_field
    @property
    def kind(self) -> str:
        """Name of the option in YAML: the name of its file."""
        return _kind(type(self))

    @model_validator(mode="wrap")
    @classmethod
    def _pick(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(value, dict):
            return handler(value)
        values = dict(value)
        kind = values.pop("kind", None)
        if cls.__module__ == cls.family:
            if kind is None:
                raise ValueError(f"names no kind; there are: {', '.join(kinds(cls.family))}")
            return load(cls, str(kind)).model_validate(values)
        if kind not in (None, _kind(cls)):
            raise ValueError(f"this is {_kind(cls)!r}, not {kind!r}")
        return handler(values)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        """A family's schema lists its kinds without importing them; forms show a drop-down."""
        if cls.__module__ != cls.family:
            return handler(core)
        names = list(kinds(cls.family))
        return {"type": "object", "properties": {"kind": {"enum": names}}, "required": ["kind"]}


@cache
def kinds(package: str) -> tuple[str, ...]:
    """Every option in a folder, sorted; a leading underscore means that a file is not one."""
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return tuple(sorted(module.name for module in found if not module.name.startswith("_")))


def load(family: type[T], kind: str) -> type[T]:
    """The option class that a family holds under this name.

    Raises:
        ValueError: no such file; the message lists the names that exist.
    """
    known = kinds(family.family)
    if kind not in known:
        choice = family.__name__.lower()
        near = difflib.get_close_matches(kind, known, 1)
        hint = f", did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"no {choice} is called {kind!r}{hint} There are: {', '.join(known)}")
    module = importlib.import_module(f"{family.family}.{kind}")
    [option] = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, family)
        and value.__module__ == module.__name__
    ]
    return option


def _kind(option: type[Option]) -> str:
    return option.__module__.rpartition(".")[2]
