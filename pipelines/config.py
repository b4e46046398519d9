"""One YAML file -> one checked run, or every problem of the file at once.

There is no inheritance and no interpolation: a config is a complete run, in running order.
"""

import difflib
import json
import re
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, model_validator

from components import project
from components.compression import Compression, check_chain
from components.errors import ConfigError
from components.gate import GateConfig
from components.inference.timing import MeasureConfig
from components.options import Option, load
from components.preparation import Preparation
from components.recipe import Recipe
from components.records import Record
from components.steps.search import SearchConfig, check_space
from components.steps.select import SelectConfig
from components.training.precision import resolve
from components.validation.expectations import Expectations
from pipelines.reading import Document, Path_, override, read, shown
from pipelines.resources import Resources, check, check_shares

DEPLOYMENTS = "deployments.yaml"
_KEYED = re.compile(r"([a-z_]+(?:\.\w+)*): ")

M = TypeVar("M", bound=BaseModel)
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


DataSet = Annotated[str, Field(pattern=r"^\w[\w-]{0,99}$")]
"""Also the name of a folder and of a suite: no path, no dots."""


class RunConfig(Record):
    """A complete run; an absent step is an absent key."""

    name: Name
    """The registered model's name; lower case, digits and hyphens."""
    data: Annotated[tuple[DataSet, ...], Field(min_length=1)]
    """Data sets under `data/`, the labelled one first."""
    prepare: Preparation
    pretrain: Recipe | None = None
    finetune: Recipe
    search: SearchConfig | None = None
    """Finds values for dotted paths of `finetune`."""
    baselines: tuple[Literal["majority", "linear"], ...] = ("majority", "linear")
    compress: Annotated[tuple[tuple[Compression, ...], ...], Field(min_length=1)] = ((),)
    """Chains; the empty chain is the plain fp32 graph and always comes first."""
    measure: MeasureConfig = MeasureConfig()
    select: SelectConfig = SelectConfig()
    gate: GateConfig = GateConfig()
    resources: dict[str, Resources] = {}
    """What steps want of a machine, by step or group of steps; part of no step's key."""

    @model_validator(mode="after")
    def _fits(self) -> "RunConfig":
        for key in ("data", "baselines", "compress"):
            values = vars(self)[key]
            if twice := [at for at, value in enumerate(values) if value in values[:at]]:
                raise ValueError(f"{key}.{twice[0]}: stands twice; keep one")
        if self.compress[0] != ():
            raise ValueError("compress: the first chain is [], the fp32 graph that others face")
        for chain in self.compress:
            check_chain(chain)
        if self.search is not None:
            try:
                check_space(self.finetune, self.search.space)
            except ValueError as error:
                raise ValueError(f"search.space: {error}") from None
        check(self.resources)
        for name, recipe in (("pretrain", self.pretrain), ("finetune", self.finetune)):
            if recipe is not None:
                check_shares(self.resources, name, recipe.budget.accumulate)
        if self.gate.first not in self.baselines:
            raise ValueError(f"gate.first: {self.gate.first!r} is not among the baselines")
        return self


def load_run(file: Path, assignments: Sequence[str] = ()) -> RunConfig:
    """The run that a YAML file and `a.b=value` assignments describe.

    Raises:
        ConfigError: all problems of the file, one line each: file, line, key, value, remedy.
    """
    document = read(file)
    for assignment in assignments:
        document = override(document, assignment)
    return _settled(checked(document, RunConfig))


def run_files(configs: Path) -> list[Path]:
    """The files of `configs/` that are runs: all but the one of the deployments."""
    return [file for file in sorted(configs.glob("*.yaml")) if file.name != DEPLOYMENTS]


def load_expectations(name: str) -> Expectations:
    """The expectations of a data set, from `configs/expectations/<name>.yaml`."""
    return checked(read(project.root() / "configs" / "expectations" / f"{name}.yaml"), Expectations)


def checked(document: Document, model: type[M]) -> M:
    """The values of a document as a model."""
    if not isinstance(document.values, dict):
        raise ConfigError(
            f"{shown(document.file)} holds {type(document.values).__name__}, not keys and values",
            "copy one of configs/*.yaml",
        )
    try:
        return model.model_validate_json(json.dumps(document.values))
    except ValidationError as error:
        lines = [_line(document, model, problem) for problem in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def _settled(value: Any) -> Any:
    """The value with `precision: auto` replaced by what it means here: keys name what is done."""
    if isinstance(value, Recipe):
        return value.model_copy(update={"precision": resolve(value.precision)})
    if isinstance(value, Record):
        parts = {name: _settled(vars(value)[name]) for name in type(value).model_fields}
        return value.model_copy(update=parts)
    if isinstance(value, tuple):
        return tuple(_settled(part) for part in value)
    return value


def _line(document: Document, model: type[BaseModel], problem: Any) -> str:
    path: Path_ = tuple(problem["loc"])
    key = ".".join(map(str, path))
    where = document.at(path)
    if problem["type"] == "extra_forbidden":
        known = list(_fields(model, document.values, path[:-1]))
        near = difflib.get_close_matches(str(path[-1]), known, 1)
        hint = f"did you mean {near[0]}" if near else f"known here: {', '.join(known)}"
        return f"{where} {key}: unknown key, {hint}"
    if problem["type"] == "missing":
        return f"{where} {key}: missing; add the key"
    message = problem["msg"].removeprefix("Value error, ")
    if named := _KEYED.match(message):  # a problem of several keys says itself which one
        inner = tuple(int(p) if p.isdigit() else p for p in named[1].split("."))
        if inner[0] in model.model_fields:
            return f"{document.at(path + inner)} {message}"
    value = problem.get("input")
    given = "" if isinstance(value, dict | list) else f" (given: {str(value)[:60]!r})"
    return f"{where} {key}: {message}{given}" if key else f"{where} {message}"


def _fields(model: type[BaseModel], values: Any, path: Path_) -> Iterator[str]:
    """Keys that may stand at a path, also inside the option that the values choose there."""
    here: Any = model
    for part in path:
        inside: Any = values if isinstance(values, dict | list) else {part: None}
        values = inside[part]
        here = _inside(here, part)
        if isinstance(here, type) and issubclass(here, Option) and isinstance(values, dict):
            try:
                here = load(here, str(values.get("kind")))
            except ValueError:
                return
    if isinstance(here, type) and issubclass(here, BaseModel):
        yield from here.model_fields


def _inside(here: Any, part: str | int) -> Any:
    """The type behind a key or an index."""
    if isinstance(here, type) and issubclass(here, BaseModel) and isinstance(part, str):
        field = here.model_fields.get(part)
        return _plain(field.annotation) if field else None
    arguments = [a for a in get_args(here) if a is not Ellipsis]
    return _plain(arguments[-1]) if arguments else None


def _plain(annotation: Any) -> Any:
    """An annotation without `| None` and metadata."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return _plain(next(a for a in get_args(annotation) if a is not type(None)))
    return annotation
