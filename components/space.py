"""The values that a search may try: dotted paths into a recipe, each with a range or choices."""

import difflib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError, model_validator

from components.recipe import Recipe
from components.records import Record

Choice = bool | int | float | str

FIXED = ("seed", "threads", "kind")
"""What a search must not choose: chance, the machine, and another architecture's fields."""


class Values(Record):
    """The values of one path: `{low, high, log}` or `{choices}`."""

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    """Whether a factor counts rather than a difference, as for learning rates."""
    choices: tuple[Choice, ...] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Values":
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("has choices and a range: give one of them")
            if len(self.choices) < 2:
                raise ValueError("needs two choices or more")
        elif self.low is None or self.high is None:
            raise ValueError("needs low and high, or choices")
        elif not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low {self.low} is not below high {self.high}")
        elif self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0, not {self.low}")
        return self

    @property
    def whole(self) -> bool:
        """Whether both ends are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def holds(self, value: Any) -> bool:
        """Whether a value may be tried."""
        if self.choices is not None:
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if self.low is None or self.high is None or isinstance(value, bool):
            return False
        return isinstance(value, int | float) and self.low <= value <= self.high


def check_space(base: Recipe, space: Mapping[str, Values]) -> None:
    """Nothing, if every path leads to a value of the recipe that takes all of its values.

    Raises:
        ValueError: the path, what is wrong with it and the nearest that exists.
    """
    if not space:
        raise ValueError("search.space names no path to search")
    known = dict(leaves(base.model_dump(mode="json")))
    for path, values in space.items():
        if path.rpartition(".")[2] in FIXED:
            raise ValueError(f"{path}: a search does not choose this; set it in the recipe")
        if path not in known:
            raise ValueError(_unknown(path, known))
        if isinstance(known[path], int) and values.choices is None and not values.whole:
            raise ValueError(f"{path}: low and high must be whole numbers, as {known[path]} is")
        for value in values.choices or (values.low, values.high):
            try:
                changed(base, {path: value})
            except ValidationError as error:
                reason = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise ValueError(f"{path}: {value!r} is refused: {reason}") from None


def changed(base: Recipe, params: Mapping[str, Any]) -> Recipe:
    """The recipe with other values at some paths, checked as a whole.

    Raises:
        ValidationError: the values do not make a recipe.
    """
    document = base.model_dump(mode="json")
    for path, value in params.items():
        *folders, leaf = path.split(".")
        place = document
        for folder in folders:
            place = place[folder]
        place[leaf] = value
    return Recipe.model_validate(document)


def values_of(base: Recipe, space: Mapping[str, Values]) -> dict[str, Any] | None:
    """What the recipe itself has at the paths; None where one of them lies outside the space."""
    known = dict(leaves(base.model_dump(mode="json")))
    found = {path: known.get(path) for path in space}
    inside = all(values.holds(found[path]) for path, values in space.items())
    return found if inside else None


def leaves(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of everything in a document that is no list."""
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        elif not isinstance(value, list):
            yield f"{prefix}{name}", value


def _unknown(path: str, known: Mapping[str, Any]) -> str:
    parent = path.rpartition(".")[0]
    while parent:
        if parent in known:
            what = "is not set in the recipe" if known[parent] is None else "has no parts"
            return f"{path}: {parent} {what}"
        parent = parent.rpartition(".")[0]
    paths = [each for each in known if each.rpartition(".")[2] not in FIXED]
    near = difflib.get_close_matches(path, paths, 1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(paths)}"
    return f"{path}: no such value in the recipe, {hint}"
