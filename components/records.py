"""Small frozen JSON records whose identity is the digest of their content."""

import hashlib
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, model_validator

from components.files import canonical


class Record(BaseModel):
    """Frozen JSON; two records are equal when their content is.

    The field `made`, where a record has one, says when, where and how fast the record came to
    be; it is shown and never part of the identity, at any depth.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", polymorphic_serialization=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_not_truths(cls, values: Any) -> Any:
        """`true` where a number belongs would pass as 1: hand on the word, which is refused."""
        if not isinstance(values, dict):
            return values
        wrong = {
            name: str(value).lower()
            for name, value in values.items()
            if isinstance(value, bool) and not _takes_truth(cls, name)
        }
        return {**values, **wrong} if wrong else values

    @property
    def digest(self) -> str:
        """sha256 of the content as canonical JSON."""
        return hashlib.sha256(canonical(content(self.model_dump(mode="json")))).hexdigest()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def content(value: Any) -> Any:
    """The value without any `made`, at any depth."""
    if isinstance(value, dict):
        return {name: content(part) for name, part in value.items() if name != "made"}
    if isinstance(value, list | tuple):
        return [content(part) for part in value]
    return value


@cache
def _takes_truth(model: type[BaseModel], field: str) -> bool:
    found = model.model_fields.get(field)
    parts = [found.annotation] if found else []
    seen: list[Any] = []
    while parts:
        seen.append(parts.pop())
        parts.extend(get_args(seen[-1]))
    return not seen or bool in seen or Any in seen
